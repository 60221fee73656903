//! Everything that can be answered instead of what was asked for: `application/problem+json` (RFC 9457), with D1's
//! `detail`. What the caller sees and what the operator's log says are different texts.

use serde_json::{Value, json};

use crate::audit::{FilterError, RelatedError};
use crate::auth::TokenError;
use crate::clock::OutOfTime;
use crate::content::ContentError;
use crate::idempotency::KeyError;
use crate::path::PathError;
use crate::sealed::ProofError;
use crate::session::{MAX_OPEN_PER_USER, MAX_RESERVED_BYTES, SessionState};
use crate::spaces::SpacesError;
use crate::tables::{CommitError, StoreError};

/// Seconds after which a caller may try again what failed for a passing reason.
const RETRY_AFTER_SECONDS: u64 = 2;

/// Seconds after which a caller over a bound may look whether others have ended.
const QUOTA_RETRY_AFTER_SECONDS: u64 = 60;

/// Why a request was not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No function answers at this path.
    NoRoute,
    /// The function does not know this method; these it knows.
    MethodNotAllowed(String),
    /// Variables are missing or wrong; the log names them.
    NotConfigured(String),
    /// No token.
    MissingToken,
    /// A token that is not believed. Why is for the log; only that it has expired is told, to whoever had a good one.
    InvalidToken(TokenError),
    /// More bytes than are taken.
    TooLarge {
        /// How many are.
        max_bytes: u64,
    },
    /// The request is malformed.
    Invalid {
        /// Stable.
        code: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The form names an organisation that is not the token's.
    ForeignOrganisation,
    /// The role may not do this; the text says what decided.
    Forbidden(String),
    /// There is no such file for this caller. Why is for the operator alone.
    NotFound(Absence),
    /// A file lives here, or lived here.
    PathExists,
    /// Somebody else's reservation holds.
    UploadInProgress {
        /// Seconds until it ends.
        retry_after: u64,
    },
    /// The file's content is not what it may be.
    Content(ContentError),
    /// What arrived in the bucket is not what was announced.
    Mismatch(Mismatch),
    /// The caller has no such upload session.
    UploadNotFound(Absence),
    /// The caller's log has no such entry.
    EntryNotFound,
    /// The log is not sealed here: there is nothing to prove with, and nothing is counted.
    LogNotSealed,
    /// The entry, or the log, is not under a checkpoint yet.
    NotSealedYet,
    /// The session has ended, or is not in a state for what was asked.
    UploadOver(SessionState),
    /// The caller has no such export.
    ExportNotFound(Absence),
    /// The same of an export.
    ExportOver(SessionState),
    /// More entries than an export can hold.
    ExportTooLarge,
    /// Parts are missing, or of another size than promised; the first of them.
    PartsMissing(Vec<u32>),
    /// More upload sessions at once than are allowed.
    TooManyUploads,
    /// The organisation's open sessions may become more bytes than are allowed.
    TooManyBytes,
    /// The file's content is not what its record says: it is not handed out.
    IntegrityFailed,
    /// The idempotency key was used for another request.
    KeyReused,
    /// The first request with this idempotency key still runs.
    RequestInProgress {
        /// Seconds until it is believed to have ended.
        retry_after: u64,
    },
    /// Spaces or tables are not reachable, throttled, or there is no time left. The reason is for the log.
    Unavailable(String),
    /// A defect of ours or of the set-up. The reason is for the log.
    Internal(String),
}

/// How a file in the bucket differs from what was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It has another size.
    Size,
    /// It has another SHA-256.
    Sha256,
    /// It is not there any more, or something else is.
    Object,
}

/// Why there is no such file for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// No row.
    Missing,
    /// Another organisation's.
    Foreign,
    /// There is a row, in a state that this caller does not see.
    Invisible,
    /// It was there when it was read, and not any more when it was to be used.
    Changed,
}

