//! The keys that an auditor trusts, and checkpoints that they signed.

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use signed_note::{Note, NoteError, StandardVerifier, VerifierList, key_id};
use thiserror::Error;
use tlog_tiles::Hash;

use crate::Class;

/// The byte before an Ed25519 key (C2SP signed-note).
const ED25519: u8 = 1;

/// What is no key. The text is for the auditor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct KeyError(String);

/// A checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Checkpoint {
    /// Leaves.
    pub size: u64,
    /// Root hash.
    pub root: Hash,
    /// When the key that signed it was replaced.
    pub key_until: Option<Timestamp>,
}

/// Why bytes are not a checkpoint to go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub(crate) class: Class,
    pub(crate) why: String,
}

/// The public keys of the sealer, by which every log's checkpoints are signed under the log's own name.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    origin: Option<String>,
    keys: Vec<Key>,
}

#[derive(Debug, Clone)]
struct Key {
    public: Vec<u8>,
    until: Option<Timestamp>,
}

/// What `GET /audit-logs/keys` answers.
#[derive(Deserialize)]
struct KeysAnswer {
    keys: Vec<KeyAnswer>,
}

#[derive(Deserialize)]
struct KeyAnswer {
    vkey: String,
    valid_to: Option<Timestamp>,
}

impl Keys {
    /// No key yet; `origin` is what the names of all logs begin with, if it is known.
    #[must_use]
    pub fn new(origin: Option<String>) -> Self {
        Self { origin, keys: Vec::new() }
    }

    /// Adds keys as they are written down: a vkey, or the answer of `GET /audit-logs/keys`. A vkey is one log's; the key in
    /// it signs all of them.
    ///
    /// # Errors
    /// [`KeyError`] if it is neither, or of another origin than the keys before it.
    pub fn add(&mut self, text: &str) -> Result<(), KeyError> {
        let text = text.trim();
        if !text.starts_with('{') {
            return self.add_vkey(text, None);
        }
        let answer: KeysAnswer =
            serde_json::from_str(text).map_err(|error| KeyError(format!("not a list of keys: {error}")))?;
        answer.keys.iter().try_for_each(|key| self.add_vkey(&key.vkey, key.valid_to))
    }

