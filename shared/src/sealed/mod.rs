//! The sealed log: a Merkle tree for each organisation over the leaves that have a position (C2SP `tlog-tiles`), and the
//! signed checkpoints that commit to it.
//!
//! It knows the archive and the key, and neither tables nor how a leaf got its position.

mod checkpoint;
mod proofs;
mod publish;
mod signer;
mod tree;

pub use checkpoint::Checkpoint;
pub use proofs::ProofError;
pub use publish::{Publication, PublishError};
pub use signer::{PublicKey, SeedError, Signer};

/// Requests to the archive under way at a time, for one log.
const SIDE_BY_SIDE: usize = 8;
