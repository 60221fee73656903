//! Proves or refutes that the audit log is what was sealed.
//!
//! [`verify()`] reads archive and table from a [`Source`] and holds everything against the signed checkpoints, under the
//! auditor's own [`Keys`] and [`Pins`]. It shares with the service only [`audit_format`], and never writes to its stores.
//!
//! What it does with a log of any size: it reads leaves and rows once, in pages, and keeps 64 bytes of every entry.

mod chain;
mod export;
mod keys;
mod leaves;
mod log;
mod manifests;
mod objects;
mod pins;
mod pipeline;
mod report;
mod rows;
mod source;
mod tree;
mod verify;

pub use export::{ExportError, export};
pub use keys::{KeyError, Keys};
pub use pins::{Pins, PinsError};
pub use report::{Class, Finding, Report, Summary, Verdict};
pub use source::{Directory, Endpoint, Live, LiveOptions, Source, SourceError};
pub use verify::{Options, Progress, verify};