    /// Adds an Ed25519 public key: 32 bytes, base64. The origin must be known.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn add_public(&mut self, public: &str, until: Option<Timestamp>) -> Result<(), KeyError> {
        let origin = self.origin.clone();
        let origin = origin.ok_or_else(|| KeyError("a public key alone needs the origin".to_owned()))?;
        let bytes = BASE64.decode(public.trim().as_bytes());
        let bytes = bytes.map_err(|_| KeyError("a public key is 32 bytes as base64".to_owned()))?;
        let typed = [&[ED25519], bytes.as_slice()].concat();
        self.add_vkey(&vkey(&format!("{origin}/_"), &typed), until)
    }

    fn add_vkey(&mut self, text: &str, until: Option<Timestamp>) -> Result<(), KeyError> {
        let refused = |why: &str| KeyError(format!("{why}: {text}"));
        StandardVerifier::new(text).map_err(|error| refused(&error.to_string()))?;
        // A vkey is name+id+key; the key's base64 may have a plus of its own.
        let parts: Vec<&str> = text.splitn(3, '+').collect();
        let &[name, _, public] = parts.as_slice() else { return Err(refused("not a vkey")) };
        let (origin, _) = name.rsplit_once('/').ok_or_else(|| refused("the key's name has no log in it"))?;
        if *self.origin.get_or_insert_with(|| origin.to_owned()) != origin {
            return Err(refused("the key is of another origin"));
        }
        let public = BASE64.decode(public.as_bytes()).map_err(|_| refused("not base64"))?;
        match self.keys.iter_mut().find(|key| key.public == public) {
            Some(known) => known.until = known.until.or(until),
            None => self.keys.push(Key { public, until }),
        }
        Ok(())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The origin of an organisation's log.
    #[must_use]
    pub fn origin(&self, org: &str) -> String {
        audit_format::archive::origin(self.origin.as_deref().unwrap_or_default(), org)
    }

    /// The organisation whose log has this origin.
    #[must_use]
    pub fn org_of<'a>(&self, origin: &'a str) -> Option<&'a str> {
        origin.strip_prefix(self.origin.as_deref()?)?.strip_prefix('/').filter(|org| !org.is_empty())
    }

    /// Opens the signed checkpoint of an organisation's log.
    ///
    /// # Errors
    /// `Refused` with the class of what is wrong.
    pub fn open(&self, org: &str, bytes: &[u8]) -> Result<Checkpoint, Refused> {
        let refused = |class, why: &str| Refused { class, why: why.to_owned() };
        let origin = self.origin(org);
        let note = Note::from_bytes(bytes);
        let note = note.map_err(|_| refused(Class::PartMalformed, "the checkpoint is no signed note"))?;
        let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text());
        let checkpoint =
            checkpoint.map_err(|_| refused(Class::PartMalformed, "the note is no checkpoint"))?;
        let named = checkpoint.origin();
        if named != origin && self.signer(named, &note).is_ok() {
            return Err(refused(Class::CheckpointMoved, &format!("the checkpoint is that of {named}")));
        }
        let until = self.signer(&origin, &note).map_err(|error| match error {
            NoteError::UnverifiedNote => {
                refused(Class::KeyUnknown, "none of the given keys signed the checkpoint")
            }
            _ => refused(Class::SignatureInvalid, "the checkpoint is not what the key in it signed"),
        })?;
        if named != origin {
            return Err(refused(Class::CheckpointMoved, &format!("the checkpoint is that of {named}")));
        }
        Ok(Checkpoint { size: checkpoint.size(), root: *checkpoint.hash(), key_until: until })
    }

    /// Until when the key was valid that signed a note under a name. With several signatures, the longest.
    fn signer(&self, name: &str, note: &Note) -> Result<Option<Timestamp>, NoteError> {
        let verifiers = self.keys.iter().filter_map(|key| {
            let verifier = StandardVerifier::new(&vkey(name, &key.public)).ok()?;
            Some((key, Box::new(verifier) as Box<dyn signed_note::Verifier>))
        });
        let verifiers: Vec<_> = verifiers.collect();
        let until: Vec<_> = verifiers.iter().map(|(key, verifier)| (verifier.key_id(), key.until)).collect();
        let known = VerifierList::new(verifiers.into_iter().map(|(_, verifier)| verifier).collect());
        let (verified, _) = note.verify(&known)?;
        let untils = until.iter().filter(|(id, _)| verified.iter().any(|signature| signature.id() == *id));
        let untils: Option<Vec<_>> = untils.map(|(_, until)| *until).collect();
        Ok(untils.and_then(|untils| untils.into_iter().max()))
    }
}

fn vkey(name: &str, public: &[u8]) -> String {
    format!("{name}+{:08x}+{}", key_id(name, public), BASE64.encode(public))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_whose_base64_has_a_plus_is_the_same_key_for_every_log() {
        let public: Vec<u8> = [&[ED25519][..], &[0x3e; 32]].concat();
        // Not every 32 bytes are a point: take the next that are.
        let keys = (0..=u8::MAX).map(|last| {
            let mut public = public.clone();
            public[32] = last;
            vkey("audit.example.com/org-1", &public)
        });
        let key =
            keys.filter(|key| StandardVerifier::new(key).is_ok()).find(|key| key.matches('+').count() > 2);
        let mut keys = Keys::new(None);
        keys.add(&key.unwrap()).unwrap();
        assert_eq!(keys.keys[0].public.len(), 33);
        assert_eq!(keys.origin("org-2"), "audit.example.com/org-2");
        assert_eq!(keys.org_of("audit.example.com/org-2"), Some("org-2"));
    }
}
