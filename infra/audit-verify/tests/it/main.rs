//! The verifier against worlds that are made here: sealed as the service seals them, then left alone or tampered with.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]
#![expect(unreachable_pub, reason = "what modules share, in a binary that nobody imports")]

mod histories;
mod matrix;
mod mutations;
mod sealed;
mod world;
