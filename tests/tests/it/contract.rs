//! The OpenAPI document, as whoever believes it reads it: every answer of every test is held against it.

use std::collections::HashMap;
use std::fs;
use std::sync::LazyLock;

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::Answer;

/// The document, and where an answer's schema stands in it.
pub struct Contract {
    pub document: Value,
    /// By a pointer to the schema.
    validators: HashMap<String, Validator>,
}

static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::read);

impl Contract {
    pub fn get() -> &'static Self {
        &CONTRACT
    }

    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/openapi/openapi.json");
        let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let mut strict = document.clone();
        close(&mut strict, false);
        let mut contract = Self { document, validators: HashMap::new() };
        for (path, method, operation) in contract.operations() {
            let at = format!("/paths/{}/{method}", escape(&path));
            for (status, response) in operation["responses"].as_object().unwrap() {
                let at = match response["$ref"].as_str() {
                    Some(shared) => shared.trim_start_matches('#').to_owned(),
                    None => format!("{at}/responses/{status}"),
                };
                let content = contract.at(&at)["content"].as_object().unwrap().clone();
                for media_type in content.keys() {
                    let at = format!("{at}/content/{}/schema", escape(media_type));
                    let validator = validator(&strict, &at);
                    contract.validators.insert(at, validator);
                }
            }
        }
        contract
    }

    /// Every operation: its path, its method in lower case, and what is said of it.
    pub fn operations(&self) -> Vec<(String, String, Value)> {
        let paths = self.document["paths"].as_object().unwrap().iter();
        let operations = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(|(method, operation)| (path.clone(), method.clone(), operation.clone()))
        });
        operations.collect()
    }

    /// What stands at a pointer.
    pub fn at(&self, pointer: &str) -> &Value {
        self.document.pointer(pointer).unwrap_or_else(|| panic!("the document has no {pointer}"))
    }

    /// Holds an answer of the service against what is said of its operation: status, media type, headers, schema.
    #[track_caller]
    pub fn check(&self, method: &Method, path: &str, answer: &Answer) {
        let Some(path) = path.strip_prefix("/api/storage").filter(|_| *method != Method::OPTIONS) else {
            return;
        };
        let status = answer.status.as_u16();
        let known = method.as_str().to_lowercase();
        let template = self.template(path);
        let operation = template.and_then(|template| {
            let at = format!("/paths/{}/{known}", escape(&template));
            self.document.pointer(&at).map(|_| at)
        });
        let at = match operation {
            Some(at) => format!("{at}/responses/{status}"),
            // What has no operation has no answer but these.
            None if status == 404 => return assert_eq!(answer.code(), "no_such_route"),
            None => "/components/responses/MethodNotAllowed".into(),
        };
        let response = self.document.pointer(&at);
        let response =
            response.unwrap_or_else(|| panic!("not documented: {method} {path}: {status} {}", answer.body));
        let at = response["$ref"].as_str().map_or(at, |shared| shared.trim_start_matches('#').to_owned());
        let response = self.at(&at);
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let header = self.at(header["$ref"].as_str().unwrap().trim_start_matches('#'));
            assert!(
                header["required"] != true || answer.headers.contains_key(name),
                "{method} {path}: no {name}"
            );
        }
        for name in ["retry-after", "idempotent-replayed", "allow", "www-authenticate"] {
            let documented = response["headers"].as_object().into_iter().flatten();
            let documented = documented.map(|(name, _)| name.to_lowercase()).any(|known| known == name);
            assert!(
                documented || !answer.headers.contains_key(name),
                "{method} {path}: {status} with {name}"
            );
        }
        if *method == Method::HEAD {
            return;
        }
        let media_type = answer.headers["content-type"].to_str().unwrap().split(';').next().unwrap();
        let schema = format!("{at}/content/{}/schema", escape(media_type));
        let validator = self.validators.get(&schema);
        let validator = validator.unwrap_or_else(|| panic!("{method} {path}: {status} is no {media_type}"));
        let faults: Vec<_> = validator
            .iter_errors(&answer.body)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{method} {path}: {status}: {faults:#?}\n{}", answer.body);
    }

    /// The path of the document that a request's path is one of: a written-out one before one with braces.
    fn template(&self, path: &str) -> Option<String> {
        let path = path.strip_suffix('/').filter(|path| path.matches('/').count() == 1).unwrap_or(path);
        let fits = |template: &str| match template.strip_suffix("{file_path}") {
            Some(before) => path.starts_with(before),
            None => {
                let (wanted, found) = (template.split('/'), path.split('/'));
                template.matches('/').count() == path.matches('/').count()
                    && wanted.zip(found).all(|(wanted, found)| {
                        wanted == found || (wanted.starts_with('{') && !found.is_empty())
                    })
            }
        };
        let templates = self.document["paths"].as_object().unwrap().keys().filter(|template| fits(template));
        templates.min_by_key(|template| template.find('{').map_or(0, |at| usize::MAX - at)).cloned()
    }
}

/// The validator of the schema at a pointer, which may point to others.
pub fn validator(document: &Value, pointer: &str) -> Validator {
    let schema =
        json!({ "allOf": [document.pointer(pointer).unwrap()], "components": document["components"] });
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
}

/// Objects with no member but those that are named: clients must take more, but then it has to be in the document.
fn close(schema: &mut Value, is_part: bool) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                close(member, ["allOf", "anyOf", "oneOf"].contains(&name.as_str()));
            }
            if members.get("type") == Some(&json!("object"))
                && members.contains_key("properties")
                && !is_part
                && !members.contains_key("additionalProperties")
            {
                members.insert("additionalProperties".into(), false.into());
            }
        }
        Value::Array(members) => members.iter_mut().for_each(|member| close(member, is_part)),
        _ => {}
    }
}

/// A name as it stands in a pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
