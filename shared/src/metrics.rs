//! Metrics: lines in CloudWatch's embedded metric format on standard output, from which CloudWatch Logs makes metrics.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! What happens is recorded where it happens, and written when the request or the task has come to its end: a line for each
//! dimension value, most often one to three. No call is made. Only a function's process writes; elsewhere (the local stack, the tests
//! of the library) nothing is kept.
//!
//! A metric has at most one dimension, and its values are those of an enum: never an organisation, a user or a path.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Map, Value, json};

use crate::clock;

/// Most values of a metric in one line (specification, "Target members").
const MAX_VALUES: usize = 100;

/// What is measured. A count is 1 each time, unless it says what is counted; of what is asked "whether", 1 is yes and 0 is no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Requests that were answered, whatever the answer.
    Requests,
    /// Of each of them, whether it was answered with a 5xx: the mean is the share.
    ServerErrors,
    /// Requests and tasks that found settings missing or wrong, or that the bucket refused.
    NotConfigured,
    /// Files that became files: by a form, in parts, or as an export of the log.
    UploadsStored,
    /// Their bytes.
    UploadedBytes,
    /// Requests of an upload that were refused, once they were understood.
    UploadsRefused,
    /// Of each request of an upload that was not refused, whether it failed for our reasons: the mean is the share.
    UploadsFailed,
    /// The time to sign a URL for reading.
    SigningLatency,
    /// Upload sessions that were past a bound: a 429.
    QuotaRefusals,
    /// When a session opens: the share of its user's [`MAX_OPEN_PER_USER`](crate::session::MAX_OPEN_PER_USER).
    OpenUploadsUsed,
    /// When a session opens: the share of its organisation's [`MAX_RESERVED_BYTES`](crate::session::MAX_RESERVED_BYTES).
    ReservedBytesUsed,
    /// Entries that are not in the log and should be, or of which nobody knows: what wakes people.
    AuditWriteFailures,
    /// An attempt of a call to the files' bucket, also one that failed.
    SpacesLatency(Operation),
    /// Of each of them, whether it failed, and how: the mean over all classes is the share. An answer that is cut off counts once more.
    SpacesErrors(Option<ErrorClass>),
    /// An attempt of a call to the sealed log's archive.
    ArchiveLatency(Operation),
    /// The same of them.
    ArchiveErrors(Option<ErrorClass>),
    /// From the oldest entry of what a checkpoint covers anew to that checkpoint.
    SealingDelay,
    /// The age of the oldest leaf that no checkpoint covers, looked at every minute; 0: there is none.
    UnsealedAge,
    /// When the stream hands over a batch: the age of its oldest record.
    StreamAge,
    /// Rows of the log that somebody changed.
    RowsModified,
    /// Rows of the log that somebody removed.
    RowsRemoved,
    /// Rows of the log that are no entries.
    RowsMalformed,
    /// Entries that the sealer was not told of: how many.
    EntriesLate,
    /// Logs that cannot be sealed or published until somebody mends them.
    ArchiveBroken,
    /// Records of the stream without an image of a row: how many.
    StreamUnread,
    /// Runs of maintenance that looked at everything.
    MaintenanceCompleted,
    /// Things that a run could not see to: how many.
    MaintenanceFailures,
    /// Files whose object is gone or another: how many.
    FilesDamaged,
    /// Objects that nobody recorded: how many.
    ObjectsQuarantined,
    /// Uploads that nobody finished in time: how many.
    UploadsExpired,
    /// Since bucket and tables were last compared.
    ComparisonAge,
    /// The objects in the bucket, when a comparison has seen them all.
    StorageObjects,
    /// Their bytes.
    StorageBytes,
}

