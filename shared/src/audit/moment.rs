//! A moment as a caller names it: in RFC 3339, or as a time before now.

use jiff::{SignedDuration, Timestamp};

/// Longest time before now that can be asked for: further back than any entry is kept.
const MAX_DAYS: i64 = 10 * 366;

/// `2026-01-26T15:30:45Z`, or `-30m`, `-24h`, `-7d` before `now`. None if it is neither.
///
/// ```
/// # use shared::audit::moment;
/// let now = "2026-01-26T15:30:45Z".parse().unwrap();
/// assert_eq!(moment("-24h", now), Some("2026-01-25T15:30:45Z".parse().unwrap()));
/// assert_eq!(moment("2026-01-26T16:30:45+02:00", now), Some("2026-01-26T14:30:45Z".parse().unwrap()));
/// assert_eq!(moment("yesterday", now), None);
/// ```
#[must_use]
pub fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    match text.strip_prefix('-') {
        Some(before) => now.checked_sub(duration(before)?).ok(),
        None => text.parse().ok(),
    }
}

/// A whole number of minutes, hours or days: `90m`, `24h`, `7d`.
#[must_use]
pub fn duration(text: &str) -> Option<SignedDuration> {
    let (number, minutes) = [("m", 1), ("h", 60), ("d", 24 * 60)]
        .into_iter()
        .find_map(|(unit, minutes)| Some((text.strip_suffix(unit)?, minutes)))?;
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let minutes = number.parse::<i64>().ok()?.checked_mul(minutes)?;
    (minutes <= MAX_DAYS * 24 * 60).then(|| SignedDuration::from_mins(minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_lies_before_now() {
        let now: Timestamp = "2026-03-29T01:30:00Z".parse().unwrap();
        for (text, expected) in [
            ("-30m", Some("2026-03-29T01:00:00Z")),
            ("-7d", Some("2026-03-22T01:30:00Z")),
            ("-0h", Some("2026-03-29T01:30:00Z")),
            ("2026-03-29T01:30:00.25-01:00", Some("2026-03-29T02:30:00.25Z")),
            ("2026-03-29", None),
            ("2026-03-29T01:30:00", None),
            ("-1", None),
            ("-h", None),
            ("--1h", None),
            ("-1w", None),
            ("-1.5h", None),
            ("-+1h", None),
            ("-99999999999999999999h", None),
            ("-9223372036854775807d", None),
            ("24h", None),
            ("", None),
        ] {
            assert_eq!(moment(text, now), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }
}
