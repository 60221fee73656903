//! JSON bodies and query strings.

use lambda_http::Body;
use lambda_http::http::header;
use serde::de::DeserializeOwned;

use super::Call;
use crate::problem::Problem;

/// Largest JSON body (DESIGN section 8).
pub const MAX_JSON_BYTES: usize = 64 * 1024;

impl Call {
    /// Whether the request has a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        !self.bytes().is_empty()
    }

    /// Reads a JSON body. Types refuse fields they do not know by `#[serde(deny_unknown_fields)]`.
    ///
    /// # Errors
    /// [`Problem::TooLarge`], or [`Problem::Invalid`] with what is wrong and where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let bytes = self.bytes();
        if bytes.len() > MAX_JSON_BYTES {
            return Err(Problem::TooLarge { max_bytes: MAX_JSON_BYTES as u64 });
        }
        let invalid = |what: &str| Problem::invalid("invalid_body", format!("Invalid JSON body: {what}"));
        // serde takes an array of the fields' values for the object.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(invalid("expected an object"));
        }
        serde_json::from_slice(bytes).map_err(|error| invalid(&error.to_string()))
    }

    pub(super) fn content_type(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The query's parameters in their order, whatever they are called and however often each is there.
    ///
    /// # Errors
    /// [`Problem::Invalid`] if one is not UTF-8 once decoded.
    pub fn pairs(&self) -> Result<Vec<(String, String)>, Problem> {
        decoded(&self.query)
    }

    fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
            _ => &[],
        }
    }
}

fn invalid(what: String) -> Problem {
    Problem::invalid("invalid_query", what)
}

/// Percent-encoding is decoded once.
fn decoded(raw: &str) -> Result<Vec<(String, String)>, Problem> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        let decoded = percent_encoding::percent_decode_str(&text).decode_utf8().map(|text| text.into_owned());
        decoded.map_err(|_| invalid("Invalid query: broken percent-encoding".into()))
    };
    let pairs = raw.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| Ok((decode(name)?, decode(value)?))).collect()
}

/// A field that must be there.
///
/// # Errors
/// [`Problem::Invalid`] if it is not.
pub fn present<T>(name: &str, field: Option<T>) -> Result<T, Problem> {
    field.ok_or_else(|| Problem::invalid("missing_field", format!("Missing required field: {name}")))
}

/// A query string's parameters, each there once.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a raw query string.
    ///
    /// # Errors
    /// [`Problem::Invalid`] if a parameter is unknown, there twice, or not UTF-8 once decoded.
    pub fn parse(raw: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in decoded(raw)? {
            if !known.contains(&name.as_str()) {
                return Err(invalid(format!(
                    "Unknown query parameter: {name} (known: {})",
                    known.join(", ")
                )));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(invalid(format!("Query parameter given twice: {name}")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// Whether there is no parameter at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A parameter's value; an empty one counts as none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// A parameter's value, also an empty one: for a filter, of which an empty value must not mean everything.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is `true` or `false`.
    ///
    /// # Errors
    /// [`Problem::Invalid`] if it is something else.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        flag(name, self.get(name), false)
    }
}

/// A field that is `true` or `false`, with what it is when it is not there.
pub(super) fn flag(name: &str, value: Option<&str>, default: bool) -> Result<bool, Problem> {
    match value {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(Problem::invalid("invalid_field", format!("Invalid {name}: true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_once() {
        let query = Query::parse("a=x%2Fy%252e+z&b=", &["a", "b"]).unwrap();
        assert_eq!(query.get("a"), Some("x/y%2e z"));
        assert_eq!(query.get("b"), None);
    }

    #[test]
    fn a_query_that_is_not_understood_is_refused() {
        for (raw, expected) in [
            ("c=1", "Unknown query parameter: c (known: a)"),
            ("a=1&a=2", "Query parameter given twice: a"),
            ("a=%ff", "Invalid query: broken percent-encoding"),
        ] {
            assert_eq!(Query::parse(raw, &["a"]).unwrap_err().detail(), expected);
        }
    }
}
