//! Requests as nobody's library would send them: targets that no URL parser has cleaned, forms put together by hand,
//! tokens that no issuer would sign.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::config::DEVELOPMENT_JWT_SECRET;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Answer, World};

/// Sends a request whose target goes out byte for byte (`/metadata/a/../b`), below `/api/storage`.
pub async fn send(world: &World, method: &Method, target: &str, headers: &[(&str, &str)]) -> Answer {
    let (host, root) = address(world);
    let headers = [&[("host", host.as_str())], headers].concat();
    exchange(&host, method, &format!("/{root}{target}"), &headers).await
}

/// Gets a target byte for byte, from the service's address itself.
pub async fn get(world: &World, target: &str, headers: &[(&str, &str)]) -> Answer {
    let (host, _) = address(world);
    let headers = [&[("host", host.as_str())], headers].concat();
    exchange(&host, &Method::GET, target, &headers).await
}

/// The same, but with these headers alone, `host` among them.
pub async fn get_as(world: &World, target: &str, headers: &[(&str, &str)]) -> Answer {
    exchange(&address(world).0, &Method::GET, target, headers).await
}

/// Where the service answers, and the path that it stands under.
fn address(world: &World) -> (String, String) {
    let base = world.url("");
    let (host, root) = base.strip_prefix("http://").unwrap().split_once('/').unwrap();
    (host.to_owned(), root.trim_end_matches('/').to_owned())
}

async fn exchange(host: &str, method: &Method, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    parse(&String::from_utf8(answer).unwrap())
}

/// A good token's header value for [`send`].
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    let bytes = body.as_bytes().to_vec();
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    Answer { status: StatusCode::try_from(status).unwrap(), headers, body, bytes }
}

/// The boundary of [`Multipart`].
pub const BOUNDARY: &str = "----boundary";

/// A form, written by hand.
#[derive(Clone, Default)]
pub struct Multipart(Vec<u8>);

impl Multipart {
    /// A part with these header lines.
    pub fn part(mut self, headers: &[u8], content: &[u8]) -> Self {
        self.0.extend_from_slice(format!("--{BOUNDARY}\r\n").as_bytes());
        self.0.extend_from_slice(headers);
        self.0.extend_from_slice(b"\r\n\r\n");
        self.0.extend_from_slice(content);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    pub fn text(self, name: &str, value: &str) -> Self {
        self.part(format!("Content-Disposition: form-data; name=\"{name}\"").as_bytes(), value.as_bytes())
    }

    /// The file; `name` is what stands behind `name="file"`, such as `; filename="a.jpg"`.
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.part(format!("Content-Disposition: form-data; name=\"file\"{name}").as_bytes(), content)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.0
    }

    /// Ends where it stands, without the closing delimiter.
    pub fn cut(self) -> Vec<u8> {
        self.0
    }
}

/// Posts a form that was written by hand.
pub async fn post_form(world: &World, function: &str, token: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = world.request(Method::POST, function, token);
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    world.send(request.header("content-type", content_type).body(body)).await
}

/// A token with these claims, signed with the service's secret by HS256.
pub fn token(claims: &Value) -> String {
    signed(claims, DEVELOPMENT_JWT_SECRET, Algorithm::HS256)
}

/// A token as somebody else would sign it.
pub fn signed(claims: &Value, secret: &str, algorithm: Algorithm) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

/// A token of this algorithm name with a signature that is whatever it is.
pub fn unsigned(algorithm: &str, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}.{signature}", part(&json!({ "alg": algorithm, "typ": "JWT" })), part(claims))
}
