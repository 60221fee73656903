//! The tables: what they are made of, and transactions.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use shared::clock::{self, Deadline};
use shared::unique;

use super::checks::{BACKUPS, TABLE, TABLES_ACCESS, TRANSACTIONS};
use crate::Stores;
use crate::report::{Finding, Report};
use crate::stores::Refusal;
use crate::tables::{Fix, differences};

/// How long the store may take to say whether it has transactions.
const TRANSACTIONS_LIMIT: Duration = Duration::from_secs(10);
/// Seconds after which a row of ours expires, should it not be removed.
const ROW_LIFE: i64 = 3_600;

pub(super) async fn examine(stores: &Stores, report: &mut Report) {
    let mut all_there = true;
    for definition in stores.tables.definitions() {
        let table = &definition.table;
        let differences = match differences(stores, &definition).await {
            Ok(differences) => differences,
            Err(refusal) => return report.push(refused(&refusal)),
        };
        if report.findings.iter().all(|finding| finding.check != &TABLES_ACCESS) {
            report.push(Finding::ok(&TABLES_ACCESS, "answers"));
        }
        let is_missing = differences.iter().any(|it| matches!(it.fix, Fix::Create));
        all_there &= !is_missing;
        let (backups, grave): (Vec<_>, Vec<_>) =
            differences.into_iter().partition(|it| matches!(it.fix, Fix::Backups | Fix::Protection));
        let texts = |list: &[crate::tables::Difference]| {
            list.iter().map(|it| it.text.clone()).collect::<Vec<_>>().join("; ")
        };
        let why: Vec<_> = grave
            .iter()
            .filter_map(|it| if let Fix::Impossible(why) = it.fix { Some(why) } else { None })
            .collect();
        let remedy = match why.is_empty() {
            true => "operator provision --apply".to_owned(),
            false => {
                format!("provision does not mend it: {}. Keep the table and its rows.", why.join("; "))
            }
        };
        let finding = match grave.is_empty() {
            true => Finding::ok(&TABLE, "as it should be"),
            false => Finding::failed(&TABLE, texts(&grave), remedy),
        };
        report.push(finding.about(table));
        if is_missing {
            continue;
        }
        let finding = match backups.is_empty() {
            true => Finding::ok(&BACKUPS, "both, as far as the store has them"),
            false => Finding::warning(&BACKUPS, texts(&backups), "operator provision --apply"),
        };
        report.push(finding.about(table));
    }
    if !all_there {
        return report.push(Finding::skipped(&TRANSACTIONS, "not all tables are there"));
    }
    let remedy =
        "Use DynamoDB, or a store that has TransactWriteItems with conditions and ClientRequestToken.";
    report.push(match transactions(stores).await {
        Ok(()) => Finding::ok(&TRANSACTIONS, "conditions decide, and what is repeated happens once"),
        Err(text) => Finding::failed(&TRANSACTIONS, text, remedy),
    });
}

fn refused(refusal: &Refusal) -> Finding {
    let remedy = match refusal.code.as_str() {
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "IncompleteSignatureException" => {
            "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (aws sts get-caller-identity)."
        }
        "AccessDeniedException" => {
            "Allow this role dynamodb:DescribeTable, DescribeTimeToLive and DescribeContinuousBackups on the tables."
        }
        _ => "Check DYNAMODB_ENDPOINT and AWS_REGION, and that this machine reaches it.",
    };
    Finding::failed(&TABLES_ACCESS, &refusal.text, remedy)
}

async fn transactions(stores: &Stores) -> Result<(), String> {
    let told = stores.tables.check_transactions(Deadline::after(TRANSACTIONS_LIMIT)).await;
    told.map_err(|error| error.to_string())?;
    let row = format!("DOCTOR#{}", unique::ulid(clock::now()));
    let tried = try_out(stores, &row).await;
    let key = AttributeValue::S(row);
    let delete = stores.dynamodb.delete_item().table_name(&stores.config.tables.state_table).key("pk", key);
    let removed =
        delete.send().await.map_err(|error| format!("removing a row: {}", Refusal::from(error).text));
    tried.and(removed.map(drop))
}

async fn try_out(stores: &Stores, row: &str) -> Result<(), String> {
    let (first, second) = (unique::ulid(clock::now()).to_string(), unique::ulid(clock::now()).to_string());
    // A repetition must be the same request.
    let expires = clock::now().as_second() + ROW_LIFE;
    put(stores, row, expires, &first).await.map_err(|cancelled| match cancelled {
        Cancelled::Condition => "a condition that holds is said to fail".to_owned(),
        Cancelled::Otherwise(text) => text,
    })?;
    match put(stores, row, expires, &first).await {
        Ok(()) => {}
        Err(Cancelled::Condition) => {
            return Err("ClientRequestToken is ignored: a repetition is done anew".into());
        }
        Err(Cancelled::Otherwise(text)) => return Err(text),
    }
    match put(stores, row, expires, &second).await {
        Ok(()) => Err("a condition that does not hold is ignored".into()),
        Err(Cancelled::Condition) => Ok(()),
        Err(Cancelled::Otherwise(text)) => Err(text),
    }
}

/// Why a transaction had no effect.
enum Cancelled {
    Condition,
    Otherwise(String),
}

/// Writes the row, on condition that it is not there.
async fn put(stores: &Stores, row: &str, expires: i64, token: &str) -> Result<(), Cancelled> {
    let item = HashMap::from([
        ("pk".to_owned(), AttributeValue::S(row.to_owned())),
        ("ttl".to_owned(), AttributeValue::N(expires.to_string())),
    ]);
    let put = Put::builder().table_name(&stores.config.tables.state_table).set_item(Some(item));
    let put = put.condition_expression("attribute_not_exists(pk)").build();
    let put = put.map_err(|_| Cancelled::Otherwise("the request cannot be built".into()))?;
    let write = stores.dynamodb.transact_write_items().client_request_token(token);
    let write = write.transact_items(TransactWriteItem::builder().put(put).build());
    write.send().await.map(drop).map_err(|error| {
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            error.as_service_error()
        {
            let code = cancelled.cancellation_reasons().first().and_then(|reason| reason.code());
            if code == Some("ConditionalCheckFailed") {
                return Cancelled::Condition;
            }
        }
        Cancelled::Otherwise(Refusal::from(error).text)
    })
}
