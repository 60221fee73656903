//! Where a file lives: `{org_id}/{system}/{object_type}/{object_id}/{filename}` (storage guide, "File Path Convention").
//!
//! A path that does not fit the grammar is refused, never cleaned: what is accepted is byte for byte the key in the
//! bucket and in the table. Whether somebody may act on a path is not known here; see [`crate::auth`].

use std::fmt;

use thiserror::Error;

use crate::audit::Details;
use crate::auth::Target;
use crate::catalog::{Catalog, CatalogError, ObjectType};
use crate::export;
use crate::file_name::{FileName, FileNameError};
use crate::idempotency::Fingerprint;
use crate::ids::{IdError, ObjectId, OrgId};

/// Why a path or a part of it was refused. The text may be shown to a caller.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathError {
    /// An identifier is not one; the text says which.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Not five segments.
    #[error("Invalid file_path: expected org_id/system/object_type/object_id/filename")]
    Shape,
    /// Percent-encoding that is broken, or that is not UTF-8 once decoded.
    #[error("Invalid file_path: broken percent-encoding")]
    Encoding,
    /// The system or object type is not in the catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The last segment is not a file name.
    #[error("Invalid file_path: {0}")]
    Name(#[from] FileNameError),
}

impl PathError {
    /// A name that programs may compare; it never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Id(error) if error.field == "org_id" => "invalid_org_id",
            Self::Id(_) => "invalid_object_id",
            Self::Shape | Self::Encoding | Self::Name(_) => "invalid_path",
            Self::Catalog(error) => error.code(),
        }
    }
}

/// Everything of a path but the file's name: whose it is and what it is for.
#[derive(Debug, Clone)]
pub struct Place {
    /// The organisation that owns the object.
    pub org: OrgId,
    /// System and object type, as the catalog knows them.
    pub object_type: &'static ObjectType,
    /// The business object.
    pub object_id: ObjectId,
}

impl Place {
    /// A place from the fields of an upload. Where only the service stores files there is none.
    ///
    /// # Errors
    /// [`PathError`] naming the first field that does not fit.
    pub fn parse(org: &str, system: &str, object_type: &str, object_id: &str) -> Result<Self, PathError> {
        let place = Self::of_path(org, system, object_type, object_id)?;
        if place.object_type.made_by_service {
            return Err(CatalogError::System(system.to_owned()).into());
        }
        Ok(place)
    }

    /// A place where a file may be already.
    fn of_path(org: &str, system: &str, object_type: &str, object_id: &str) -> Result<Self, PathError> {
        let org = OrgId::parse(org)?;
        let object_type = Catalog::get().object_type(system, object_type)?;
        Ok(Self { org, object_type, object_id: ObjectId::parse(object_id)? })
    }

    /// The place of an export of an organisation's log.
    ///
    /// # Errors
    /// [`PathError`] if the id is not one.
    pub(crate) fn of_export(org: &OrgId, export_id: &str) -> Result<Self, PathError> {
        Self::of_path(org.as_str(), export::SYSTEM, export::OBJECT_TYPE, export_id)
    }

    /// Says in an entry which place a request was about that named no path.
    pub fn name_in(&self, details: &mut Details) {
        details.system = Some(self.object_type.system.to_owned());
        details.object_type = Some(self.object_type.name.to_owned());
        details.object_id = Some(self.object_id.as_str().to_owned());
    }

    /// What makes it the same place when it is named again.
    #[must_use]
    pub fn fingerprint(&self, of: Fingerprint) -> Fingerprint {
        let Self { org, object_type, object_id } = self;
        let parts = [org.as_str(), object_type.system, object_type.name, object_id.as_str()];
        parts.into_iter().fold(of, |of, part| of.field(Some(part)))
    }

    /// The path of a file of this name here. The one place that formats a storage key.
    #[must_use]
    pub fn file(&self, name: FileName) -> FilePath {
        let Self { org, object_type, object_id } = self;
        let text = format!(
            "{}/{}/{}/{}/{}",
            org.as_str(),
            object_type.system,
            object_type.name,
            object_id.as_str(),
            name.as_str()
        );
        FilePath { text, place: self.clone(), name }
    }
}

/// A place in the caller's own organisation. Nothing can be stored anywhere else.
#[derive(Debug, Clone)]
pub struct OwnPlace(Place);

impl OwnPlace {
    /// Holds a place against the organisation of the caller's token. None if it is another's.
    #[must_use]
    pub fn of(place: Place, caller: &OrgId) -> Option<Self> {
        (place.org == *caller).then_some(Self(place))
    }

    /// The place.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.0
    }
}

impl Target for OwnPlace {
    fn system(&self) -> &str {
        self.0.object_type.system
    }

    fn object_type(&self) -> &str {
        self.0.object_type.name
    }
}

/// The full path of a file: its key in the bucket and in the table.
///
/// - five segments, each of which fits its own grammar;
/// - begins with its organisation's id and a slash, and holds no other way out of that prefix;
/// - round-trips: `FilePath::parse(path.as_str())` is `path`.
///
/// ```
/// # use shared::path::FilePath;
/// let path = FilePath::parse("/org-123/accounting/receipt/receipt-456/receipt.jpg").unwrap();
/// assert_eq!(path.as_str(), "org-123/accounting/receipt/receipt-456/receipt.jpg");
/// assert!(FilePath::parse("org-123/accounting/receipt/../secret.jpg").is_err());
/// ```
#[derive(Clone)]
pub struct FilePath {
    text: String,
    place: Place,
    name: FileName,
}

impl FilePath {
    /// Takes a path as it stands in a JSON body; one leading slash is accepted and stripped.
    ///
    /// # Errors
    /// [`PathError`] naming the first part that does not fit.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let mut segments = text.split('/');
        let (Some(org), Some(system), Some(object_type), Some(object_id), Some(name), None) = (
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
        ) else {
            return Err(PathError::Shape);
        };
        Ok(Place::of_path(org, system, object_type, object_id)?.file(FileName::parse(name)?))
    }

    /// Takes a path as it stands in a URL: percent-encoding is decoded exactly once, whatever else is in there.
    ///
    /// # Errors
    /// [`PathError`]; a `%` that is left after decoding fits no segment.
    pub fn parse_url(raw: &str) -> Result<Self, PathError> {
        let decoded =
            percent_encoding::percent_decode_str(raw).decode_utf8().map_err(|_| PathError::Encoding)?;
        Self::parse(&decoded)
    }

    /// The path as text: the key in bucket and table.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whose it is and what it is for.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The file's name, the last segment.
    #[must_use]
    pub fn name(&self) -> &FileName {
        &self.name
    }
}

impl Target for FilePath {
    fn system(&self) -> &str {
        self.place.object_type.system
    }

    fn object_type(&self) -> &str {
        self.place.object_type.name
    }
}

impl PartialEq for FilePath {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for FilePath {}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FilePath").field(&self.text).finish()
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
