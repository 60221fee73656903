//! What is wrong with a policy file, for the operator who wrote it.
//!
//! Knows how Cedar reports, and where in the text a fault is.

use std::fmt;

use cedar_policy::ffi::DetailedError;
use thiserror::Error;

/// The policies cannot be used; the service does not start with them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// The operator's fault: the text is not Cedar, or speaks of what the schema does not have. All faults that were
    /// found, one a line.
    #[error("the policies are not valid:{}", List(.0))]
    Invalid(Vec<Fault>),
    /// Ours: the schema that is compiled in does not hold.
    #[error("the policies' schema is not valid: {0}")]
    Schema(String),
}

/// One fault in a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1, if the fault has a place.
    pub line: Option<usize>,
    /// The `@id` of the policy at fault; for text that is no policy, of the last one before the fault.
    pub policy: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(policy) = &self.policy {
            write!(f, "policy {policy}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl Fault {
    /// A fault at a place in the text, in bytes.
    pub(super) fn at(text: &str, offset: usize, policy: Option<String>, message: impl Into<String>) -> Self {
        Self { line: Some(line(text, offset)), policy, message: message.into() }
    }

    /// Everything that the parser says about the text. Since it found no policies, the one at fault is taken from
    /// the text itself.
    pub(super) fn of_syntax(text: &str, error: &DetailedError) -> Vec<Self> {
        let offset = error.source_locations.iter().map(|label| label.loc.start).min();
        let policy = offset.and_then(|offset| last_id_before(text, offset));
        let own = Self { line: offset.map(|offset| line(text, offset)), policy, message: message(error) };
        std::iter::once(own)
            .chain(error.related.iter().flat_map(|related| Self::of_syntax(text, related)))
            .collect()
    }

    /// What the validator says about a policy. `place` is where the policy itself begins, should the validator not
    /// say where in it the fault is.
    pub(super) fn of_schema(text: &str, place: usize, policy: &str, error: &DetailedError) -> Self {
        let offset = error.source_locations.iter().map(|label| label.loc.start).min().unwrap_or(place);
        let message = message(error);
        // The validator names the policy, too.
        let message = message.strip_prefix(&format!("for policy `{policy}`, ")).unwrap_or(&message);
        Self::at(text, offset, Some(policy.to_owned()), message)
    }
}

fn message(error: &DetailedError) -> String {
    match &error.help {
        Some(help) => format!("{} ({help})", error.message),
        None => error.message.clone(),
    }
}

fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn last_id_before(text: &str, offset: usize) -> Option<String> {
    let before = text.get(..offset)?;
    let start = before.rfind("@id(\"")? + "@id(\"".len();
    text[start..].split('"').next().map(str::to_owned)
}

/// The faults, each on a line of its own.
struct List<'a>(&'a [Fault]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}
