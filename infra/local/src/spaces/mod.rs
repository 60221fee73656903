//! The bucket of the local stack: an S3 store in this process, for development and tests.
//!
//! It stands in for DigitalOcean Spaces. The protocol (signatures, presigned URLs, XML) is the crate `s3s`; what a
//! bucket does (keys, multipart uploads, listings, CORS) is here, with S3's own semantics, so that code which works
//! against it works against Spaces. Bytes are files in a folder, the index beside them is SQLite.
//!
//! It knows nothing of the service: no paths, no organisations, no records, no tokens.
//!
//! ```text
//! server   HTTP/1.1 on a listener, CORS           -> s3s -> gate   what s3s lets pass and S3 would not
//!                                                     \---> api    S3's words to ours and back
//! api      -> body (bytes in and out, checksums)  -> store         the operations, all blocking
//! store    -> index (SQLite: what exists)         +  files (the bytes)
//! ```
//!
//! **Invariant:** an object or a part exists when the index says so. A file is written whole and synced before the
//! index names it, and removed only after the index has forgotten it; so a crash leaves at worst files that nobody
//! names, which the next [`Spaces::open`] removes.

mod api;
mod body;
mod cors;
mod errors;
mod files;
mod gate;
mod index;
mod server;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;

pub use cors::CorsRule;
use store::Store;

/// The bucket of the files.
pub const BUCKET: &str = "storage";
/// The bucket of the audit log's archive. Like the other it knows neither versions nor Object Lock: it takes the headers and
/// keeps nothing from being replaced.
pub const ARCHIVE_BUCKET: &str = "audit-archive";
/// The key id that requests are signed with.
pub const ACCESS_KEY_ID: &str = "local";
/// The secret of [`ACCESS_KEY_ID`]. It protects nothing: the store listens on loopback only.
pub const SECRET_ACCESS_KEY: &str = "localsecret";

/// The store, opened on its folder and not yet listening.
#[derive(Debug)]
pub struct Spaces {
    files: Arc<Store>,
    archive: Arc<Store>,
    cors: Vec<CorsRule>,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made, listed or written.
    #[error("the folder of the local bucket cannot be used: {0}")]
    Folder(#[from] std::io::Error),
    /// The index cannot be read; "database is locked" means that another process has the folder open.
    #[error("the index of the local bucket cannot be opened: {0}")]
    Index(#[from] rusqlite::Error),
    /// The index was written by another version of this program.
    #[error(
        "the index of the local bucket has layout {found}, this program reads {expected}: remove the folder"
    )]
    Layout {
        /// What the file says.
        found: i64,
        /// What this program writes.
        expected: i64,
    },
}

impl Spaces {
    /// Opens the store in `dir`, makes it if it is not there, and removes what a crash left behind.
    ///
    /// `cors` is what the files' bucket answers to browsers; [`CorsRule::development`] is the setup guide's rule. A folder
    /// belongs to one process at a time. Blocks on files: call it before the server starts, or off the async threads.
    pub fn open(dir: &Path, cors: Vec<CorsRule>) -> Result<Self, OpenError> {
        let archive = dir.join(ARCHIVE_BUCKET);
        std::fs::create_dir_all(&archive)?;
        Ok(Self { files: Arc::new(Store::open(dir)?), archive: Arc::new(Store::open(&archive)?), cors })
    }

    /// Serves S3 (path style) on `listener` until `shutdown` resolves, then ends what is under way.
    ///
    /// Idle connections are closed at once; a request under way gets five seconds to finish, then it is cut off.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) {
        let service = server::service(self.files, self.archive, self.cors);
        server::run(listener, service, shutdown).await;
    }
}
