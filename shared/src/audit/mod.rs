//! The audit log's form: what an entry says, its canonical bytes, its hash, and the chain of its writer.
//!
//! Knows nothing of the table the entries end up in (see [`crate::tables`]) nor of how a request reaches us.

mod body;
mod entry;
mod index;
mod writer;

pub use body::{Body, InDoubt, LeafHash, leaf_hash};
pub use entry::{Action, Actor, Details, Event, Outcome, Related, RelatedError};
pub use index::{Index, IndexKeys, kept_until, month_of, partition};
pub use writer::{MAX_IDLE_WRITERS, Pen, Sealed, Writers};
