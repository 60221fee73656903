//! The tables.

use std::time::Duration;

use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::types::{
    CreateGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate, IndexStatus,
    PointInTimeRecoverySpecification, TimeToLiveSpecification,
};
use shared::tables::Definition;

use super::{Action, Plan};
use crate::Stores;
use crate::stores::Refusal;
use crate::tables::{Fix, differences};

/// How long a table or an index may take to become ready.
const READY_LIMIT: Duration = Duration::from_secs(600);
/// Between two looks at an index that is being built.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Change {
    definition: Definition,
    fix: Fix,
}

pub(super) async fn plan(stores: &Stores, plan: &mut Plan) -> Result<(), String> {
    for definition in stores.tables.definitions() {
        let resource = format!("table {}", definition.table);
        let found = differences(stores, &definition)
            .await
            .map_err(|refusal| format!("{resource}: {}", refusal.text))?;
        for difference in found {
            let text = format!("{}: {}", difference.text, difference.fix.does());
            let action = match difference.fix {
                Fix::Impossible(_) => Action::Refused,
                fix => Action::Table(Box::new(Change { definition: definition.clone(), fix })),
            };
            plan.step(&resource, text, action);
        }
        plan.settle(&resource);
    }
    Ok(())
}

/// Answers whether it is done; else the store has nothing of the kind.
pub(super) async fn apply(stores: &Stores, change: &Change) -> Result<bool, String> {
    let Change { definition, fix } = change;
    let (client, table) = (&stores.dynamodb, definition.table.as_str());
    let broken = |_| "the definition is incomplete".to_owned();
    let update = client.update_table().table_name(table);
    let done = match fix {
        Fix::Create => {
            return stores.tables.create(definition).await.map(|()| true).map_err(|error| error.to_string());
        }
        Fix::AddIndex(name) => return add_index(stores, definition, name).await.map(|()| true),
        Fix::Expire(attribute) => {
            let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(*attribute).build();
            let set = client.update_time_to_live().table_name(table);
            let set = set.time_to_live_specification(ttl.map_err(broken)?).send().await;
            set.map(drop).map_err(Refusal::from)
        }
        Fix::Stream => {
            let stream = definition.stream().map_err(broken)?;
            update.set_stream_specification(stream).send().await.map(drop).map_err(Refusal::from)
        }
        Fix::Backups => {
            let on = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build();
            let set = client.update_continuous_backups().table_name(table);
            let set = set.point_in_time_recovery_specification(on.map_err(broken)?).send().await;
            set.map(drop).map_err(Refusal::from)
        }
        Fix::Protection => {
            update.deletion_protection_enabled(true).send().await.map(drop).map_err(Refusal::from)
        }
        Fix::Impossible(why) => return Err((*why).to_owned()),
    };
    match done {
        Err(refusal) if refusal.is_unknown_operation() => return Ok(false),
        done => done.map_err(|refusal| refusal.text)?,
    }
    // A table takes one change at a time.
    let ready = client.wait_until_table_exists().table_name(table).wait(READY_LIMIT).await;
    ready.map(|_| true).map_err(|_| "the table does not become ready".into())
}

async fn add_index(stores: &Stores, definition: &Definition, name: &str) -> Result<(), String> {
    let broken = |_| "the definition is incomplete".to_owned();
    let (client, table) = (&stores.dynamodb, definition.table.as_str());
    let indexes = definition.indexes().map_err(broken)?;
    let index = indexes.into_iter().find(|index| index.index_name() == name).ok_or("it is not defined")?;
    let create = CreateGlobalSecondaryIndexAction::builder()
        .index_name(name)
        .set_key_schema(Some(index.key_schema().to_vec()))
        .set_projection(index.projection().cloned());
    let create = GlobalSecondaryIndexUpdate::builder().create(create.build().map_err(broken)?).build();
    let update = client.update_table().table_name(table);
    let update = update.set_attribute_definitions(Some(definition.attributes().map_err(broken)?));
    let update = update.global_secondary_index_updates(create).send().await;
    update.map_err(|error| Refusal::from(error).text)?;
    let ready = async {
        loop {
            let described = client.describe_table().table_name(table).send().await;
            let described = described.map_err(|error| Refusal::from(error).text)?.table;
            let built = described.as_ref().is_some_and(|table| {
                let mut all = table.global_secondary_indexes().iter();
                all.all(|index| index.index_status().is_none_or(|status| status == &IndexStatus::Active))
            });
            if built {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let waited = tokio::time::timeout(READY_LIMIT, ready).await;
    waited.unwrap_or_else(|_| Err("it is still being built; run this again later".into()))
}
