//! What the first bytes of a file say that it is.
//!
//! `infer` knows most signatures. Where a wrong answer would refuse honest files or let impostors pass, the decision
//! is made here, and each function says why.

use super::evidence::Evidence;
use super::ole;
use super::text::OPENING_BYTES;
use crate::partial::{Partial, Unread};

/// What a ZIP file is called. Only its directory can say more.
pub(super) const ZIP: &str = "application/zip";

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How much of a file infer gets: its signatures end before byte 300, and it searches for some.
const INFER_BYTES: usize = OPENING_BYTES;

/// Where a PDF may begin: viewers look for its header in the first 1,024 bytes (PDF Reference 1.7, appendix H, 3.4.1).
const PDF_HEADER_WITHIN_BYTES: usize = 1_024;

/// The media type that a binary signature stands for.
pub(super) fn of(evidence: &Evidence<'_>) -> Result<Option<&'static str>, Unread> {
    let bytes = evidence.head()?;
    if bytes.starts_with(ole::SIGNATURE) {
        return ole::media_type(&evidence.file);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Ok(Some(open_document(bytes).unwrap_or(ZIP)));
    }
    if is_pdf(bytes) {
        return Ok(Some("application/pdf"));
    }
    let found = if is_tiff(bytes) {
        "image/tiff"
    } else if is_heif(&evidence.file)? {
        "image/heif"
    } else {
        let Some(found) = infer::get(head(bytes, INFER_BYTES)) else { return Ok(None) };
        found.mime_type()
    };
    let plausible = match found {
        // infer finds these words anywhere in the first kilobyte, also in a mail that only mentions them.
        "application/pdf" => false,
        "image/gif" => is_gif(bytes),
        "image/bmp" => is_bmp(bytes),
        // Every picture format has zeros in its headers. What has none is text that poses as a picture.
        _ => true,
    };
    Ok((plausible && (!found.starts_with("image/") || evidence.has_zero()?)).then_some(found))
}

/// The media type that a text betrays by how it begins: mark-up, a script, or a binary type's readable signature.
///
/// Short signatures are left out on purpose, since they also begin honest text: a table may start with `BMI,weight`
/// (a bitmap's `BM`), `MZ`, `BZh`, `ID3` or `AC1015` (a drawing's). Their formats all need bytes that no text has.
pub(super) fn of_text(opening: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 10] = [
        (b"%PDF-", "application/pdf"),
        (b"{\\rtf", "application/rtf"),
        (b"%!PS", "application/postscript"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"#!/", "text/x-shellscript"),
        (b"<svg", "image/svg+xml"),
        (b"<?xml", "text/xml"),
        (b"<?", "application/x-php"),
        (b"<!doctype", "text/html"),
    ];
    let begins =
        |start: &[u8]| opening.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    let found = SIGNATURES.iter().find(|(start, _)| begins(start)).map(|(_, media_type)| *media_type);
    let is_binary = || opening.first().filter(|byte| !byte.is_ascii()).and_then(|_| infer::get(opening));
    found
        .or_else(|| infer::is_mime(opening, "text/html").then_some("text/html"))
        .or_else(|| is_binary().map(|found| found.mime_type()))
}

/// What the content looks like, for an error. Of a file that is not in memory, its beginning decides what is text.
pub(super) fn describe(evidence: &Evidence<'_>) -> Result<&'static str, Unread> {
    let found = match of(evidence) {
        // All that is open is whether a picture's signature is a text's, and that is not worth reading the file.
        Err(Unread::Everything) => None,
        found => found?,
    };
    let bytes = evidence.file.prefix();
    let (text, is_text) = evidence.text_so_far();
    Ok(match found.or_else(|| of_text(text.opening())) {
        Some(found) => found,
        None if bytes.starts_with(ole::SIGNATURE) => "an unknown or encrypted compound file",
        None if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") => {
            "UTF-16 text (save it as UTF-8)"
        }
        None if is_text => "text",
        None => "an unknown type",
    })
}

