//! `doctor` and `provision` against the embedded stores: set-ups that are good, and set-ups that are broken.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]
#![expect(unreachable_pub, reason = "what modules share, in a binary that nobody imports")]

mod broken;
mod executable;
mod good;
mod provision;
mod proxy;
mod setup;
