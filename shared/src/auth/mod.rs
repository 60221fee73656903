//! Who is calling, and what they may do.
//!
//! ```text
//! token ──Verifier::verify──► Principal ─┬─authorise_upload──────────────────────► Authorised<Upload, T>
//!                                        ├─authorise_log─────────────────────────► Authorised<ReadLog, Log>
//!                                        └─consider──► Provisional<Sign, T> ─confirm─► Authorised<Sign, T>
//!                                                       (read the record)
//! ```
//!
//! Each arrow is the only way to the value at its end, so a function that takes an [`Authorised`] cannot be reached
//! without a verified token and a policy's permission.
//!
//! **A record is decided in two phases**, because "own uploads" depends on its owner, and nothing may be read before
//! the role is known to be allowed anything at all:
//!
//! 1. [`Policies::consider`], before any read: by what the path alone says. The owner is not known yet, so the
//!    policies are asked about both possibilities, the caller and somebody else; it is refused only if both are
//!    denied. What comes back allows reading the record, no more.
//! 2. [`Provisional::confirm`], after the strong read: the same question with the record's real owner.
//!
//! **Tenancy is not decided here.** Deployments may replace the policies, and a mistake in a replaced file must not
//! open one organisation's files to another. That a path or a record belongs to the caller's organisation is checked
//! in code, between the two phases, and answered 404. Policies therefore see the caller's own organisation as the
//! resource's, in both phases: in the first nothing else may make a difference (a foreign path must be answered like
//! a missing one), in the second it is true.
//!
//! Knows no HTTP, no AWS, no environment, no files, no clock: tokens come as text, policies as text, and the time as
//! a parameter.

mod authorised;
mod denial;
mod members;
mod policy;
mod policy_error;
mod principal;
mod token;

pub use authorised::{
    Action, Authorised, Delete, ExportLog, Log, LogRight, Provisional, Purge, ReadLog, ReadMetadata,
    RecordRight, Right, Sign, Target, Upload,
};
pub use denial::{DecidedBy, Denial, MAX_DENIAL_BYTES};
pub use policy::Policies;
pub use policy_error::{Fault, PolicyError};
pub use principal::{MAX_NAME_BYTES, Principal};
pub use token::{
    LEEWAY_SECONDS, MAX_TOKEN_BYTES, MIN_HS256_SECRET_BYTES, TokenError, Verifier, VerifierError,
};
