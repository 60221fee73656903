//! The service as its users see it: over HTTP, on the embedded stores, which it reaches through proxies that count, and
//! that fail on demand.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]
#![expect(unreachable_pub, reason = "what modules share, in a binary that nobody imports")]

mod absence;
mod architecture;
mod atomicity;
mod binary;
mod bodies;
mod claims;
mod costs;
mod crash;
mod damage;
mod files;
mod forms;
mod history;
mod idempotency;
mod lane;
mod lifecycle;
mod log;
mod log_lines;
mod log_rows;
mod log_table;
mod maintenance;
mod memory;
mod names;
mod operation;
mod outcomes;
mod paths;
mod proxy;
mod races;
mod raw;
mod refusals;
mod roles;
mod runtime;
mod schedules;
mod stack;
mod undoing;
mod uploads;
mod wire;
mod world;