/// A call of the S3 API, by its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the S3 API has them")]
pub enum Operation {
    PutObject,
    GetObject,
    HeadObject,
    DeleteObject,
    ListObjectsV2,
    CreateMultipartUpload,
    UploadPart,
    ListParts,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListMultipartUploads,
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It was refused for good: a 4xx.
    Refused,
    /// It may be tried again: a 5xx, 408, 409 or 429.
    Unavailable,
    /// There was no answer, or only that of somebody in between (502, 504).
    Unanswered,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::PutObject => "PutObject",
            Self::GetObject => "GetObject",
            Self::HeadObject => "HeadObject",
            Self::DeleteObject => "DeleteObject",
            Self::ListObjectsV2 => "ListObjectsV2",
            Self::CreateMultipartUpload => "CreateMultipartUpload",
            Self::UploadPart => "UploadPart",
            Self::ListParts => "ListParts",
            Self::CompleteMultipartUpload => "CompleteMultipartUpload",
            Self::AbortMultipartUpload => "AbortMultipartUpload",
            Self::ListMultipartUploads => "ListMultipartUploads",
        }
    }
}

impl ErrorClass {
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Unanswered => "unanswered",
        }
    }
}

impl Metric {
    /// Name and unit, as CloudWatch has them.
    fn name_and_unit(self) -> (&'static str, &'static str) {
        match self {
            Self::Requests => ("Requests", "Count"),
            Self::ServerErrors => ("ServerErrors", "Count"),
            Self::NotConfigured => ("NotConfigured", "Count"),
            Self::UploadsStored => ("UploadsStored", "Count"),
            Self::UploadedBytes => ("UploadedBytes", "Bytes"),
            Self::UploadsRefused => ("UploadsRefused", "Count"),
            Self::UploadsFailed => ("UploadsFailed", "Count"),
            Self::SigningLatency => ("SigningLatency", "Microseconds"),
            Self::QuotaRefusals => ("QuotaRefusals", "Count"),
            Self::OpenUploadsUsed => ("OpenUploadsUsed", "Percent"),
            Self::ReservedBytesUsed => ("ReservedBytesUsed", "Percent"),
            Self::AuditWriteFailures => ("AuditWriteFailures", "Count"),
            Self::SpacesLatency(_) => ("SpacesLatency", "Milliseconds"),
            Self::SpacesErrors(_) => ("SpacesErrors", "Count"),
            Self::ArchiveLatency(_) => ("ArchiveLatency", "Milliseconds"),
            Self::ArchiveErrors(_) => ("ArchiveErrors", "Count"),
            Self::SealingDelay => ("SealingDelay", "Milliseconds"),
            Self::UnsealedAge => ("UnsealedAge", "Seconds"),
            Self::StreamAge => ("StreamAge", "Seconds"),
            Self::RowsModified => ("RowsModified", "Count"),
            Self::RowsRemoved => ("RowsRemoved", "Count"),
            Self::RowsMalformed => ("RowsMalformed", "Count"),
            Self::EntriesLate => ("EntriesLate", "Count"),
            Self::ArchiveBroken => ("ArchiveBroken", "Count"),
            Self::StreamUnread => ("StreamUnread", "Count"),
            Self::MaintenanceCompleted => ("MaintenanceCompleted", "Count"),
            Self::MaintenanceFailures => ("MaintenanceFailures", "Count"),
            Self::FilesDamaged => ("FilesDamaged", "Count"),
            Self::ObjectsQuarantined => ("ObjectsQuarantined", "Count"),
            Self::UploadsExpired => ("UploadsExpired", "Count"),
            Self::ComparisonAge => ("ComparisonAge", "Seconds"),
            Self::StorageObjects => ("StorageObjects", "Count"),
            Self::StorageBytes => ("StorageBytes", "Bytes"),
        }
    }

    /// The dimension, if it has one, and its value in this function. Every such metric is there without it, too: the sum.
    fn dimension(self, function: &'static str) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Requests
            | Self::ServerErrors
            | Self::NotConfigured
            | Self::UploadsStored
            | Self::UploadedBytes
            | Self::UploadsRefused
            | Self::UploadsFailed
            | Self::SigningLatency => Some(("Function", function)),
            Self::SpacesLatency(operation) | Self::ArchiveLatency(operation) => {
                Some(("Operation", operation.name()))
            }
            Self::SpacesErrors(class) | Self::ArchiveErrors(class) => Some(("Class", class?.name())),
            _ => None,
        }
    }
}

