//! The program itself: exit codes, and what it prints.

use std::process::Output;

use tokio::process::Command;

use crate::setup::{ORIGIN, Setup};

async fn run(setup: &Setup, arguments: &[&str]) -> (Option<i32>, String, String) {
    let program = Command::new(env!("CARGO_BIN_EXE_operator"))
        .args(arguments)
        .env_clear()
        .envs(&setup.variables)
        .output()
        .await
        .unwrap();
    let Output { status, stdout, stderr } = program;
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn a_good_set_up_is_0_and_a_broken_one_is_1() {
    let mut setup = Setup::good().await;
    let (code, text, _) = run(&setup, &["doctor", "--origin", ORIGIN]).await;
    assert!(code == Some(0) && text.contains("0 failed"), "{text}");
    setup.set("SPACES_BUCKET", "other-space");
    let (code, text, _) = run(&setup, &["doctor", "--json"]).await;
    assert!(code == Some(1) && text.contains("\"good\": false"), "{text}");
    assert!(text.contains("\"verdict\": \"failed\"") && text.contains("NoSuchBucket"), "{text}");
    let (code, ..) = run(&setup, &["doctor", "--allow", "bucket"]).await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn a_file_of_variables_comes_before_the_environment() {
    let mut setup = Setup::good().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# a comment\nexport SPACES_BUCKET='storage'\n").unwrap();
    setup.set("SPACES_BUCKET", "other-space");
    let path = file.path().to_str().unwrap();
    let (code, text, _) = run(&setup, &["doctor", "--env-file", path]).await;
    assert_eq!(code, Some(0), "{text}");
    std::fs::write(file.path(), "SPACES_BUCKET=storage\nSPACES_SECRET_KEY the-secret\n").unwrap();
    let (code, _, error) = run(&setup, &["doctor", "--env-file", path]).await;
    assert!(
        code == Some(1) && error.contains("is no NAME=value") && !error.contains("the-secret"),
        "{error}"
    );
}

#[tokio::test]
async fn provisioning_is_2_until_it_is_applied() {
    let mut setup = Setup::good().await;
    setup.set("FILE_RECORDS_TABLE", "other_records");
    let (code, text, _) = run(&setup, &["provision"]).await;
    assert!(code == Some(2) && text.contains("+ table other_records") && text.contains("--apply"), "{text}");
    let (code, text, _) = run(&setup, &["provision", "--apply"]).await;
    assert!(code == Some(0) && text.contains("done: table other_records"), "{text}");
    let (code, ..) = run(&setup, &["provision"]).await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn wrong_usage_is_1() {
    let setup = Setup::good().await;
    for arguments in
        [&["doctor", "--origin", "app.example.com"][..], &["doctor", "--allow", "everything"], &["repair"]]
    {
        let (code, _, error) = run(&setup, arguments).await;
        assert!(code == Some(1) && error.contains("error:"), "{error}");
    }
    let (_, _, error) = run(&setup, &["doctor", "--origin", "https://app.example.com/"]).await;
    assert!(error.contains("did you mean https://app.example.com?"), "{error}");
}
