//! The form of the audit log: what an entry's bytes are, what follows from them, what else can be a leaf of the Merkle log,
//! and where tiles and bundles stand in the archive.
//!
//! Service and verifier share this and nothing else, so whatever a verifier must be able to compute by itself is here. No
//! AWS, no clock, no input or output.
//!
//! - [`Body`], [`leaf_hash`]: an entry's canonical bytes and their hash.
//! - [`LogRow`], [`Index`], [`kept_until`]: the attributes of a log row; each follows from the entry's bytes alone.
//! - [`Leaf`], [`Notice`]: a leaf is an entry, byte for byte, or a notice by the sealer.
//! - [`archive`]: paths, tiles and entry bundles of C2SP `tlog-tiles`.

mod action;
pub mod archive;
mod body;
mod details;
mod index;
mod leaf;
mod row;
mod user;

pub use action::Action;
pub use body::{Body, InDoubt, LeafHash, leaf_hash};
pub use details::Details;
pub use index::{Index, IndexKeys, kept_until, month_of, partition};
pub use leaf::{Leaf, LeafError, Notice, NoticeKind};
pub use row::{Attributes, LogRow, RowError, Value, digest};
pub use user::UserId;
