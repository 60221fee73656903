//! The proof of a file's type: its extension, its declared media type and its content must agree.
//!
//! What comes out is the catalog's kind, whose canonical media type is stored and served, so that nobody downstream
//! has to believe a client. The proof is of the *type*: it does not say that a file is harmless (a PDF may carry
//! scripts, an old `.doc` macros), and it is no virus scan. This module knows nothing of sizes, paths or storage.
//!
//! What the text of the contract leaves open is decided so:
//! - A name without an extension, and a declaration that says nothing, count as none. Then the other one decides,
//!   and without both the content alone; but no content proves text, since nearly anything can be read as text.
//! - Where several kinds fit, the catalog's order decides.
//! - An Office document called `.zip` is a ZIP, which it is; a ZIP called `.docx` is not a document.
//!
//! A file that is uploaded to the bucket directly gets its kind before its bytes are there ([`expect`]), and is then
//! proved to be of that kind without being in memory ([`PartialProof`]). The judgement is the same code as for a file
//! in memory, so the two ways cannot disagree; what stands here does not read, it says what it wants to have read.

mod evidence;
mod ole;
mod partial_proof;
mod signature;
#[cfg(test)]
mod tests;
mod text;

pub use partial_proof::{PartialProof, Step};

use crate::catalog::{Kind, ObjectType, Proof};
use crate::file_name;
use crate::partial::{Partial, Stop};
use crate::zip_rules::{self, ZipError};
use evidence::Evidence;
use text::Text;

/// Declarations that say nothing: RFC 2046's "unknown", and what S3 clients send for it.
const UNKNOWN_TYPES: [&str; 2] = ["application/octet-stream", "binary/octet-stream"];

/// Why a file is refused. It is the client's fault, and the text is safe to show to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// There is no byte.
    #[error("The file is empty")]
    Empty,
    /// Nothing of this kind may be stored here.
    #[error("File type not allowed for {object_type}: {found} (allowed: {allowed})")]
    NotAllowed {
        /// `accounting/receipt`.
        object_type: String,
        /// The extension, or the media type, or that there is neither.
        found: String,
        /// The extensions that are allowed.
        allowed: String,
    },
    /// The declared media type is not one of those that the extension goes with.
    #[error("The file is declared as {declared}, but its name says .{extension}")]
    Declared {
        /// The declared media type.
        declared: String,
        /// The extension.
        extension: String,
    },
    /// The content is something else than extension or declaration say.
    #[error("The file's content is not what its name says: expected {expected}, but found {found}")]
    Content {
        /// The extension of the kind.
        expected: String,
        /// What the content looks like.
        found: &'static str,
    },
    /// An Office document whose format promises that it has no macros.
    #[error("The document contains macros, which a .{extension} file must not")]
    Macros {
        /// The extension of the kind.
        extension: String,
    },
    /// Neither name nor declaration say of what kind the file will be, and it must be known before its bytes are.
    #[error(
        "The file's type must be known before it is uploaded to {object_type}: give its name an extension, or \
         declare its exact media type (allowed: {allowed})"
    )]
    Undetermined {
        /// `accounting/receipt`.
        object_type: String,
        /// The extensions that are allowed.
        allowed: String,
    },
    /// It would take too many or too large reads to see of what kind the file is.
    #[error("The file is built in a way that takes too long to check")]
    Uncheckable,
    /// The file is a ZIP, but not one that is accepted.
    #[error(transparent)]
    Zip(#[from] ZipError),
}

impl ContentError {
    /// The stable code that an answer carries.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_file",
            Self::NotAllowed { .. } | Self::Macros { .. } | Self::Undetermined { .. } => "invalid_file_type",
            Self::Declared { .. } | Self::Content { .. } | Self::Uncheckable => "file_type_mismatch",
            Self::Zip(_) => "invalid_zip",
        }
    }
}

