//! What may be stored where: systems, their object types, and the kinds of file that each of them takes.
//!
//! The data is `shared/catalog.toml`, compiled in. This module gives it types and answers look-ups; it does not look
//! at files (`content` does), and knows nothing of paths, roles or the limit of a single request.

use std::sync::LazyLock;

use serde::Deserialize;

/// All object types, in the order of the data file.
#[derive(Debug)]
pub struct Catalog {
    object_types: Vec<ObjectType>,
}

/// A place for files, such as `accounting/receipt`.
#[derive(Debug)]
pub struct ObjectType {
    /// The second segment of a path: `accounting`.
    pub system: &'static str,
    /// The third segment of a path: `receipt`.
    pub name: &'static str,
    /// What may be stored here. Where two kinds fit a file, the first one counts.
    pub kinds: Vec<&'static Kind>,
    /// The largest file, in bytes. It may be more than one request can carry.
    pub max_size_bytes: u64,
    /// How long a signed URL lives if the caller does not say, in seconds.
    pub url_lifetime_seconds: u32,
    /// How long a file must be kept, in years; the data file names the sources.
    pub retention_years: u32,
    /// Whether only the service stores files here. To whoever wants to upload there is no such place.
    pub made_by_service: bool,
}

/// A kind of file: what it is called, how it is declared, and how its content proves it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// How the data file refers to it.
    pub name: String,
    /// In lower case, without the dot. The first one is given to a file that has none.
    pub extensions: Vec<String>,
    /// The media type that is stored and served.
    pub media_type: String,
    /// Other media types under which programs declare it, in lower case.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// How the content shows that it is of this kind.
    pub proof: Proof,
    /// For [`Proof::Magic`]: the signatures that count, as media types (see `content`). For [`Proof::Text`]: the
    /// mark-up that a text of this kind may be.
    #[serde(default)]
    pub magic: Vec<String>,
    /// For [`Proof::Ooxml`]: the folder that holds the document's parts.
    #[serde(default)]
    pub folder: Option<String>,
    /// For [`Proof::Text`]: what the text begins with, in any case; nothing means anything.
    #[serde(default)]
    pub opening: Vec<String>,
    /// Whether a browser can show it without running what is in it. What is not inline is always an attachment.
    #[serde(default)]
    pub inline: bool,
}

/// How the content of a file shows of what kind it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// It begins with a signature.
    Magic,
    /// It is a ZIP with the parts of an Office Open XML document.
    Ooxml,
    /// It is readable text.
    Text,
}

/// A system or an object type that does not exist. It is the client's fault, and the text is safe to show to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// No such system.
    #[error("Invalid system: {0}")]
    System(String),
    /// The system exists, but has no such object type.
    #[error("Invalid object_type: {name} (system {system} has: {existing})")]
    ObjectType {
        /// The system, which exists.
        system: String,
        /// What was asked for.
        name: String,
        /// What there is.
        existing: String,
    },
}

impl CatalogError {
    /// The stable code that an answer carries.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::System(_) => "invalid_system",
            Self::ObjectType { .. } => "invalid_object_type",
        }
    }
}

impl Catalog {
    /// The one catalog.
    #[must_use]
    pub fn get() -> &'static Self {
        &CATALOG
    }

    /// Looks up one object type.
    ///
    /// ```
    /// use shared::catalog::Catalog;
    ///
    /// let receipt = Catalog::get().object_type("accounting", "receipt")?;
    /// assert_eq!(receipt.url_lifetime_seconds, 600);
    /// let error = Catalog::get().object_type("invalid-system", "receipt").unwrap_err();
    /// assert_eq!(error.to_string(), "Invalid system: invalid-system");
    /// # Ok::<(), shared::catalog::CatalogError>(())
    /// ```
    pub fn object_type(&'static self, system: &str, name: &str) -> Result<&'static ObjectType, CatalogError> {
        let mut existing = Vec::new();
        for object_type in self.iter().filter(|object_type| object_type.system == system) {
            if object_type.name == name {
                return Ok(object_type);
            }
            existing.push(object_type.name);
        }
        if existing.is_empty() {
            return Err(CatalogError::System(system.to_owned()));
        }
        let (system, name, existing) = (system.to_owned(), name.to_owned(), existing.join(", "));
        Err(CatalogError::ObjectType { system, name, existing })
    }

    /// All object types, in the order of the data file.
    pub fn iter(&'static self) -> impl Iterator<Item = &'static ObjectType> {
        self.object_types.iter()
    }

    /// The most bytes of `{system}/{object_type}` in a path.
    #[must_use]
    pub fn max_path_bytes(&'static self) -> usize {
        self.iter().map(|object_type| object_type.to_string().len()).max().unwrap_or(0)
    }
}

impl std::fmt::Display for ObjectType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.system, self.name)
    }
}

