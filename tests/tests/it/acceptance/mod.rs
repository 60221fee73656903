//! What the README tells frontend developers and auditors, done over HTTP and looked at over HTTP alone.
//!
//! It runs against an embedded stack of its own, or against the service that the file `ACCEPTANCE` describes (see [`service`]).
//! Each test acts for an organisation that nobody had before, so that it can be run again where data are kept.

mod files;
mod keys;
mod log;
mod parts;
mod refusals;
mod sealed;
mod service;
