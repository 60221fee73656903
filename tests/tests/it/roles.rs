//! The default policies, from the token to the stores. The whole table is tested beside the policies; here are the cells
//! that people rely on.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use crate::raw;
use crate::world::{Answer, JPEG, ORG, World};

async fn store(world: &World, token: &str, system: &str, object_type: &str) -> Answer {
    let (bytes, name) = match system {
        "app-builder" => (include_bytes!("../../fixtures/files/info-zip.zip").as_slice(), "a.zip"),
        "epcr" | "communications" => (JPEG, "a.jpg"),
        _ => (b"%PDF-1.7\n".as_slice(), "a.pdf"),
    };
    let form = Form::new().part("file", Part::bytes(bytes).file_name(name));
    let form = form.text("org_id", ORG).text("object_id", "o-1");
    let form = form.text("system", system.to_owned()).text("object_type", object_type.to_owned());
    world.upload(token, "upload", form).await
}

/// What somebody may do with a file of another user, in the order of an ever smaller circle.
async fn rights(world: &World, token: &str, path: &str) -> Vec<&'static str> {
    let mut rights = Vec::new();
    let mut add = |name, answer: Answer| match answer.status.as_u16() {
        200 => rights.push(name),
        _ => drop(answer.refused(403, "forbidden")),
    };
    add("metadata", world.metadata(token, path).await);
    add("sign", world.sign(token, path).await);
    let with_deleted = world.request(Method::GET, &format!("metadata/{path}?include_deleted=true"), token);
    add("include_deleted", world.send(with_deleted).await);
    add("log", world.logs(token, "").await);
    add("delete", world.delete(token, path, false).await);
    add("purge", world.delete(token, path, true).await);
    rights
}

#[tokio::test]
async fn a_role_may_do_what_the_table_says_with_files_of_others() {
    let world = World::start().await;
    let service = world.token_of(ORG, "2", "service");
    for (role, system, object_type, uploads, expected) in [
        ("member", "workspace", "pdf", true, "metadata sign"),
        ("member", "communications", "email-attachment", true, "metadata sign"),
        ("member", "accounting", "invoice", false, ""),
        ("accountant", "accounting", "invoice", true, "metadata sign delete"),
        ("accountant", "billing", "claim", true, "metadata sign delete"),
        ("accountant", "epcr", "document", false, ""),
        ("clinician", "epcr", "document", true, "metadata sign"),
        ("clinician", "fax", "inbound", true, "metadata sign"),
        ("clinician", "communications", "message-attachment", true, "metadata sign"),
        ("clinician", "billing", "claim", false, ""),
        ("developer", "app-builder", "source", true, "metadata sign delete"),
        ("developer", "workspace", "pdf", false, ""),
        ("admin", "epcr", "document", true, "metadata sign include_deleted log delete purge"),
        ("auditor", "epcr", "document", false, "metadata log"),
        ("service", "fax", "outbound", true, "metadata sign delete"),
        ("nobody", "workspace", "pdf", false, ""),
    ] {
        let token = world.token(role);
        let stored = store(&world, &token, system, object_type).await;
        let status = if uploads { 200 } else { 403 };
        assert_eq!(stored.status, status, "{role} stores in {system}/{object_type}: {}", stored.body);
        let path = store(&world, &service, system, object_type).await.ok().path();
        assert_eq!(rights(&world, &token, &path).await.join(" "), expected, "{role}, {system}/{object_type}");
    }
    world.check_invariants().await;
}

#[tokio::test]
async fn members_and_clinicians_delete_only_what_they_uploaded() {
    let world = World::start().await;
    for (role, system, object_type) in [("member", "workspace", "pdf"), ("clinician", "epcr", "document")] {
        let (own, other) = (world.token_of(ORG, "7", role), world.token_of(ORG, "8", role));
        let path = store(&world, &own, system, object_type).await.ok().path();
        let before = world.snapshot().await;
        world.delete(&other, &path, false).await.refused(403, "forbidden");
        let entry = world.entries().await.pop().unwrap();
        let expected = format!(
            "role {role} may not delete files of {system} that others uploaded (no policy permits it)"
        );
        assert_eq!(entry.error, Some(expected));
        assert_eq!(entry.file_path(), Some(path.clone()));
        assert_eq!(world.snapshot().await.records, before.records);
        world.delete(&own, &path, true).await.refused(403, "forbidden");
        world.delete(&own, &path, false).await.ok();
    }
}

#[tokio::test]
async fn ownership_goes_by_the_subject_not_by_the_shown_user_id() {
    let world = World::start().await;
    let exp = shared::clock::now().as_second() + 600;
    let token = |sub: &str, user_id: i64| {
        raw::token(&json!({ "sub": sub, "user_id": user_id, "org_id": ORG, "role": "member", "exp": exp }))
    };
    let path = store(&world, &token("anna", 1), "workspace", "pdf").await.ok().path();
    world.delete(&token("bert", 1), &path, false).await.refused(403, "forbidden");
    world.delete(&token("anna", 2), &path, false).await.ok();
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.user.to_string().as_str(), entry.sub.as_deref()), ("2", Some("anna")));
}

#[tokio::test]
async fn further_roles_add_to_the_first() {
    let world = World::start().await;
    let exp = shared::clock::now().as_second() + 600;
    let token = |role: &str, roles: serde_json::Value| {
        raw::token(&json!({ "sub": "1", "org_id": ORG, "role": role, "roles": roles, "exp": exp }))
    };
    let both = token("member", json!(["accountant", "member"]));
    store(&world, &both, "workspace", "pdf").await.ok();
    let path = store(&world, &both, "accounting", "invoice").await.ok().path();
    store(&world, &both, "epcr", "document").await.refused(403, "forbidden");
    let entry = world.entries().await.pop().unwrap();
    assert_eq!(entry.role, "member", "an entry shows the first role");
    assert!(entry.error.unwrap().starts_with("role member (and 1 more) may not"));
    world.sign(&token("auditor", json!(["accountant"])), &path).await.ok();
    world.sign(&token("auditor", json!([])), &path).await.refused(403, "forbidden");
    world.metadata(&token("nobody", json!(["auditor"])), &path).await.ok();
}