/// What this process has recorded and not written yet.
static RECORDED: OnceLock<Recorded> = OnceLock::new();

struct Recorded {
    function: &'static str,
    namespace: String,
    values: Mutex<Values>,
}

/// A dimension and its value.
type Dimension = (&'static str, &'static str);
/// Values by name and unit.
type Metrics = BTreeMap<(&'static str, &'static str), Vec<u64>>;
type Values = BTreeMap<Option<Dimension>, Metrics>;

/// Begins to measure in the process of this function, for this namespace of CloudWatch.
pub fn init(function: &'static str, namespace: String) {
    // A second call, in a process that measures already, changes nothing.
    let _ = RECORDED.set(Recorded { function, namespace, values: Mutex::default() });
}

/// Something happened once.
pub fn count(metric: Metric) {
    record(metric, 1);
}

/// Something was measured.
pub fn record(metric: Metric, value: u64) {
    let Some(recorded) = RECORDED.get() else { return };
    if let Some(full) = recorded.add(metric, value) {
        recorded.write(&full);
    }
}

/// Writes what was recorded since the last time, by whichever request.
pub fn flush() {
    if let Some(recorded) = RECORDED.get() {
        recorded.write(&std::mem::take(&mut *recorded.values()));
    }
}

impl Recorded {
    /// Keeps a value. Answers all that is kept, and keeps it no longer, if a line can hold no more of the metric.
    fn add(&self, metric: Metric, value: u64) -> Option<Values> {
        let mut values = self.values();
        let of_dimension = values.entry(metric.dimension(self.function)).or_default();
        let of_metric = of_dimension.entry(metric.name_and_unit()).or_default();
        of_metric.push(value);
        (of_metric.len() == MAX_VALUES).then(|| std::mem::take(&mut *values))
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        // Nothing in here can be left half done by a panic.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, values: &Values) {
        let now = clock::now().as_millisecond();
        let lines: String =
            values.iter().map(|(dimension, metrics)| self.line(now, *dimension, metrics)).collect();
        // Without standard output there is nobody to tell.
        let _ = std::io::stdout().lock().write_all(lines.as_bytes());
    }

    /// One document of the format. The function is always named in it, for whoever searches the logs.
    fn line(&self, now: i64, dimension: Option<Dimension>, metrics: &Metrics) -> String {
        let sets = match dimension {
            Some((name, _)) => json!([[name], []]),
            None => json!([[]]),
        };
        let named = |(name, unit): &(&str, &str)| json!({ "Name": name, "Unit": unit });
        let metadata = json!({
            "Timestamp": now,
            "CloudWatchMetrics": [{
                "Namespace": self.namespace,
                "Dimensions": sets,
                "Metrics": metrics.keys().map(named).collect::<Vec<_>>(),
            }],
        });
        let mut document =
            Map::from_iter([("_aws".into(), metadata), ("Function".into(), self.function.into())]);
        document.extend(dimension.map(|(name, value)| (name.into(), value.into())));
        document.extend(metrics.iter().map(|((name, _), values)| ((*name).into(), json!(values))));
        format!("{}\n", Value::Object(document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_a_hundred_values_and_nothing_is_lost() {
        let recorded = Recorded { function: "seal", namespace: "Storage".into(), values: Mutex::default() };
        let full: Vec<Values> =
            (0..250).filter_map(|value| recorded.add(Metric::SealingDelay, value)).collect();
        let left = std::mem::take(&mut *recorded.values());
        let of_line = |values: &Values| -> Vec<u64> {
            values.values().flat_map(|metrics| metrics.values().flatten().copied()).collect()
        };
        let of_lines: Vec<Vec<u64>> = full.iter().chain([&left]).map(of_line).collect();
        assert_eq!(of_lines.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
        assert_eq!(of_lines.concat(), (0..250).collect::<Vec<u64>>());
        assert!(recorded.values().is_empty());
    }
}
