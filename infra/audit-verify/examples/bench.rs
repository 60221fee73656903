//! How long it takes to verify a log, from a bundle and from a table that is read in pages:
//! `cargo run --release -p audit-verify --example bench -- 1000000 [bundle|table]`
//!
//! Both come from the same entries: real rows, chained by 50 writers, sealed and signed. The table is the embedded DynamoDB
//! on a file, and the archive a folder behind HTTP, both in this process and on the same processors.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails panics")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use audit_format::archive::{self, TILE_WIDTH};
use audit_format::{Action, Body, Details, LogRow, Notice, NoticeKind, UserId, Value, leaf_hash};
use audit_verify::{Directory, Endpoint, Keys, Live, LiveOptions, Options, Source, Verdict, verify};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, PutRequest,
    ScalarAttributeType, WriteRequest,
};
use data_encoding::BASE64;
use jiff::Timestamp;
use signed_note::{Note, Signature, key_id};
use tlog_tiles::{Checkpoint, Tile};
use ulid::Ulid;

const ORG: &str = "3f8e2a1c-7b64-4d0e-9a55-0c1d2e3f4a5b";
const ORIGIN: &str = "audit.example.com";
const WRITERS: usize = 50;
const TABLE: &str = "storage_audit_logs";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let entries: u64 = arguments.next().map_or(100_000, |number| number.parse().unwrap());
    let which = arguments.next();
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let (vkey, now) = seal(entries, folder.path());
    println!("{entries} entries made in {:.1} s", began.elapsed().as_secs_f64());
    let mut keys = Keys::new(None);
    keys.add(&vkey).unwrap();
    let options = Options::new(keys, now);
    if which.as_deref() != Some("table") {
        let source = Source::Directory(Directory::open(folder.path()).unwrap());
        measure("bundle", &source, &options);
    }
    if which.as_deref() != Some("bundle") {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (dynamodb, s3) = (runtime.block_on(table(folder.path())), serve(folder.path().join("archive")));
        let endpoint = |url: String| Endpoint {
            url: Some(url),
            region: "us-east-1".into(),
            access_key: "local".into(),
            secret_key: "localsecret".into(),
            session_token: None,
        };
        let live = LiveOptions {
            tables: endpoint(dynamodb),
            log_table: TABLE.into(),
            archive: endpoint(s3),
            archive_bucket: "archive".into(),
            files: None,
            records_table: String::new(),
        };
        let source = Source::Live(Box::new(Live::new(live, now).unwrap()));
        measure("table", &source, &Options { orgs: [ORG.to_owned()].into(), ..options });
    }
}

fn measure(what: &str, source: &Source, options: &Options) {
    let began = Instant::now();
    let (report, _) = verify(source, options, &());
    let took = began.elapsed().as_secs_f64();
    // Every log of a day and more is to stand in a log of logs; this one is younger.
    assert_eq!(report.verdict(), Verdict::Proven, "{:#?}", report.findings);
    let log = &report.logs[ORG];
    let peak = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = peak.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
    println!("{what}: {} leaves, {} rows proven in {took:.1} s; {peak}", log.leaves, log.rows);
}

/// Writes a bundle; answers the vkey and the moment after the last entry.
fn seal(entries: u64, folder: &Path) -> (String, Timestamp) {
    let now = Timestamp::now();
    let end = u64::try_from(now.as_millisecond()).unwrap();
    fs::create_dir_all(folder.join("table")).unwrap();
    let mut rows = BufWriter::new(File::create(folder.join(format!("table/{ORG}.ndjson"))).unwrap());
    let mut chains = vec![(0, None); WRITERS];
    let mut level: Vec<u8> = Vec::new();
    let mut bundle: Vec<Vec<u8>> = Vec::new();
    for number in 0..entries {
        let place = usize::try_from(number).unwrap() % WRITERS;
        let (sequence, last) = &mut chains[place];
        // 60 a second at most, the last one 10 minutes ago.
        let at = end - 600_000 - (entries - number) * 16;
        let row = entry(number, at, place, *sequence, last.as_ref());
        (*sequence, *last) = (*sequence + 1, Some(row.hash));
        writeln!(rows, "{}", json(&row)).unwrap();
        level.extend(row.hash);
        bundle.push(row.bytes);
        flush(folder, &mut bundle, number, false);
    }
    let beat = Notice {
        complete_to: Some(now.as_millisecond() - 300_000),
        ..Notice::new(NoticeKind::Heartbeat, ORG, now.as_millisecond())
    };
    level.extend(leaf_hash(&beat.to_bytes()));
    bundle.push(beat.to_bytes());
    flush(folder, &mut bundle, entries, true);
    rows.flush().unwrap();

    let mut height = 0;
    loop {
        let mut above = Vec::new();
        for (index, tile) in (0..).zip(level.chunks(256 * 32)) {
            put(folder, &archive::tile_path(ORG, height, index, (tile.len() / 32) as u64), tile);
            if tile.len() == 256 * 32 {
                above.extend(Tile::subtree_hash(tile).0);
            }
        }
        if height == 0 {
            let root = root(&level);
            let vkey = sign(folder, entries + 1, root);
            if above.is_empty() {
                return (vkey, now);
            }
            fs::write(folder.join("vkey"), vkey).unwrap();
        } else if above.is_empty() {
            return (fs::read_to_string(folder.join("vkey")).unwrap(), now);
        }
        (level, height) = (above, height + 1);
    }
}

/// RFC 6962, section 2.1, as it is written there.
fn root(hashes: &[u8]) -> tlog_tiles::Hash {
    let count = hashes.len() / 32;
    if count == 1 {
        return tlog_tiles::Hash(hashes.try_into().unwrap());
    }
    let left = count.next_power_of_two() / 2 * 32;
    tlog_tiles::node_hash(root(&hashes[..left]), root(&hashes[left..]))
}

