//! The set-up of emulators (`infra/localstack`), held against what the service itself makes.

use std::fs;
use std::path::Path;

use aws_sdk_dynamodb::types::{AttributeDefinition, KeySchemaElement, Projection, TableDescription};
use serde_json::{Value, json};

use crate::world::World;

/// The headers of a request to make a table. A signature must be there, and nobody checks it.
const CREATE_TABLE: [(&str, &str); 4] = [
    ("content-type", "application/x-amz-json-1.0"),
    ("x-amz-target", "DynamoDB_20120810.CreateTable"),
    ("x-amz-date", "20260101T000000Z"),
    (
        "authorization",
        "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
    ),
];

type Index<'t> = (Option<&'t str>, &'t [KeySchemaElement], Option<&'t Projection>);

/// What makes a table what it is, in an order that does not depend on how it was written down.
fn shape(
    table: &TableDescription,
) -> (Vec<&AttributeDefinition>, &[KeySchemaElement], Vec<Index<'_>>, String) {
    let mut attributes: Vec<_> = table.attribute_definitions().iter().collect();
    attributes.sort_by_key(|attribute| attribute.attribute_name());
    let indexes = table.global_secondary_indexes().iter();
    let mut indexes: Vec<Index<'_>> =
        indexes.map(|index| (index.index_name(), index.key_schema(), index.projection())).collect();
    indexes.sort_by_key(|index| index.0);
    let billing = table.billing_mode_summary().and_then(|billing| billing.billing_mode());
    (attributes, table.key_schema(), indexes, format!("{billing:?} {:?}", table.stream_specification()))
}

async fn described(world: &World, table: &str) -> TableDescription {
    world.tables().describe_table().table_name(table).send().await.unwrap().table.unwrap()
}

#[tokio::test]
async fn an_emulators_tables_are_the_ones_that_the_service_makes() {
    let world = World::start().await;
    let infra = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("infra");
    let set_up = fs::read_to_string(infra.join("localstack/set-up.sh")).unwrap();
    assert!(
        set_up.contains(r#"if [ "$table" != file_records ]; then"#) && set_up.contains("AttributeName=ttl")
    );
    let own = world.tables().list_tables().send().await.unwrap().table_names.unwrap();
    let files = fs::read_dir(infra.join("localstack/tables")).unwrap();
    assert_eq!(files.count(), own.len());
    for table in own {
        let file = fs::read(infra.join(format!("localstack/tables/{table}.json"))).unwrap();
        let mut create: Value = serde_json::from_slice(&file).unwrap();
        assert_eq!(create["TableName"], json!(table));
        let twin = format!("{table}_of_the_emulator");
        create["TableName"] = json!(twin);
        let mut request =
            world.http.post(format!("http://{}", world.stack.dynamodb)).body(create.to_string());
        for (name, value) in CREATE_TABLE {
            request = request.header(name, value);
        }
        let answer = world.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(
            shape(&described(&world, &twin).await),
            shape(&described(&world, &table).await),
            "{table}"
        );

        let ttl = world.tables().describe_time_to_live().table_name(&table).send().await.unwrap();
        let ttl = ttl.time_to_live_description.and_then(|ttl| ttl.attribute_name);
        assert_eq!(ttl.as_deref(), (table != "file_records").then_some("ttl"), "{table}");
    }
}
