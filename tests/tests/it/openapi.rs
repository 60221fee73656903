//! The OpenAPI document against the code: its routes, its words, its limits; and its examples, which are done again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use shared::audit::{Action, Field};
use shared::catalog::Catalog;
use shared::files::MAX_SIGNED_PARTS;

use crate::contract::{Contract, validator};
use crate::proxy::Fault;
use crate::world::{World, endpoints};

/// The operations in an order in which each finds what its example speaks of.
const ORDER: [&str; 22] = [
    "uploadFile",
    "uploadReceipt",
    "uploadAppZip",
    "openUpload",
    "signParts",
    "showUpload",
    "completeUpload",
    "abortUpload",
    "signUrl",
    "getMetadata",
    "deleteFile",
    "searchLog",
    "getEntry",
    "summarizeLog",
    "getCheckpoint",
    "proveEntry",
    "proveConsistency",
    "listKeys",
    "createExport",
    "showExport",
    "continueExport",
    "cancelExport",
];

/// What stands in the examples, and what it was called when they were done again.
type Names = BTreeMap<String, String>;

fn texts(values: &Value) -> BTreeSet<&str> {
    values.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect()
}

#[test]
fn every_route_is_an_operation_and_every_operation_is_a_route() {
    let routes: BTreeSet<_> = endpoints()
        .iter()
        .flat_map(|endpoint| endpoint.routes.iter().map(|route| (endpoint.name, route)))
        .map(|(name, route)| {
            let path = format!("/{name}/{}", route.path.replace('+', ""));
            (path.trim_end_matches('/').to_owned(), route.method.as_str().to_lowercase())
        })
        .collect();
    let operations = Contract::get().operations();
    let documented: BTreeSet<_> =
        operations.iter().map(|(path, method, _)| (path.clone(), method.clone())).collect();
    assert_eq!(documented, routes);
    let ids: BTreeSet<_> = operations.iter().map(|(_, _, it)| it["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids, BTreeSet::from(ORDER), "each has its example");
}

#[test]
fn systems_actions_filters_and_limits_are_those_of_the_code() {
    let contract = Contract::get();
    let schema = |name: &str| contract.at(&format!("/components/schemas/{name}"));
    let mut systems = BTreeMap::<&str, BTreeSet<&str>>::new();
    for object_type in Catalog::get().iter() {
        systems.entry(object_type.system).or_default().insert(object_type.name);
    }
    let path = schema("FilePath")["pattern"].as_str().unwrap();
    for (system, object_types) in &systems {
        let (_, rest) = path.split_once(&format!("{system}/(")).unwrap();
        let known: BTreeSet<_> = rest.split_once(')').unwrap().0.split('|').collect();
        assert_eq!(&known, object_types, "{system}");
    }
    assert_eq!(texts(&schema("Metadata")["properties"]["system"]["enum"]), systems.keys().copied().collect());
    systems.retain(|system, _| *system != shared::export::SYSTEM);
    assert_eq!(texts(&schema("System")["enum"]), systems.keys().copied().collect());
    let places = schema("Place")["anyOf"].as_array().unwrap().iter().map(|place| {
        let properties = &place["properties"];
        (properties["system"]["const"].as_str().unwrap(), texts(&properties["object_type"]["enum"]))
    });
    assert_eq!(places.collect::<BTreeMap<_, _>>(), systems);

    let actions: BTreeSet<_> = Action::ALL.iter().map(|action| action.name()).collect();
    assert_eq!(texts(&schema("ActionType")["enum"]), actions);
    let fields =
        Field::ALL.iter().flat_map(|field| [field.name().to_owned(), format!("not_{}", field.name())]);
    let mut filters: BTreeSet<_> = fields.chain(["from", "to", "hours", "tz"].map(str::to_owned)).collect();
    let members: BTreeSet<_> = schema("Filter")["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, filters);
    filters.extend(["limit", "order", "cursor"].map(str::to_owned));
    let parameters = contract.at("/paths/~1audit-logs/get/parameters").as_array().unwrap().iter();
    let parameters: BTreeSet<_> = parameters
        .map(|parameter| match parameter["$ref"].as_str() {
            Some(shared) => contract.at(shared.trim_start_matches('#'))["name"].as_str().unwrap().to_owned(),
            None => parameter["name"].as_str().unwrap().to_owned(),
        })
        .collect();
    assert_eq!(parameters, filters);

    let places = Catalog::get().iter().filter(|object_type| !object_type.made_by_service);
    let largest = places.map(|object_type| object_type.max_size_bytes).max();
    assert_eq!(schema("NewUpload")["properties"]["size_bytes"]["maximum"].as_u64(), largest);
    assert_eq!(schema("PartNumbers")["properties"]["part_numbers"]["maxItems"], MAX_SIGNED_PARTS);
}

#[test]
fn the_codes_are_those_of_the_source() {
    let contract = Contract::get();
    let codes = contract.at("/components/schemas/Code/oneOf").as_array().unwrap();
    let codes: BTreeSet<_> = codes.iter().map(|code| code["const"].as_str().unwrap()).collect();
    let mut used = BTreeSet::from(["no_such_route"]);
    collect(&contract.document, &mut used);
    assert_eq!(used, codes, "each stands with the operations that answer it");

    let source = source();
    for code in &codes {
        assert!(source.contains(&format!("\"{code}\"")), "{code} is not in the source any more");
    }
    let (_, problem) = source.split_once("pub fn code(&self) -> &'static str {").unwrap();
    let begins = |text: &&str| ["invalid_", "missing_"].iter().any(|it| text.starts_with(it) && text != it);
    let literals = source.split('"').filter(begins);
    let named = problem.split_once("pub fn detail(").unwrap().0.split('"').skip(1).step_by(2);
    let is_name = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    for code in literals.chain(named).filter(is_name) {
        assert!(codes.contains(code), "{code} is not in the document");
    }
}

/// The codes that operations enumerate.
fn collect<'v>(value: &'v Value, codes: &mut BTreeSet<&'v str>) {
    if let Some(known) = value.pointer("/properties/code/enum") {
        codes.extend(texts(known));
    }
    match value {
        Value::Object(members) => members.values().for_each(|member| collect(member, codes)),
        Value::Array(members) => members.iter().for_each(|member| collect(member, codes)),
        _ => {}
    }
}

/// All of the product's Rust, `problem.rs` first.
fn source() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut text = fs::read_to_string(root.join("shared/src/problem.rs")).unwrap();
    let mut folders = vec![root.join("shared/src"), root.join("functions")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
                let file = fs::read_to_string(path).unwrap();
                text += file.split("#[cfg(test)]\nmod tests {").next().unwrap();
            }
        }
    }
    text
}

