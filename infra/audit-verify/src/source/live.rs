//! The table and the archive's bucket, read page by page with consistent reads.

use std::collections::{BTreeSet, HashMap};

use audit_format::{Attributes, Value};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::{Client as Tables, config as tables};
use aws_sdk_s3::{Client as Spaces, config as spaces};
use data_encoding::BASE64;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use super::{FoundRow, Partitions, SourceError, org_of};

/// Parts that are fetched side by side.
const CONCURRENT_PARTS: usize = 32;
/// Rows of a page, at most. A page ends at 1 MB anyway, which is about as many; the embedded store reads all that a page
/// may have before it cuts it.
const PAGE_ROWS: i32 = 1_500;
/// Months in which rows may stand if nobody knows better: seven years and 30 days, and one to either side.
const MONTHS: i32 = 12 * 7 + 3;

/// A store.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address; none: the region's own.
    pub url: Option<String>,
    /// Its region.
    pub region: String,
    /// Access key id. Read access is enough.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// Session token.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveOptions {
    /// Where the table is.
    pub tables: Endpoint,
    /// The log's table.
    pub log_table: String,
    /// Where the archive is.
    pub archive: Endpoint,
    /// The archive's bucket.
    pub archive_bucket: String,
    /// Where files are, and the bucket they are in; needed only to hold records against objects.
    pub files: Option<(Endpoint, String)>,
    /// The table of file records.
    pub records_table: String,
}

/// The live stores.
#[derive(Debug)]
pub struct Live {
    pub(super) runtime: Runtime,
    pub(super) tables: Tables,
    pub(super) archive: Spaces,
    pub(super) files: Option<(Spaces, String)>,
    pub(super) options: LiveOptions,
    now: Timestamp,
}

impl Live {
    /// Connects nothing yet. `now` bounds the months that are asked for.
    ///
    /// # Errors
    /// [`SourceError`] if no thread can be started.
    pub fn new(options: LiveOptions, now: Timestamp) -> Result<Self, SourceError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let files =
            options.files.as_ref().map(|(endpoint, bucket)| (bucket_client(endpoint), bucket.clone()));
        Ok(Self {
            runtime: runtime.map_err(|error| SourceError::new("the network", error))?,
            tables: table_client(&options.tables),
            archive: bucket_client(&options.archive),
            files,
            options,
            now,
        })
    }

    pub(super) fn parts(&self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, SourceError> {
        let parts = stream::iter(paths.to_vec()).map(|path| self.fetch(path)).buffered(CONCURRENT_PARTS);
        self.runtime.block_on(parts.try_collect())
    }

    async fn fetch(&self, path: String) -> Result<Option<Vec<u8>>, SourceError> {
        let get = self.archive.get_object().bucket(&self.options.archive_bucket).key(&path).send().await;
        match get {
            Ok(answer) => {
                let bytes = answer.body.collect().await.map_err(|error| SourceError::new(&path, error))?;
                Ok(Some(bytes.to_vec()))
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => Ok(None),
            Err(error) => Err(SourceError::new(&path, describe(&error))),
        }
    }

    /// What stands below a prefix, up to the next slash.
    pub(super) fn names(&self, prefix: &str) -> Result<BTreeSet<String>, SourceError> {
        let list = self.archive.list_objects_v2().bucket(&self.options.archive_bucket);
        let mut pages = list.prefix(prefix).delimiter("/").into_paginator().send();
        self.runtime.block_on(async {
            let mut names = BTreeSet::new();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| SourceError::new("the archive", describe(&error)))?;
                let folders = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
                let objects = page.contents().iter().filter_map(|object| object.key());
                let below = folders.chain(objects).filter_map(|name| name.strip_prefix(prefix));
                names.extend(below.map(|name| name.trim_end_matches('/').to_owned()));
            }
            Ok(names)
        })
    }

    pub(super) fn partitions(&self) -> Result<Partitions, SourceError> {
        let scan =
            self.tables.scan().table_name(&self.options.log_table).consistent_read(true).limit(PAGE_ROWS);
        let scan = scan.projection_expression("#pk").expression_attribute_names("#pk", "pk");
        let mut pages = scan.into_paginator().send();
        self.runtime.block_on(async {
            let mut partitions = Partitions::new();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| SourceError::new("the table", describe(&error)))?;
                for row in page.items() {
                    let Some(pk) = row.get("pk").and_then(|pk| pk.as_s().ok()) else { continue };
                    let org = partitions.entry(org_of(pk).to_owned()).or_default();
                    if !org.contains(pk) {
                        org.insert(pk.clone());
                    }
                }
            }
            Ok(partitions)
        })
    }

    pub(super) fn rows(
        &self,
        org: &str,
        partitions: Option<&BTreeSet<String>>,
        page: &mut dyn FnMut(Vec<FoundRow>),
    ) -> Result<(), SourceError> {
        let guessed;
        let partitions = match partitions {
            Some(partitions) => partitions,
            None => {
                guessed = self.months().map(|month| audit_format::partition(org, &month)).collect();
                &guessed
            }
        };
        for partition in partitions {
            let query = self.tables.query().table_name(&self.options.log_table).consistent_read(true);
            let query = query.key_condition_expression("#pk = :pk").expression_attribute_names("#pk", "pk");
            let query = query.expression_attribute_values(":pk", AttributeValue::S(partition.clone()));
            let mut pages = query.limit(PAGE_ROWS).into_paginator().send();
            while let Some(answer) = self.runtime.block_on(pages.next()) {
                let answer = answer.map_err(|error| SourceError::new("the table", describe(&error)))?;
                page(answer.items.unwrap_or_default().into_iter().map(|row| Some(attributes(row))).collect());
            }
        }
        Ok(())
    }

    fn months(&self) -> impl Iterator<Item = String> {
        let this = self.now.to_zoned(TimeZone::UTC).date().first_of_month();
        let ago = (-1..MONTHS).rev().filter_map(move |ago| this.checked_sub(ago.months()).ok());
        ago.map(|date| format!("{:04}-{:02}", date.year(), date.month()))
    }
}

