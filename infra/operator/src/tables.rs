//! What a table is, held against its definition.

use aws_sdk_dynamodb::types::{
    ContinuousBackupsDescription, IndexStatus, PointInTimeRecoveryStatus, TableDescription, TimeToLiveStatus,
};
use shared::tables::Definition;

use crate::Stores;
use crate::stores::Refusal;

/// Something about a table that is not as defined.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    /// For people.
    pub text: String,
    pub fix: Fix,
}

/// What would mend it.
#[derive(Debug, Clone)]
pub(crate) enum Fix {
    Create,
    AddIndex(String),
    Expire(&'static str),
    Stream,
    Backups,
    Protection,
    /// Nothing that keeps the rows; why.
    Impossible(&'static str),
}

impl Fix {
    /// What it does, for people.
    pub(crate) fn does(&self) -> &'static str {
        match self {
            Self::Create => "make it",
            Self::AddIndex(_) => "build it from the rows that are there",
            Self::Expire(_) => "let them",
            Self::Stream => "begin one",
            Self::Backups => "turn it on",
            Self::Protection => "protect it",
            Self::Impossible(why) => why,
        }
    }
}

/// What a store says of a table. `None`: it has no such thing.
struct Described {
    table: TableDescription,
    /// The attribute by which rows expire, if they do.
    ttl: Option<Option<String>>,
    backups: Option<bool>,
}

/// Everything about a table that is not as defined.
///
/// # Errors
/// If the store does not tell.
pub(crate) async fn differences(
    stores: &Stores,
    definition: &Definition,
) -> Result<Vec<Difference>, Refusal> {
    Ok(match describe(stores, &definition.table).await? {
        None => missing(definition),
        Some(described) => compare(definition, &described),
    })
}

async fn describe(stores: &Stores, name: &str) -> Result<Option<Described>, Refusal> {
    let client = &stores.dynamodb;
    let table = match client.describe_table().table_name(name).send().await.map_err(Refusal::from) {
        Ok(answer) => answer.table.unwrap_or_else(|| TableDescription::builder().build()),
        Err(refusal) if refusal.is_missing() => return Ok(None),
        Err(refusal) => return Err(refusal),
    };
    let ttl = told(client.describe_time_to_live().table_name(name).send().await.map_err(Refusal::from))?;
    let ttl = ttl.map(|ttl| {
        let is_on =
            |it: &TimeToLiveStatus| matches!(it, TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling);
        let ttl = ttl.time_to_live_description.filter(|it| it.time_to_live_status().is_some_and(is_on));
        ttl.and_then(|ttl| ttl.attribute_name)
    });
    let backups = client.describe_continuous_backups().table_name(name).send().await.map_err(Refusal::from);
    let backups = told(backups)?.map(|it| it.continuous_backups_description.as_ref().is_some_and(restorable));
    Ok(Some(Described { table, ttl, backups }))
}

/// None: the store has no such operation.
fn told<T>(answer: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(refusal) if refusal.is_unknown_operation() => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn restorable(backups: &ContinuousBackupsDescription) -> bool {
    let recovery = backups.point_in_time_recovery_description();
    recovery.and_then(|it| it.point_in_time_recovery_status()) == Some(&PointInTimeRecoveryStatus::Enabled)
}

fn missing(definition: &Definition) -> Vec<Difference> {
    let mut what = vec!["its keys and indexes".to_owned()];
    what.extend(definition.ttl.map(|attribute| format!("rows expire by {attribute}")));
    what.extend(definition.stream().ok().flatten().map(|_| "a stream of new and old images".to_owned()));
    vec![
        Difference { text: format!("is not there ({})", what.join(", ")), fix: Fix::Create },
        no_backups(),
        no_protection(),
    ]
}

fn compare(definition: &Definition, described: &Described) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |text: String, fix| found.push(Difference { text, fix });
    let table = &described.table;
    let attributes = definition.attributes().unwrap_or_default();
    let same_types = |keys: &[aws_sdk_dynamodb::types::KeySchemaElement]| {
        keys.iter().all(|key| {
            let named = |it: &&aws_sdk_dynamodb::types::AttributeDefinition| {
                it.attribute_name() == key.attribute_name()
            };
            attributes.iter().find(named) == table.attribute_definitions().iter().find(named)
        })
    };
    let keys = definition.key_schema().unwrap_or_default();
    if table.key_schema() != keys || !same_types(&keys) {
        add("has another key".into(), Fix::Impossible("a table's key cannot be changed"));
    }
    for index in definition.indexes().unwrap_or_default() {
        let name = index.index_name();
        let there = table.global_secondary_indexes().iter().find(|it| it.index_name() == Some(name));
        match there {
            None => add(format!("has no index {name}"), Fix::AddIndex(name.to_owned())),
            Some(there) if there.key_schema() != index.key_schema() || !same_types(index.key_schema()) => {
                add(
                    format!("its index {name} has other keys"),
                    Fix::Impossible("an index's keys cannot be changed"),
                );
            }
            Some(there) if kind(there.projection()) != kind(index.projection()) => {
                let why = "what an index holds cannot be changed";
                add(format!("its index {name} holds other attributes"), Fix::Impossible(why));
            }
            Some(there) if there.index_status().is_some_and(|status| status != &IndexStatus::Active) => {
                add(
                    format!("its index {name} is still being built"),
                    Fix::Impossible("it has to be waited for"),
                );
            }
            Some(_) => {}
        }
    }
    match (definition.ttl, &described.ttl) {
        (Some(wanted), Some(None)) => add(format!("rows do not expire by {wanted}"), Fix::Expire(wanted)),
        (wanted, Some(Some(there))) if wanted != Some(there.as_str()) => add(
            format!("rows expire by {there}, which loses some"),
            Fix::Impossible("what makes rows expire is not ours to turn off"),
        ),
        _ => {}
    }
    if let Ok(Some(wanted)) = definition.stream() {
        match table.stream_specification().filter(|stream| stream.stream_enabled()) {
            None => add("has no stream".into(), Fix::Stream),
            Some(there) if there.stream_view_type() != wanted.stream_view_type() => add(
                "its stream has no old and new images".into(),
                Fix::Impossible("a stream would have to be ended, with what it still holds"),
            ),
            Some(_) => {}
        }
    }
    if described.backups == Some(false) {
        found.push(no_backups());
    }
    if table.deletion_protection_enabled() == Some(false) {
        found.push(no_protection());
    }
    found
}

fn kind(
    projection: Option<&aws_sdk_dynamodb::types::Projection>,
) -> Option<&aws_sdk_dynamodb::types::ProjectionType> {
    projection.and_then(|projection| projection.projection_type())
}

fn no_backups() -> Difference {
    Difference { text: "has no point-in-time recovery".into(), fix: Fix::Backups }
}

fn no_protection() -> Difference {
    Difference { text: "is not protected from deletion".into(), fix: Fix::Protection }
}
