//! Reading variables, with everything that is wrong with them.

use std::collections::BTreeMap;

use lambda_http::http::Uri;

use super::{Needs, SECRETS};
use crate::secret::Secret;
use crate::secrets::SecretRef;

/// Where variables come from, and what was found wrong so far.
pub(super) struct Variables<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) errors: Vec<String>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { variable, errors: Vec::new() }
    }

    pub(super) fn optional(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn required(&mut self, name: &'static str) -> String {
        let Some(value) = self.optional(name) else {
            self.wrong(name, "is not set");
            return String::new();
        };
        if value.trim() != value {
            self.wrong(name, "has white space around it");
        }
        value
    }

    pub(super) fn secret(&mut self, name: &'static str) -> Secret {
        Secret::new(self.required(name))
    }

    /// The needed secrets of which only the ARN is given.
    pub(super) fn named_secrets(&mut self, needs: Needs) -> BTreeMap<&'static str, SecretRef> {
        let mut named = BTreeMap::new();
        let is_needed = |name: &&str| match *name {
            "SPACES_ACCESS_KEY" | "SPACES_SECRET_KEY" => needs.spaces,
            "JWT_SECRET" => needs.tokens,
            "AUDIT_SIGNING_KEY" => needs.signing,
            _ => true,
        };
        for name in SECRETS.into_iter().filter(is_needed) {
            let variable = format!("{name}_ARN");
            let Some(arn) = self.optional(&variable) else { continue };
            match SecretRef::parse(&arn) {
                _ if self.optional(name).is_some() => {
                    self.wrong(name, "and its _ARN: only one of them may be set");
                }
                Some(secret) => drop(named.insert(name, secret)),
                None => self.wrong(&variable, "is not the ARN of a secret of AWS Secrets Manager"),
            }
        }
        named
    }

    /// An origin: scheme, host, perhaps a port. Plain http only to this machine.
    pub(super) fn endpoint(&mut self, name: &'static str, text: &str) -> String {
        let origin = text.trim_end_matches('/');
        match origin.parse::<Uri>() {
            _ if text.is_empty() => {}
            Ok(uri) if uri.host().is_none() || uri.scheme().is_none() => {
                self.wrong(name, "is not an https:// address")
            }
            Ok(uri) if uri.path() != "/" || uri.query().is_some() => {
                self.wrong(name, "has something after the host; the bucket does not belong there");
            }
            Ok(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
                self.wrong(name, "has a user in it; keys have variables of their own");
            }
            Ok(uri) => match uri.scheme_str() {
                Some("https") => {}
                Some("http") if uri.host().is_some_and(is_loopback) => {}
                Some("http") => self.wrong(name, "is plain http to another machine; use https"),
                _ => self.wrong(name, "is not an https:// address"),
            },
            Err(_) => self.wrong(name, "is not an address"),
        }
        origin.to_owned()
    }

    pub(super) fn policies(&mut self) -> Option<String> {
        let file = self.optional("STORAGE_POLICIES")?;
        self.file("STORAGE_POLICIES", &file)
    }

    pub(super) fn file(&mut self, name: &str, file: &str) -> Option<String> {
        let text = std::fs::read_to_string(file);
        text.map_err(|error| {
            self.wrong(name, &format!("names a file that cannot be read ({})", error.kind()))
        })
        .ok()
    }

    pub(super) fn wrong(&mut self, name: &str, what: &str) {
        self.errors.push(format!("{name} {what}"));
    }
}

pub(super) fn host(endpoint: &str) -> Option<String> {
    endpoint.parse::<Uri>().ok()?.host().map(str::to_owned)
}

/// Whether it is on this machine.
pub(super) fn at_loopback(endpoint: &str) -> bool {
    host(endpoint).is_some_and(|host| is_loopback(&host))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