impl ObjectType {
    /// The extensions of all kinds, in the catalog's order.
    pub fn extensions(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.iter().flat_map(|kind| kind.extensions.iter().map(String::as_str))
    }
}

impl Kind {
    /// The extension that a file of this kind gets if it has none.
    #[must_use]
    pub fn extension(&self) -> &str {
        self.extensions.first().map_or("", String::as_str)
    }

    /// Whether a file may be declared under this media type (in lower case, without parameters).
    #[must_use]
    pub fn is_declared_as(&self, media_type: &str) -> bool {
        self.media_type == media_type || self.aliases.iter().any(|alias| alias == media_type)
    }
}

/// The data file, as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    kind: Vec<Kind>,
    object_type: Vec<ObjectTypeData>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectTypeData {
    system: String,
    name: String,
    kinds: Vec<String>,
    max_size_bytes: u64,
    url_lifetime_seconds: u32,
    retention_years: u32,
    #[serde(default)]
    made_by_service: bool,
}

#[expect(clippy::expect_used, reason = "the file is compiled in, and a test parses it")]
static DATA: LazyLock<Data> =
    LazyLock::new(|| toml::from_str(include_str!("../catalog.toml")).expect("the catalog parses"));

#[expect(clippy::expect_used, reason = "the file is compiled in, and a test parses it")]
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog {
    object_types: DATA.object_type.iter().map(|data| link(&DATA, data).expect("the kind exists")).collect(),
});

