//! Hours of the day, such as those outside of office hours, on the clocks of one place.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// From one time of the day to another, on the clocks of a time zone: every day, across midnight if the end is not after
/// the start.
///
/// - the start belongs to it, the end does not, and they differ;
/// - clocks that are put forward or back do so here too: an hour that there is twice counts twice, one that is left out
///   not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Minutes since midnight.
    from: u16,
    /// Minutes since midnight.
    to: u16,
    zone: TimeZone,
}

impl Hours {
    /// `18:00-07:00` on the clocks of a zone. None if it is not of this form.
    #[must_use]
    pub fn parse(text: &str, zone: TimeZone) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        (from != to).then_some(Self { from, to, zone })
    }

    /// A time zone of the IANA database by its name, such as `Europe/Berlin`.
    #[must_use]
    pub fn zone(name: &str) -> Option<TimeZone> {
        TimeZone::get(name).ok().filter(|zone| zone.iana_name().is_some())
    }

    /// Whether a moment is within them.
    #[must_use]
    pub fn contain(&self, at: Timestamp) -> bool {
        let time = self.zone.to_datetime(at).time();
        let minute = u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs());
        match self.from < self.to {
            true => (self.from..self.to).contains(&minute),
            false => minute >= self.from || minute < self.to,
        }
    }

    /// The zone's name.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }
}

impl fmt::Display for Hours {
    /// Without the zone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, .. } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// `07:30` as minutes since midnight.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, below: u16| -> Option<u16> {
        let digits = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse().ok().filter(|number| digits && *number < below)
    };
    Some(number(hour, 24)? * 60 + number(minute, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(text: &str, zone: &str) -> Hours {
        Hours::parse(text, Hours::zone(zone).unwrap()).unwrap()
    }

    #[test]
    fn the_start_is_within_and_the_end_is_not_also_across_midnight() {
        let (day, night) = (hours("09:00-17:30", "UTC"), hours("18:00-07:00", "UTC"));
        for (time, in_day, in_night) in [
            ("00:00:00", false, true),
            ("06:59:59.999", false, true),
            ("07:00:00", false, false),
            ("08:59:59", false, false),
            ("09:00:00", true, false),
            ("17:29:59.999", true, false),
            ("17:30:00", false, false),
            ("18:00:00", false, true),
            ("23:59:59", false, true),
        ] {
            let at = format!("2026-01-26T{time}Z").parse().unwrap();
            assert_eq!((day.contain(at), night.contain(at)), (in_day, in_night), "{time}");
        }
    }

    #[test]
    fn clocks_are_put_forward_and_back() {
        // In Berlin 02:00 to 03:00 is left out on 2026-03-29, and there twice on 2026-10-25.
        let second_hour = hours("02:00-03:00", "Europe/Berlin");
        let third_hour = hours("03:00-04:00", "Europe/Berlin");
        for (at, second, third) in [
            ("2026-03-29T00:59:59Z", false, false),
            ("2026-03-29T01:00:00Z", false, true),
            ("2026-03-29T02:00:00Z", false, false),
            ("2026-10-24T23:59:59Z", false, false),
            ("2026-10-25T00:00:00Z", true, false),
            ("2026-10-25T01:00:00Z", true, false),
            ("2026-10-25T01:59:59Z", true, false),
            ("2026-10-25T02:00:00Z", false, true),
        ] {
            let at: Timestamp = at.parse().unwrap();
            assert_eq!((second_hour.contain(at), third_hour.contain(at)), (second, third), "{at}");
        }
        // Half an hour's offset, and its own half-hour summer time.
        let lord_howe = hours("10:30-11:00", "Australia/Lord_Howe");
        assert!(lord_howe.contain("2026-07-01T00:00:00Z".parse().unwrap()));
        assert!(!lord_howe.contain("2026-12-01T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn what_is_not_hours_is_refused() {
        for text in
            ["", "18:00", "18-07", "18:00-18:00", "24:00-07:00", "18:60-07:00", "8:00-17:00", "+8:00-17:00"]
        {
            assert_eq!(Hours::parse(text, TimeZone::UTC), None, "{text}");
        }
        for zone in ["", "Berlin", "Europe/Berlin ", "+02:00", "/etc/localtime", "../UTC"] {
            assert_eq!(Hours::zone(zone), None, "{zone}");
        }
        assert_eq!(hours("18:00-07:05", "europe/berlin").to_string(), "18:00-07:05");
        assert_eq!(hours("18:00-07:05", "europe/berlin").zone_name(), "Europe/Berlin");
    }
}
