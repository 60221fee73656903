//! The service as its users see it: over HTTP, on the embedded stores, which it reaches through proxies that count, and
//! that fail on demand.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]
#![expect(unreachable_pub, reason = "what modules share, in a binary that nobody imports")]

mod absence;
mod acceptance;
mod admin;
mod alarms;
mod architecture;
mod atomicity;
mod audit_verify;
mod binary;
mod bodies;
mod claims;
mod contract;
mod costs;
mod crash;
mod cursors;
mod damage;
mod emulators;
mod export;
mod export_cuts;
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
mod metrics;
mod names;
mod openapi;
mod operation;
mod outcomes;
mod page_costs;
mod paths;
mod proxy;
mod races;
mod raw;
mod refusals;
mod roles;
mod runtime;
mod schedules;
mod seal;
mod seal_faults;
mod seal_notices;
mod seal_times;
mod sealed;
mod sealed_kms;
mod sealed_log;
mod sealed_reading;
mod search;
mod secrets;
mod stack;
mod summary;
mod template;
mod undoing;
mod uploads;
mod wire;
mod world;
