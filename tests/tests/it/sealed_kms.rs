//! Signing with a key in AWS KMS, as it goes over the wire. No store at hand has Ed25519 keys in KMS, so the proxy answers for it:
//! with the public key as KMS writes it, and with the signature that the same key made in the process.

use data_encoding::BASE64;
use serde_json::{Value, json};
use shared::app::App;
use shared::aws::CallError;
use shared::clock::{self, Deadline};
use shared::config::{KmsConfig, SigningConfig};
use shared::kms::KmsError;
use shared::sealed::{Checkpoint, Publication, PublishError};

use crate::proxy::{Fault, Proxy};
use crate::world::{ORG, World};

/// Everything before the key in the DER of an Ed25519 public key (RFC 8410, section 10.1, has an example).
const SPKI: &str = "302a300506032b6570032100";

fn deadline() -> Deadline {
    Deadline::after(std::time::Duration::from_secs(20))
}

async fn publish(app: &App, org: &str) -> Result<Checkpoint, PublishError> {
    let (log, signer) = (app.log.as_ref().unwrap(), app.signer.as_ref().unwrap());
    let leaves = [b"one".to_vec(), b"two".to_vec()];
    let keys = [signer.public_key(deadline()).await?];
    let publication = Publication { org, published: 0, leaves: &leaves, keys: &keys };
    log.publish(signer, publication, clock::now(), deadline()).await
}

/// Makes KMS the signer.
fn with_kms(world: &World, kms: &Proxy) -> App {
    let mut config = world.config.clone();
    config.audit.as_mut().unwrap().signing = Some(SigningConfig::Kms(KmsConfig {
        key: "alias/audit".into(),
        endpoint: Some(format!("http://{}", kms.address)),
        region: "us-east-1".into(),
        access_key_id: config.tables.access_key_id.clone(),
        secret_access_key: config.tables.secret_access_key.clone(),
        session_token: None,
    }));
    App::new(&config).unwrap()
}

fn public_key(spki: &str, key: &str) -> Fault {
    let der =
        [data_encoding::HEXLOWER.decode(spki.as_bytes()).unwrap(), BASE64.decode(key.as_bytes()).unwrap()];
    answer(
        json!({ "KeyId": "arn", "KeySpec": "ECC_NIST_EDWARDS25519", "PublicKey": BASE64.encode(&der.concat()) }),
    )
}

fn answer(body: Value) -> Fault {
    Fault::Answer(200, body)
}

fn error(status: u16, code: &str) -> Fault {
    Fault::Answer(status, json!({ "__type": code, "message": code }))
}

#[tokio::test]
async fn a_key_in_kms_signs_what_the_same_key_in_the_process_signs() {
    let world = World::start().await;
    let own = App::new(&world.config).unwrap();
    let expected = publish(&own, ORG).await.unwrap();
    let key = own.signer.as_ref().unwrap().public_key(deadline()).await.unwrap();
    let delete = world.bucket().delete_object().bucket(local::spaces::ARCHIVE_BUCKET);
    delete.key(audit_format::archive::checkpoint_path(ORG)).send().await.unwrap();

    let (text, line) = expected.note.split_once("\n\n").unwrap();
    let signature = BASE64.decode(line.trim_end().rsplit_once(' ').unwrap().1.as_bytes()).unwrap();
    let kms = Proxy::start(world.stack.dynamodb).await;
    kms.fail("GetPublicKey", 0, usize::MAX, public_key(SPKI, &key.to_base64()));
    // The first four bytes are the key's id.
    let signed = json!({ "KeyId": "arn", "Signature": BASE64.encode(&signature[4..]) });
    kms.fail("Sign", 0, 1, error(500, "KMSInternalException"));
    kms.fail("Sign", 0, 1, answer(signed));
    let app = with_kms(&world, &kms);
    assert_eq!(publish(&app, ORG).await.unwrap(), expected);

    let seen = kms.take();
    let operations: Vec<_> = seen.iter().map(|seen| seen.operation.as_str()).collect();
    assert_eq!(operations, ["GetPublicKey", "Sign", "Sign"], "the public key is asked for once");
    let message = BASE64.encode(format!("{text}\n").as_bytes());
    for sign in &seen[1..] {
        let asked = json!({
            "KeyId": "alias/audit", "Message": message, "MessageType": "RAW", "SigningAlgorithm": "ED25519_SHA_512",
        });
        assert_eq!(sign.body, asked);
    }
    // Of another text it is no signature: nothing is published that nobody could verify.
    kms.fail(
        "Sign",
        0,
        usize::MAX,
        answer(json!({ "KeyId": "arn", "Signature": BASE64.encode(&signature[4..]) })),
    );
    let result = publish(&app, "org-999").await;
    assert!(matches!(result, Err(PublishError::Unsigned(_))), "{result:?}");
    let log = app.log.as_ref().unwrap();
    assert_eq!(log.checkpoint("org-999", &[key], deadline()).await.unwrap(), None);
}

#[tokio::test]
async fn what_kms_refuses_is_told_from_what_passes() {
    let world = World::start().await;
    let key = BASE64.encode(&[1; 32]);
    // P-256 keys begin otherwise.
    let other = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    for (fault, expected) in [
        (public_key(other, &key), KmsError::NotEd25519),
        (
            error(400, "AccessDeniedException"),
            CallError::Refused("AccessDeniedException (status 400)".into()).into(),
        ),
        (
            error(400, "ThrottlingException"),
            CallError::Unavailable("ThrottlingException (status 400)".into()).into(),
        ),
    ] {
        let kms = Proxy::start(world.stack.dynamodb).await;
        kms.fail("GetPublicKey", 0, usize::MAX, fault);
        let app = with_kms(&world, &kms);
        let soon = Deadline::after(std::time::Duration::from_millis(1_200));
        assert_eq!(app.signer.as_ref().unwrap().public_key(soon).await, Err(expected));
    }
}
