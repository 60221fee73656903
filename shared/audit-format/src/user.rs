//! Who did it, as entries name them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A user's id as the platform shows it: a number or a text, kept in the JSON type in which it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UserId {
    /// A whole number within ±(2^53−1), which every JSON reader holds exactly (RFC 8259, section 6).
    Number(i64),
    /// Any text.
    Text(String),
}

impl UserId {
    /// The service itself.
    #[must_use]
    pub fn system() -> Self {
        Self::Text("system".into())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
