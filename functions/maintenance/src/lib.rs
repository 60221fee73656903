//! Maintenance, on a schedule: any event will do (EventBridge's `rate(5 minutes)`), the function's timeout is 5 minutes.
//!
//! What it finds is counted in its result and in its log, without keys, since file names stand in them: the audit log says
//! what was done to which file.

use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::Task;
use shared::app::App;
use shared::clock::{self, Deadline};
use shared::config::Needs;
use shared::maintenance::{Maintenance, Options};

/// How often bucket and table are compared: every object and every record is read, which costs (architecture page).
const COMPARE_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// The task.
pub const TASK: Task = Task {
    name: "maintenance",
    needs: Needs::TASK.and_spaces(),
    run: |app, _, deadline| Box::pin(run(app, deadline)),
};

async fn run(app: &App, deadline: Deadline) -> Result<Value, String> {
    let options = Options { dry_run: false, compare_every: COMPARE_EVERY };
    let report = Maintenance::new(app, clock::now(), deadline, options).run().await;
    Ok(json!({
        "run_id": report.run_id,
        "complete": report.complete,
        "found": report.counts(),
        "stopped_by": report.stopped_by,
    }))
}