#[test]
fn every_example_fits_its_schema() {
    let contract = Contract::get();
    for (path, method, operation) in contract.operations() {
        let at = format!("/paths/{}/{method}", path.replace('/', "~1"));
        let body = operation
            .pointer("/requestBody/content")
            .map(|content| (format!("{at}/requestBody/content"), content));
        let answer = (format!("{at}/responses/200/content"), &operation["responses"]["200"]["content"]);
        for (at, content) in body.into_iter().chain([answer]) {
            for (media_type, content) in content.as_object().unwrap() {
                let Some(example) = content.get("example") else { continue };
                let schema =
                    validator(&contract.document, &format!("{at}/{}/schema", media_type.replace('/', "~1")));
                assert_eq!(schema.validate(example).map_err(|fault| fault.to_string()), Ok(()), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn the_examples_are_what_the_service_answers() {
    let world = World::start().await;
    let (mut names, mut faults) = (Names::new(), Vec::new());
    for id in ORDER {
        prepare(&world, id, &mut names).await;
        let (answer, example) = replay(&world, id, &names).await;
        compare(id, &example, &answer, &mut names, &mut faults);
    }
    assert!(faults.is_empty(), "not what the document shows:\n{}", faults.join("\n"));
}

/// What somebody else did before the example.
async fn prepare(world: &World, id: &str, names: &mut Names) {
    match id {
        "showUpload" | "completeUpload" => {
            let (opened, part, from) = match id {
                "showUpload" => ("openUpload", "/parts/0/url", 0..8_388_608),
                _ => ("signParts", "/parts/0/url", 8_388_608..9_000_000),
            };
            let url = &names[example_of(opened).pointer(part).unwrap().as_str().unwrap()];
            let mut bytes = vec![0; 9_000_000];
            bytes[..8].copy_from_slice(b"%PDF-1.7");
            let put = world.http.put(url).body(bytes[from].to_vec());
            assert_eq!(put.send().await.unwrap().status(), 200);
        }
        // The one of the example is a file by now.
        "abortUpload" => {
            let opened = replay(world, "openUpload", names).await.0;
            rename(names, &example_of("openUpload")["upload_id"], &opened["upload_id"]);
        }
        "getEntry" => world.seal().await,
        "cancelExport" => {
            world.s3.fail("PUT", 0, usize::MAX, Fault::AnswerXml(503, "SlowDown"));
            let open = replay(world, "createExport", names).await.0;
            world.s3.heal();
            rename(names, &example_of("createExport")["export_id"], &open["export_id"]);
        }
        _ => {}
    }
}

fn rename(names: &mut Names, example: &Value, now: &Value) {
    names.insert(example.as_str().unwrap().to_owned(), now.as_str().unwrap().to_owned());
}

fn operation(id: &str) -> (String, String, Value) {
    let operations = Contract::get().operations();
    operations.into_iter().find(|(_, _, operation)| operation["operationId"] == id).unwrap()
}

fn example_of(id: &str) -> Value {
    let content = operation(id).2["responses"]["200"]["content"].clone();
    content.as_object().unwrap().values().next().unwrap()["example"].clone()
}

/// Sends the example's request, under today's names. Answers the answer, and the example's.
async fn replay(world: &World, id: &str, names: &Names) -> (Value, Value) {
    let (mut path, method, operation) = operation(id);
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let Some(value) = parameter.get("example").map(|value| today(value, names)) else { continue };
        let name = parameter["name"].as_str().unwrap();
        for value in value.as_array().cloned().unwrap_or_else(|| vec![value]) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match parameter["in"].as_str() {
                Some("path") => path = path.replace(&format!("{{{name}}}"), &text),
                _ => query.push((name, text)),
            }
        }
    }
    let url = world.url(path.trim_start_matches('/'));
    let url = Url::parse_with_params(&url, query).unwrap();
    let example = example_of(id);
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let mut request =
        world.http.request(method, url).bearer_auth(world.token("admin")).header("user-agent", "curl/8.5.0");
    let content = &operation["requestBody"]["content"];
    if let Some(body) = content.pointer("/application~1json/example") {
        request = request.json(&today(body, names));
    } else if let Some(Value::Object(fields)) = content.pointer("/multipart~1form-data/example") {
        let mut form = Form::new();
        for (name, value) in fields {
            let text = value.as_str().unwrap().to_owned();
            let called = || example["metadata"]["original_filename"].as_str().unwrap().to_owned();
            form = match name.as_str() {
                "file" => form.part("file", Part::text(text).file_name(called())),
                _ => form.text(name.clone(), text),
            };
        }
        request = request.multipart(form);
    }
    (world.send(request).await.ok().body, example)
}

/// A value of the examples as it is called now.
fn today(value: &Value, names: &Names) -> Value {
    match value {
        Value::String(text) => json!(names.get(text).unwrap_or(text)),
        Value::Array(values) => values.iter().map(|value| today(value, names)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), today(value, names))).collect()
        }
        other => other.clone(),
    }
}

