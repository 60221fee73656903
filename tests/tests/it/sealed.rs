//! Publication of a log into the archive: what is written, what is refused, what a crash leaves.

use std::collections::BTreeMap;

use audit_format::archive::{
    TILE_WIDTH, bundle_path, checkpoint_path, kept_checkpoint_path, leaves, tile_path,
};
use local::spaces::ARCHIVE_BUCKET;
use shared::app::App;
use shared::clock::{self, Deadline};
use shared::config::SigningConfig;
use shared::sealed::{Checkpoint, PublicKey, Publication, PublishError};
use shared::secret::Secret;

use crate::proxy::Fault;
use crate::world::{ORG, World};

/// An archive that is reached through a proxy, and the key that signs.
struct Archive {
    world: World,
    app: App,
    keys: Vec<PublicKey>,
}

impl Archive {
    async fn start() -> Self {
        let world = World::start_with(|config| {
            let archive = &mut config.audit.as_mut().unwrap().archive;
            archive.endpoint = Some(config.spaces.endpoint.clone());
            archive.object_lock = true;
        })
        .await;
        let app = App::new(&world.config).unwrap();
        let key = app.signer.as_ref().unwrap().public_key(deadline()).await.unwrap();
        Self { world, app, keys: vec![key] }
    }

    /// Publishes what of `all` is not published yet.
    async fn publish(&self, published: u64, all: &[Vec<u8>]) -> Result<Checkpoint, PublishError> {
        let first = usize::try_from(Publication::first(published)).unwrap();
        let publication = Publication { org: ORG, published, leaves: &all[first..], keys: &self.keys };
        let (log, signer) = (self.app.log.as_ref().unwrap(), self.app.signer.as_ref().unwrap());
        log.publish(signer, publication, clock::now(), deadline()).await
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let get = self.world.bucket().get_object().bucket(ARCHIVE_BUCKET).key(key).send().await.unwrap();
        get.body.collect().await.unwrap().to_vec()
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        let put = self.world.bucket().put_object().bucket(ARCHIVE_BUCKET).key(key);
        put.body(bytes.into()).send().await.unwrap();
    }

    async fn delete(&self, key: &str) {
        self.world.bucket().delete_object().bucket(ARCHIVE_BUCKET).key(key).send().await.unwrap();
    }

    /// Everything that is in the archive.
    async fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let list = self.world.bucket().list_objects_v2().bucket(ARCHIVE_BUCKET).send().await.unwrap();
        assert_eq!(list.is_truncated(), Some(false));
        let mut objects = BTreeMap::new();
        for key in list.contents().iter().filter_map(|object| object.key()) {
            objects.insert(key.to_owned(), self.get(key).await);
        }
        objects
    }
}

fn deadline() -> Deadline {
    Deadline::after(std::time::Duration::from_secs(20))
}

fn some_leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("leaf {number}").into_bytes()).collect()
}

#[track_caller]
fn broken(result: Result<Checkpoint, PublishError>) {
    assert!(matches!(result, Err(PublishError::Broken(_))), "{result:?}");
}

#[tokio::test]
async fn a_publication_that_is_cut_off_anywhere_and_made_again_leaves_the_same_bytes() {
    let all = some_leaves(600);
    let whole = Archive::start().await;
    whole.publish(0, &all[..300]).await.unwrap();
    whole.publish(300, &all).await.unwrap();
    let expected = whole.objects().await;

    let cut = Archive::start().await;
    cut.publish(0, &all[..300]).await.unwrap();
    // Whichever of its puts fails, or is done and never answered: the last is the checkpoint's.
    let puts = 3 + 2 + 1;
    for done in [false, true] {
        for after in 0..puts {
            let fault = if done { Fault::CutAfterSending } else { Fault::AnswerXml(403, "AccessDenied") };
            let times = if done { usize::MAX } else { 1 };
            cut.world.s3.fail("PUT", after, times, fault);
            let result = match done {
                false => cut.publish(300, &all).await,
                // Its attempts are as many as fit into their time. To get to the last takes some.
                true => {
                    let (log, signer) = (cut.app.log.as_ref().unwrap(), cut.app.signer.as_ref().unwrap());
                    let publication =
                        Publication { org: ORG, published: 300, leaves: &all[256..], keys: &cut.keys };
                    let time = if after + 1 == puts { 4_000 } else { 1_300 };
                    let soon = Deadline::after(std::time::Duration::from_millis(time));
                    log.publish(signer, publication, clock::now(), soon).await
                }
            };
            cut.world.s3.heal();
            // Once the checkpoint is there, all is done and nothing is put any more.
            let there = cut.get(&checkpoint_path(ORG)).await == expected[&checkpoint_path(ORG)];
            assert_eq!(there, done && after + 1 == puts, "{after}");
            assert!(matches!(result, Err(PublishError::Archive(_))), "{after}: {result:?}");
        }
    }
    cut.world.s3.take();
    let checkpoint = cut.publish(300, &all).await.unwrap();
    assert_eq!(cut.world.s3.operations(), ["GET", "GET"], "it is signed already");
    assert_eq!(checkpoint.size, 600);
    assert_eq!(cut.objects().await, expected);
}