/// Says of what kind a file is, or why it may not be stored here.
///
/// ```
/// use shared::{catalog::Catalog, content::prove};
///
/// let receipt = Catalog::get().object_type("accounting", "receipt")?;
/// let kind = prove(receipt, Some("scan.PDF"), Some("application/octet-stream"), b"%PDF-1.7\n")?;
/// assert_eq!(kind.media_type, "application/pdf");
/// assert!(prove(receipt, Some("scan.pdf"), None, b"MZ\x90\0").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prove(
    object_type: &ObjectType,
    filename: Option<&str>,
    declared: Option<&str>,
    bytes: &[u8],
) -> Result<&'static Kind, ContentError> {
    if bytes.is_empty() {
        return Err(ContentError::Empty);
    }
    let (extension, declared) = said(filename, declared);
    let mut evidence = Evidence::whole(bytes);
    let (mut candidate, mut problem) = (None, None);
    for kind in candidates(object_type, extension.as_deref(), declared.as_deref())? {
        match prove_kind(kind, &mut evidence) {
            Ok(true) => return Ok(kind),
            Ok(false) => candidate = Some(kind),
            Err(Stop::Refused(error)) => problem = Some(error),
            // Of a file in memory nothing is unread.
            Err(Stop::Unread(_)) => problem = Some(ContentError::Uncheckable),
        }
    }
    let found = || signature::describe(&evidence).unwrap_or("an unknown type");
    match (candidate, problem) {
        _ if extension.is_none() && declared.is_none() => {
            Err(not_allowed(object_type, &format!("no extension, and {} as content", found())))
        }
        (_, Some(error)) => Err(error),
        (Some(kind), None) => Err(mismatch(kind, found())),
        (None, None) => Err(not_allowed(object_type, found())),
    }
}

/// Says of what kind a file must be, before its bytes are there; [`PartialProof`] then proves it.
///
/// - With an extension there is one kind, since no two kinds of an object type share one: a `.docx` that is declared
///   as `application/zip` is a document.
/// - Without one, the kind whose own media type is declared: `application/zip` is a ZIP and no document,
///   `text/plain` a text and no table. Else the kind that is left, if it is one.
/// - Else it is an error: which of several kinds a file is only its content can say, and its name and media type in
///   the bucket are fixed before. [`prove`] takes the first that fits.
///
/// It stays the same kind if what is declared is the kind's own media type.
///
/// ```
/// use shared::{catalog::Catalog, content::expect};
///
/// let receipt = Catalog::get().object_type("accounting", "receipt")?;
/// assert_eq!(expect(receipt, Some("scan.PDF"), None)?.media_type, "application/pdf");
/// assert!(expect(receipt, Some("scan"), None).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn expect(
    object_type: &ObjectType,
    filename: Option<&str>,
    declared: Option<&str>,
) -> Result<&'static Kind, ContentError> {
    let (extension, declared) = said(filename, declared);
    let kinds = candidates(object_type, extension.as_deref(), declared.as_deref())?;
    let own = kinds.iter().find(|kind| declared.as_ref() == Some(&kind.media_type));
    match (own, kinds.as_slice()) {
        (Some(kind), _) | (None, [kind]) => Ok(kind),
        _ => Err(ContentError::Undetermined {
            object_type: object_type.to_string(),
            allowed: extensions(object_type),
        }),
    }
}

/// The extension of a name and the media type of a declaration, in lower case, as far as they say something.
fn said(filename: Option<&str>, declared: Option<&str>) -> (Option<String>, Option<String>) {
    let extension = filename.and_then(file_name::extension).map(|extension| extension.to_ascii_lowercase());
    (extension, declared.and_then(media_type))
}

/// The media type of a declaration, without parameters and in lower case; `None` if it says nothing.
fn media_type(declared: &str) -> Option<String> {
    let media_type = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!media_type.is_empty() && !UNKNOWN_TYPES.contains(&media_type.as_str())).then_some(media_type)
}

/// The kinds that extension and declaration leave, in the catalog's order; at least one.
fn candidates(
    object_type: &ObjectType,
    extension: Option<&str>,
    declared: Option<&str>,
) -> Result<Vec<&'static Kind>, ContentError> {
    let mut kinds = object_type.kinds.clone();
    if let Some(extension) = extension {
        kinds.retain(|kind| kind.extensions.iter().any(|known| known == extension));
        if kinds.is_empty() {
            return Err(not_allowed(object_type, &format!(".{extension}")));
        }
    }
    if let Some(declared) = declared {
        kinds.retain(|kind| kind.is_declared_as(declared));
        match extension {
            Some(extension) if kinds.is_empty() => {
                let (declared, extension) = (shown(declared), extension.to_owned());
                return Err(ContentError::Declared { declared, extension });
            }
            None if kinds.is_empty() => return Err(not_allowed(object_type, &shown(declared))),
            _ => {}
        }
    }
    if extension.is_none() && declared.is_none() {
        kinds.retain(|kind| kind.proof != Proof::Text);
    }
    Ok(kinds)
}

