use jiff::Timestamp;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::auth::{
    Delete, Denial, ExportLog, LogRight, Purge, ReadLog, ReadMetadata, RecordRight, Sign, Verifier,
};
use crate::secret::Secret;

const SYSTEMS: [&str; 8] =
    ["workspace", "communications", "accounting", "billing", "epcr", "fax", "app-builder", "no-such-system"];

#[derive(Debug, Clone)]
struct Place(&'static str);

impl Target for Place {
    fn system(&self) -> &str {
        self.0
    }

    fn object_type(&self) -> &str {
        "document"
    }
}

/// There is no way to a principal but a token, in tests neither.
fn principal(roles: &[&str]) -> Principal {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let claims = json!({"sub": "me", "org_id": "org-1", "role": roles[0], "roles": roles, "exp": 1});
    let token =
        jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes()));
    let verifier = Verifier::hs256(&Secret::new(SECRET.to_owned()), None, None).unwrap();
    verifier.verify(&token.unwrap(), Timestamp::UNIX_EPOCH).unwrap()
}

fn default_set() -> Policies {
    Policies::default_set().unwrap()
}

/// Both phases in a row, as a handler goes through them.
fn record<R: RecordRight>(
    policies: &Policies,
    principal: &Principal,
    system: &'static str,
    owner: &str,
) -> Result<(), Denial> {
    policies.consider::<R, _>(principal, Place(system))?.confirm(policies, owner).map(drop)
}

fn log<R: LogRight>(policies: &Policies, principal: &Principal) -> bool {
    policies.authorise_log::<R>(principal).is_ok()
}

/// The table of DESIGN section 4, written down a second time: role, systems (none for all), then who may
/// u(pload), read m(etadata), s(ign), d(elete) own or D(elete) any, p(urge), read l(og) and export it.
const TABLE: &[(&str, &[&str], &str)] = &[
    ("member", &["workspace", "communications"], "u m s d"),
    ("accountant", &["accounting", "billing"], "u m s d D"),
    ("clinician", &["epcr", "fax", "communications"], "u m s d"),
    ("developer", &["app-builder"], "u m s d D"),
    ("admin", &[], "u m s d D p l"),
    ("auditor", &[], "m l"),
    ("service", &[], "u m s d D"),
    ("no-such-role", &[], ""),
    ("Admin", &[], ""),
    ("admin ", &[], ""),
    ("Storage::Role::\"admin\"", &[], ""),
];

#[test]
fn the_default_policies_are_the_table() {
    let policies = default_set();
    for (role, systems, rights) in TABLE {
        let principal = principal(&[role]);
        for system in SYSTEMS {
            let on_system = systems.is_empty() || systems.contains(&system);
            let may = |right: char| on_system && rights.contains(right);
            let at = format!("{role} on {system}");
            assert_eq!(
                policies.authorise_upload(&principal, Place(system)).is_ok(),
                may('u'),
                "upload: {at}"
            );
            for (owner, delete) in [("me", 'd'), ("somebody", 'D'), ("ME", 'D'), ("", 'D')] {
                let at = format!("{at}, file of {owner:?}");
                let read = record::<ReadMetadata>(&policies, &principal, system, owner);
                assert_eq!(read.is_ok(), may('m'), "read metadata: {at}");
                assert_eq!(
                    record::<Sign>(&policies, &principal, system, owner).is_ok(),
                    may('s'),
                    "sign: {at}"
                );
                assert_eq!(
                    record::<Delete>(&policies, &principal, system, owner).is_ok(),
                    may(delete),
                    "delete: {at}"
                );
                assert_eq!(
                    record::<Purge>(&policies, &principal, system, owner).is_ok(),
                    may('p'),
                    "purge: {at}"
                );
            }
        }
        assert_eq!(log::<ReadLog>(&policies, &principal), rights.contains('l'), "read log: {role}");
        assert_eq!(log::<ExportLog>(&policies, &principal), rights.contains('l'), "export log: {role}");
    }
}

#[test]
fn an_export_of_the_log_is_signed_for_its_creator_alone() {
    let policies = default_set();
    for (role, own) in [
        ("admin", true),
        ("auditor", true),
        ("service", true),
        ("member", false),
        ("accountant", false),
        ("clinician", false),
        ("developer", false),
    ] {
        let principal = principal(&[role]);
        assert_eq!(record::<Sign>(&policies, &principal, "audit", "me").is_ok(), own, "{role}, own");
        for owner in ["somebody", "ME", ""] {
            let denied = record::<Sign>(&policies, &principal, "audit", owner).unwrap_err();
            assert!(denied.to_string().contains("audit"), "{role}: {denied}");
        }
    }
}

