//! The tables' definitions: keys, indexes, time to live, stream. The one place where they are written down; what an operator's
//! tool holds a store against is had from here.

use std::time::Duration;

use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TimeToLiveSpecification,
    TimeToLiveStatus,
};

use super::failure::Attempt;
use super::{StoreError, Tables};
use crate::audit::Index;

/// How long a new table may take to become ready.
const CREATION_LIMIT: Duration = Duration::from_secs(120);

/// An attribute that is part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    name: &'static str,
    kind: ScalarKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScalarKind {
    Text,
    Number,
    Bytes,
}

#[derive(Debug, Clone)]
struct IndexDefinition {
    name: &'static str,
    partition: Key,
    sort: Key,
    keys_only: bool,
}

/// A table as the service needs it. What it is made of is told in the SDK's words, in which a store describes its own.
#[derive(Debug, Clone)]
pub struct Definition {
    /// What it is called here.
    pub table: String,
    /// The attribute at whose time rows expire, in seconds since 1970; none: they never do.
    pub ttl: Option<&'static str>,
    partition: Key,
    sort: Option<Key>,
    indexes: Vec<IndexDefinition>,
    stream: bool,
}

const fn text(name: &'static str) -> Key {
    Key { name, kind: ScalarKind::Text }
}

const fn number(name: &'static str) -> Key {
    Key { name, kind: ScalarKind::Number }
}

/// `file_records`: one row a path, for ever.
fn records(table: &str) -> Definition {
    Definition {
        table: table.to_owned(),
        partition: text("pk"),
        sort: None,
        indexes: vec![
            // Lists of a system's files of one type, in the bucket's byte order.
            IndexDefinition {
                name: "by_context",
                partition: text("context"),
                sort: text("context_sort"),
                keys_only: false,
            },
            // What maintenance must look at, by due time.
            IndexDefinition { name: "sweep", partition: text("sweep"), sort: number("due"), keys_only: true },
        ],
        ttl: None,
        stream: false,
    }
}

/// `storage_audit_logs`: insert-only.
fn log(table: &str) -> Definition {
    let by = |index: Index| IndexDefinition {
        name: index.name(),
        partition: Key { name: index.attribute(), kind: ScalarKind::Bytes },
        sort: text("sk"),
        keys_only: false,
    };
    Definition {
        table: table.to_owned(),
        partition: text("pk"),
        sort: Some(text("sk")),
        indexes: [Index::File, Index::User, Index::Action, Index::Object].map(by).into(),
        ttl: Some("ttl"),
        stream: true,
    }
}

/// `storage_state`: upload sessions, what they reserve, idempotency keys, maintenance's position.
fn state(table: &str) -> Definition {
    Definition {
        table: table.to_owned(),
        partition: text("pk"),
        sort: None,
        indexes: Vec::new(),
        ttl: Some("ttl"),
        stream: false,
    }
}

/// `storage_audit_state`: the sealer's heads, positions and counters. See [`super::positions`] for the rows.
fn audit_state(table: &str) -> Definition {
    Definition {
        table: table.to_owned(),
        partition: text("pk"),
        sort: Some(text("sk")),
        indexes: Vec::new(),
        ttl: Some("ttl"),
        stream: false,
    }
}

impl Tables {
    /// The four tables: records, log, state, the sealer's state.
    #[must_use]
    pub fn definitions(&self) -> [Definition; 4] {
        let names = &self.names;
        [records(&names.records), log(&names.log), state(&names.state), audit_state(&names.audit_state)]
    }

