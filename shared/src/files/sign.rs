//! Showing a record, and signing URLs. Both first write the entry, on condition that the record is still what was read.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::{Files, Found, LOOKS, taken};
use crate::attempt::Attempt;
use crate::audit::Action;
use crate::auth::{ReadMetadata, Sign};
use crate::idempotency::{Memory, Seed};
use crate::path::FilePath;
use crate::problem::Problem;
use crate::record::{Integrity, Record};
use crate::spaces::{Presentation, SignedUrl};
use crate::tables::{Change, CommitError, Committed};

/// What a signed URL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Looking at the file: in the browser where its type is safe there.
    View,
    /// Taking the file away, under its original name.
    Download,
}

impl Purpose {
    /// The action that the log shows (DESIGN section 9, 1).
    #[must_use]
    pub fn action(purpose: Option<Self>) -> Action {
        match purpose {
            None => Action::SignedUrlGenerated,
            Some(Self::View) => Action::View,
            Some(Self::Download) => Action::Download,
        }
    }

    /// The name in requests and entries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Download => "download",
        }
    }
}

impl Files<'_> {
    /// Shows a record, after its reading is in the log.
    ///
    /// # Errors
    /// [`Problem`]
    pub async fn show(
        &self,
        mut found: Found<ReadMetadata>,
        attempt: &mut Attempt<'_>,
    ) -> Result<Record, Problem> {
        for _ in 0..LOOKS {
            self.deadline.begin_effect()?;
            match attempt.succeed(Change::StillThere { record: found.record() }).await {
                Ok(_) => return Ok(found.record().clone()),
                Err(CommitError::Conflict) => found = self.read_again(found).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::Unavailable("the record keeps changing".into()))
    }

    /// Signs one URL, after its entry is in the log. Never a URL for a file whose delete has committed.
    ///
    /// # Errors
    /// [`Problem`]
    pub async fn sign(
        &self,
        found: Found<Sign>,
        life: Duration,
        purpose: Option<Purpose>,
        attempt: &mut Attempt<'_>,
    ) -> Result<SignedUrl, Problem> {
        let record = found.record();
        let recorded = match &found.remembered {
            Some(memory) => remembered(memory)?,
            None => self.record_url(record, life, attempt).await?,
        };
        let presentation = Presentation {
            content_type: record.mime_type.clone(),
            disposition: disposition(found.path(), record, purpose),
        };
        Ok(self.app.spaces.sign(record, presentation, life, recorded).await?)
    }

    async fn record_url(
        &self,
        record: &Record,
        life: Duration,
        attempt: &mut Attempt<'_>,
    ) -> Result<Committed, Problem> {
        if record.integrity == Integrity::Failed {
            return Err(Problem::IntegrityFailed);
        }
        self.deadline.begin_effect()?;
        // The answer is good for as long as the URL is.
        match attempt.finish(Change::StillThere { record }, &Seed::default(), life).await {
            Err(CommitError::KeyTaken) => remembered(&taken(attempt).await?),
            recorded => Ok(recorded?),
        }
    }
}

fn remembered(memory: &Memory) -> Result<Committed, Problem> {
    Committed::remembered(memory).ok_or_else(|| Problem::Internal("a memory without its entry".into()))
}

/// `Content-Disposition` of the store's answer: inline only for types that cannot run in the browser, unless the file is
/// to be taken away. The name is the original one (RFC 6266, RFC 8187), with the key's name for old clients.
fn disposition(path: &FilePath, record: &Record, purpose: Option<Purpose>) -> String {
    /// What may stand in an extended value as it is (RFC 8187, `attr-char`).
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'!')
        .remove(b'#')
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b'-')
        .remove(b'.')
        .remove(b'^')
        .remove(b'_')
        .remove(b'`')
        .remove(b'|')
        .remove(b'~');
    let kinds = &path.place().object_type.kinds;
    let safe_inline = kinds.iter().any(|kind| kind.inline && kind.media_type == record.mime_type);
    let kind = if safe_inline && purpose != Some(Purpose::Download) { "inline" } else { "attachment" };
    let plain = path.name().as_str();
    if record.original_filename.is_empty() {
        return format!("{kind}; filename=\"{plain}\"");
    }
    let original = utf8_percent_encode(&record.original_filename, ENCODED);
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{original}")
}
