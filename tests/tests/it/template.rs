//! `template.yaml`, held against the code that it deploys.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::KeySchemaElement;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};
use shared::app::connection_pool;
use shared::config::{Config, Needs, SECRETS};

use crate::world::{World, endpoints};

const TEMPLATE: &str = include_str!("../../../template.yaml");
/// Functions without a URL.
const BACKGROUND: [&str; 2] = ["MaintenanceFunction", "SealFunction"];

/// The template as JSON, with CloudFormation's tags in their long form: `!Ref X` is `{"Ref": "X"}`.
fn template() -> Value {
    let documents = Yaml::load_from_str(TEMPLATE).unwrap();
    json(&documents[0])
}

fn json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Tagged(tag, value) => {
            let name = match tag.suffix.as_str() {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            json!({ name: json(value) })
        }
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(members) => {
            let members = members.iter().map(|(name, value)| (text(name), json(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => json!(value),
        other => panic!("not expected in a template: {other:?}"),
    }
}

fn text(yaml: &Yaml<'_>) -> String {
    yaml.as_str().unwrap().to_owned()
}

/// The resources of a type, by their names.
fn resources(template: &Value, kind: &str) -> BTreeMap<String, Value> {
    let all = template["Resources"].as_object().unwrap();
    let found: BTreeMap<_, _> = all
        .iter()
        .filter(|(_, resource)| resource["Type"] == kind)
        .map(|(name, resource)| (name.clone(), resource["Properties"].clone()))
        .collect();
    assert!(!found.is_empty(), "{kind}");
    found
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

fn strings(value: &Value) -> BTreeSet<String> {
    list(value).iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// The statements of every policy of roles and of what they share, with where they stand.
fn statements(template: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (name, role) in resources(template, "AWS::IAM::Role") {
        for policy in list(&role["Policies"]) {
            found.extend(
                list(&policy["PolicyDocument"]["Statement"]).into_iter().map(|it| (name.clone(), it)),
            );
        }
    }
    for (name, policy) in resources(template, "AWS::IAM::ManagedPolicy") {
        found.extend(list(&policy["PolicyDocument"]["Statement"]).into_iter().map(|it| (name.clone(), it)));
    }
    found
}

#[tokio::test]
async fn its_tables_are_those_that_the_code_creates() {
    let world = World::start().await;
    let template = template();
    let tables = resources(&template, "AWS::DynamoDB::Table");
    assert_eq!(tables.len(), 4);
    for (logical, table) in &tables {
        let name = table["TableName"]["Fn::Sub"].as_str().unwrap().strip_prefix("${TablePrefix}").unwrap();
        let created = world.tables().describe_table().table_name(name).send().await.unwrap().table.unwrap();
        assert_eq!(table["KeySchema"], key_schema(created.key_schema()), "{logical}");

        let attributes = created.attribute_definitions().iter().map(|attribute| {
            json!({ "AttributeName": attribute.attribute_name(), "AttributeType": attribute.attribute_type().as_str() })
        });
        assert_eq!(sorted(&table["AttributeDefinitions"]), sorted(&attributes.collect()), "{logical}");

        let indexes = created.global_secondary_indexes().iter().map(|index| {
            let kind = index.projection().and_then(|projection| projection.projection_type()).unwrap();
            json!({
                "IndexName": index.index_name(),
                "KeySchema": key_schema(index.key_schema()),
                "Projection": { "ProjectionType": kind.as_str() },
            })
        });
        assert_eq!(sorted(&table["GlobalSecondaryIndexes"]), sorted(&indexes.collect()), "{logical}");

        let stream = created.stream_specification().and_then(|stream| stream.stream_view_type());
        assert_eq!(
            table["StreamSpecification"]["StreamViewType"].as_str(),
            stream.map(|view| view.as_str()),
            "{logical}"
        );
        let ttl = world.tables().describe_time_to_live().table_name(name).send().await.unwrap();
        let ttl = ttl.time_to_live_description.and_then(|ttl| ttl.attribute_name);
        assert_eq!(table["TimeToLiveSpecification"]["AttributeName"].as_str(), ttl.as_deref(), "{logical}");
    }
}

fn key_schema(schema: &[KeySchemaElement]) -> Value {
    let element = |key: &KeySchemaElement| json!({ "AttributeName": key.attribute_name(), "KeyType": key.key_type().as_str() });
    schema.iter().map(element).collect()
}

fn sorted(items: &Value) -> Vec<String> {
    let mut items: Vec<_> = items.as_array().into_iter().flatten().map(Value::to_string).collect();
    items.sort();
    items
}

/// Of each function the parameters of the secrets that its role may read.
pub fn secrets_by_function() -> BTreeMap<String, BTreeSet<String>> {
    let template = template();
    let functions = resources(&template, "AWS::Serverless::Function");
    let secrets = functions.values().map(|function| {
        let role = function["Role"]["Fn::GetAtt"].as_str().and_then(|role| role.split('.').next()).unwrap();
        let policies = &template["Resources"][role]["Properties"]["Policies"];
        let statements = policies
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap());
        let secrets = statements
            .filter(|statement| statement["Action"] == "secretsmanager:GetSecretValue")
            .flat_map(|statement| match &statement["Resource"] {
                Value::Array(several) => several.clone(),
                one => vec![one.clone()],
            })
            .map(|parameter| parameter["Ref"].as_str().unwrap().to_owned());
        let name =
            function["CodeUri"].as_str().and_then(|folder| folder.trim_end_matches('/').rsplit('/').next());
        (name.unwrap().to_owned(), secrets.collect())
    });
    secrets.collect()
}

#[test]
fn its_tables_are_kept_and_guarded() {
    let template = template();
    for (name, table) in resources(&template, "AWS::DynamoDB::Table") {
        for guarded in [
            &table["DeletionProtectionEnabled"],
            &table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
            &table["SSESpecification"]["SSEEnabled"],
        ] {
            assert_eq!(guarded, true, "{name}");
        }
        assert_eq!(template["Resources"][&name]["DeletionPolicy"], "Retain", "{name}");
        assert_eq!(template["Resources"][&name]["UpdateReplacePolicy"], "Retain", "{name}");
    }
}

#[tokio::test]
async fn it_sets_only_variables_that_are_read() {
    // What logs and metrics go by is asked of the process itself.
    let asked = RefCell::new(BTreeSet::from(["METRICS_NAMESPACE".to_owned()]));
    // What decides whether others are read. Without the role's key no secret is asked for.
    const DECIDE: [(&str, &str); 3] = [
        ("AUDIT_ORIGIN", "audit.example.com"),
        ("AUDIT_SIGNING_KMS_KEY", "key"),
        ("JWT_SECRET_ARN", "arn:aws:secretsmanager:us-east-1:123456789012:secret:jwt-AbCdEf"),
    ];
    let variable = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        DECIDE.iter().find(|(decides, _)| *decides == name).map(|(_, value)| (*value).to_owned())
    };
    Config::read(Needs::ALL, &variable).unwrap_err();
    Config::load(Needs::ALL, &variable, connection_pool()).await.unwrap_err();
    let read = asked.into_inner();

    let template = template();
    let variables = |at: &Value| -> BTreeSet<String> {
        at["Environment"]["Variables"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    let everyones = variables(&template["Globals"]["Function"]);
    assert!(everyones.is_subset(&read), "{:?}", everyones.difference(&read));
    assert!(!everyones.iter().any(|name| SECRETS.contains(&name.as_str())), "a secret as plain text");
    for (name, function) in resources(&template, "AWS::Serverless::Function") {
        let own = variables(&function);
        assert!(own.is_subset(&read), "{name}: {:?}", own.difference(&read));
        assert_eq!(own.contains("AUDIT_SIGNING_KMS_KEY"), name == "SealFunction", "only the sealer signs");
    }
}

#[test]
fn every_function_is_deployed_with_its_own_role_its_routes_methods_and_its_time() {
    let template = template();
    let functions = resources(&template, "AWS::Serverless::Function");
    let routes: BTreeMap<_, _> = endpoints()
        .iter()
        .map(|endpoint| {
            let methods = endpoint.routes.iter().map(|route| route.method.to_string());
            (endpoint.name.to_owned(), methods.collect::<BTreeSet<_>>())
        })
        .collect();
    assert_eq!(functions.len(), routes.len() + BACKGROUND.len());
    let mut roles = BTreeSet::new();
    for (logical, function) in &functions {
        let name = function["CodeUri"].as_str().unwrap();
        let name = name.strip_prefix("target/lambda/").and_then(|name| name.strip_suffix('/')).unwrap();
        assert_eq!(function["FunctionName"]["Fn::Sub"], format!("${{AWS::StackName}}-{name}"));
        assert!(roles.insert(function["Role"].to_string()), "{logical} shares its role");
        assert_eq!(function["LoggingConfig"]["LogFormat"], "JSON", "{logical}");

        if BACKGROUND.contains(&logical.as_str()) {
            assert_eq!(function["Timeout"], 300, "{logical}");
            assert_eq!(function["ReservedConcurrentExecutions"], 1, "{logical}");
            assert!(function["FunctionUrlConfig"].is_null(), "{logical}");
        } else {
            // DESIGN section 8: 15 s, which is everybody's.
            assert!(function["Timeout"].is_null(), "{logical}");
            let cors = &function["FunctionUrlConfig"]["Cors"];
            assert_eq!(strings(&cors["AllowMethods"]), routes[name], "{logical}");
            let headers = ["authorization", "content-type", "idempotency-key"].map(str::to_owned);
            assert_eq!(strings(&cors["AllowHeaders"]), headers.into(), "{logical}");
            let exposed = ["idempotent-replayed", "retry-after"].map(str::to_owned);
            assert_eq!(strings(&cors["ExposeHeaders"]), exposed.into(), "{logical}");
        }
    }
    assert_eq!(template["Globals"]["Function"]["Timeout"], 15);
}

#[test]
fn the_background_runs_on_schedules_and_the_sealer_on_the_stream() {
    let functions = resources(&template(), "AWS::Serverless::Function");
    let schedule = |name: &str| functions[name]["Events"]["Schedule"]["Properties"]["Schedule"].clone();
    assert_eq!(schedule("MaintenanceFunction"), "rate(5 minutes)");
    assert_eq!(schedule("SealFunction"), "rate(1 minute)");

    let stream = &functions["SealFunction"]["Events"]["Stream"]["Properties"];
    assert_eq!(stream["Stream"], json!({ "Fn::GetAtt": "AuditLogsTable.StreamArn" }));
    assert_eq!(stream["StartingPosition"], "TRIM_HORIZON");
    assert_eq!((&stream["BatchSize"], &stream["MaximumBatchingWindowInSeconds"]), (&json!(256), &json!(2)));
    assert_eq!(stream["BisectBatchOnFunctionError"], true);
    assert_eq!(
        stream["DestinationConfig"]["OnFailure"]["Destination"],
        json!({ "Fn::GetAtt": "SealDeadLetters.Arn" })
    );
}

#[test]
fn no_role_may_do_more_to_the_log_than_append_in_a_transaction() {
    let template = template();
    let deny = json!({ "Ref": "NeverChangeEntries" });
    for (name, role) in resources(&template, "AWS::IAM::Role") {
        assert!(list(&role["ManagedPolicyArns"]).contains(&deny), "{name} has no deny");
    }
    let harmless: BTreeSet<_> = ["GetItem", "Query", "Scan"].map(|it| format!("dynamodb:{it}")).into();
    let of_stream: BTreeSet<_> = ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"]
        .map(|it| format!("dynamodb:{it}"))
        .into();
    let mut puts = 0;
    for (name, statement) in statements(&template) {
        let (actions, resource) = (strings(&statement["Action"]), statement["Resource"].to_string());
        assert!(!resource.contains("\"*\""), "{name}: a right to everything");
        if !resource.contains("AuditLogsTable") {
            continue;
        }
        if statement["Effect"] == "Deny" {
            let denied = ["BatchWriteItem", "DeleteItem", "PartiQL*", "UpdateItem"];
            assert_eq!(actions, denied.map(|it| format!("dynamodb:{it}")).into(), "{name}");
        } else if actions.contains("dynamodb:PutItem") {
            puts += 1;
            assert_eq!(actions.len(), 1, "{name}");
            let only = json!({ "ForAnyValue:StringEquals": { "dynamodb:EnclosingOperation": ["TransactWriteItems"] } });
            assert_eq!(statement["Condition"], only, "{name}");
        } else {
            assert!(actions.is_subset(&harmless) || actions == of_stream, "{name}: {actions:?}");
        }
    }
    assert_eq!(puts, 1, "the one place where appending is allowed");
}

#[test]
fn only_the_deploy_role_changes_the_logs_table() {
    let policy = &resources(&template(), "AWS::DynamoDB::Table")["AuditLogsTable"]["ResourcePolicy"];
    let [deny] = list(&policy["PolicyDocument"]["Statement"]).try_into().unwrap();
    assert_eq!((&deny["Effect"], &deny["Principal"]), (&json!("Deny"), &json!("*")));
    let denied = [
        "UpdateItem",
        "DeleteItem",
        "BatchWriteItem",
        "PartiQLInsert",
        "PartiQLUpdate",
        "PartiQLDelete",
        "UpdateTimeToLive",
        "UpdateTable",
        "DeleteTable",
        "UpdateContinuousBackups",
        "EnableKinesisStreamingDestination",
        "UpdateKinesisStreamingDestination",
        "DisableKinesisStreamingDestination",
        "PutResourcePolicy",
        "DeleteResourcePolicy",
    ];
    assert_eq!(list(&deny["Action"]), denied.map(|action| json!(format!("dynamodb:{action}"))));
    assert_eq!(deny["Condition"]["ArnNotEquals"]["aws:PrincipalArn"], json!({ "Ref": "DeployRoleArn" }));
    // Deletes by time to live are DynamoDB's own.
    assert_eq!(deny["Condition"]["Bool"]["aws:PrincipalIsAWSService"], "false");
}