    /// Creates the tables that are not there. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn provision(&self) -> Result<(), StoreError> {
        for definition in self.definitions() {
            self.create(&definition).await?;
        }
        Ok(())
    }

    /// Creates a table if it is not there, and lets its rows expire. One that is there keeps what it is made of.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create(&self, definition: &Definition) -> Result<(), StoreError> {
        let broken = |_: BuildError| StoreError::Broken("a table definition is incomplete".into());
        let table = &definition.table;
        let indexes = definition.indexes().map_err(broken)?;
        let create = self
            .client
            .create_table()
            .table_name(table)
            .billing_mode(BillingMode::PayPerRequest)
            .set_attribute_definitions(Some(definition.attributes().map_err(broken)?))
            .set_key_schema(Some(definition.key_schema().map_err(broken)?))
            .set_global_secondary_indexes(Some(indexes).filter(|indexes| !indexes.is_empty()))
            .set_stream_specification(definition.stream().map_err(broken)?);
        match create.send().await {
            Ok(_) => {}
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => {}
            Err(error) => return Err(Attempt::of(&error).into()),
        }
        // A new table takes no other change before it is ready.
        let ready = self.client.wait_until_table_exists().table_name(table).wait(CREATION_LIMIT).await;
        ready.map_err(|_| StoreError::Unavailable(format!("table {table} does not become ready")))?;
        match definition.ttl {
            Some(attribute) => self.expire_by(table, attribute).await,
            None => Ok(()),
        }
    }

    /// Lets rows expire at the time in an attribute.
    async fn expire_by(&self, table: &str, attribute: &str) -> Result<(), StoreError> {
        let described = self.client.describe_time_to_live().table_name(table).send().await;
        let described = described.map_err(|error| StoreError::from(Attempt::of(&error)))?;
        let status = described.time_to_live_description.and_then(|ttl| ttl.time_to_live_status);
        if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
            return Ok(());
        }
        let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build();
        let ttl = ttl.map_err(|_| StoreError::Broken("a table definition is incomplete".into()))?;
        let update = self.client.update_time_to_live().table_name(table).time_to_live_specification(ttl);
        update.send().await.map(drop).map_err(|error| Attempt::of(&error).into())
    }
}

impl Definition {
    /// The partition key, and the sort key if there is one.
    ///
    /// # Errors
    /// None in fact: the SDK's builders ask for what is always there.
    pub fn key_schema(&self) -> Result<Vec<KeySchemaElement>, BuildError> {
        key_schema(self.partition, self.sort)
    }

    /// The global secondary indexes, each with its keys and projection.
    ///
    /// # Errors
    /// As [`Definition::key_schema`].
    pub fn indexes(&self) -> Result<Vec<GlobalSecondaryIndex>, BuildError> {
        let index = |index: &IndexDefinition| {
            let kind = if index.keys_only { ProjectionType::KeysOnly } else { ProjectionType::All };
            GlobalSecondaryIndex::builder()
                .index_name(index.name)
                .set_key_schema(Some(key_schema(index.partition, Some(index.sort))?))
                .projection(Projection::builder().projection_type(kind).build())
                .build()
        };
        self.indexes.iter().map(index).collect()
    }

    /// The stream of changes, where the table has one.
    ///
    /// # Errors
    /// As [`Definition::key_schema`].
    pub fn stream(&self) -> Result<Option<StreamSpecification>, BuildError> {
        let stream = StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(StreamViewType::NewAndOldImages);
        if self.stream { stream.build().map(Some) } else { Ok(None) }
    }

    /// Every attribute of a key, with its type.
    ///
    /// # Errors
    /// As [`Definition::key_schema`].
    pub fn attributes(&self) -> Result<Vec<AttributeDefinition>, BuildError> {
        let mut keys = vec![self.partition];
        keys.extend(self.sort);
        keys.extend(self.indexes.iter().flat_map(|index| [index.partition, index.sort]));
        let mut distinct: Vec<Key> = Vec::new();
        for key in keys {
            if !distinct.contains(&key) {
                distinct.push(key);
            }
        }
        distinct
            .into_iter()
            .map(|key| {
                let kind = match key.kind {
                    ScalarKind::Text => ScalarAttributeType::S,
                    ScalarKind::Number => ScalarAttributeType::N,
                    ScalarKind::Bytes => ScalarAttributeType::B,
                };
                AttributeDefinition::builder().attribute_name(key.name).attribute_type(kind).build()
            })
            .collect()
    }
}

fn key_schema(partition: Key, sort: Option<Key>) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element =
        |key: Key, kind| KeySchemaElement::builder().attribute_name(key.name).key_type(kind).build();
    let mut schema = vec![element(partition, KeyType::Hash)?];
    if let Some(sort) = sort {
        schema.push(element(sort, KeyType::Range)?);
    }
    Ok(schema)
}
