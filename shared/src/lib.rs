#![doc = include_str!("../docs/architecture.md")]

pub mod app;
pub mod attempt;
pub mod audit;
pub mod auth;
pub mod aws;
pub mod catalog;
pub mod clock;
pub mod config;
pub mod content;
pub mod export;
pub mod file_name;
pub mod files;
pub mod http;
pub mod idempotency;
pub mod ids;
pub mod kms;
pub mod logs;
pub mod maintenance;
pub mod opaque;
mod partial;
pub mod path;
pub mod problem;
pub mod record;
mod retry;
mod run;
pub mod seal;
pub mod sealed;
pub mod secret;
mod secrets;
pub mod session;
pub mod spaces;
pub mod tables;
pub mod unique;
pub mod zip_rules;

pub use run::{Task, run, run_scheduled};
