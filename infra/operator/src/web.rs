//! What a browser or a stranger sends: requests that the SDK would not make.

use std::time::Duration;

use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Url, redirect};

use crate::stores::chain;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(15);

/// Sends requests that nobody signs anew.
#[derive(Debug)]
pub(crate) struct Web(Client);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Web {
    pub(crate) fn new() -> Result<Self, String> {
        // A redirect is an answer here, and a proxy's answer would not be the store's.
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(LIMIT).no_proxy();
        client.build().map(Self).map_err(|error| chain(&error))
    }

    /// Sends a request. The error says what failed, and not the URL, which may be a grant.
    pub(crate) async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| "no method".to_owned())?;
        let mut request = self.0.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body).send().await.map_err(|error| chain(&error.without_url()))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.map_err(|error| chain(&error.without_url()))?.to_vec();
        Ok(Answer { status, headers, body })
    }

    /// Sends what was signed, with headers more.
    pub(crate) async fn send_signed(
        &self,
        signed: &PresignedRequest,
        more: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        // The client itself says how long its body is.
        let own = |name: &str| ["host", "content-length"].iter().any(|it| name.eq_ignore_ascii_case(it));
        let mut headers: Vec<_> = signed.headers().filter(|(name, _)| !own(name)).collect();
        headers.extend(more);
        self.send(signed.method(), signed.uri(), &headers, body).await
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether a header that is a list has a word.
    pub(crate) fn lists(&self, name: &str, word: &str) -> bool {
        let is_word = |it: &str| it.trim() == "*" || it.trim().eq_ignore_ascii_case(word);
        self.headers
            .get_all(name)
            .iter()
            .any(|value| value.to_str().is_ok_and(|it| it.split(',').any(is_word)))
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it is a store's refusal, and not a failure in between.
    pub(crate) fn is_refused(&self) -> bool {
        (400..500).contains(&self.status)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// When the other side answered, by its own clock.
    pub(crate) fn date(&self) -> Option<Timestamp> {
        rfc2822::parse(self.header("date")).ok().map(|date| date.timestamp())
    }
}

/// For so many seconds from then on.
pub(crate) fn life(from: Timestamp, seconds: u64) -> Result<PresigningConfig, String> {
    let config = PresigningConfig::builder().start_time(from.into()).expires_in(Duration::from_secs(seconds));
    config.build().map_err(|_| "the life of a URL is not possible".to_owned())
}

/// What is left of a signed URL without what was signed: the object's address.
pub(crate) fn address(signed: &PresignedRequest) -> String {
    signed.uri().split('?').next().unwrap_or_default().to_owned()
}

/// The bucket's address, from that of an object in it.
pub(crate) fn bucket_address(object: &str, key: &str) -> String {
    object.strip_suffix(key).unwrap_or(object).trim_end_matches('/').to_owned()
}

/// The origin of a URL, as browsers write it: scheme, host, and the port if it is not the usual one.
pub fn origin(url: &str) -> Option<String> {
    Some(url.parse::<Url>().ok()?.origin().ascii_serialization())
}
