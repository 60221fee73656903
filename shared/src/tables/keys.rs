//! The keys that have signed checkpoints: rows `KEY` of `storage_audit_state`. Which of them signs at what time follows from
//! their first signatures: a later key ends the earlier's validity.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use jiff::Timestamp;

use super::failure::Attempt;
use super::positions::integer;
use super::records::{Row, number, repeated, text, within};
use super::{StoreError, Tables};
use crate::clock::Deadline;
use crate::sealed::PublicKey;

/// A key that has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningKey {
    /// What its signatures are verified with.
    pub key: PublicKey,
    /// When it signed first.
    pub since: Timestamp,
}

impl Tables {
    /// The keys that have signed, the earliest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn signing_keys(&self, deadline: Deadline) -> Result<Vec<SigningKey>, StoreError> {
        let query = self.client.query().table_name(&self.names.audit_state);
        let query =
            query.key_condition_expression("pk = :pk").expression_attribute_values(":pk", text("KEY"));
        let query = query.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let rows = within(deadline, || query.clone().send()).await?.items.unwrap_or_default();
        let malformed = || StoreError::Broken("a signing key's row is malformed".into());
        let mut keys: Vec<_> =
            rows.iter().map(|row| read(row).ok_or_else(malformed)).collect::<Result<_, _>>()?;
        keys.sort_by_key(|key| (key.since, key.key));
        Ok(keys)
    }

    /// Makes `key` the one that signs, from `now` on if it has not signed yet, and answers all that ever did: to be called
    /// by the sealer before it signs anything.
    ///
    /// # Errors
    /// [`StoreError::Broken`] for a key that another one has replaced: it cannot come back.
    pub async fn sign_with(
        &self,
        key: PublicKey,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Vec<PublicKey>, StoreError> {
        let mut keys = self.signing_keys(deadline).await?;
        if !keys.iter().any(|known| known.key == key) {
            // A clock that is behind must not make the new key an older one.
            let latest = keys.last().map(|last| last.since.as_millisecond() + 1);
            let since = latest.unwrap_or_default().max(now.as_millisecond());
            let put = self.client.put_item().table_name(&self.names.audit_state);
            let put =
                put.item("pk", text("KEY")).item("sk", text(key.to_base64())).item("since", number(since));
            let put = put.condition_expression("attribute_not_exists(pk)");
            let put = put.return_consumed_capacity(ReturnConsumedCapacity::Total);
            match repeated(deadline, || put.clone().send()).await? {
                Ok(_) => {}
                // An attempt of ours that had no answer, or a sealer beside us with the same key.
                Err(SdkError::ServiceError(service))
                    if service.err().is_conditional_check_failed_exception() => {}
                Err(error) => return Err(Attempt::of(&error).into()),
            }
            keys = self.signing_keys(deadline).await?;
        }
        match keys.last() {
            Some(last) if last.key == key => Ok(keys.iter().map(|known| known.key).collect()),
            _ => Err(StoreError::Broken(
                "the signing key was replaced by another one and cannot come back".into(),
            )),
        }
    }
}

fn read(row: &Row) -> Option<SigningKey> {
    let key = PublicKey::from_base64(row.get("sk")?.as_s().ok()?)?;
    Some(SigningKey { key, since: Timestamp::from_millisecond(integer(row, "since")?).ok()? })
}
