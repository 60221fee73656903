//! A refusal by policy, in words for the audit log.
//!
//! Knows what was asked and what decided, not what the caller is told.

use std::fmt;

use super::{Action, Principal};

/// Longest text of a [`Denial`] in bytes: it stands in an audit entry, whose size has a budget (DESIGN section 6).
pub const MAX_DENIAL_BYTES: usize = 200;

/// The caller may not do this (403).
///
/// The text is for audit entries and logs: `role auditor may not sign files of accounting (no policy permits it)`. It
/// has no control characters and at most [`MAX_DENIAL_BYTES`]; names that are too long for it are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    role: String,
    other_roles: usize,
    action: Action,
    system: Option<String>,
    others_file: bool,
    decided_by: DecidedBy,
}

/// What made a decision a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecidedBy {
    /// No policy permits it.
    Nothing,
    /// Policies forbid it: their ids.
    Forbidden(Vec<String>),
    /// Policies could not be evaluated (their ids), so what they would have forbidden is not known.
    Failed(Vec<String>),
}

impl DecidedBy {
    /// What decided when two questions were both answered by a refusal. What explains more counts.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, other) => other,
            (own, Self::Nothing) => own,
            (Self::Forbidden(a), Self::Forbidden(b)) => Self::Forbidden(union(a, b)),
            (Self::Failed(a), Self::Failed(b)) => Self::Failed(union(a, b)),
            (Self::Failed(failed), Self::Forbidden(_)) | (Self::Forbidden(_), Self::Failed(failed)) => {
                Self::Failed(failed)
            }
        }
    }
}

impl Denial {
    pub(super) fn new(
        principal: &Principal,
        action: Action,
        system: Option<&str>,
        others_file: bool,
        decided_by: DecidedBy,
    ) -> Self {
        Self {
            role: principal.role().to_owned(),
            other_roles: principal.roles().len().saturating_sub(1),
            action,
            system: system.map(str::to_owned),
            others_file,
            decided_by,
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// What decided.
    #[must_use]
    pub fn decided_by(&self) -> &DecidedBy {
        &self.decided_by
    }
}

impl std::error::Error for Denial {}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("role {}", cut(&self.role, MAX_PART_BYTES));
        if self.other_roles > 0 {
            text += &format!(" (and {} more)", self.other_roles);
        }
        text += " may not ";
        text += verb(self.action);
        if let Some(system) = &self.system {
            text += &cut(system, MAX_PART_BYTES);
        }
        if self.others_file {
            text += " that others uploaded";
        }
        text += &match &self.decided_by {
            DecidedBy::Nothing => " (no policy permits it)".to_owned(),
            DecidedBy::Forbidden(ids) => format!(" (forbidden by {})", ids.join(", ")),
            DecidedBy::Failed(ids) => format!(" (not decidable: {})", ids.join(", ")),
        };
        f.write_str(&cut(&text, MAX_DENIAL_BYTES))
    }
}

/// With this much for the role and for the system, what decided still fits.
const MAX_PART_BYTES: usize = 40;

fn verb(action: Action) -> &'static str {
    match action {
        Action::Upload => "upload files to ",
        Action::ReadMetadata => "read the metadata of files of ",
        Action::Sign => "sign files of ",
        Action::Delete => "delete files of ",
        Action::Purge => "purge files of ",
        Action::ReadLog => "read the audit log",
        Action::ExportLog => "export the audit log",
    }
}

/// At most so many bytes, with an ellipsis for what is left out.
fn cut(text: &str, max_bytes: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let room = max_bytes - ELLIPSIS.len();
    let kept: String =
        text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= room).map(|(_, c)| c).collect();
    kept + ELLIPSIS
}

fn union(mut ids: Vec<String>, more: Vec<String>) -> Vec<String> {
    ids.extend(more);
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_keeps_what_decided() {
        let mut denial = Denial {
            role: "é".repeat(128),
            other_roles: 12,
            action: Action::ReadMetadata,
            system: Some("x".repeat(128)),
            others_file: true,
            decided_by: DecidedBy::Nothing,
        };
        assert!(denial.to_string().len() <= MAX_DENIAL_BYTES);
        assert!(denial.to_string().ends_with("that others uploaded (no policy permits it)"), "{denial}");
        denial.decided_by = DecidedBy::Forbidden(vec!["ü".repeat(300)]);
        assert!(denial.to_string().len() <= MAX_DENIAL_BYTES);
        assert!(denial.to_string().ends_with('…'), "{denial}");
    }
}
