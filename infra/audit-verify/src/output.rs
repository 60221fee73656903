//! What people and machines are told.

use std::fmt::Write;
use std::time::Duration;

use audit_verify::{Progress, Report, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

/// A bar on standard error; nothing if that is no terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::no_length();
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }
}

impl Progress for Bar {
    fn begin(&self, what: &str, steps: Option<u64>) {
        let style = match steps {
            Some(_) => "{msg} [{bar:40}] {human_pos}/{human_len} ({eta} left)",
            None => "{msg} {spinner} {human_pos}",
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.0.set_style(style.progress_chars("=> "));
        }
        self.0.reset();
        self.0.set_length(steps.unwrap_or_default());
        self.0.set_message(what.to_owned());
    }

    fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

pub(crate) fn json(report: &Report, as_of: Timestamp) -> serde_json::Value {
    let verdict = report.verdict();
    serde_json::json!({
        "verdict": verdict,
        "exit_code": verdict.exit_code(),
        "as_of": as_of,
        "counts": report.counts,
        "findings": report.findings,
        "logs": report.logs,
    })
}

pub(crate) fn text(report: &Report, as_of: Timestamp) -> String {
    let mut text = String::new();
    let mut findings: Vec<_> = report.findings.iter().collect();
    findings.sort_by_key(|found| found.class.verdict());
    for found in findings {
        let word = match found.class.verdict() {
            Verdict::Tampered => "TAMPERED",
            Verdict::Undecided => "UNDECIDED",
            Verdict::Unsealed => "UNSEALED",
            Verdict::Proven => "remark",
        };
        let place = found.seq.map(|seq| format!(" leaf {seq}")).unwrap_or_default();
        let entry = found.entry.as_ref().map(|entry| format!(" entry {entry}")).unwrap_or_default();
        let (class, log) = (found.class.name(), &found.log);
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{word:<9} {class}: {log}{place}{entry}: {}", found.detail);
    }
    let listed = report.findings.len() as u64;
    let all: u64 = report.counts.values().sum();
    if all > listed {
        let _ = writeln!(text, "          and {} more of these classes", all - listed);
    }
    for (log, done) in &report.logs {
        let _ = writeln!(
            text,
            "{log}: {} leaves, {} entries, {} writers, {} rows ({} wait, {} expired)",
            done.leaves, done.entries, done.writers, done.rows, done.waiting, done.expired
        );
    }
    let answer = match report.verdict() {
        Verdict::Tampered => "TAMPERING IS PROVEN",
        Verdict::Undecided => "cannot be decided",
        Verdict::Unsealed => "nothing contradicts the log, but it is not sealed up to now",
        Verdict::Proven => "everything is what was sealed",
    };
    let _ = writeln!(text, "As of {as_of}: {answer}.");
    text
}
