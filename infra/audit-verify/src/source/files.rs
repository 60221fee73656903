//! File records, and the objects that they are about.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::SourceError;
use super::live::{Live, describe};

type Row = std::collections::HashMap<String, AttributeValue>;

/// What a file record says of its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) path: String,
    pub(crate) sha256: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    state: String,
}

impl Live {
    /// An organisation's ACTIVE records.
    pub(crate) fn records(
        &self,
        org: &str,
        each: &mut dyn FnMut(Record) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        let scan = self.tables.scan().table_name(&self.options.records_table).consistent_read(true);
        let scan = scan.filter_expression("begins_with(#pk, :org) AND #state = :active");
        let scan = scan.expression_attribute_names("#pk", "pk").expression_attribute_names("#state", "state");
        let scan = scan.expression_attribute_values(":org", AttributeValue::S(format!("{org}/")));
        let scan = scan.expression_attribute_values(":active", AttributeValue::S("ACTIVE".into()));
        let mut pages = scan.into_paginator().send();
        while let Some(page) = self.runtime.block_on(pages.next()) {
            let page = page.map_err(|error| SourceError::new("the file records", describe(&error)))?;
            page.items().iter().filter_map(record).try_for_each(&mut *each)?;
        }
        Ok(())
    }

    /// A record as it is now.
    pub(crate) fn record(&self, path: &str) -> Result<Option<Record>, SourceError> {
        let get = self.tables.get_item().table_name(&self.options.records_table).consistent_read(true);
        let get = get.key("pk", AttributeValue::S(path.to_owned())).send();
        let row = self.runtime.block_on(get).map_err(|error| SourceError::new(path, describe(&error)))?.item;
        Ok(row.as_ref().and_then(record))
    }

    /// Shows an object's content piece by piece. False: there is no such object.
    pub(crate) fn object(&self, path: &str, piece: &mut dyn FnMut(&[u8])) -> Result<bool, SourceError> {
        let (files, bucket) =
            self.files.as_ref().ok_or_else(|| SourceError::new("the files", "their bucket is not given"))?;
        let get = files.get_object().bucket(bucket).key(path).send();
        self.runtime.block_on(async {
            let mut body = match get.await {
                Ok(answer) => answer.body,
                Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => {
                    return Ok(false);
                }
                Err(error) => return Err(SourceError::new(path, describe(&error))),
            };
            while let Some(bytes) = body.next().await {
                piece(&bytes.map_err(|error| SourceError::new(path, error))?);
            }
            Ok(true)
        })
    }
}

fn record(row: &Row) -> Option<Record> {
    let text = |name: &str| row.get(name).and_then(|value| value.as_s().ok());
    Some(Record {
        path: text("pk")?.clone(),
        sha256: text("sha256").cloned(),
        created_at: text("created_at").and_then(|at| at.parse().ok()),
        state: text("state")?.clone(),
    })
}
