//! The life of a file: reserved, stored, shown, signed for, deleted, purged. Bucket, table and log change here and only
//! here, in an order in which the process may die between any two steps.
//!
//! Every act takes a value that exists only after it was allowed, and leaves its entry in the log through an
//! [`Attempt`]. Knows nothing of HTTP.

mod complete;
mod export;
mod find;
mod remove;
mod session;
mod sign;
mod slice;
mod upload;

use crate::app::App;
use crate::attempt::Attempt;
use crate::clock::Deadline;
use crate::idempotency::Memory;
use crate::problem::Problem;

pub use export::OwnExport;
pub use find::{Found, Visible};
pub use session::{MAX_SIGNED_PARTS, NewUpload, Opened, OwnSession, PartUrl};
pub use sign::Purpose;
pub use upload::{NewFile, Reservation, Reserved};

/// How often a request looks again when a record changes under its hands.
const LOOKS: usize = 3;

/// The files, for the length of one request.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    app: &'a App,
    deadline: Deadline,
}

/// What the key remembers that another request with it took.
async fn taken(attempt: &mut Attempt<'_>) -> Result<Memory, Problem> {
    let remembered = attempt.recall().await?;
    remembered.ok_or_else(|| Problem::Unavailable("the idempotency key was just let go".into()))
}

impl<'a> Files<'a> {
    /// The files, until the request's deadline.
    #[must_use]
    pub fn new(app: &'a App, deadline: Deadline) -> Self {
        Self { app, deadline }
    }
}
