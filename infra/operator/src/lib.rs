//! The operator's command: sets up the stores that the service runs on ([`provision`]), and says what is wrong with them
//! ([`doctor`]).
//!
//! Both read the variables that the functions read, and use the SDK's clients as the functions do; so what works here works
//! there. This is the only program that changes how buckets and tables are made; it never removes anything.

pub mod doctor;
pub mod provision;
pub mod report;
mod stores;
mod tables;
mod web;

pub use stores::Stores;
pub use web::origin;
