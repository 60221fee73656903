//! Ids that nothing else has, and the random bits they are made of.

use jiff::Timestamp;
use ulid::Ulid;

/// A new id of this moment.
#[must_use]
pub fn ulid(now: Timestamp) -> Ulid {
    Ulid::from_parts(u64::try_from(now.as_millisecond()).unwrap_or_default(), random_bits())
}

/// Eighty random bits. The operating system seeds them; see the crate `rand`, which `ulid` uses.
#[must_use]
pub fn random_bits() -> u128 {
    Ulid::generate().random()
}

/// Some characters of Crockford's base32 in lower case, at most sixteen.
#[must_use]
pub fn random_characters(count: usize) -> String {
    let text = Ulid::from_parts(0, random_bits()).to_string().to_lowercase();
    text[text.len() - count.min(16)..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_moment_and_is_new_each_time() {
        let now = Timestamp::from_millisecond(1_234).unwrap();
        assert_eq!(ulid(now).timestamp_ms(), 1_234);
        assert_ne!(ulid(now), ulid(now));
    }

    #[test]
    fn random_characters_are_as_many_as_asked_for() {
        assert_eq!(random_characters(6).len(), 6);
        assert!(random_characters(16).bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    }
}