/// Whether an answer is the example, but for ids, times, and what is made of them.
fn compare(at: &str, example: &Value, answer: &Value, names: &mut Names, faults: &mut Vec<String>) {
    match (example, answer) {
        (Value::Object(wanted), Value::Object(found)) if wanted.keys().eq(found.keys()) => {
            for (name, wanted) in wanted {
                compare(&format!("{at}/{name}"), wanted, &found[name], names, faults);
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (n, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                compare(&format!("{at}/{n}"), wanted, found, names, faults);
            }
        }
        (Value::String(wanted), Value::String(found)) if form(wanted) == form(found) => {
            names.insert(wanted.clone(), found.clone());
        }
        (wanted, found) if wanted == found => {}
        // A time without its last zeros is shorter.
        (Value::Number(_), Value::Number(_)) if at.ends_with("/bytes") => {}
        (wanted, found) => faults.push(format!("{at}: {wanted} is {found}")),
    }
}

/// What stays of a text when it is made anew.
fn form(text: &str) -> String {
    if text.parse::<Timestamp>().is_ok() {
        return "a time".into();
    }
    if let Ok(url) = Url::parse(text) {
        let names: Vec<_> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        return format!("{} {names:?}", form(url.path()));
    }
    if let Ok(Value::Object(members)) = serde_json::from_str(text) {
        return format!("{:?}", members.keys());
    }
    if let Some(between) = ['\n', ' '].into_iter().find(|between| text.contains(*between)) {
        return text.split(between).map(form).collect::<Vec<_>>().join(&between.to_string());
    }
    if text.len() >= 44 && !text.contains(['.', ':', '&']) {
        return "a hash, a signature or a cursor".into();
    }
    if text.contains('=') {
        return text.split(['=', '&']).map(form).collect::<Vec<_>>().join("=");
    }
    // Ids of ours, those of requests, and times in names.
    let is_request = text.len() == 36 && text.matches('-').count() == 4;
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let form = words.map(|word| {
        let is_anew = word.len() >= 6 && word.bytes().filter(u8::is_ascii_digit).count() >= 3;
        if is_request || is_anew { "#" } else { word }
    });
    form.collect()
}