fn table_client(endpoint: &Endpoint) -> Tables {
    let credentials = tables::Credentials::new(
        &endpoint.access_key,
        &endpoint.secret_key,
        endpoint.session_token.clone(),
        None,
        "environment",
    );
    let config = tables::Config::builder()
        .behavior_version(tables::BehaviorVersion::v2026_01_12())
        .region(tables::Region::new(endpoint.region.clone()))
        .credentials_provider(credentials);
    Tables::from_conf(match &endpoint.url {
        Some(url) => config.endpoint_url(url).build(),
        None => config.build(),
    })
}

fn bucket_client(endpoint: &Endpoint) -> Spaces {
    let credentials = spaces::Credentials::new(
        &endpoint.access_key,
        &endpoint.secret_key,
        endpoint.session_token.clone(),
        None,
        "environment",
    );
    let config = spaces::Config::builder()
        .behavior_version(spaces::BehaviorVersion::v2026_01_12())
        .region(spaces::Region::new(endpoint.region.clone()))
        .credentials_provider(credentials)
        .force_path_style(endpoint.url.is_some())
        // Stores other than S3 do not send the checksums that the SDK asks for; ours are the tree's.
        .response_checksum_validation(spaces::ResponseChecksumValidation::WhenRequired);
    Spaces::from_conf(match &endpoint.url {
        Some(url) => config.endpoint_url(url).build(),
        None => config.build(),
    })
}

/// What went wrong, with its causes: an SDK error says little by itself.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn attributes(row: HashMap<String, AttributeValue>) -> Attributes {
    let value = |value| match value {
        AttributeValue::S(text) => Value::S(text),
        AttributeValue::N(number) => Value::N(number),
        AttributeValue::B(bytes) => Value::B(bytes.into_inner()),
        other => Value::Other(json_of(&other).to_string()),
    };
    row.into_iter().map(|(name, found)| (name, value(found))).collect()
}

/// A value as the table's protocol writes it.
fn json_of(value: &AttributeValue) -> Json {
    let base64 = |bytes: &[u8]| BASE64.encode(bytes);
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": base64(bytes.as_ref()) }),
        AttributeValue::Bool(it) => json!({ "BOOL": it }),
        AttributeValue::Null(it) => json!({ "NULL": it }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(json_of).collect::<Vec<_>>() }),
        AttributeValue::M(map) => {
            let members = map.iter().map(|(name, value)| (name.clone(), json_of(value)));
            json!({ "M": members.collect::<serde_json::Map<_, _>>() })
        }
        AttributeValue::Ss(texts) => json!({ "SS": texts }),
        AttributeValue::Ns(numbers) => json!({ "NS": numbers }),
        AttributeValue::Bs(all) => {
            json!({ "BS": all.iter().map(|bytes| base64(bytes.as_ref())).collect::<Vec<_>>() })
        }
        _ => Json::Null,
    }
}
