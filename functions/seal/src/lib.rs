//! The sealer, fed by the stream of the audit log's table (batches of 256, a window of 2 s) and by a schedule (EventBridge's
//! `rate(1 minute)`); the function's timeout is 5 minutes.
//!
//! An event with `Records` is the stream's: what it tells is sealed and published, or the whole batch fails and is delivered
//! again. Any other event is the schedule's: what is due is done for every log.

use serde_json::{Value, json};
use shared::Task;
use shared::app::App;
use shared::clock::{self, Deadline};
use shared::config::Needs;
use shared::metrics::{self, Metric};
use shared::seal::{RowChange, SealError, Sealer};

/// The task.
pub const TASK: Task = Task {
    name: "seal",
    needs: Needs::TASK.and_signing(),
    run: |app, event, deadline| {
        Box::pin(async move { run(app, event, deadline).await.map_err(|error| error.to_string()) })
    },
};

async fn run(app: &App, event: Value, deadline: Deadline) -> Result<Value, SealError> {
    if let Some(age) = age(&event) {
        metrics::record(Metric::StreamAge, age);
        // Also of a batch whose runs are all cut off.
        metrics::flush();
    }
    let sealer = Sealer::start(app, clock::now(), deadline).await?;
    let Some(records) = event["Records"].as_array() else {
        let logs = sealer.tick().await?;
        return Ok(json!({ "logs": logs }));
    };
    let changes: Vec<RowChange> = records.iter().filter_map(RowChange::read).collect();
    let unread = records.len() - changes.len();
    if unread > 0 {
        // Trying again would not help. What they told of is found by the hourly comparison.
        tracing::error!(unread, "audit_stream_unread: records of the stream without an image of a row");
        metrics::record(Metric::StreamUnread, unread as u64);
    }
    let leaves = sealer.seal(&changes).await?;
    Ok(json!({ "records": records.len(), "leaves": leaves }))
}

/// How old the oldest record of the stream is, in seconds. They come in the order in which they were written.
fn age(event: &Value) -> Option<u64> {
    let written = event["Records"][0]["dynamodb"]["ApproximateCreationDateTime"].as_f64()?;
    Some((clock::now().as_second() as f64 - written).max(0.0) as u64)
}
