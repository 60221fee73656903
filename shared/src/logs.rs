//! A function's log: one JSON line an event on Lambda, readable lines elsewhere.

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::LogConfig;

/// Begins to log. Ours at the level that is asked for, everybody else's only warnings: at finer levels the SDKs and the
/// runtime quote whole requests, with the tokens and signatures in them.
pub fn init(config: &LogConfig) {
    let filter = Targets::new().with_default(Level::WARN).with_target(env!("CARGO_CRATE_NAME"), config.level);
    let lines = fmt::layer().with_ansi(false).with_target(false);
    let lines = if config.json { lines.json().boxed() } else { lines.boxed() };
    // A second call, in a process that logs already, changes nothing.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}
