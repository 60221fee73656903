//! Checkpoints: what they say, signed notes (C2SP `tlog-checkpoint`, `signed-note`).

use signed_note::{Note, Verifier, VerifierList};
use tlog_tiles::{Checkpoint as Text, Hash};

use super::PublicKey;

/// A log's signed checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Leaves under it.
    pub size: u64,
    /// The hash of the tree over them.
    pub root: [u8; 32],
    /// The signed note.
    pub note: String,
}

impl Checkpoint {
    /// Reads a note. None: it is no checkpoint of this origin, or none of these keys signed it.
    pub(super) fn verified(origin: &str, note: Vec<u8>, keys: &[PublicKey]) -> Option<Self> {
        let verifiers = keys.iter().filter_map(|key| key.verifier(origin));
        let verifiers = verifiers.map(|verifier| Box::new(verifier) as Box<dyn Verifier>).collect();
        let read = Note::from_bytes(&note).ok()?;
        read.verify(&VerifierList::new(verifiers)).ok()?;
        let text = Text::from_bytes(read.text()).ok()?;
        (text.origin() == origin).then_some(())?;
        Some(Self { size: text.size(), root: text.hash().0, note: String::from_utf8(note).ok()? })
    }
}

/// The text that is signed.
pub(super) fn text(origin: &str, size: u64, root: Hash) -> Option<Vec<u8>> {
    Text::new(origin, size, root, "").ok().map(|text| text.to_bytes())
}
