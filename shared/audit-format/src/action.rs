//! What can be done, or tried.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What was done, or tried.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Action { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl Action {
            /// Every action there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in the log and in the filter of `audit-logs`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

actions! {
    /// A file was stored.
    Upload = "UPLOAD",
    /// A signed URL for looking at a file.
    View = "VIEW",
    /// A new version of a file.
    Edit = "EDIT",
    /// A file was deleted, softly or hard.
    Delete = "DELETE",
    /// A signed URL whose purpose the caller did not say.
    SignedUrlGenerated = "SIGNED_URL_GENERATED",
    /// A signed URL for taking a file away.
    Download = "DOWNLOAD",
    /// A record was shown.
    MetadataRead = "METADATA_READ",
    /// The bytes of a hard-deleted file are gone from the bucket.
    Purge = "PURGE",
    /// A reservation ended without a file and not by its own request's failure.
    UploadAborted = "UPLOAD_ABORTED",
    /// A soft-deleted file came back.
    Restore = "RESTORE",
    /// The log was read.
    AuditRead = "AUDIT_READ",
    /// The log was exported.
    AuditExport = "AUDIT_EXPORT",
    /// A stored file was held against what is recorded about it.
    Verify = "VERIFY",
    /// An object that nobody recorded got a record, under which it is kept for a while and then removed.
    Quarantine = "QUARANTINE",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
