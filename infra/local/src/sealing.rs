//! The sealer of the local stack: what the stream and a schedule do with the deployed function.

use std::time::Duration;

use serde_json::{Value, json};
use shared::app::App;
use shared::clock::{Deadline, Stopwatch};

use crate::stream::{BATCH_SIZE, Embedded, Stream, StreamError};

/// How often the stream is looked at.
const POLL: Duration = Duration::from_millis(250);
/// How long a batch that is not full waits for more, in ms (the template's `MaximumBatchingWindowInSeconds`).
const WINDOW_MS: u64 = 2_000;
/// How often what is due is looked for, in ms.
const TICK_MS: u64 = 5_000;
/// How often old records of the stream are dropped, in ms.
const TRIM_MS: u64 = 60 * 60 * 1_000;
/// How long one run may take: the deployed function's timeout.
const LIMIT: Duration = Duration::from_secs(290);
/// How long [`insist`] tries: a machine that is busy lets a call to its stores run out of time.
const INSISTENCE_MS: u64 = 60_000;
/// How long what failed waits for its next turn.
const PAUSE: Duration = Duration::from_secs(2);

/// Seals all the time.
pub async fn for_ever(app: &App, stream: Stream, embedded: &Embedded) {
    let mut sealing = Sealing { app, stream, embedded, waiting: None, ticked: None, trimmed: None };
    loop {
        if let Err(reason) = sealing.step().await {
            tracing::warn!(reason, "the audit log is not sealed; it is tried again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

struct Sealing<'a> {
    app: &'a App,
    stream: Stream,
    embedded: &'a Embedded,
    /// Since when there is a batch.
    waiting: Option<Stopwatch>,
    ticked: Option<Stopwatch>,
    trimmed: Option<Stopwatch>,
}

impl Sealing<'_> {
    async fn step(&mut self) -> Result<(), String> {
        if let Some(batch) = self.stream.next().map_err(text)? {
            let full = batch.len >= BATCH_SIZE;
            let since = *self.waiting.get_or_insert_with(Stopwatch::start);
            if !full && since.elapsed_ms() < WINDOW_MS {
                tokio::time::sleep(POLL).await;
                return Ok(());
            }
            invoke(self.app, batch.event.clone()).await?;
            self.waiting = None;
            self.stream.take(batch).map_err(text)?;
            if full {
                return Ok(());
            }
        }
        // The stream has told everything: what it did not tell is late.
        if is_due(&mut self.ticked, TICK_MS) {
            invoke(self.app, json!({})).await?;
        }
        if is_due(&mut self.trimmed, TRIM_MS) {
            self.embedded.trim().map_err(text)?;
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }
}

/// Whether it is time again; if so, from now on.
fn is_due(last: &mut Option<Stopwatch>, period_ms: u64) -> bool {
    let due = last.is_none_or(|last| last.elapsed_ms() >= period_ms);
    if due {
        *last = Some(Stopwatch::start());
    }
    due
}

fn text(error: StreamError) -> String {
    error.to_string()
}

/// Seals everything that the stream tells, at once. Answers the number of leaves that are new.
///
/// # Errors
/// The function's, or the stream's.
pub async fn drain(app: &App, stream: &mut Stream) -> Result<u64, String> {
    let mut leaves = 0;
    while let Some(batch) = stream.next().map_err(text)? {
        let sealed = insist(app, &batch.event).await?;
        leaves += sealed["leaves"].as_u64().unwrap_or_default();
        stream.take(batch).map_err(text)?;
    }
    Ok(leaves)
}

/// Has the function handle an event until it does, as Lambda goes on with a batch that failed; for a minute at most.
///
/// # Errors
/// The function's last.
pub async fn insist(app: &App, event: &Value) -> Result<Value, String> {
    let since = Stopwatch::start();
    loop {
        let result = invoke(app, event.clone()).await;
        if result.is_ok() || since.elapsed_ms() > INSISTENCE_MS {
            return result;
        }
    }
}

/// Has the function handle an event, as Lambda does.
///
/// # Errors
/// The function's.
pub async fn invoke(app: &App, event: Value) -> Result<Value, String> {
    (seal::TASK.run)(app, event, Deadline::after(LIMIT)).await
}
