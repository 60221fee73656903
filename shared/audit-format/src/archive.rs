//! Where a log's parts stand in the archive, and how tiles and bundles are made up: C2SP `tlog-tiles`
//! (<https://c2sp.org/tlog-tiles>). Everything of one organisation's log stands below `{org}/`.

use thiserror::Error;

/// Leaves of a full bundle, hashes of a full tile.
pub const TILE_WIDTH: u64 = 256;
/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;
/// Most bytes of a leaf: its length stands in 16 bits.
pub const MAX_LEAF_BYTES: usize = u16::MAX as usize;
/// The log of logs: one leaf for each organisation's log and day. No organisation can have this id.
pub const LOGS: &str = "_logs";

/// The origin of a log's checkpoints, which is also the name of the key that signs them.
#[must_use]
pub fn origin(audit_origin: &str, org: &str) -> String {
    format!("{audit_origin}/{org}")
}

/// The signed checkpoint of a log.
#[must_use]
pub fn checkpoint_path(org: &str) -> String {
    format!("{org}/checkpoint")
}

/// A checkpoint that is kept: one an hour.
#[must_use]
pub fn kept_checkpoint_path(org: &str, size: u64) -> String {
    format!("{org}/checkpoints/{size}")
}

/// A tile of hashes, `width` of them: 256 in a full one.
///
/// ```
/// use audit_format::archive::tile_path;
/// assert_eq!(tile_path("org-1", 0, 1234067, 256), "org-1/tile/0/x001/x234/067");
/// assert_eq!(tile_path("org-1", 1, 0, 7), "org-1/tile/1/000.p/7");
/// ```
#[must_use]
pub fn tile_path(org: &str, level: u8, index: u64, width: u64) -> String {
    format!("{org}/tile/{level}/{}", place(index, width))
}

/// A bundle of leaves, `width` of them: 256 in a full one.
///
/// ```
/// use audit_format::archive::bundle_path;
/// assert_eq!(bundle_path("org-1", 1234067, 256), "org-1/tile/entries/x001/x234/067");
/// assert_eq!(bundle_path("org-1", 5, 100), "org-1/tile/entries/005.p/100");
/// ```
#[must_use]
pub fn bundle_path(org: &str, index: u64, width: u64) -> String {
    format!("{org}/tile/entries/{}", place(index, width))
}

/// Groups of three digits, all but the last with an x.
fn place(index: u64, width: u64) -> String {
    let mut place = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        place = format!("x{:03}/{place}", rest % 1000);
        rest /= 1000;
    }
    if width < TILE_WIDTH { format!("{place}.p/{width}") } else { place }
}

/// Bytes that are no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a bundle of leaves")]
pub struct BundleError;

/// A bundle: each leaf behind its length in two bytes, the greater first. Leaves are at most [`MAX_LEAF_BYTES`] long.
///
/// # Errors
/// [`BundleError`] if one is longer.
pub fn bundle<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    for leaf in leaves {
        bytes.extend(u16::try_from(leaf.len()).map_err(|_| BundleError)?.to_be_bytes());
        bytes.extend(leaf);
    }
    Ok(bytes)
}

/// The leaves of a bundle.
///
/// # Errors
/// [`BundleError`] if the bytes end within a leaf.
pub fn leaves(mut bundle: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut leaves = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk().ok_or(BundleError)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (leaf, rest) = rest.split_at_checked(length).ok_or(BundleError)?;
        leaves.push(leaf);
        bundle = rest;
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bundle_gives_its_leaves_back(leaves in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..20)) {
            let bytes = bundle(leaves.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(super::leaves(&bytes).unwrap(), leaves);
        }

        #[test]
        fn any_bytes_are_a_bundle_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(leaves) = leaves(&bytes) {
                prop_assert_eq!(bundle(leaves).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn a_leaf_that_is_too_long_is_refused() {
        assert_eq!(bundle([vec![0; MAX_LEAF_BYTES + 1].as_slice()]), Err(BundleError));
    }
}
