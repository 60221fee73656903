//! What an examination found, for people and for programs.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

/// Something that is looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, which stays.
    pub id: &'static str,
    /// What it asks.
    pub asks: &'static str,
    /// What it means if the answer is no.
    pub meaning: &'static str,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, with less than there should be.
    Warning,
    /// It does not work, or is not safe.
    Failed,
    /// Nobody looked; the finding says why.
    Skipped,
}

/// A check's verdict.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static Check,
    /// Which one, where there are several: an origin, a table.
    pub about: Option<String>,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen. Names variables, never their values.
    pub found: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static Check, found: impl Into<String>) -> Self {
        Self { check, about: None, verdict: Verdict::Ok, found: found.into(), remedy: None }
    }

    /// It works, but.
    pub fn warning(check: &'static Check, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, remedy: Some(remedy.into()), ..Self::ok(check, found) }
    }

    /// It does not work.
    pub fn failed(check: &'static Check, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, remedy: Some(remedy.into()), ..Self::ok(check, found) }
    }

    /// Nobody looked.
    pub fn skipped(check: &'static Check, because: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::ok(check, because) }
    }

    /// The one of several that it is about.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Self {
        Self { about: Some(about.into()), ..self }
    }
}

/// All findings, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Adds a finding.
    pub fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Says of every check without a finding that nobody looked.
    pub(crate) fn skip_rest(&mut self, checks: &[&'static Check], because: &str) {
        for check in checks {
            if !self.findings.iter().any(|finding| finding.check == *check) {
                self.push(Finding::skipped(check, because));
            }
        }
    }

    /// Lets failures pass that are known and accepted: they become warnings that say so.
    pub fn allow(&mut self, ids: &[String]) {
        for finding in &mut self.findings {
            if finding.verdict == Verdict::Failed && ids.iter().any(|id| id == finding.check.id) {
                finding.verdict = Verdict::Warning;
                finding.found.push_str(" (allowed)");
            }
        }
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.count(Verdict::Failed) == 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// `{"good", "findings": [{"check", "about", "verdict", "asks", "found", "meaning", "remedy"}]}`; `meaning` and `remedy` are
    /// null where all is well.
    #[must_use]
    pub fn json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            let Finding { check, about, verdict, found, remedy } = finding;
            let meaning = remedy.as_ref().map(|_| check.meaning);
            json!({
                "check": check.id, "about": about, "verdict": verdict, "asks": check.asks, "found": found,
                "meaning": meaning, "remedy": remedy,
            })
        });
        json!({ "good": self.is_good(), "findings": findings.collect::<Vec<_>>() })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let Finding { check, about, verdict, found, remedy } = finding;
            let about = about.as_ref().map(|about| format!("{about}: ")).unwrap_or_default();
            writeln!(f, "{verdict:8} {:16} {about}{found}", check.id)?;
            if let Some(remedy) = remedy {
                writeln!(f, "{:25} Means: {}\n{:25} To do: {remedy}", "", check.meaning, "")?;
            }
        }
        let count = |verdict| self.count(verdict);
        writeln!(
            f,
            "\n{} ok, {} warnings, {} failed, {} skipped",
            count(Verdict::Ok),
            count(Verdict::Warning),
            count(Verdict::Failed),
            count(Verdict::Skipped)
        )
    }
}
