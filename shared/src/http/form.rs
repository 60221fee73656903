//! Upload forms: `multipart/form-data` (RFC 7578) with one file and a few text fields, in any order. Each field is known and
//! there once, which bounds the parts well below DESIGN's twenty.

use futures_util::stream;
use lambda_http::Body;
use lambda_http::http::header::CONTENT_DISPOSITION;
use multer::{Constraints, Multipart, SizeLimit};

use super::Call;
use super::body::{flag, present};
use super::disposition::Disposition;
use crate::audit::Related;
use crate::problem::Problem;

/// Largest file in a form: with base64 around it, it fits into the 6 MB that Lambda takes
/// (Lambda quotas, "Invocation payload").
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Shortest and longest boundary (RFC 2046, section 5.1.1); multer takes an empty one, which is everywhere.
const BOUNDARY_BYTES: std::ops::RangeInclusive<usize> = 1..=70;
/// Longest text field.
const MAX_FIELD_BYTES: usize = 1024;
/// Longest original name: what it becomes in a key is far shorter, but it is kept and shown verbatim.
const MAX_ORIGINAL_NAME_BYTES: usize = 1024;

/// The file of a form.
#[derive(Debug)]
pub struct FileField {
    /// Its name, as the client gave it.
    pub name: Option<String>,
    /// Its media type, as the client declared it.
    pub media_type: Option<String>,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A form, taken apart.
#[derive(Debug)]
pub struct Form {
    /// The file.
    pub file: FileField,
    /// Whether the file's name gets the time in front: `add_timestamp`, default true.
    pub add_timestamp: bool,
    /// The caller's business object.
    pub related: Related,
    fields: Vec<(String, String)>,
}

impl Form {
    /// Reads a form that has a file, the fields of every upload, and these.
    ///
    /// # Errors
    /// [`Problem::TooLarge`] for a file over the limit; [`Problem::Invalid`] for everything else.
    pub async fn read(call: &mut Call, own_fields: &[&str]) -> Result<Self, Problem> {
        const COMMON: [&str; 3] = ["related_object_type", "related_object_id", "add_timestamp"];
        let known: Vec<&str> = own_fields.iter().chain(&COMMON).copied().collect();
        let (file, fields) = parts(call, &known).await?;
        // An empty field counts as none, as it does in a query: HTML forms send what nobody has filled in.
        let field = |name: &str| {
            let field = fields.iter().find(|(key, value)| key == name && !value.is_empty());
            field.map(|(_, value)| value.clone())
        };
        Ok(Self {
            add_timestamp: flag("add_timestamp", field("add_timestamp").as_deref(), true)?,
            related: Related::parse(field("related_object_type"), field("related_object_id"))?,
            file: present("file", file)?,
            fields,
        })
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// [`Problem::Invalid`] if it is not.
    pub fn required(&self, name: &str) -> Result<&str, Problem> {
        let field = self.fields.iter().find(|(key, value)| key == name && !value.is_empty());
        present(name, field.map(|(_, value)| value.as_str()))
    }
}

type Parts = (Option<FileField>, Vec<(String, String)>);

async fn parts(call: &mut Call, known: &[&str]) -> Result<Parts, Problem> {
    let boundary = multer::parse_boundary(call.content_type()).ok();
    let boundary = boundary
        .filter(|boundary| BOUNDARY_BYTES.contains(&boundary.len()))
        .ok_or_else(|| malformed("expected multipart/form-data with a boundary"))?;
    // The body is moved, not copied: it is most of what the function holds in memory.
    let bytes = match std::mem::replace(&mut call.body, Body::Empty) {
        Body::Text(text) => text.into_bytes(),
        Body::Binary(bytes) => bytes,
        _ => Vec::new(),
    };
    let limits = SizeLimit::new().per_field(MAX_FILE_BYTES as u64);
    let body = stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut multipart = Multipart::with_constraints(body, boundary, Constraints::new().size_limit(limits));

    let (mut file, mut fields) = (None, Vec::<(String, String)>::new());
    while let Some(field) = multipart.next_field().await.map_err(refused)? {
        let Some(header) = field.headers().get(CONTENT_DISPOSITION) else {
            return Err(malformed("a part has no name"));
        };
        let Disposition { name, file_name } = Disposition::parse(header.as_bytes()).map_err(malformed)?;
        if field.content_type().is_some_and(|kind| kind.type_() == "multipart") {
            return Err(malformed("a part is a multipart itself"));
        }
        if name == "file" {
            if file.is_some() {
                return Err(malformed("field given twice: file"));
            }
            if file_name.as_ref().is_some_and(|name| name.len() > MAX_ORIGINAL_NAME_BYTES) {
                return Err(malformed(&format!(
                    "the file's name is longer than {MAX_ORIGINAL_NAME_BYTES} bytes"
                )));
            }
            let media_type = field.content_type().map(ToString::to_string);
            let bytes = field.bytes().await.map_err(|error| match error {
                multer::Error::FieldSizeExceeded { .. } => {
                    Problem::TooLarge { max_bytes: MAX_FILE_BYTES as u64 }
                }
                other => refused(other),
            })?;
            file = Some(FileField { name: file_name, media_type, bytes: bytes.into() });
        } else if !known.contains(&name.as_str()) {
            return Err(malformed(&format!("unknown field: {name} (known: file, {})", known.join(", "))));
        } else if fields.iter().any(|(other, _)| *other == name) {
            return Err(malformed(&format!("field given twice: {name}")));
        } else {
            let too_long = || malformed(&format!("{name} is longer than {MAX_FIELD_BYTES} bytes"));
            let bytes = field.bytes().await.map_err(|error| match error {
                multer::Error::FieldSizeExceeded { .. } => too_long(),
                other => refused(other),
            })?;
            if bytes.len() > MAX_FIELD_BYTES {
                return Err(too_long());
            }
            let value =
                std::str::from_utf8(&bytes).map_err(|_| malformed(&format!("{name} is not UTF-8")))?;
            fields.push((name, value.to_owned()));
        }
    }
    Ok((file, fields))
}

fn malformed(what: &str) -> Problem {
    Problem::invalid("invalid_form", format!("Invalid form: {what}"))
}

/// multer's texts tell of the form's structure, not of its content.
fn refused(error: multer::Error) -> Problem {
    malformed(&error.to_string())
}
