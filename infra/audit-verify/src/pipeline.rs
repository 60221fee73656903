//! Two threads: one reads and takes apart, the other holds against what is known.

use std::sync::mpsc::sync_channel;
use std::thread;

use crate::source::SourceError;

/// What may be read ahead: pages or bundles.
const AHEAD: usize = 8;

/// Runs `produce` on a thread of its own and shows `consume` what it sends, in order. `produce` stops when its sending
/// answers false.
///
/// # Errors
/// Those of `produce`.
pub(crate) fn pipeline<T: Send>(
    produce: impl FnOnce(&mut dyn FnMut(T) -> bool) -> Result<(), SourceError> + Send,
    mut consume: impl FnMut(T),
) -> Result<(), SourceError> {
    let (sender, receiver) = sync_channel(AHEAD);
    thread::scope(|scope| {
        let producer = scope.spawn(move || produce(&mut |item| sender.send(item).is_ok()));
        receiver.iter().for_each(&mut consume);
        producer.join().unwrap_or_else(|_| Err(SourceError::new("the source", "its thread ended")))
    })
}
