//! A request of a caller whose token was verified.

use jiff::Timestamp;
use lambda_http::http::{HeaderMap, header};
use lambda_http::{Body, Request, RequestExt};

use super::Route;
use super::body::Query;
use super::event::Origin;
use crate::app::App;
use crate::attempt::Attempt;
use crate::audit::{Action, Actor, Related};
use crate::auth::{Principal, TokenError};
use crate::clock::{self, Deadline};
use crate::idempotency::{Fingerprint, Key, KeyError};
use crate::problem::Problem;

/// The cookie that holds a session: the same token, for callers that are pages of the same origin (DESIGN section 9, 5).
const SESSION_COOKIE: &str = "__Host-session";

/// Makes a request that is sent again the same request (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Everything a handler gets.
#[derive(Debug)]
pub struct Call {
    /// Who is calling, as the token says.
    pub principal: Principal,
    /// Who is calling and from where, as entries say it.
    pub actor: Actor,
    /// When the answer is due.
    pub deadline: Deadline,
    /// What stands in the path behind the endpoint's route, still percent-encoded.
    pub rest: String,
    /// Endpoint and path of the route, for the idempotency key.
    route: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Call {
    pub(super) fn new(
        app: &App,
        request: Request,
        endpoint: &str,
        route: &Route,
        rest: String,
    ) -> Result<Self, Problem> {
        let context = request.lambda_context();
        let (mut parts, body) = request.into_parts();
        let Some(Origin { query, ip, user_agent }) = parts.extensions.remove() else {
            return Err(Problem::Internal("a request that came in no event".into()));
        };
        let principal = authenticate(app, &parts.headers)?;
        let actor = Actor {
            org: principal.org().clone(),
            user: principal.user_id().clone(),
            sub: principal.sub().to_owned(),
            role: principal.role().to_owned(),
            ip,
            device: Actor::device(&user_agent),
            request_id: context.request_id.clone(),
        };
        let end = i64::try_from(context.deadline).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let deadline = Deadline::for_invocation(end.unwrap_or(Timestamp::MAX));
        let route = format!("{} {endpoint}/{}", route.method, route.path);
        Ok(Self { principal, actor, deadline, rest, route, query, headers: parts.headers, body })
    }

    /// Somebody tries something: the way into the log.
    #[must_use]
    pub fn attempt<'a>(&'a self, app: &'a App, action: Action, related: Related) -> Attempt<'a> {
        let mut attempt = Attempt::new(&app.tables, &self.actor, self.deadline, action);
        attempt.related = related;
        attempt
    }

    /// The caller's idempotency key, if the request has one, for the request with the fields that `fields` names.
    ///
    /// # Errors
    /// [`Problem::Invalid`] if it is not one, or if there are several.
    pub fn key(&self, fields: impl FnOnce(Fingerprint) -> Fingerprint) -> Result<Option<Key>, Problem> {
        let mut values = self.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.to_str().ok().filter(|_| values.next().is_none()).ok_or(KeyError)?;
        Ok(Some(Key::new(&self.principal, &self.route, key, fields(Fingerprint::of(&self.route)))?))
    }

    /// The query's parameters.
    ///
    /// # Errors
    /// [`Problem::Invalid`] if one stands there twice, or is not of this endpoint.
    pub fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        Query::parse(&self.query, known)
    }
}

fn authenticate(app: &App, headers: &HeaderMap) -> Result<Principal, Problem> {
    let Some(token) = bearer(headers)?.or_else(|| session(headers)) else {
        return Err(Problem::MissingToken);
    };
    app.tokens()?.verifier.verify(&token, clock::now()).map_err(Problem::InvalidToken)
}

fn bearer(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let token =
        value.to_str().ok().and_then(|text| text.split_once(' ')).and_then(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
    match (token, values.next()) {
        (Some(token), None) => Ok(Some(token)),
        _ => Err(Problem::InvalidToken(TokenError::Malformed { part: "not one bearer token" })),
    }
}

/// The session's token. Browsers send cookies along with requests that other sites make, so it counts only where the
/// browser says that the request is the page's own (Fetch Metadata); one that says nothing may be an old browser.
fn session(headers: &HeaderMap) -> Option<String> {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if !matches!(site, Some(b"same-origin" | b"none")) {
        return None;
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == SESSION_COOKIE).map(|(_, token)| token.to_owned())
}