#[test]
fn every_role_of_a_token_counts() {
    let principal = principal(&["member", "accountant", "no-such-role"]);
    let policies = default_set();
    assert!(record::<Sign>(&policies, &principal, "workspace", "somebody").is_ok());
    assert!(record::<Delete>(&policies, &principal, "billing", "somebody").is_ok());
    assert!(record::<Delete>(&policies, &principal, "workspace", "somebody").is_err());
    assert!(record::<Sign>(&policies, &principal, "epcr", "me").is_err());
}

#[test]
fn own_uploads_are_decided_with_the_record() {
    let policies = default_set();
    let member = principal(&["member"]);
    // By the path alone it may be allowed, so the record is read.
    let undecided = policies.consider::<Delete, _>(&member, Place("workspace")).unwrap();
    assert_eq!(undecided.target().system(), "workspace");
    let denial = undecided.clone().confirm(&policies, "somebody").unwrap_err();
    assert_eq!(
        denial.to_string(),
        "role member may not delete files of workspace that others uploaded (no policy permits it)"
    );
    let authorised = undecided.confirm(&policies, "me").unwrap();
    assert_eq!(authorised.principal(), &member);
    assert_eq!(authorised.into_parts().1.system(), "workspace");
    // Here nothing about the record could allow it, so the record is not read.
    let denial = policies.consider::<Delete, _>(&member, Place("epcr")).unwrap_err();
    assert_eq!(denial.to_string(), "role member may not delete files of epcr (no policy permits it)");
}

#[test]
fn a_denial_says_what_was_asked_and_what_decided() {
    let policies = default_set();
    let auditor = principal(&["auditor"]);
    let denial = policies.consider::<Sign, _>(&auditor, Place("accounting")).unwrap_err();
    assert_eq!(denial.to_string(), "role auditor may not sign files of accounting (no policy permits it)");
    assert_eq!((denial.action(), denial.decided_by()), (Action::Sign, &DecidedBy::Nothing));
    let denial = policies.authorise_upload(&principal(&["auditor", "x", "y"]), Place("fax")).unwrap_err();
    assert_eq!(
        denial.to_string(),
        "role auditor (and 2 more) may not upload files to fax (no policy permits it)"
    );
    let denial = policies.authorise_log::<ExportLog>(&principal(&["member"])).unwrap_err();
    assert_eq!(denial.to_string(), "role member may not export the audit log (no policy permits it)");
}

#[test]
fn a_deployment_can_replace_the_policies() {
    let policies = Policies::parse(
        r#"
        @id("all") permit (principal, action, resource);
        @id("no-faxes-out") forbid (principal, action == Storage::Action::"sign", resource is Storage::File)
            when { resource.system == "fax" };
        @id("keep-receipts") forbid (principal, action, resource is Storage::File)
            when { resource.system == "fax" && resource.object_type == "document" };
        @id("four-eyes") forbid (principal, action == Storage::Action::"purge", resource is Storage::File)
            when { resource.owner == principal.sub };
        @id("held") forbid (principal, action == Storage::Action::"delete", resource is Storage::File)
            when { resource.owner == "under-investigation" };
        @id("one-organisation") forbid (principal, action, resource is Storage::File)
            unless { resource.org == "org-1" && principal.org == resource.org };
        "#,
    )
    .unwrap();
    let anybody = principal(&["a-role-of-their-own"]);
    assert!(log::<ExportLog>(&policies, &anybody));
    assert!(record::<Sign>(&policies, &anybody, "epcr", "somebody").is_ok());
    // Both phases see the same, and all that forbid are named.
    let denial = policies.consider::<Sign, _>(&anybody, Place("fax")).unwrap_err();
    assert_eq!(
        denial.to_string(),
        "role a-role-of-their-own may not sign files of fax (forbidden by keep-receipts, no-faxes-out)"
    );
    // Allowed for others' files alone: the first phase lets it through, too.
    assert!(record::<Purge>(&policies, &anybody, "epcr", "somebody").is_ok());
    let denial = record::<Purge>(&policies, &anybody, "epcr", "me").unwrap_err();
    assert_eq!(denial.decided_by(), &DecidedBy::Forbidden(vec!["four-eyes".to_owned()]));
    // An owner by name counts when the record is known.
    let denial = record::<Delete>(&policies, &anybody, "epcr", "under-investigation").unwrap_err();
    assert_eq!(denial.decided_by(), &DecidedBy::Forbidden(vec!["held".to_owned()]));
}

