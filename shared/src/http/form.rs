//! Upload forms: `multipart/form-data` (RFC 7578) with one file and a few text fields, in any order.

use futures_util::stream;
use lambda_http::Body;
use lambda_http::http::header::CONTENT_DISPOSITION;
use multer::{Constraints, Multipart, SizeLimit};

use super::Call;
use super::body::flag;
use crate::audit::Related;
use crate::problem::Problem;

/// Largest file in a form: with base64 around it, it fits into the 6 MB that Lambda takes
/// (Lambda quotas, "Invocation payload").
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Most parts in a form (DESIGN section 8).
pub const MAX_PARTS: usize = 20;
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
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        Ok(Self {
            add_timestamp: flag("add_timestamp", field("add_timestamp").as_deref(), true)?,
            related: Related::parse(field("related_object_type"), field("related_object_id"))?,
            file: file.ok_or_else(|| missing("file"))?,
            fields,
        })
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// [`Problem::Invalid`] if it is not.
    pub fn required(&self, name: &str) -> Result<&str, Problem> {
        let field = self.fields.iter().find(|(key, value)| key == name && !value.is_empty());
        field.map(|(_, value)| value.as_str()).ok_or_else(|| missing(name))
    }
}

type Parts = (Option<FileField>, Vec<(String, String)>);

async fn parts(call: &mut Call, known: &[&str]) -> Result<Parts, Problem> {
    let boundary = multer::parse_boundary(call.content_type())
        .map_err(|_| malformed("expected multipart/form-data with a boundary"))?;
    // The body is moved, not copied: it is most of what the function holds in memory.
    let bytes = match std::mem::replace(&mut call.body, Body::Empty) {
        Body::Text(text) => text.into_bytes(),
        Body::Binary(bytes) => bytes,
        _ => Vec::new(),
    };
    let limits = SizeLimit::new().per_field(MAX_FIELD_BYTES as u64).for_field("file", MAX_FILE_BYTES as u64);
    let body = stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut multipart = Multipart::with_constraints(body, boundary, Constraints::new().size_limit(limits));

    let (mut file, mut fields) = (None, Vec::<(String, String)>::new());
    let mut count = 0;
    while let Some(field) = multipart.next_field().await.map_err(refused)? {
        count += 1;
        if count > MAX_PARTS {
            return Err(malformed(&format!("more than {MAX_PARTS} parts")));
        }
        let Some(name) = field.name().map(str::to_owned) else { return Err(malformed("a part has no name")) };
        if field.content_type().is_some_and(|kind| kind.type_() == "multipart") {
            return Err(malformed("a part is a multipart itself"));
        }
        if name == "file" {
            if file.is_some() {
                return Err(malformed("field given twice: file"));
            }
            let original = original_name(&field)?;
            let media_type = field.content_type().map(ToString::to_string);
            let bytes = field.bytes().await.map_err(refused)?.into();
            file = Some(FileField { name: original, media_type, bytes });
        } else if !known.contains(&name.as_str()) {
            return Err(malformed(&format!("unknown field: {name} (known: file, {})", known.join(", "))));
        } else if fields.iter().any(|(other, _)| *other == name) {
            return Err(malformed(&format!("field given twice: {name}")));
        } else {
            let bytes = field.bytes().await.map_err(refused)?;
            let value =
                std::str::from_utf8(&bytes).map_err(|_| malformed(&format!("{name} is not UTF-8")))?;
            fields.push((name, value.to_owned()));
        }
    }
    Ok((file, fields))
}

/// The file's name as its owner knows it.
///
/// Browsers and curl write a quote as `%22`, CR as `%0D` and LF as `%0A`, and nothing else (WHATWG HTML, "multipart form
/// data"); other clients write `filename*` (RFC 8187) although RFC 7578 asks them not to.
fn original_name(field: &multer::Field<'_>) -> Result<Option<String>, Problem> {
    let header = field.headers().get(CONTENT_DISPOSITION).map(|value| value.as_bytes()).unwrap_or_default();
    let header = std::str::from_utf8(header).map_err(|_| malformed("the file's name is not UTF-8"))?;
    // Every other piece is inside quotes, where the same words would be part of a name.
    let mut parameters = header.split('"').step_by(2).flat_map(|unquoted| unquoted.split(';'));
    let extended = parameters.find_map(|parameter| parameter.trim().strip_prefix("filename*="));
    let name = match extended {
        Some(value) => {
            let (charset, rest) = value.split_once('\'').ok_or_else(|| malformed("broken filename*"))?;
            let (_, encoded) = rest.split_once('\'').ok_or_else(|| malformed("broken filename*"))?;
            if !charset.eq_ignore_ascii_case("utf-8") {
                return Err(malformed("filename* is not in UTF-8"));
            }
            let name = percent_encoding::percent_decode_str(encoded).decode_utf8();
            Some(name.map_err(|_| malformed("the file's name is not UTF-8"))?.into_owned())
        }
        None => field.file_name().map(|name| {
            let name = name.replace("%22", "\"");
            name.replace("%0D", "\r").replace("%0d", "\r").replace("%0A", "\n").replace("%0a", "\n")
        }),
    };
    if name.as_ref().is_some_and(|name| name.len() > MAX_ORIGINAL_NAME_BYTES) {
        return Err(malformed(&format!("the file's name is longer than {MAX_ORIGINAL_NAME_BYTES} bytes")));
    }
    Ok(name.filter(|name| !name.is_empty()))
}

fn missing(name: &str) -> Problem {
    Problem::invalid("missing_field", format!("Missing required field: {name}"))
}

fn malformed(what: &str) -> Problem {
    Problem::invalid("invalid_form", format!("Invalid form: {what}"))
}

fn refused(error: multer::Error) -> Problem {
    match error {
        multer::Error::FieldSizeExceeded { field_name: Some(name), .. } if name == "file" => {
            Problem::TooLarge { max_bytes: MAX_FILE_BYTES as u64 }
        }
        multer::Error::FieldSizeExceeded { field_name, .. } => {
            let name = field_name.unwrap_or_default();
            malformed(&format!("{name} is longer than {MAX_FIELD_BYTES} bytes"))
        }
        // multer's texts tell of the form's structure, not of its content.
        other => malformed(&other.to_string()),
    }
}
