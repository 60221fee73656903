//! Secret text: it can be used, but it does not slip into a log.
//!
//! Knows nothing about what the secret is for or where it was read.

use std::fmt;

/// A key, a password or the like.
///
/// - `Debug` prints `[redacted]`, so a struct that holds one may derive `Debug`;
/// - there is no `Display`: the text is had by [`Secret::expose`] alone, which is easy to search for.
///
/// ```
/// # use shared::secret::Secret;
/// let secret = Secret::new("correct horse battery staple".to_owned());
/// assert_eq!(format!("{secret:?}"), "[redacted]");
/// ```
///
/// ```compile_fail
/// # use shared::secret::Secret;
/// println!("{}", Secret::new("correct horse battery staple".to_owned()));
/// ```
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Holds a text as a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
