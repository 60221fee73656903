//! The fields of an entry that a filter can speak of.

use std::borrow::Cow;
use std::net::IpAddr;

use audit_format::{Action, Body};

use super::FilterError;
use crate::catalog::Catalog;
use crate::path::FilePath;

/// Longest value of a field that has no grammar of its own: no entry has a longer one.
const MAX_VALUE_BYTES: usize = 256;

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $code:literal;)*) => {
        /// A field of an entry. Sorted as a filter's text is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Field { $($(#[$doc])* $variant,)* }

        impl Field {
            /// Every field there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name of the parameter.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }
    };
}

fields! {
    /// The full path.
    FilePath = "file_path", "invalid_path";
    /// The action; of this one several may be wanted.
    ActionType = "action_type", "invalid_action_type";
    /// The user, as decimal or plain text.
    UserId = "user_id", "invalid_user_id";
    /// The role at the time of the action.
    Role = "role", "invalid_role";
    /// `true` or `false`.
    Success = "success", "invalid_success";
    /// The kind of the caller's business object.
    RelatedObjectType = "related_object_type", "invalid_related_object_type";
    /// The caller's business object.
    RelatedObjectId = "related_object_id", "invalid_related_object_id";
    /// The system of the path, or that a refused request named.
    System = "system", "invalid_system";
    /// The client's address, however it is written.
    IpAddress = "ip_address", "invalid_ip_address";
    /// The request.
    RequestId = "request_id", "invalid_request_id";
}

impl Field {
    /// What an entry has there.
    pub(super) fn of(self, body: &Body) -> Option<Cow<'_, str>> {
        match self {
            Self::FilePath => body.file_path().map(Cow::Owned),
            Self::ActionType => Some(body.action.name().into()),
            Self::UserId => Some(body.user.to_string().into()),
            Self::Role => Some(body.role.as_str().into()),
            Self::Success => Some(if body.error.is_none() { "true" } else { "false" }.into()),
            Self::RelatedObjectType => body.related_type.as_deref().map(Cow::Borrowed),
            Self::RelatedObjectId => body.related_id.as_deref().map(Cow::Borrowed),
            Self::System => system(body).map(Cow::Owned),
            Self::IpAddress => Some(body.ip.as_str()).filter(|ip| !ip.is_empty()).map(address),
            Self::RequestId => Some(body.request_id.as_str().into()),
        }
    }

    /// A value as a filter keeps it: in the form in which [`Field::of`] has it.
    pub(super) fn value(self, text: &str) -> Result<String, FilterError> {
        let wrong =
            |expected: String| FilterError::new(self.code(), format!("Invalid {}: {expected}", self.name()));
        match self {
            Self::FilePath => FilePath::parse(text)
                .map(|path| path.as_str().to_owned())
                .map_err(|error| FilterError::new(error.code(), error.to_string())),
            Self::ActionType if !Action::ALL.iter().any(|action| action.name() == text) => {
                let known: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
                Err(wrong(format!("{text} (known: {})", known.join(", "))))
            }
            Self::Success if !["true", "false"].contains(&text) => Err(wrong("true or false".into())),
            Self::System if !Catalog::get().iter().any(|object_type| object_type.system == text) => {
                Err(wrong(text.to_owned()))
            }
            Self::IpAddress => match text.parse::<IpAddr>() {
                Ok(ip) => Ok(ip.to_canonical().to_string()),
                Err(_) => Err(wrong("an IPv4 or IPv6 address".into())),
            },
            _ if text.is_empty() || text.len() > MAX_VALUE_BYTES || text.chars().any(char::is_control) => {
                Err(wrong(format!("1 to {MAX_VALUE_BYTES} bytes, no control characters")))
            }
            _ => Ok(text.to_owned()),
        }
    }
}

/// The second segment of the path; of an entry without one, what the request named.
fn system(body: &Body) -> Option<String> {
    let of_path = body.file_path().and_then(|path| path.split('/').nth(1).map(str::to_owned));
    of_path.or_else(|| body.details.system.clone())
}

/// One text for every way to write an address.
fn address(text: &str) -> Cow<'_, str> {
    text.parse::<IpAddr>().map_or(Cow::Borrowed(text), |ip| Cow::Owned(ip.to_canonical().to_string()))
}