/// The object type with its kinds; `None` if one of them does not exist.
fn link(data: &'static Data, object_type: &'static ObjectTypeData) -> Option<ObjectType> {
    let kind = |name: &String| data.kind.iter().find(|kind| kind.name == *name);
    Some(ObjectType {
        system: &object_type.system,
        name: &object_type.name,
        kinds: object_type.kinds.iter().map(kind).collect::<Option<_>>()?,
        max_size_bytes: object_type.max_size_bytes,
        url_lifetime_seconds: object_type.url_lifetime_seconds,
        retention_years: object_type.retention_years,
        made_by_service: object_type.made_by_service,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_data_file_parses_and_every_kind_it_names_exists() {
        assert!(Catalog::get().iter().all(|object_type| !object_type.kinds.is_empty()));
    }

    #[test]
    fn the_catalog_has_the_guides_systems_and_types() {
        let all: Vec<String> = Catalog::get().iter().map(ToString::to_string).collect();
        let expected = "workspace/doc workspace/sheet workspace/slide workspace/pdf accounting/receipt \
            accounting/invoice accounting/export communications/email-attachment communications/message-attachment \
            app-builder/source app-builder/build epcr/document billing/invoice billing/claim billing/remittance \
            fax/inbound fax/outbound audit/export";
        assert_eq!(all, expected.split_whitespace().collect::<Vec<_>>());
        assert_eq!(Catalog::get().max_path_bytes(), "communications/message-attachment".len());
    }

    #[test]
    fn nothing_is_there_twice_and_every_kind_is_used() {
        fn twice<'a>(values: impl Iterator<Item = &'a str>) -> Option<&'a str> {
            let mut seen = HashSet::new();
            values.into_iter().find(|value| !seen.insert(*value))
        }
        assert_eq!(twice(DATA.kind.iter().map(|kind| kind.name.as_str())), None);
        let names: Vec<String> = Catalog::get().iter().map(ToString::to_string).collect();
        assert_eq!(twice(names.iter().map(String::as_str)), None);
        for object_type in Catalog::get().iter() {
            assert_eq!(twice(object_type.extensions()), None, "{object_type}");
            assert_eq!(twice(object_type.kinds.iter().map(|kind| kind.name.as_str())), None, "{object_type}");
        }
        for kind in &DATA.kind {
            let used = Catalog::get().iter().any(|object_type| object_type.kinds.contains(&kind));
            assert!(used, "{} is not used", kind.name);
        }
    }

    #[test]
    fn every_kind_is_written_as_look_ups_expect_it_and_has_what_its_proof_needs() {
        for kind in &DATA.kind {
            let all = kind.aliases.iter().chain([&kind.media_type]).chain(&kind.extensions);
            for text in all {
                assert!(text.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()), "{text}");
            }
            assert!(!kind.extensions.is_empty(), "{}", kind.name);
            for extension in &kind.extensions {
                let name = format!("name.{extension}");
                assert_eq!(crate::file_name::extension(&name).as_deref(), Some(extension.as_str()));
            }
            let is = |proof| kind.proof == proof;
            assert_eq!(kind.folder.is_some(), is(Proof::Ooxml), "{}", kind.name);
            assert!(kind.opening.is_empty() || is(Proof::Text), "{}", kind.name);
            assert!(!kind.magic.is_empty() || !is(Proof::Magic), "{}", kind.name);
            // A declaration that means "unknown" would be no declaration.
            assert!(!kind.is_declared_as("application/octet-stream"), "{}", kind.name);
        }
    }

    #[test]
    fn only_pdf_pictures_and_plain_text_are_shown_inline() {
        for kind in &DATA.kind {
            let picture = kind.media_type.starts_with("image/") && kind.media_type != "image/svg+xml";
            let expected = picture || ["application/pdf", "text/plain"].contains(&kind.media_type.as_str());
            assert_eq!(kind.inline, expected, "{}", kind.name);
        }
    }

    #[test]
    fn an_office_document_is_tried_before_a_plain_zip() {
        for object_type in Catalog::get().iter() {
            let place = |name: &str| object_type.kinds.iter().position(|kind| kind.name == name);
            if let Some(zip) = place("zip") {
                for name in ["docx", "xlsx", "pptx", "odt", "ods", "odp"] {
                    assert!(place(name).is_none_or(|place| place < zip), "{object_type}: {name}");
                }
            }
        }
    }

    #[test]
    fn sizes_lifetimes_and_retention_are_within_their_limits() {
        for object_type in Catalog::get().iter() {
            // The contract's limits for `expires_in` (design, section 5).
            assert!((60..=900).contains(&object_type.url_lifetime_seconds), "{object_type}");
            let largest = if object_type.made_by_service { 1 << 35 } else { 1 << 30 };
            assert!((1 << 20..=largest).contains(&object_type.max_size_bytes), "{object_type}");
            let least = match object_type.system {
                "audit" => 0,
                "app-builder" => 1,
                _ => 7,
            };
            assert!(object_type.retention_years >= least, "{object_type}");
            let segment = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            assert!(segment(object_type.system) && segment(object_type.name), "{object_type}");
        }
    }

    #[test]
    fn an_unknown_system_or_type_is_named_in_the_refusal() {
        let refused = |system, name| Catalog::get().object_type(system, name).unwrap_err();
        assert_eq!(refused("invalid-system", "x").to_string(), "Invalid system: invalid-system");
        assert_eq!(refused("", "").code(), "invalid_system");
        assert_eq!(refused("Accounting", "receipt").code(), "invalid_system");
        let error = refused("accounting", "receipts");
        let text = "Invalid object_type: receipts (system accounting has: receipt, invoice, export)";
        assert_eq!((error.to_string().as_str(), error.code()), (text, "invalid_object_type"));
    }
}
