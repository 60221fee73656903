//! Secrets that a function's environment only names: read from AWS Secrets Manager once, at the start. No store at hand is one, so the
//! proxy answers for it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::binary::recorded;
use crate::proxy::{Fault, Proxy};
use crate::runtime::{Function, SECRET, environment};
use crate::template::secrets_by_function;
use crate::world::World;

const SPACES: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:storage/spaces-AbCdEf";
const TOKENS: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:storage/jwt-GhIjKl";
const SIGNING: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:storage/signing-MnOpQr";

fn secret(text: &str) -> Fault {
    Fault::Answer(200, json!({ "ARN": "arn", "Name": "name", "SecretString": text }))
}

fn error(status: u16, code: &str) -> Fault {
    Fault::Answer(status, json!({ "__type": code, "message": "the secret, spelt out" }))
}

/// The environment with ARNs instead of secrets.
fn named(world: &World, secrets: &Proxy) -> Vec<(&'static str, String)> {
    let mut environment = environment(world);
    let held = ["SPACES_ACCESS_KEY", "SPACES_SECRET_KEY", "JWT_SECRET"];
    environment.retain(|(name, _)| !held.contains(name));
    environment.extend([
        ("SECRETS_MANAGER_ENDPOINT", format!("http://{}", secrets.address)),
        ("SPACES_ACCESS_KEY_ARN", format!("{SPACES}:access_key::")),
        ("SPACES_SECRET_KEY_ARN", format!("{SPACES}:secret_key::")),
        ("JWT_SECRET_ARN", TOKENS.into()),
        // Of the sealer alone.
        ("AUDIT_SIGNING_KEY_ARN", SIGNING.into()),
    ]);
    environment
}

/// Answers by the secret that is asked for, as Secrets Manager does.
fn keeps(secrets: &Proxy) {
    let spaces = json!({ "access_key": "local", "secret_key": "localsecret" }).to_string();
    let seed = data_encoding::BASE64.encode(&[7; 32]);
    for (arn, text) in [(SPACES, spaces.as_str()), (TOKENS, SECRET), (SIGNING, &seed)] {
        secrets.fail_if(move |seen| seen.body["SecretId"] == arn, 0, usize::MAX, secret(text));
    }
    secrets.fail("GetSecretValue", 0, usize::MAX, error(400, "ResourceNotFoundException"));
}

#[tokio::test]
async fn a_function_reads_the_secrets_that_its_environment_names_once() {
    let world = World::start().await;
    let secrets = Proxy::start(world.stack.dynamodb).await;
    keeps(&secrets);
    let mut upload = Function::start("upload", &named(&world, &secrets)).await;
    for _ in 0..2 {
        upload.invoke(recorded("function-url-post-base64", "member")).await;
    }
    assert_eq!(world.objects().await.len(), 1, "{}", upload.log());

    let mut asked: Vec<Value> = secrets.take().iter().map(|seen| seen.body.clone()).collect();
    asked.sort_by_key(Value::to_string);
    assert_eq!(
        asked,
        [json!({ "SecretId": TOKENS }), json!({ "SecretId": SPACES })],
        "each secret is asked for once"
    );
    let log = upload.log();
    assert!(!log.contains(SECRET) && !log.contains("localsecret"), "{log}");
}

#[tokio::test]
async fn a_function_asks_for_no_secret_that_its_role_may_not_read() {
    let world = World::start().await;
    let secrets = Proxy::start(world.stack.dynamodb).await;
    keeps(&secrets);
    for (name, may_read) in secrets_by_function() {
        let mut function = Function::start(&name, &named(&world, &secrets)).await;
        // Whatever it answers, then it has started.
        function.result(&recorded("function-url-post-base64", "member").to_string()).await;
        let asked: BTreeSet<_> =
            secrets.take().iter().map(|seen| seen.body["SecretId"].as_str().unwrap().to_owned()).collect();
        // The template's sealer signs with KMS; one without asks for its key.
        let signing = (name == "seal").then(|| SIGNING.to_owned());
        let may_read = may_read.iter().map(|parameter| match parameter.as_str() {
            "SpacesSecretArn" => SPACES.to_owned(),
            "JwtSecretArn" => TOKENS.to_owned(),
            other => panic!("{name}: {other}"),
        });
        assert_eq!(asked, may_read.chain(signing).collect(), "{name}");
        assert!(!function.log().contains("not properly configured"), "{name}: {}", function.log());
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_named_secret_is_told_by_its_variable() {
    let world = World::start().await;
    let secrets = Proxy::start(world.stack.dynamodb).await;
    keeps(&secrets);
    for (name, value, expected) in [
        ("JWT_SECRET_ARN", "storage/jwt", "JWT_SECRET_ARN is not the ARN of a secret of AWS Secrets Manager"),
        ("JWT_SECRET", SECRET, "JWT_SECRET and its _ARN: only one of them may be set"),
        (
            "JWT_SECRET_ARN",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:gone-AbCdEf",
            "JWT_SECRET_ARN names a secret that cannot be read: ResourceNotFoundException (status 400)",
        ),
        (
            "SPACES_ACCESS_KEY_ARN",
            &format!("{SPACES}:key::"),
            "SPACES_ACCESS_KEY_ARN names a member that the secret does not have",
        ),
        ("JWT_SECRET_ARN", &format!("{SPACES}:access_key::"), "JWT_SECRET is shorter than 32 bytes"),
        ("SECRETS_MANAGER_ENDPOINT", "http://secrets.internal", "SECRETS_MANAGER_ENDPOINT is plain http"),
    ] {
        let mut environment = named(&world, &secrets);
        environment.retain(|(other, _)| *other != name);
        environment.push((name, value.to_owned()));
        let mut upload = Function::start("upload", &environment).await;
        let problem = upload.invoke(recorded("function-url-post-base64", "member")).await;
        problem.refused(500, "not_configured");
        let log = upload.log();
        assert!(log.contains(expected), "{log}");
        assert!(!log.contains(SECRET) && !log.contains("spelt out"), "{log}");
    }
}

#[tokio::test]
async fn a_function_whose_secrets_cannot_be_read_now_starts_the_next_time() {
    let world = World::start().await;
    let secrets = Proxy::start(world.stack.dynamodb).await;
    // One failure is tried again.
    secrets.fail("GetSecretValue", 0, 1, error(500, "InternalServiceError"));
    keeps(&secrets);
    let mut upload = Function::start("upload", &named(&world, &secrets)).await;
    upload.invoke(recorded("function-url-post-base64", "member")).await;
    assert_eq!(world.objects().await.len(), 1, "{}", upload.log());

    for (fault, expected) in [
        (error(500, "InternalServiceError"), "Secrets Manager is not available"),
        (error(429, "TooManyRequestsException"), "Secrets Manager is not available"),
        // What a new role may do takes a while to be known everywhere.
        (error(400, "AccessDeniedException"), "Secrets Manager refuses this role"),
    ] {
        let secrets = Proxy::start(world.stack.dynamodb).await;
        secrets.fail("GetSecretValue", 0, usize::MAX, fault);
        let (status, log) = Function::start("upload", &named(&world, &secrets)).await.ended().await;
        assert!(!status.success());
        assert!(log.contains(expected), "{log}");
    }
}