fn head(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(..length).unwrap_or(bytes)
}

/// `%PDF-` and a digit; in front of it only what scanners, printer drivers and web servers leave there: white space,
/// zeros, a byte order mark, or a job header in the printer's own language (PJL).
fn is_pdf(bytes: &[u8]) -> bool {
    let head = head(bytes, PDF_HEADER_WITHIN_BYTES);
    let Some(start) = head.windows(5).position(|window| window == b"%PDF-") else { return false };
    let (before, header) = head.split_at(start);
    let before = before.strip_prefix(BYTE_ORDER_MARK).unwrap_or(before);
    let is_blank = before.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace());
    header.get(5).is_some_and(u8::is_ascii_digit) && (is_blank || before.starts_with(b"\x1B%-12345X@PJL"))
}

/// The first entry of an OpenDocument file is its media type, uncompressed (ODF 1.3, part 2, 3.3). infer compares
/// only its beginning, which templates and master documents share.
fn open_document(bytes: &[u8]) -> Option<&'static str> {
    const TYPES: [&str; 3] = [
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.presentation",
    ];
    const NAME_AT: usize = 30;
    let stored_bytes = u32::from_le_bytes(*bytes.get(18..)?.first_chunk()?);
    let rest = bytes.get(NAME_AT..)?.strip_prefix(b"mimetype")?;
    let has_extra_field = bytes.get(28..NAME_AT)? != [0, 0];
    let text = rest.get(..usize::try_from(stored_bytes).ok()?).filter(|_| !has_extra_field)?;
    TYPES.into_iter().find(|media_type| media_type.as_bytes() == text)
}

/// Both byte orders. infer takes data at byte 8 that happen to look like half of a Canon camera's mark for one, and
/// so misses one in a hundred of the files that begin with their data, as faxes do.
fn is_tiff(bytes: &[u8]) -> bool {
    let is_canon = bytes.get(8..10) == Some(b"CR");
    bytes.len() > 8 && (bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*")) && !is_canon
}

/// Pictures of phones: the brands for HEVC pictures and sequences (ISO/IEC 23008-12, annex B.4), as major brand or
/// below a general one. infer does not know those of 10-bit pictures and sequences below `mif1` and `msf1`.
fn is_heif(file: &Partial<'_>) -> Result<bool, Unread> {
    const HEVC: [&[u8; 4]; 6] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"];
    const GENERAL: [&[u8; 4]; 3] = [b"mif1", b"mif2", b"msf1"];
    let start = file.read(0..8)?;
    let Some(length) = start.first_chunk().map(|length| u64::from(u32::from_be_bytes(*length))) else {
        return Ok(false);
    };
    if start.get(4..) != Some(b"ftyp") || length > file.size() {
        return Ok(false);
    }
    let brands = file.read(8..length)?;
    let is_one_of = |brand: &[u8], all: &[&[u8; 4]]| all.iter().any(|known| known.as_slice() == brand);
    let major = brands.get(..4).unwrap_or_default();
    let mut compatible = brands.get(8..).unwrap_or_default().chunks_exact(4);
    Ok(is_one_of(major, &HEVC)
        || (is_one_of(major, &GENERAL) && compatible.any(|brand| is_one_of(brand, &HEVC))))
}

/// infer looks at three letters only.
fn is_gif(bytes: &[u8]) -> bool {
    bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a")
}

/// infer looks at two letters only. Behind the file header stands the size of one of the known bitmap headers.
fn is_bmp(bytes: &[u8]) -> bool {
    const HEADER_BYTES: [u32; 7] = [12, 40, 52, 56, 64, 108, 124];
    let header = bytes.get(14..).and_then(|rest| rest.first_chunk()).map(|size| u32::from_le_bytes(*size));
    header.is_some_and(|size| HEADER_BYTES.contains(&size))
}
