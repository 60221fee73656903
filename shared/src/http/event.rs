//! What Lambda hands to a function and what it takes back: function URLs and HTTP APIs, payload format 2.0 (Lambda
//! developer guide, "Request and response payloads").
//!
//! `lambda_http` reads these events too, but it puts path, query and host into a URI and panics if they make none, which
//! anybody can bring about; it refuses every event with a header value that is not ASCII; and it holds the body four
//! times over, where here the bytes are decoded straight from the event.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use lambda_http::{Body, Context, Request, RequestExt, Response};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

/// An HTTP request, as it arrives in an event.
///
/// It has no URI: the path is the one that the client sent, without an HTTP API's stage, and stands in
/// [`RequestExt::raw_http_path`]; query, address and user agent come along as an extension.
#[derive(Debug)]
pub struct Event(Request);

/// What an event knows and a request's head has no room for.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The query, as sent.
    pub(super) query: String,
    /// The client's address, as the host saw it.
    pub(super) ip: String,
    /// The client's user agent, as the host saw it.
    pub(super) user_agent: String,
}

impl Event {
    /// The request, with the context of its invocation.
    #[must_use]
    pub fn into_request(self, context: Context) -> Request {
        self.0.with_lambda_context(context)
    }
}

/// A response, as Lambda takes it back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
    is_base64_encoded: bool,
    /// None, ever. Lambda can do without the list, `cargo lambda watch` cannot.
    cookies: [String; 0],
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let headers = parts.headers.iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into())));
        let (body, is_base64_encoded) = match body {
            Body::Text(text) => (text, false),
            Body::Binary(bytes) => (BASE64.encode(&bytes), true),
            _ => (String::new(), false),
        };
        Self {
            status_code: parts.status.as_u16(),
            headers: headers.collect(),
            body,
            is_base64_encoded,
            cookies: [],
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'e> {
    raw_path: String,
    raw_query_string: Option<String>,
    cookies: Option<Vec<String>>,
    headers: Option<BTreeMap<String, String>>,
    request_context: RawContext,
    #[serde(borrow)]
    body: Option<Text<'e>>,
    is_base64_encoded: Option<bool>,
}

#[derive(Deserialize)]
struct RawContext {
    stage: Option<String>,
    http: RawHttp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHttp {
    method: String,
    source_ip: Option<String>,
    user_agent: Option<String>,
}

impl<'de> Deserialize<'de> for Event {
    /// The error never shows the event, which may hold a patient's file.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer);
        let request = raw.ok().and_then(Raw::into_request);
        request
            .map(Self)
            .ok_or_else(|| D::Error::custom("not an event of a function URL or an HTTP API (2.0)"))
    }
}

impl Raw<'_> {
    fn into_request(self) -> Option<Request> {
        let headers = headers(self.headers.unwrap_or_default(), &self.cookies.unwrap_or_default());
        let RawContext { stage, http } = self.request_context;
        let origin = Origin {
            query: self.raw_query_string.unwrap_or_default(),
            ip: http.source_ip.unwrap_or_default(),
            user_agent: http.user_agent.unwrap_or_default(),
        };
        let text = self.body.map(|Text(text)| text).filter(|text| !text.is_empty());
        let body = match (text, self.is_base64_encoded) {
            (None, _) => Body::Empty,
            (Some(text), Some(true)) => Body::Binary(BASE64.decode(text.as_bytes()).ok()?),
            (Some(text), _) => Body::Text(text.into_owned()),
        };
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(http.method.as_bytes()).ok()?;
        *request.headers_mut() = headers;
        request.extensions_mut().insert(origin);
        Some(request.with_raw_http_path(without_stage(&self.raw_path, stage.as_deref())))
    }
}

/// What is no header is left out: nobody sent it over HTTP.
fn headers(named: BTreeMap<String, String>, cookies: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(named.len() + 1);
    for (name, value) in &named {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    if let (false, Ok(value)) = (cookies.is_empty(), HeaderValue::try_from(cookies.join("; "))) {
        headers.insert(header::COOKIE, value);
    }
    headers
}

/// HTTP APIs put the name of a stage in front of the path, unless it is the default one.
fn without_stage<'p>(path: &'p str, stage: Option<&str>) -> &'p str {
    let rest = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    rest.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path)
}

/// A string that is borrowed from the event if it stands there without escapes, as base64 does.
struct Text<'e>(Cow<'e, str>);

impl<'de: 'e, 'e> Deserialize<'de> for Text<'e> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut serde_json::Value)) -> Option<Request> {
        let mut event = serde_json::json!({
            "rawPath": "/",
            "requestContext": { "stage": "$default", "http": { "method": "POST" } },
        });
        change(&mut event);
        let event = serde_json::from_str::<Event>(&event.to_string());
        event.ok().map(|event| event.into_request(Context::default()))
    }

    #[test]
    fn a_stage_is_not_part_of_the_path() {
        for (path, stage, expected) in [
            ("/api/storage/upload", "$default", "/api/storage/upload"),
            ("/prod/api/storage/upload", "prod", "/api/storage/upload"),
            ("/prod", "prod", ""),
            ("/production/api", "prod", "/production/api"),
            ("/prod/prod/x", "prod", "/prod/x"),
            ("/api/storage/upload", "prod", "/api/storage/upload"),
        ] {
            let request = request(|event| {
                event["rawPath"] = path.into();
                event["requestContext"]["stage"] = stage.into();
            });
            assert_eq!(request.unwrap().raw_http_path(), expected, "{path} at {stage}");
        }
    }

    #[test]
    fn paths_and_queries_that_are_no_uri_arrive_as_they_are() {
        let request = request(|event| {
            event["rawPath"] = "//a b/<é>\\[".into();
            event["rawQueryString"] = "q=<\"é{\u{7f} #&%zz".into();
            event["headers"] = serde_json::json!({ "host": "a b:c:d/", "x-forwarded-proto": "ht tp,x" });
        });
        let request = request.unwrap();
        assert_eq!(request.raw_http_path(), "//a b/<é>\\[");
        assert_eq!(request.extensions().get::<Origin>().unwrap().query, "q=<\"é{\u{7f} #&%zz");
    }

    #[test]
    fn a_header_that_is_none_is_left_out_and_the_others_are_kept() {
        let request = request(|event| {
            let headers = serde_json::json!({ "a b": "1", "x-ok": "é", "x-bad": "a\r\nb", "accept": "x,y" });
            event["headers"] = headers;
            event["cookies"] = serde_json::json!(["a=1", "b=2"]);
        });
        let headers = request.unwrap().headers().clone();
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "cookie", "x-ok"]);
        assert_eq!(headers["cookie"], "a=1; b=2");
        assert_eq!(headers["x-ok"], "é".as_bytes());
    }

    #[test]
    fn bodies_are_texts_or_base64() {
        for (body, base64, expected) in [
            (serde_json::Value::Null, Some(false), Some(Body::Empty)),
            ("".into(), None, Some(Body::Empty)),
            ("a\n\"é".into(), Some(false), Some(Body::Text("a\n\"é".into()))),
            ("AP8=".into(), Some(true), Some(Body::Binary(vec![0, 255]))),
            ("AP8".into(), Some(true), None),
            (1.into(), None, None),
        ] {
            let request = request(|event| {
                event["body"] = body.clone();
                event["isBase64Encoded"] = base64.into();
            });
            assert_eq!(request.map(Request::into_body), expected, "{body}");
        }
    }
}