#[tokio::test]
async fn only_what_is_final_is_locked_and_the_checkpoint_comes_last() {
    let archive = Archive::start().await;
    let all = some_leaves(700);
    archive.world.s3.take();
    let checkpoint = archive.publish(0, &all).await.unwrap();
    let log = archive.app.log.as_ref().unwrap();
    log.keep_checkpoint(ORG, &checkpoint, clock::now(), deadline()).await.unwrap();

    let seen = archive.world.s3.take();
    let puts: Vec<_> = seen.iter().filter(|seen| seen.operation == "PUT").collect();
    let key = |uri: &str| uri.split_once(ARCHIVE_BUCKET).unwrap().1[1..].to_owned();
    let key = |seen: &crate::proxy::Seen| key(seen.uri.path());
    let locked: BTreeMap<String, bool> = puts
        .iter()
        .map(|seen| {
            let mode = seen.headers.get("x-amz-object-lock-mode").map(|mode| mode.to_str().unwrap());
            assert!(matches!(mode, None | Some("COMPLIANCE")));
            let until = seen.headers.get("x-amz-object-lock-retain-until-date");
            let until: Option<jiff::Timestamp> = until.map(|until| until.to_str().unwrap().parse().unwrap());
            let kept = audit_format::kept_until(clock::now()).as_second();
            assert!(until.is_none_or(|until| (kept - until.as_second()).abs() < 60), "{until:?}");
            assert_eq!(until.is_some(), mode.is_some());
            (key(seen), mode.is_some())
        })
        .collect();
    let mut expected = BTreeMap::from([
        (checkpoint_path(ORG), false),
        (kept_checkpoint_path(ORG, 700), true),
        (tile_path(ORG, 1, 0, 2), false),
    ]);
    for (index, width) in [(0, TILE_WIDTH), (1, TILE_WIDTH), (2, 188)] {
        expected.insert(tile_path(ORG, 0, index, width), width == TILE_WIDTH);
        expected.insert(bundle_path(ORG, index, width), width == TILE_WIDTH);
    }
    assert_eq!(locked, expected);
    assert_eq!(archive.objects().await.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());

    let [.., last, kept] = puts.as_slice() else { panic!() };
    assert_eq!((key(last), key(kept)), (checkpoint_path(ORG), kept_checkpoint_path(ORG, 700)));
    for put in &puts[..puts.len() - 2] {
        assert!(
            put.answered.unwrap() <= last.arrived,
            "all that it commits to is there before the checkpoint"
        );
    }
    let bundle = archive.get(&bundle_path(ORG, 2, 188)).await;
    assert_eq!(leaves(&bundle).unwrap(), all[512..].iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert!(checkpoint.note.starts_with(&format!("{}/{ORG}\n700\n", local::stack::AUDIT_ORIGIN)));
}

#[tokio::test]
async fn nothing_is_signed_on_top_of_an_archive_that_is_not_what_was_published() {
    let archive = Archive::start().await;
    let all = some_leaves(1_000);
    let earlier = archive.publish(0, &all[..100]).await.unwrap();
    archive.publish(100, &all[..600]).await.unwrap();
    let signed = archive.get(&checkpoint_path(ORG)).await;
    let tile = tile_path(ORG, 1, 0, 2);
    let hashes = archive.get(&tile).await;
    let mut damaged = hashes.clone();
    damaged[40] ^= 1;
    let mut forged = String::from_utf8(signed.clone()).unwrap();
    forged = forged.replacen("\n600\n", "\n601\n", 1);
    let foreign = {
        let signer =
            shared::sealed::Signer::seed(&Secret::new(data_encoding::BASE64.encode(&[7; 32]))).unwrap();
        let key = [signer.public_key(deadline()).await.unwrap()];
        let publication = Publication { org: "org-999", published: 0, leaves: &all[..600], keys: &key };
        let log = archive.app.log.as_ref().unwrap();
        let own = Publication { keys: &archive.keys, ..publication };
        let signed_by_another = log.publish(&signer, publication, clock::now(), deadline()).await.unwrap();
        archive.delete(&checkpoint_path("org-999")).await;
        let of_another =
            log.publish(archive.app.signer.as_ref().unwrap(), own, clock::now(), deadline()).await.unwrap();
        [signed_by_another.note, of_another.note]
    };
    let checkpoint = checkpoint_path(ORG);
    let mut cases = vec![
        ("a hash of a tile changed", tile.as_str(), Some(damaged)),
        ("a tile cut short", tile.as_str(), Some(hashes[..32].to_vec())),
        ("a tile gone", tile.as_str(), None),
        ("the checkpoint gone", checkpoint.as_str(), None),
        ("an earlier checkpoint of ours", checkpoint.as_str(), Some(earlier.note.into_bytes())),
        ("a checkpoint that was altered", checkpoint.as_str(), Some(forged.into_bytes())),
        ("no checkpoint at all", checkpoint.as_str(), Some(b"checkpoint".to_vec())),
    ];
    for note in foreign {
        cases.push((
            "another key's or another log's checkpoint",
            checkpoint.as_str(),
            Some(note.into_bytes()),
        ));
    }
    for (what, key, bytes) in cases {
        let whole = archive.objects().await;
        match bytes {
            Some(bytes) => archive.put(key, bytes).await,
            None => archive.delete(key).await,
        }
        let before = archive.objects().await;
        let result = archive.publish(600, &all).await;
        assert!(matches!(result, Err(PublishError::Broken(_))), "{what}: {result:?}");
        assert_eq!(archive.objects().await, before, "{what}: something was written");
        archive.put(key, whole[key].clone()).await;
    }
    // Leaves that are not those that were published.
    let mut changed = all.clone();
    changed[599] = b"another".to_vec();
    broken(archive.publish(600, &changed).await);
    // Positions that were lost, or rolled back, behind the archive.
    broken(archive.publish(100, &all[..500]).await);
    broken(archive.publish(0, &all[..599]).await);
    assert_eq!(archive.get(&checkpoint_path(ORG)).await, signed);
    // What is whole goes on, also from where an earlier publication was cut off behind its checkpoint.
    assert_eq!(archive.publish(100, &all).await.unwrap().size, 1_000);
}

#[tokio::test]
async fn a_new_key_goes_on_where_the_old_one_stopped() {
    let mut archive = Archive::start().await;
    let all = some_leaves(400);
    let (tables, now) = (archive.app.tables, clock::now());
    let keys = tables.sign_with(archive.keys[0], now, deadline()).await.unwrap();
    assert_eq!(keys, archive.keys);
    archive.app = App::new(&archive.world.config).unwrap();
    archive.publish(0, &all[..300]).await.unwrap();

    let mut config = archive.world.config.clone();
    let seed = Secret::new(data_encoding::BASE64.encode(&[9; 32]));
    config.audit.as_mut().unwrap().signing = Some(SigningConfig::Seed(seed));
    archive.app = App::new(&config).unwrap();
    let new = archive.app.signer.as_ref().unwrap().public_key(deadline()).await.unwrap();
    // Unheard of, the old key's checkpoint is nobody's.
    let old = std::mem::replace(&mut archive.keys, vec![new]);
    broken(archive.publish(300, &all).await);
    for _ in 0..2 {
        archive.keys = tables.sign_with(new, now, deadline()).await.unwrap();
        assert_eq!(archive.keys, [old[0], new]);
    }
    let checkpoint = archive.publish(300, &all).await.unwrap();
    let log = archive.app.log.as_ref().unwrap();
    assert_eq!(log.checkpoint(ORG, &[new], deadline()).await.unwrap(), Some(checkpoint));
    log.checkpoint(ORG, &old, deadline()).await.expect_err("the old key did not sign it");
    let listed = tables.signing_keys(deadline()).await.unwrap();
    assert!(listed[0].since < listed[1].since, "{listed:?}");
    tables.sign_with(old[0], now, deadline()).await.expect_err("a key that was replaced does not come back");
}
