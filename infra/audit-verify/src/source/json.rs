//! A row as DynamoDB writes it: `{"pk":{"S":"org-1#2026-01"},"b":{"B":"…"},…}`.

use std::fmt;

use audit_format::{Attributes, Value};
use data_encoding::BASE64;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::json;

/// Reads a row; none if it is not one, or names an attribute twice.
pub(crate) fn parse(line: &[u8]) -> Option<Attributes> {
    serde_json::from_slice::<Row>(line).ok().map(|row| row.0)
}

/// Writes a row.
pub(crate) fn write(row: &Attributes) -> String {
    let value = |value: &Value| match value {
        Value::S(text) => json!({ "S": text }).to_string(),
        Value::N(number) => json!({ "N": number }).to_string(),
        Value::B(bytes) => json!({ "B": BASE64.encode(bytes) }).to_string(),
        Value::Other(json) => json.clone(),
    };
    let members = row.iter().map(|(name, found)| format!("{}:{}", json!(name), value(found)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

struct Row(Attributes);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut row = Attributes::new();
        while let Some(name) = map.next_key::<String>()? {
            let Typed(value) = map.next_value()?;
            if row.insert(name, value).is_some() {
                return Err(A::Error::custom("an attribute stands twice"));
            }
        }
        Ok(Row(row))
    }
}

struct Typed(Value);

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TypedMember)
    }
}

struct TypedMember;

impl<'de> Visitor<'de> for TypedMember {
    type Value = Typed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value under its type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Typed, A::Error> {
        let kind = map.next_key::<String>()?.ok_or_else(|| A::Error::custom("a value has no type"))?;
        let value = match kind.as_str() {
            "S" => Value::S(map.next_value()?),
            "N" => Value::N(map.next_value()?),
            "B" => {
                let text: String = map.next_value()?;
                Value::B(BASE64.decode(text.as_bytes()).map_err(A::Error::custom)?)
            }
            "BOOL" | "NULL" | "L" | "M" | "SS" | "NS" | "BS" => {
                let value: serde_json::Value = map.next_value()?;
                Value::Other(json!({ kind: value }).to_string())
            }
            _ => return Err(A::Error::custom("no such type")),
        };
        match map.next_key::<String>()? {
            None => Ok(Typed(value)),
            Some(_) => Err(A::Error::custom("a value has two types")),
        }
    }
}
