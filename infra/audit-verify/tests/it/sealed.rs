//! A Merkle log as the sealer publishes it, made with `tlog_tiles`' own storage of hashes and not with the verifier's tree.

use std::fs;
use std::path::Path;

use audit_format::archive::{self, TILE_WIDTH};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use signed_note::{Note, Signature, key_id};
use tlog_tiles::{Checkpoint, Error, Hash, HashReader, Tile, stored_hashes, tree_hash};

pub const ORIGIN: &str = "audit.example.com";

/// A signing key.
#[derive(Clone, Copy)]
pub struct Key(pub [u8; 32]);

impl Key {
    fn pair(self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.0).unwrap()
    }

    fn public(self) -> Vec<u8> {
        [&[1], self.pair().public_key().as_ref()].concat()
    }

    /// The vkey of an organisation's log.
    pub fn vkey(self, org: &str) -> String {
        let name = archive::origin(ORIGIN, org);
        let public = self.public();
        let id = key_id(&name, &public);
        format!("{name}+{id:08x}+{}", data_encoding::BASE64.encode(&public))
    }

    fn sign(self, name: &str, text: &[u8]) -> String {
        let signature = self.pair().sign(text);
        let id = key_id(name, &self.public());
        let signature = Signature::new(name.to_owned(), id, signature.as_ref().to_vec()).unwrap();
        String::from_utf8(Note::new(text, &[signature]).unwrap().to_bytes()).unwrap()
    }
}

/// The leaves of a log, and the hashes over them.
#[derive(Clone, Default)]
pub struct Sealed {
    pub org: String,
    pub leaves: Vec<Vec<u8>>,
    hashes: Vec<Hash>,
    /// Sizes and notes of the kept checkpoints.
    pub kept: Vec<(u64, String)>,
}

struct Stored<'a>(&'a [Hash]);

impl HashReader for Stored<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

impl Sealed {
    pub fn new(org: &str) -> Self {
        Self { org: org.to_owned(), ..Self::default() }
    }

    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub fn push(&mut self, leaf: Vec<u8>) {
        let hashes = stored_hashes(self.size(), &leaf, &Stored(&self.hashes)).unwrap();
        self.hashes.extend(hashes);
        self.leaves.push(leaf);
    }

    /// The same log with other leaves.
    pub fn rebuilt(&self, leaves: Vec<Vec<u8>>) -> Self {
        let mut sealed = Self { kept: self.kept.clone(), ..Self::new(&self.org) };
        leaves.into_iter().for_each(|leaf| sealed.push(leaf));
        sealed
    }

    pub fn root(&self, size: u64) -> Hash {
        tree_hash(size, &Stored(&self.hashes)).unwrap()
    }

    /// The signed checkpoint of a size.
    pub fn note(&self, size: u64, key: Key) -> String {
        let origin = archive::origin(ORIGIN, &self.org);
        let text = Checkpoint::new(&origin, size, self.root(size), "").unwrap().to_bytes();
        key.sign(&origin, &text)
    }

    pub fn keep(&mut self, key: Key) {
        let size = self.size();
        if size > 0 && self.kept.last().is_none_or(|(kept, _)| *kept < size) {
            self.kept.push((size, self.note(size, key)));
        }
    }

    /// Writes bundles, tiles, kept checkpoints.
    pub fn publish(&self, archive: &Path) {
        for (index, leaves) in (0..).zip(self.leaves.chunks(256)) {
            let bundle = archive::bundle(leaves.iter().map(Vec::as_slice)).unwrap();
            put(archive, &archive::bundle_path(&self.org, index, leaves.len() as u64), &bundle);
        }
        let mut hashes = self.size();
        for level in 0.. {
            for index in 0..hashes.div_ceil(TILE_WIDTH) {
                let width = (hashes - index * TILE_WIDTH).min(TILE_WIDTH);
                let tile = Tile::new(8, level, index, u32::try_from(width).unwrap(), false);
                let data = tile.read_data(&Stored(&self.hashes)).unwrap();
                put(archive, &archive::tile_path(&self.org, level, index, width), &data);
            }
            hashes /= TILE_WIDTH;
            if hashes == 0 {
                break;
            }
        }
        for (size, note) in &self.kept {
            put(archive, &archive::kept_checkpoint_path(&self.org, *size), note.as_bytes());
        }
    }

    /// Publishes, and signs.
    pub fn sign(&self, archive: &Path, key: Key) {
        self.publish(archive);
        put(archive, &archive::checkpoint_path(&self.org), self.note(self.size(), key).as_bytes());
    }
}

pub fn put(archive: &Path, path: &str, bytes: &[u8]) {
    let path = archive.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