impl Problem {
    /// A malformed request.
    #[must_use]
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid { code, detail: detail.into() }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Invalid { .. } | Self::Content(_) | Self::Mismatch(_) => 400,
            Self::MissingToken | Self::InvalidToken(_) => 401,
            Self::ForeignOrganisation | Self::Forbidden(_) => 403,
            Self::NoRoute
            | Self::NotFound(_)
            | Self::UploadNotFound(_)
            | Self::ExportNotFound(_)
            | Self::EntryNotFound
            | Self::LogNotSealed => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::PathExists
            | Self::NotSealedYet
            | Self::UploadInProgress { .. }
            | Self::UploadOver(_)
            | Self::ExportOver(_)
            | Self::ExportTooLarge
            | Self::PartsMissing(_)
            | Self::IntegrityFailed
            | Self::RequestInProgress { .. } => 409,
            Self::TooLarge { .. } => 413,
            Self::KeyReused => 422,
            Self::TooManyUploads | Self::TooManyBytes => 429,
            Self::NotConfigured(_) | Self::Internal(_) => 500,
            Self::Unavailable(_) => 503,
        }
    }

    /// A name that programs may compare; it never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRoute => "no_such_route",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::NotConfigured(_) => "not_configured",
            Self::MissingToken => "missing_token",
            Self::InvalidToken(_) => "invalid_token",
            Self::TooLarge { .. } => "too_large",
            Self::Invalid { code, .. } => code,
            Self::ForeignOrganisation => "foreign_organisation",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "file_not_found",
            Self::PathExists => "path_exists",
            Self::UploadInProgress { .. } => "upload_in_progress",
            Self::Content(error) => error.code(),
            Self::Mismatch(Mismatch::Size) => "size_mismatch",
            Self::Mismatch(Mismatch::Sha256) => "sha256_mismatch",
            Self::Mismatch(Mismatch::Object) => "upload_lost",
            Self::UploadNotFound(_) => "upload_not_found",
            Self::EntryNotFound => "entry_not_found",
            Self::LogNotSealed => "log_not_sealed",
            Self::NotSealedYet => "not_sealed_yet",
            Self::UploadOver(state) => match state {
                SessionState::Open | SessionState::Completing => "upload_in_progress",
                SessionState::Stored => "upload_stored",
                SessionState::Failed => "upload_failed",
                SessionState::Aborted => "upload_aborted",
                SessionState::Expired => "upload_expired",
            },
            Self::ExportNotFound(_) => "export_not_found",
            Self::ExportOver(state) => match state {
                SessionState::Open | SessionState::Completing => "export_in_progress",
                SessionState::Stored => "export_stored",
                SessionState::Failed => "export_failed",
                SessionState::Aborted => "export_cancelled",
                SessionState::Expired => "export_expired",
            },
            Self::ExportTooLarge => "export_too_large",
            Self::PartsMissing(_) => "parts_missing",
            Self::TooManyUploads => "too_many_uploads",
            Self::TooManyBytes => "too_many_bytes",
            Self::IntegrityFailed => "integrity_failed",
            Self::KeyReused => "idempotency_key_reused",
            Self::RequestInProgress { .. } => "request_in_progress",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// What the caller reads.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::NoRoute => "No such route".into(),
            Self::MethodNotAllowed(allow) => format!("Method not allowed; use {allow}"),
            Self::NotConfigured(_) => "Storage service not properly configured".into(),
            Self::MissingToken => "Authentication required".into(),
            Self::InvalidToken(TokenError::Expired) => "The access token has expired".into(),
            Self::InvalidToken(_) => "The access token is not valid".into(),
            Self::TooLarge { max_bytes } => format!("Too large: at most {max_bytes} bytes"),
            Self::Invalid { detail, .. } => detail.clone(),
            Self::ForeignOrganisation => "org_id is not the organisation of the access token".into(),
            Self::Forbidden(_) => "Your role may not do this".into(),
            Self::NotFound(_) => "File not found".into(),
            Self::PathExists => "A file of this name exists or existed here".into(),
            Self::UploadInProgress { .. } => "A file of this name is being uploaded".into(),
            Self::Content(error) => error.to_string(),
            Self::Mismatch(Mismatch::Size) => "The stored file does not have the announced size".into(),
            Self::Mismatch(Mismatch::Sha256) => "The stored file does not have the announced SHA-256".into(),
            Self::Mismatch(Mismatch::Object) => "The uploaded parts are gone; begin again".into(),
            Self::UploadNotFound(_) => "Upload not found".into(),
            Self::EntryNotFound => "Entry not found".into(),
            Self::LogNotSealed => "The audit log is not sealed here (AUDIT_ORIGIN is not set)".into(),
            Self::NotSealedYet => "Not sealed yet; try again in a moment".into(),
            Self::UploadOver(state) => match state {
                SessionState::Open | SessionState::Completing => "The upload is being completed".into(),
                SessionState::Stored => "The upload is complete".into(),
                SessionState::Failed => "The upload was refused; begin again".into(),
                SessionState::Aborted => "The upload was aborted".into(),
                SessionState::Expired => "The upload has expired; begin again".into(),
            },
            Self::ExportNotFound(_) => "Export not found".into(),
            Self::ExportOver(state) => match state {
                SessionState::Open | SessionState::Completing => {
                    "Another call works on this export; try again".into()
                }
                SessionState::Stored => "The export is complete".into(),
                SessionState::Failed => "The export failed; begin again".into(),
                SessionState::Aborted => "The export was cancelled".into(),
                SessionState::Expired => "The export has expired; begin again".into(),
            },
            Self::ExportTooLarge => "Too many entries for one export; narrow the filter".into(),
            Self::PartsMissing(_) => {
                "Parts are missing, or do not have the promised size; see \"missing\" for the first of them"
                    .into()
            }
            Self::TooManyUploads => {
                format!("Too many uploads: a user may have {MAX_OPEN_PER_USER} open; complete or abort some")
            }
            Self::TooManyBytes => format!(
                "Too many bytes: the open uploads of an organisation may become {MAX_RESERVED_BYTES}; complete or abort some"
            ),
            Self::IntegrityFailed => "The stored file is damaged or gone".into(),
            Self::KeyReused => "This Idempotency-Key was used for another request".into(),
            Self::RequestInProgress { .. } => "The first request with this Idempotency-Key still runs".into(),
            Self::Unavailable(_) => "Storage is temporarily unavailable; try again".into(),
            Self::Internal(_) => "Internal server error".into(),
        }
    }

    /// What the entry in the audit log reads: the same for every kind of absence, and no internal text.
    #[must_use]
    pub fn entry_text(&self) -> String {
        match self {
            Self::Forbidden(decided) => decided.clone(),
            _ => format!("{}: {}", self.code(), self.detail()),
        }
    }

    /// What only the operator reads.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::NotConfigured(text)
            | Self::Unavailable(text)
            | Self::Internal(text)
            | Self::Forbidden(text) => Some(text.clone()),
            Self::InvalidToken(error) => Some(error.to_string()),
            Self::NotFound(absence) | Self::UploadNotFound(absence) | Self::ExportNotFound(absence) => {
                Some(format!("{absence:?}").to_lowercase())
            }
            _ => None,
        }
    }

    /// Whether the audit log gets an entry of it (DESIGN section 6, the last table).
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        match self {
            Self::NoRoute
            | Self::MethodNotAllowed(_)
            | Self::MissingToken
            | Self::InvalidToken(_)
            | Self::TooLarge { .. }
            | Self::TooManyUploads
            | Self::TooManyBytes
            | Self::KeyReused
            // That the log was read for it is recorded before it is known.
            | Self::EntryNotFound
            // Nothing of the log was shown.
            | Self::LogNotSealed
            | Self::NotSealedYet
            | Self::Invalid { .. } => false,
            Self::ForeignOrganisation
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::PathExists
            | Self::UploadInProgress { .. }
            | Self::RequestInProgress { .. }
            | Self::UploadNotFound(_)
            | Self::UploadOver(_)
            | Self::ExportNotFound(_)
            | Self::ExportOver(_)
            | Self::ExportTooLarge
            | Self::PartsMissing(_)
            | Self::IntegrityFailed
            | Self::Content(_)
            | Self::Mismatch(_)
            | Self::NotConfigured(_)
            | Self::Unavailable(_)
            | Self::Internal(_) => true,
        }
    }

    /// Headers besides the content type.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::MethodNotAllowed(allow) => vec![("allow", allow.clone())],
            Self::MissingToken => vec![("www-authenticate", "Bearer".into())],
            Self::InvalidToken(_) => {
                vec![("www-authenticate", "Bearer error=\"invalid_token\"".into())]
            }
            Self::UploadOver(SessionState::Open | SessionState::Completing)
            | Self::ExportOver(SessionState::Open | SessionState::Completing) => {
                vec![("retry-after", RETRY_AFTER_SECONDS.to_string())]
            }
            Self::TooManyUploads | Self::TooManyBytes => {
                vec![("retry-after", QUOTA_RETRY_AFTER_SECONDS.to_string())]
            }
            Self::UploadInProgress { retry_after } | Self::RequestInProgress { retry_after } => {
                vec![("retry-after", retry_after.to_string())]
            }
            Self::Unavailable(_) | Self::NotSealedYet => {
                vec![("retry-after", RETRY_AFTER_SECONDS.to_string())]
            }
            _ => Vec::new(),
        }
    }

    /// The body.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Value {
        let code = self.code();
        let mut body = json!({
            "success": false,
            "type": format!("urn:storage:problem:{code}"),
            "title": title(self.status()),
            "status": self.status(),
            "code": code,
            "detail": self.detail(),
            "request_id": request_id,
        });
        if let Self::TooLarge { max_bytes } = self {
            body["max_bytes"] = json!(max_bytes);
        }
        if let Self::PartsMissing(parts) = self {
            body["missing"] = json!(parts);
        }
        body
    }
}

