//! Bundles: archive and table copied into a folder, to be verified elsewhere.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use audit_format::Leaf;
use audit_format::archive::{self, LOGS, TILE_WIDTH, checkpoint_path};
use data_encoding::BASE64;
use jiff::Timestamp;
use thiserror::Error;

use crate::manifests::OwnLeaf;
use crate::source::{MADE_AT, Source, SourceError, write_row};
use crate::verify::Progress;

/// Parts that are copied at once.
const PARTS_AT_ONCE: usize = 64;

/// Why no bundle was made.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The stores do not answer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The folder cannot be written.
    #[error("the bundle cannot be written: {0}")]
    File(#[from] io::Error),
    /// A checkpoint has no meaning, so that nobody knows what belongs to it.
    #[error("the checkpoint of {0} is no checkpoint")]
    Checkpoint(String),
}

/// Copies the logs of these organisations, or of all if there are none, into a new folder. It verifies nothing: what is
/// wrong with the log is wrong with its bundle.
///
/// `now` is written into it: it is verified for that moment. A bundle of chosen organisations has of the log of logs its hashes, the leaves about these organisations, and nothing
/// that names another.
///
/// # Errors
/// [`ExportError`]
pub fn export(
    source: &Source,
    orgs: &BTreeSet<String>,
    out: &Path,
    now: Timestamp,
    progress: &dyn Progress,
) -> Result<(), ExportError> {
    fs::create_dir(out)?;
    fs::write(out.join(MADE_AT), now.to_string())?;
    fs::create_dir(out.join("archive"))?;
    fs::create_dir(out.join("table"))?;
    let partitions = match orgs.is_empty() {
        true => Some(source.partitions()?),
        false => None,
    };
    if orgs.is_empty() {
        log(source, LOGS, true, out, progress)?;
    } else {
        log(source, LOGS, false, out, progress)?;
        own_manifests(source, orgs, out)?;
    }
    let mut all = orgs.clone();
    if let Some(partitions) = &partitions {
        all.extend(partitions.keys().cloned());
        all.extend(source.logs()?);
        all.remove(LOGS);
    }
    for org in &all {
        log(source, org, true, out, progress)?;
        let partitions = partitions.as_ref().map(|all| all.get(org).cloned().unwrap_or_default());
        progress.begin(&format!("{org}: rows"), None);
        table(source, org, partitions.as_ref(), out, progress)?;
    }
    Ok(())
}

/// Copies what a log's checkpoint stands for.
fn log(
    source: &Source,
    org: &str,
    with_leaves: bool,
    out: &Path,
    progress: &dyn Progress,
) -> Result<(), ExportError> {
    let kept = source.kept(org)?;
    let mut paths: Vec<_> = kept.iter().map(|name| format!("{org}/checkpoints/{name}")).collect();
    copy(source, &paths, out)?;
    let path = checkpoint_path(org);
    let Some(note) = source.part(&path)? else { return Ok(()) };
    put(out, &path, &note)?;
    let size = size(&note).ok_or_else(|| ExportError::Checkpoint(org.to_owned()))?;
    paths.clear();
    progress.begin(&format!("{org}: archive"), Some(size.div_ceil(TILE_WIDTH)));
    let mut hashes = size;
    for level in 0.. {
        for index in 0..hashes.div_ceil(TILE_WIDTH) {
            let width = (hashes - index * TILE_WIDTH).min(TILE_WIDTH);
            paths.push(archive::tile_path(org, level, index, width));
            if level == 0 && with_leaves {
                paths.push(archive::bundle_path(org, index, width));
            }
            if paths.len() >= PARTS_AT_ONCE {
                copy(source, &paths, out)?;
                paths.clear();
            }
            progress.advance(u64::from(level == 0));
        }
        hashes /= TILE_WIDTH;
        if hashes == 0 {
            break;
        }
    }
    copy(source, &paths, out)
}

fn copy(source: &Source, paths: &[String], out: &Path) -> Result<(), ExportError> {
    for (path, part) in paths.iter().zip(source.parts(paths)?) {
        // A partial part may have been replaced by the full one meanwhile.
        let full = path.rsplit_once(".p/").map(|(full, _)| full);
        match (part, full) {
            (Some(part), _) => put(out, path, &part)?,
            (None, Some(full)) => {
                source.part(full)?.map_or(Ok(()), |part| put(out, full, &part))?;
            }
            (None, None) => {}
        }
    }
    Ok(())
}

fn put(out: &Path, path: &str, bytes: &[u8]) -> Result<(), ExportError> {
    let path = out.join("archive").join(path);
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    Ok(fs::write(path, bytes)?)
}

fn table(
    source: &Source,
    org: &str,
    partitions: Option<&BTreeSet<String>>,
    out: &Path,
    progress: &dyn Progress,
) -> Result<(), ExportError> {
    let mut file = BufWriter::new(File::create(out.join(format!("table/{org}.ndjson")))?);
    let mut written = Ok(());
    source.rows(org, partitions, &mut |page| {
        progress.advance(page.len() as u64);
        for row in page.into_iter().flatten() {
            if written.is_ok() {
                written = writeln!(file, "{}", write_row(&row));
            }
        }
    })?;
    written?;
    Ok(file.flush()?)
}

/// The leaves of the log of logs that are about these organisations, or about the log of logs itself.
fn own_manifests(source: &Source, orgs: &BTreeSet<String>, out: &Path) -> Result<(), ExportError> {
    let size = source.part(&checkpoint_path(LOGS))?.and_then(|note| size(&note));
    let mut file = BufWriter::new(File::create(out.join("manifests.ndjson"))?);
    let size = size.unwrap_or_default();
    for index in 0..size.div_ceil(TILE_WIDTH) {
        let width = (size - index * TILE_WIDTH).min(TILE_WIDTH);
        let path = archive::bundle_path(LOGS, index, width);
        let mut bundle = source.part(&path)?;
        if bundle.is_none() {
            bundle = source.part(&archive::bundle_path(LOGS, index, TILE_WIDTH))?;
        }
        let bundle = bundle.ok_or_else(|| SourceError::new(path, "it is not there"))?;
        let leaves = archive::leaves(&bundle).map_err(|error| SourceError::new("a bundle", error))?;
        for (seq, leaf) in (index * TILE_WIDTH..size).zip(leaves) {
            let Ok(Leaf::Notice(notice)) = Leaf::of(leaf) else { continue };
            if notice.org == LOGS || orgs.contains(&notice.org) {
                let own = OwnLeaf { seq, leaf: BASE64.encode(leaf) };
                serde_json::to_writer(&mut file, &own).map_err(io::Error::from)?;
                writeln!(file)?;
            }
        }
    }
    Ok(file.flush()?)
}

/// The size that a checkpoint names; whether it is signed is the verifier's question.
fn size(note: &[u8]) -> Option<u64> {
    std::str::from_utf8(note).ok()?.lines().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use audit_format::Value;

    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let other = r#"{"L":[{"BOOL":true}]}"#;
        let row = audit_format::Attributes::from([
            ("pk".to_owned(), Value::S("a \"b\" \u{1} é".into())),
            ("n".to_owned(), Value::N("17".into())),
            ("b".to_owned(), Value::B(vec![0, 255, 7])),
            ("x".to_owned(), Value::Other(other.into())),
        ]);
        assert_eq!(crate::source::parse_row(write_row(&row).as_bytes()), Some(row));
    }
}