#[test]
fn a_policy_that_cannot_be_evaluated_refuses() {
    let policies = Policies::parse(
        r#"
        @id("all") permit (principal, action, resource);
        @id("overflow") forbid (principal, action == Storage::Action::"sign", resource)
            when { 9223372036854775807 + 1 == 0 };
        "#,
    )
    .unwrap();
    let denial = policies.consider::<Sign, _>(&principal(&["admin"]), Place("fax")).unwrap_err();
    assert_eq!(denial.to_string(), "role admin may not sign files of fax (not decidable: overflow)");
    assert!(record::<Delete>(&policies, &principal(&["admin"]), "fax", "me").is_ok());
}

/// Text and what the message must name.
const INVALID: &[(&str, &[&str])] = &[
    ("", &["line 1: there is no policy"]),
    ("// nothing\n\n", &["line 3: there is no policy"]),
    ("@id(\"a\")\npermit (principal, action, resource)\n", &["line 2: policy a: "]),
    (
        "@id(\"a\")\npermit (principal, action, resource);\n@id(\"b\")\npermit (principle, action, resource);\n",
        &["line 4: policy b: "],
    ),
    (
        "@id(\"a\")\npermit (principal, action, resource) when { resource.size > 3 };",
        &["line 2: policy a: ", "size"],
    ),
    (
        "@id(\"a\")\npermit (principal,\n  action == Storage::Action::\"sing\",\n  resource);",
        &["line 3: policy a: ", "sing"],
    ),
    (
        "@id(\"a\")\npermit (principal in Storage::Group::\"x\", action, resource);",
        &["line 2: policy a: ", "Group"],
    ),
    ("\npermit (principal, action, resource);", &["line 2: the policy has no @id"]),
    ("@id(\"\")\npermit (principal, action, resource);", &["line 1: the policy has no @id"]),
    (
        "@id(\"a\")\npermit (principal, action, resource);\n@id(\"a\")\npermit (principal, action, resource);",
        &["line 3: policy a: another policy has this @id"],
    ),
    ("@id(\"a\")\npermit (principal == ?principal, action, resource);", &["line 1: policy a: a template"]),
    (
        "@id(\"a\")\npermit (principal, action == Storage::Action::\"readLog\", resource is Storage::File);",
        &["policy a: "],
    ),
    ("@id(\"a\")\npermit (principal, action, resource) when { false };", &["policy a: "]),
    // All of them, not only the first.
    (
        "@id(\"a\")\npermit (principal, action, resource) when { principal.age > 3 };\n\
         @id(\"b\")\npermit (principal, action, resource) when { principal.sub > 3 };",
        &["line 2: policy a: ", "age", "line 4: policy b: "],
    ),
    (
        "@id(\"a\")\npermit (principle, action, resource);\n@id(\"b\")\npermit (principal, actions, resource);",
        &["line 2: policy a: ", "line 4: policy b: "],
    ),
];

#[test]
fn an_invalid_file_is_refused_with_the_line_and_the_policy_at_fault() {
    for (text, expected) in INVALID {
        let message = Policies::parse(text).unwrap_err().to_string();
        assert!(!message.contains("for policy"), "{message}");
        for part in *expected {
            assert!(message.contains(part), "{text}\n-- does not say {part:?} but\n{message}");
        }
    }
}

#[test]
fn every_default_policy_has_an_id_and_a_sentence() {
    let lines: Vec<_> = DEFAULT_POLICIES.lines().collect();
    let policies = default_set();
    assert_eq!(policies.set.policies().count(), DEFAULT_POLICIES.matches("@id(").count());
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("@id(")) {
        let sentence = lines[number - 1];
        assert!(sentence.starts_with("// ") && sentence.ends_with('.'), "before {line}");
    }
}

#[test]
fn what_is_asked_fits_the_schema() {
    let schema = Schema::from_cedarschema_str(SCHEMA).unwrap().0;
    let names = Names::new().unwrap();
    let declared: Vec<_> = schema.actions().collect();
    let actions = [
        Action::Upload,
        Action::ReadMetadata,
        Action::Sign,
        Action::Delete,
        Action::Purge,
        Action::ReadLog,
        Action::ExportLog,
    ];
    assert_eq!(declared.len(), actions.len());
    for action in actions {
        let resource =
            if matches!(action, Action::ReadLog | Action::ExportLog) { &names.log } else { &names.file };
        let request = Request::new(
            uid(&names.user, "me"),
            uid(&names.action, action.name()),
            uid(resource, "this one"),
            Context::empty(),
            Some(&schema),
        );
        assert!(request.is_ok(), "{action:?}: {request:?}");
    }
}