fn title(status: u16) -> &'static str {
    lambda_http::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Self {
        Self::invalid(error.code(), error.to_string())
    }
}

impl From<RelatedError> for Problem {
    fn from(error: RelatedError) -> Self {
        Self::invalid("invalid_field", error.to_string())
    }
}

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Self {
        Self::invalid(error.code, error.to_string())
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        Self::invalid("invalid_idempotency_key", error.to_string())
    }
}

impl From<OutOfTime> for Problem {
    fn from(OutOfTime: OutOfTime) -> Self {
        Self::Unavailable("no time left to begin".into())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unavailable(error.to_string()),
            StoreError::Broken(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<SpacesError> for Problem {
    fn from(error: SpacesError) -> Self {
        match error {
            SpacesError::Unanswered(_) | SpacesError::Unavailable(_) => Self::Unavailable(error.to_string()),
            SpacesError::Refused(_) => Self::NotConfigured(error.to_string()),
        }
    }
}

impl From<ProofError> for Problem {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Broken(_) => Self::Internal(error.to_string()),
            ProofError::Archive(error) => error.into(),
        }
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::NotFound(Absence::Changed),
            // Whatever the reason: what has no entry does not happen, and that is a 503 (DESIGN section 1).
            CommitError::KeyTaken | CommitError::Store(_) | CommitError::InDoubt(_) => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}
