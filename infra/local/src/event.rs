//! An HTTP request as a function URL's event, and the function's answer as an HTTP response (Lambda developer guide,
//! "Request and response payloads", payload format 2.0).

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use data_encoding::BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Largest event and largest answer, in bytes of JSON (Lambda quotas, "Invocation payload": 6 MB, measured as this).
pub const MAX_PAYLOAD_BYTES: usize = 6_291_556;

/// The event that a function URL would make of a request.
#[must_use]
pub fn from_request(parts: &Parts, body: &Bytes, source_ip: &str, request_id: &str, now: Timestamp) -> Value {
    let mut headers = joined(&parts.headers);
    // A function URL says these itself, whatever the client says.
    headers.insert("x-forwarded-proto".into(), "http".into());
    headers.insert("x-forwarded-for".into(), source_ip.into());
    let user_agent = headers.get("user-agent").cloned().unwrap_or_default();
    let host = headers.get("host").cloned().unwrap_or_default();
    let raw_path = parts.uri.path();
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": raw_path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": host,
            "domainPrefix": "local",
            "http": {
                "method": parts.method.as_str(),
                "path": raw_path,
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": user_agent,
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "isBase64Encoded": false,
    });
    let cookies: Vec<&str> = parts
        .headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split("; "))
        .collect();
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !body.is_empty() {
        match text(&parts.headers, body) {
            Some(text) => event["body"] = text.into(),
            None => {
                event["body"] = BASE64.encode(body).into();
                event["isBase64Encoded"] = true.into();
            }
        }
    }
    event
}

/// What a function answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    multi_value_headers: Map<String, Value>,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

impl Answer {
    /// The HTTP response; none if the answer is not one that a function URL could pass on.
    #[must_use]
    pub fn into_response(self) -> Option<Response<Bytes>> {
        let body = self.body.unwrap_or_default();
        let body =
            if self.is_base64_encoded { BASE64.decode(body.as_bytes()).ok()? } else { body.into_bytes() };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status_code).ok()?;
        let mut add = |name: &str, value: &Value| {
            let name = HeaderName::try_from(name).ok()?;
            response.headers_mut().append(name, HeaderValue::from_str(value.as_str()?).ok()?);
            Some(())
        };
        for (name, value) in &self.headers {
            add(name, value)?;
        }
        for (name, values) in &self.multi_value_headers {
            for value in values.as_array()?.iter().filter(|_| !self.headers.contains_key(name)) {
                add(name, value)?;
            }
        }
        for cookie in &self.cookies {
            add("set-cookie", &cookie.as_str().into())?;
        }
        Some(response)
    }
}

/// Header names in lower case, values of one name joined with commas; cookies stand elsewhere.
fn joined(headers: &HeaderMap) -> std::collections::BTreeMap<String, String> {
    let mut joined = std::collections::BTreeMap::<String, String>::new();
    for (name, value) in headers.iter().filter(|(name, _)| *name != header::COOKIE) {
        let value = String::from_utf8_lossy(value.as_bytes());
        let all = joined.entry(name.as_str().to_owned()).or_default();
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(&value);
    }
    joined
}

/// Only texts travel as they are; everything else is base64.
fn text<'b>(headers: &HeaderMap, body: &'b [u8]) -> Option<&'b str> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_text = kind.starts_with("text/") || matches!(kind, "application/json" | "application/xml");
    std::str::from_utf8(body).ok().filter(|_| is_text)
}