fn sign(folder: &Path, size: u64, root: tlog_tiles::Hash) -> String {
    let name = archive::origin(ORIGIN, ORG);
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = [&[1], pair.public_key().as_ref()].concat();
    let text = Checkpoint::new(&name, size, root, "").unwrap().to_bytes();
    let id = key_id(&name, &public);
    let signature = Signature::new(name.clone(), id, pair.sign(&text).as_ref().to_vec()).unwrap();
    put(folder, &archive::checkpoint_path(ORG), &Note::new(&text, &[signature]).unwrap().to_bytes());
    format!("{name}+{id:08x}+{}", BASE64.encode(&public))
}

fn flush(folder: &Path, bundle: &mut Vec<Vec<u8>>, last: u64, is_end: bool) {
    let width = bundle.len() as u64;
    if width == TILE_WIDTH || is_end {
        let bytes = archive::bundle(bundle.iter().map(Vec::as_slice)).unwrap();
        put(folder, &archive::bundle_path(ORG, last / TILE_WIDTH, width), &bytes);
        bundle.clear();
    }
}

fn put(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join("archive").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn entry(number: u64, at: u64, writer: usize, sequence: u64, last: Option<&[u8; 32]>) -> LogRow {
    let body = Body {
        action: Action::ALL[usize::try_from(number % 7).unwrap()],
        ip: "203.113.110.195".into(),
        device: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0".into(),
        error: None,
        path: Some(format!("accounting/receipt/receipt-{}/20260126_153045_IMG_{number}.jpg", number % 9_000)),
        replaces: None,
        id: Ulid::from_parts(at, u128::from(number)).to_string(),
        details: Details::default(),
        sequence,
        org: ORG.into(),
        previous: last.map(Body::encode_hash),
        request_id: format!("8f14e45f-ceea-467f-ab2e-{number:012x}"),
        role: "accountant".into(),
        sub: None,
        timestamp_ms: i64::try_from(at).unwrap(),
        user: UserId::Number(i64::try_from(number % 300).unwrap()),
        writer: format!("bench-writer-{writer:03}"),
        related_type: Some("invoice".into()),
        related_id: Some(format!("inv-{}", number % 5_000)),
    };
    LogRow::of(&body.to_bytes()).unwrap()
}

fn json(row: &LogRow) -> String {
    let value = |value: &Value| match value {
        Value::S(text) => serde_json::json!({ "S": text }),
        Value::N(number) => serde_json::json!({ "N": number }),
        Value::B(bytes) => serde_json::json!({ "B": BASE64.encode(bytes) }),
        Value::Other(json) => serde_json::from_str(json).unwrap(),
    };
    let members = row.attributes().iter().map(|(name, found)| (name.clone(), value(found))).collect();
    serde_json::Value::Object(members).to_string()
}

/// Starts the embedded DynamoDB and fills its table from the bundle.
async fn table(folder: &Path) -> String {
    let database = dynoxide::Database::new(&folder.join("table.sqlite").to_string_lossy()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, std::future::pending()));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(&url)
        .credentials_provider(Credentials::new("local", "localsecret", None, None, "bench"));
    let client = aws_sdk_dynamodb::Client::from_conf(config.build());
    let mut create = client.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let key = KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
        let of = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
        create = create.key_schema(key).attribute_definitions(of.build().unwrap());
    }
    create.send().await.unwrap();
    let began = Instant::now();
    let lines = BufReader::new(File::open(folder.join(format!("table/{ORG}.ndjson"))).unwrap()).lines();
    let mut batch = Vec::new();
    for line in lines {
        let put = PutRequest::builder().set_item(Some(item(&line.unwrap()))).build().unwrap();
        batch.push(WriteRequest::builder().put_request(put).build());
        if batch.len() == 25 {
            client.batch_write_item().request_items(TABLE, std::mem::take(&mut batch)).send().await.unwrap();
        }
    }
    if !batch.is_empty() {
        client.batch_write_item().request_items(TABLE, batch).send().await.unwrap();
    }
    println!("table filled in {:.1} s", began.elapsed().as_secs_f64());
    url
}

fn item(line: &str) -> HashMap<String, AttributeValue> {
    let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
    let value = |value: &serde_json::Value| {
        let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
        let text = value.as_str().unwrap().to_owned();
        match kind.as_str() {
            "S" => AttributeValue::S(text),
            "N" => AttributeValue::N(text),
            _ => AttributeValue::B(Blob::new(BASE64.decode(text.as_bytes()).unwrap())),
        }
    };
    row.iter().map(|(name, found)| (name.clone(), value(found))).collect()
}

/// Serves the archive as a bucket does: GET of an object, and listings, which are empty here.
fn serve(archive: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let archive = archive.clone();
            std::thread::spawn(move || answer(stream, &archive));
        }
    });
    url
}

fn answer(stream: TcpStream, archive: &Path) {
    stream.set_nodelay(true).unwrap();
    let mut requests = BufReader::new(stream.try_clone().unwrap());
    let mut stream = BufWriter::new(stream);
    loop {
        let mut path = String::new();
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            }
            if line == "\r\n" {
                break;
            }
        }
        let key = path.split('?').next().unwrap_or_default().trim_start_matches("/archive").trim_matches('/');
        let (status, body) = match (key, fs::read(archive.join(key))) {
            ("", _) => {
                ("200 OK", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".to_vec())
            }
            (_, Ok(bytes)) => ("200 OK", bytes),
            (_, Err(_)) => ("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&body))
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}
