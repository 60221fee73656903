//! The lines between the parts, held against the source itself (architecture page, "Invariant").

use std::fs;
use std::path::{Path, PathBuf};

/// Each word, and the only places of the product where it may stand.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("aws_sdk_s3", &["shared/src/spaces/"]),
    ("aws_sdk_dynamodb", &["shared/src/tables/"]),
    ("aws_sdk_kms", &["shared/src/aws.rs", "shared/src/kms.rs"]),
    ("aws_sdk_secretsmanager", &["shared/src/secrets.rs"]),
    ("aws_smithy", &["shared/src/app.rs"]),
    // The SDK's own clients are for the operator's tool.
    ("Spaces::client", &[]),
    ("Archive::client", &[]),
    ("Tables::client", &[]),
    ("std::env", &["shared/src/config.rs"]),
    ("Timestamp::now", &["shared/src/clock.rs"]),
    ("Instant::now", &["shared/src/clock.rs"]),
    ("SystemTime", &[]),
    ("Ulid::generate", &["shared/src/unique.rs"]),
];

/// What the rules of the business are made of.
const DOMAIN: &[&str] = &[
    "shared/src/audit/",
    "shared/src/auth/",
    "shared/src/catalog.rs",
    "shared/src/content.rs",
    "shared/src/content/",
    "shared/src/attempt.rs",
    "shared/src/export/",
    "shared/src/file_name.rs",
    "shared/src/files/",
    "shared/src/ids.rs",
    "shared/src/partial.rs",
    "shared/src/path.rs",
    "shared/src/record.rs",
    "shared/src/zip_rules.rs",
    "shared/src/zip_rules/",
];

#[test]
fn each_thing_is_done_in_one_place() {
    let sources = sources();
    for (word, places) in ONLY_IN {
        let strays = sources.iter().filter(|(path, text)| {
            text.contains(word) && !places.iter().any(|place| path.starts_with(place))
        });
        let strays: Vec<_> = strays.map(|(path, _)| path).collect();
        assert!(strays.is_empty(), "{word} stands in {strays:?}, and may only in {places:?}");
        assert!(
            places.iter().all(|place| sources
                .iter()
                .any(|(path, text)| path.starts_with(place) && text.contains(word))),
            "{word} does not stand in {places:?} any more: mend this table"
        );
    }
}

#[test]
fn the_domain_knows_no_aws_no_lambda_no_tokio() {
    let sources = sources();
    for place in DOMAIN {
        let files: Vec<_> = sources.iter().filter(|(path, _)| path.starts_with(place)).collect();
        assert!(!files.is_empty(), "{place} is gone: mend this table");
        for (path, text) in files {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let stray = ["aws_sdk", "aws_smithy", "lambda_", "tokio", "axum", "hyper", "crate::http"]
                    .iter()
                    .find(|word| line.contains(*word));
                assert_eq!(stray, None, "{path}: {line}");
            }
        }
    }
}

/// Every source file of the library and the functions, by its path in the repository.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders = vec![root.join("shared/src"), root.join("functions")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                sources.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(sources.len() > 30, "the sources are elsewhere: {sources:?}");
    sources
}
