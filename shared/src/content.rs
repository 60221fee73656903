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

mod ole;
mod signature;
#[cfg(test)]
mod tests;

use crate::catalog::{Kind, ObjectType, Proof};
use crate::file_name;
use crate::zip_rules::{self, ZipError};

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
            Self::NotAllowed { .. } | Self::Macros { .. } => "invalid_file_type",
            Self::Declared { .. } | Self::Content { .. } => "file_type_mismatch",
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
    let extension = filename.and_then(file_name::extension).map(|extension| extension.to_ascii_lowercase());
    let declared = declared.and_then(media_type);
    let (mut candidate, mut problem) = (None, None);
    for kind in candidates(object_type, extension.as_deref(), declared.as_deref())? {
        match prove_kind(kind, bytes) {
            Ok(true) => return Ok(kind),
            Ok(false) => candidate = Some(kind),
            Err(error) => problem = Some(error),
        }
    }
    let found = signature::describe(bytes);
    match (candidate, problem) {
        _ if extension.is_none() && declared.is_none() => {
            Err(not_allowed(object_type, &format!("no extension, and {found} as content")))
        }
        (_, Some(error)) => Err(error),
        (Some(kind), None) => {
            Err(ContentError::Content { expected: format!(".{}", kind.extension()), found })
        }
        (None, None) => Err(not_allowed(object_type, found)),
    }
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
fn prove_kind(kind: &Kind, bytes: &[u8]) -> Result<bool, ContentError> {
    let is_own = |found: &str| kind.magic.iter().any(|magic| magic == found);
    match kind.proof {
        Proof::Magic if is_own(signature::ZIP) => {
            zip_rules::check(bytes)?;
            Ok(true)
        }
        Proof::Magic => Ok(signature::of(bytes).is_some_and(is_own)),
        Proof::Ooxml => is_office_document(kind, bytes),
        Proof::Text => Ok(is_text_of(kind, bytes)),
    }
}

/// A ZIP with the parts of exactly one of the Office formats, and without those that only a macro-enabled one has.
///
/// A part's content is not read. Word itself refuses a `.docx` whose main part says that it is macro-enabled.
fn is_office_document(kind: &Kind, bytes: &[u8]) -> Result<bool, ContentError> {
    const FORMATS: [&str; 3] = ["word/", "xl/", "ppt/"];
    let Ok(names) = zip_rules::names(bytes) else { return Ok(false) };
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
        return Err(ContentError::Macros { extension: kind.extension().to_owned() });
    }
    Ok(is_document && !is_binary)
}

/// Text, no other type's, and with the opening that the kind wants.
fn is_text_of(kind: &Kind, bytes: &[u8]) -> bool {
    let opening = signature::opening(bytes);
    let is_own = |found: &str| kind.magic.iter().any(|magic| magic == found);
    let opens =
        |start: &String| opening.get(..start.len()).is_some_and(|o| o.eq_ignore_ascii_case(start.as_bytes()));
    signature::is_text(bytes)
        && signature::of_text(bytes).is_none_or(is_own)
        && (kind.opening.is_empty() || kind.opening.iter().any(opens))
}

fn not_allowed(object_type: &ObjectType, found: &str) -> ContentError {
    ContentError::NotAllowed {
        object_type: object_type.to_string(),
        found: found.to_owned(),
        allowed: object_type.extensions().collect::<Vec<_>>().join(", "),
    }
}

/// A declared media type as an error shows it, unless it is none (RFC 6838, 4.2).
fn shown(declared: &str) -> String {
    const LONGEST_BYTES: usize = 127 + 1 + 127;
    let is_type = |byte: u8| byte.is_ascii_alphanumeric() || b"/!#$&-^_.+".contains(&byte);
    let fits = declared.len() <= LONGEST_BYTES && declared.bytes().all(is_type);
    if fits { declared.to_owned() } else { "something that is no media type".to_owned() }
}
