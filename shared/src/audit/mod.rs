//! What is said in the audit log, and the chain of its writer. The form of it is [`audit_format`]'s.
//!
//! Knows nothing of the table the entries end up in (see [`crate::tables`]) nor of how a request reaches us.

mod entry;
mod filter;
mod hours;
mod moment;
mod shown;
mod writer;

pub use audit_format::{
    Action, Body, Details, InDoubt, Index, IndexKeys, Leaf, LeafHash, LogRow, Notice, NoticeKind, kept_until,
    leaf_hash, month_of, partition,
};
pub use entry::{Actor, Event, Outcome, Related, RelatedError};
pub use filter::{Field, Filter, FilterError, MAX_FILTER_BYTES, MAX_VALUES};
pub use hours::Hours;
pub use moment::{duration, moment};
pub use shown::metadata;
pub use writer::{MAX_IDLE_WRITERS, Pen, Writers};