/// Whether the content is of this kind; an error if it is, in a form that is refused.
fn prove_kind(kind: &Kind, evidence: &mut Evidence<'_>) -> Result<bool, Stop<ContentError>> {
    let is_own = |found: &str| kind.magic.iter().any(|magic| magic == found);
    match kind.proof {
        Proof::Magic if is_own(signature::ZIP) => {
            evidence.zip.run(&mut evidence.file)?;
            Ok(true)
        }
        Proof::Magic => Ok(signature::of(evidence)?.is_some_and(is_own)),
        Proof::Ooxml => is_office_document(kind, &evidence.file),
        Proof::Text => Ok(is_text_of(kind, evidence.text()?)),
    }
}

/// A ZIP with the parts of exactly one of the Office formats, and without those that only a macro-enabled one has.
///
/// A part's content is not read. Word itself refuses a `.docx` whose main part says that it is macro-enabled.
fn is_office_document(kind: &Kind, file: &Partial<'_>) -> Result<bool, Stop<ContentError>> {
    const FORMATS: [&str; 3] = ["word/", "xl/", "ppt/"];
    let names = match zip_rules::names(file) {
        Ok(names) => names,
        Err(Stop::Unread(unread)) => return Err(unread.into()),
        Err(Stop::Refused(_)) => return Ok(false),
    };
    // Part names are compared without regard to case (ECMA-376-2, 6.2.2.3).
    let names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let folders = FORMATS.iter().filter(|folder| names.iter().any(|name| name.starts_with(**folder)));
    let is_document = names.iter().any(|name| name == "[content_types].xml")
        && folders.copied().collect::<Vec<_>>() == [kind.folder.as_deref().unwrap_or_default()];
    let has_macros = names.iter().any(|name| {
        let part = name.rsplit('/').next().unwrap_or_default();
        // The second is where Excel keeps macros of before VBA.
        part.starts_with("vbaproject") || part == "vbadata.xml" || name.starts_with("xl/macrosheets/")
    });
    // Excel's binary workbook (.xlsb) has the same folders.
    let is_binary = names.iter().any(|name| name == "xl/workbook.bin");
    if is_document && has_macros {
        return Err(Stop::Refused(ContentError::Macros { extension: kind.extension().to_owned() }));
    }
    Ok(is_document && !is_binary)
}

/// Text, no other type's, and with the opening that the kind wants.
fn is_text_of(kind: &Kind, text: &Text) -> bool {
    let opening = text.opening();
    let is_own = |found: &str| kind.magic.iter().any(|magic| magic == found);
    let opens =
        |start: &String| opening.get(..start.len()).is_some_and(|o| o.eq_ignore_ascii_case(start.as_bytes()));
    text.is_text()
        && signature::of_text(opening).is_none_or(is_own)
        && (kind.opening.is_empty() || kind.opening.iter().any(opens))
}

impl From<Stop<ZipError>> for Stop<ContentError> {
    fn from(stop: Stop<ZipError>) -> Self {
        match stop {
            Stop::Unread(unread) => Self::Unread(unread),
            Stop::Refused(error) => Self::Refused(error.into()),
        }
    }
}

fn mismatch(kind: &Kind, found: &'static str) -> ContentError {
    ContentError::Content { expected: format!(".{}", kind.extension()), found }
}

fn extensions(object_type: &ObjectType) -> String {
    object_type.extensions().collect::<Vec<_>>().join(", ")
}

fn not_allowed(object_type: &ObjectType, found: &str) -> ContentError {
    ContentError::NotAllowed {
        object_type: object_type.to_string(),
        found: found.to_owned(),
        allowed: extensions(object_type),
    }
}

/// A declared media type as an error shows it, unless it is none (RFC 6838, 4.2).
fn shown(declared: &str) -> String {
    const LONGEST_BYTES: usize = 127 + 1 + 127;
    let is_type = |byte: u8| byte.is_ascii_alphanumeric() || b"/!#$&-^_.+".contains(&byte);
    let fits = declared.len() <= LONGEST_BYTES && declared.bytes().all(is_type);
    if fits { declared.to_owned() } else { "something that is no media type".to_owned() }
}
