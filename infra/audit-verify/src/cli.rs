//! What the command line says. The names of variables and their defaults are the service's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use audit_verify::{Endpoint, Keys, LiveOptions};
use clap::{Args, Parser, Subcommand};

use crate::Failure;

/// Proves or refutes that the audit log is what was sealed.
///
/// Exit code: 1 tampering is proven, 2 it cannot be decided, 3 entries have waited too long for their seal, 0 all is proven.
#[derive(Parser)]
#[command(name = "audit-verify", args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) verify: Verify,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Copy archive and table into a new folder, to be verified elsewhere
    Bundle(Bundle),
}

#[derive(Args)]
pub(crate) struct Verify {
    /// A key that is trusted: a vkey, or a file with one or with the answer of GET /audit-logs/keys
    #[arg(long, value_name = "VKEY|FILE")]
    key: Vec<String>,
    /// A key that is trusted: 32 bytes, base64; needs --origin
    #[arg(long, value_name = "BASE64")]
    public_key: Vec<String>,
    /// What the origins of all logs begin with; a vkey says it by itself
    #[arg(long, env = "AUDIT_ORIGIN")]
    origin: Option<String>,
    /// Your pins: the checkpoints that were found good. Written anew when all is proven
    #[arg(long, value_name = "FILE")]
    pub(crate) pins: Option<PathBuf>,
    /// A log without a pin is not decidable
    #[arg(long)]
    pub(crate) require_pins: bool,
    /// Only this organisation; may be given several times. Default: all
    #[arg(long)]
    pub(crate) org: Vec<String>,
    /// A MODIFIED or REMOVED notice, or a backdated entry, that you know of, as ORG/SEQ
    #[arg(long, value_name = "ORG/SEQ", value_parser = notice)]
    pub(crate) acknowledge: Vec<(String, u64)>,
    /// How long an entry may wait for its leaf, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) limit: Duration,
    /// How old the newest leaf of a log may be, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "7200", value_parser = seconds)]
    pub(crate) stale: Duration,
    /// Hold every ACTIVE record against its object, and both against the log
    #[arg(long, conflicts_with = "bundle")]
    pub(crate) objects: bool,
    /// The outcome as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Verify this exported bundle instead of the live table and archive
    #[arg(long, value_name = "FOLDER")]
    pub(crate) bundle: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) stores: Stores,
}

#[derive(Args)]
pub(crate) struct Bundle {
    /// The folder; it must not exist
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Only this organisation; may be given several times. Nothing in the bundle then names another
    #[arg(long)]
    pub(crate) org: Vec<String>,
    #[command(flatten)]
    pub(crate) stores: Stores,
}

/// Where table and archive are. Credentials come from the environment alone: AWS_ACCESS_KEY_ID and so on, for the archive
/// AUDIT_ARCHIVE_ACCESS_KEY, for the files SPACES_ACCESS_KEY, each with its secret.
#[derive(Args)]
pub(crate) struct Stores {
    /// Address of the tables; default: the region's own
    #[arg(long, env = "DYNAMODB_ENDPOINT", value_name = "URL")]
    dynamodb_endpoint: Option<String>,
    /// Address of the archive; default: the region's own S3
    #[arg(long, env = "AUDIT_ARCHIVE_ENDPOINT", value_name = "URL")]
    s3_endpoint: Option<String>,
    /// Region of the tables, and of the archive unless AUDIT_ARCHIVE_REGION says another
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    #[arg(long, env = "AUDIT_ARCHIVE_REGION", hide = true)]
    archive_region: Option<String>,
    /// The archive's bucket
    #[arg(long, env = "AUDIT_ARCHIVE_BUCKET", default_value = "audit-archive", value_name = "BUCKET")]
    archive_bucket: String,
    /// The log's table
    #[arg(
        long,
        env = "STORAGE_AUDIT_LOGS_TABLE",
        default_value = "storage_audit_logs",
        value_name = "TABLE"
    )]
    table: String,
    /// The table of file records
    #[arg(long, env = "FILE_RECORDS_TABLE", default_value = "file_records", value_name = "TABLE")]
    records_table: String,
    /// Address of the files; default: that of the archive
    #[arg(long, env = "SPACES_ENDPOINT", value_name = "URL")]
    files_endpoint: Option<String>,
    /// The files' bucket
    #[arg(long, env = "SPACES_BUCKET", default_value = "storage", value_name = "BUCKET")]
    files_bucket: String,
    #[arg(long, env = "SPACES_REGION", hide = true)]
    files_region: Option<String>,
}

impl Verify {
    pub(crate) fn keys(&self) -> Result<Keys, Failure> {
        let mut keys = Keys::new(self.origin.clone());
        for key in &self.key {
            match Path::new(key).is_file() {
                true => keys.add(&std::fs::read_to_string(key)?)?,
                false => keys.add(key)?,
            }
        }
        self.public_key.iter().try_for_each(|key| keys.add_public(key, None))?;
        match keys.is_empty() {
            true => Err("no key is given: without --key or --public-key nothing can be believed".into()),
            false => Ok(keys),
        }
    }
}

impl Stores {
    pub(crate) fn options(&self, objects: bool) -> Result<LiveOptions, Failure> {
        let aws = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
        let tables = endpoint(self.dynamodb_endpoint.as_ref(), &self.region, aws)?;
        let own_or_aws = |own: (&'static str, &'static str)| if variable(own.0).is_ok() { own } else { aws };
        let archive = endpoint(
            self.s3_endpoint.as_ref(),
            self.archive_region.as_ref().unwrap_or(&self.region),
            own_or_aws(("AUDIT_ARCHIVE_ACCESS_KEY", "AUDIT_ARCHIVE_SECRET_KEY")),
        )?;
        let files = match objects {
            true => Some(endpoint(
                self.files_endpoint.as_ref().or(self.s3_endpoint.as_ref()),
                self.files_region.as_ref().unwrap_or(&self.region),
                own_or_aws(("SPACES_ACCESS_KEY", "SPACES_SECRET_KEY")),
            )?),
            false => None,
        };
        Ok(LiveOptions {
            tables,
            log_table: self.table.clone(),
            archive,
            archive_bucket: self.archive_bucket.clone(),
            files: files.map(|files| (files, self.files_bucket.clone())),
            records_table: self.records_table.clone(),
        })
    }
}

fn endpoint(url: Option<&String>, region: &str, names: (&str, &str)) -> Result<Endpoint, Failure> {
    Ok(Endpoint {
        url: url.cloned(),
        region: region.to_owned(),
        access_key: variable(names.0)?,
        secret_key: variable(names.1)?,
        // A session's token belongs to the session's own key.
        session_token: variable("AWS_SESSION_TOKEN").ok().filter(|_| names.0.starts_with("AWS")),
    })
}

fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("{name} is not set").into())
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

fn notice(text: &str) -> Result<(String, u64), String> {
    let parsed = text.rsplit_once('/').and_then(|(org, seq)| Some((org.to_owned(), seq.parse().ok()?)));
    parsed.ok_or_else(|| "it is an organisation, a slash and a position: org-1/17".to_owned())
}
