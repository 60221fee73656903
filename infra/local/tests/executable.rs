//! `cargo run`, as the person at the terminal and a program that reads its output see it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
const FREE_PORTS: [&str; 6] = ["--port", "0", "--s3-port", "0", "--dynamodb-port", "0"];
const PDF: &[u8] = b"%PDF-1.7\n%%EOF\n";

fn local(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(arguments).env_clear().kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
async fn output(mut command: Command) -> Output {
    tokio::time::timeout(PATIENCE, command.output()).await.expect("it runs on").unwrap()
}

/// A token, made by the subcommand.
async fn token(arguments: &[&str]) -> String {
    let printed = output(local(&[&["token"], arguments].concat())).await;
    assert!(printed.status.success(), "{printed:?}");
    String::from_utf8(printed.stdout).unwrap().trim_end().to_owned()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
}

/// A stack that serves.
struct Running {
    child: Child,
    /// What it said before the line for programs.
    text: String,
    /// The line for programs.
    addresses: Value,
    lines: Lines<BufReader<ChildStdout>>,
    http: reqwest::Client,
}

impl Running {
    async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut text = String::new();
        loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
            let Some(line) = line else { panic!("it did not start: {:?}", child.wait_with_output().await) };
            if let Ok(addresses) = serde_json::from_str(&line) {
                let http = reqwest::Client::builder().no_proxy().build().unwrap();
                return Self { child, text, addresses, lines, http };
            }
            text.push_str(&line);
            text.push('\n');
        }
    }

    async fn ephemeral() -> Self {
        Self::start(local(&[&["--ephemeral"], &FREE_PORTS[..]].concat())).await
    }

    async fn on(data: &Path) -> Self {
        Self::start(local(&[&["--data", data.to_str().unwrap()], &FREE_PORTS[..]].concat())).await
    }

    fn address(&self, name: &str) -> &str {
        self.addresses[name].as_str().unwrap()
    }

    async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let url = format!("{}/{path}", self.address("api"));
        let answer = self.http.get(url).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn upload(&self, token: &str) -> Value {
        let file = Part::bytes(PDF).file_name("invoice.pdf").mime_str("application/pdf").unwrap();
        let mut form = Form::new().part("file", file);
        for (name, value) in [("org_id", "org-1"), ("system", "accounting"), ("object_type", "invoice")] {
            form = form.text(name, value);
        }
        let form = form.text("object_id", "inv-1").text("add_timestamp", "false");
        let url = format!("{}/upload", self.address("api"));
        let answer = self.http.post(url).bearer_auth(token).multipart(form).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// The bytes behind a signed URL.
    async fn download(&self, path: &str, token: &str) -> Vec<u8> {
        let request = self.http.post(format!("{}/signed-url", self.address("api"))).bearer_auth(token);
        let signed: Value =
            request.json(&json!({ "file_path": path })).send().await.unwrap().json().await.unwrap();
        let url = signed["url"].as_str().unwrap_or_else(|| panic!("{signed}"));
        let file = self.http.get(url).send().await.unwrap().error_for_status().unwrap();
        file.bytes().await.unwrap().to_vec()
    }

    async fn stop(mut self, signal: &str) -> (ExitStatus, String, String) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it runs on").unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        while let Some(line) = self.lines.next_line().await.unwrap() {
            stdout.push_str(&line);
        }
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
        (status, stdout, stderr)
    }
}

#[tokio::test]
async fn it_says_to_people_and_programs_where_everything_is() {
    let stack = Running::ephemeral().await;
    let names: Vec<_> = stack.addresses.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["api", "admin", "s3", "dynamodb"]);
    let origin = stack.address("api").strip_suffix("/api/storage").unwrap();
    assert_eq!(stack.address("admin"), format!("{origin}/admin/"));
    for name in ["api", "s3", "dynamodb"] {
        let address = stack.address(name);
        assert!(address.starts_with("http://127.0.0.1:") && !address.contains(":0"), "{address}");
        assert!(stack.text.contains(address), "people are told less than programs: {}", stack.text);
        stack.http.get(address).send().await.expect(name);
    }
    let (_, stdout, _) = stack.stop("-TERM").await;
    assert_eq!(stdout, "", "the line for programs is the last on standard output");
}

#[tokio::test]
async fn it_believes_the_tokens_that_it_makes() {
    let stack = Running::ephemeral().await;
    for (user, user_id, shown) in [
        ("1", json!(1), json!(1)),
        ("alice", Value::Null, json!("alice")),
        ("01x", Value::Null, json!("01x")),
    ] {
        let token = token(&["--org", "org-1", "--user", user, "--role", "admin"]).await;
        let claims = claims(&token);
        assert_eq!((&claims["sub"], &claims["user_id"]), (&json!(user), &user_id));
        assert_eq!((&claims["org_id"], &claims["role"]), (&json!("org-1"), &json!("admin")));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
        let (status, page) = stack.get("audit-logs?limit=1", &token).await;
        assert_eq!(status, 200, "{page}");
        let (_, page) = stack.get("audit-logs?limit=1", &token).await;
        assert_eq!(page["logs"][0]["user_id"], shown);
    }
    let past = token(&["--org", "org-1", "--user", "1", "--role", "admin", "--expires-in=-120"]).await;
    assert_eq!(stack.get("audit-logs", &past).await.0, 401);
    let mut other = local(&["token", "--org", "org-1", "--user", "1", "--role", "admin"]);
    other.env("JWT_SECRET", "a-secret-that-this-stack-does-not-have");
    let other = String::from_utf8(output(other).await.stdout).unwrap();
    assert_eq!(stack.get("audit-logs", other.trim_end()).await.0, 401);
}

#[tokio::test]
async fn data_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("made/on/the/way");
    let token = token(&["--org", "org-1", "--user", "1", "--role", "admin"]).await;
    let stack = Running::on(&data).await;
    let stored = stack.upload(&token).await;
    let path = stored["file_path"].as_str().unwrap_or_else(|| panic!("{stored}"));
    let (_, before) = stack.get(&format!("metadata/{path}"), &token).await;
    assert!(stack.stop("-INT").await.0.success());

    let stack = Running::on(&data).await;
    assert_eq!(stack.get(&format!("metadata/{path}"), &token).await, (200, before));
    assert_eq!(stack.download(path, &token).await, PDF);
    let (_, page) = stack.get("audit-logs", &token).await;
    let actions: Vec<_> = page["logs"].as_array().unwrap().iter().map(|log| &log["action_type"]).collect();
    assert_eq!(actions, ["SIGNED_URL_GENERATED", "METADATA_READ", "METADATA_READ", "UPLOAD"]);
    let (_, _, log) = stack.stop("-INT").await;
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "nothing is wrong, but the log says so: {log}");
}

#[tokio::test]
async fn an_ephemeral_stack_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = local(&[&["--ephemeral"], &FREE_PORTS[..]].concat());
    command.env("TMPDIR", folder.path()).current_dir(folder.path());
    let stack = Running::start(command).await;
    stack.upload(&token(&["--org", "org-1", "--user", "1", "--role", "admin"]).await).await;
    assert!(stack.stop("-INT").await.0.success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_signal_stops_it_cleanly_while_connections_are_open() {
    for signal in ["-INT", "-TERM"] {
        let stack = Running::ephemeral().await;
        let mut open = Vec::new();
        for name in ["api", "s3", "dynamodb"] {
            let url: reqwest::Url = stack.address(name).parse().unwrap();
            let address = format!("127.0.0.1:{}", url.port().unwrap());
            // One connection that has served a request, and one on which the request never ends.
            let mut served = TcpStream::connect(&address).await.unwrap();
            served.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            assert_ne!(served.read(&mut [0; 64]).await.unwrap(), 0);
            let mut begun = TcpStream::connect(&address).await.unwrap();
            begun.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx").await.unwrap();
            open.push((address, served, begun));
        }
        let (status, _, stderr) = stack.stop(signal).await;
        assert_eq!(status.code(), Some(0), "{signal}: {stderr}");
        for (address, ..) in open {
            assert!(TcpStream::connect(&address).await.is_err(), "{address} is still open");
        }
    }
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    std::fs::write(at("file"), "").unwrap();
    for (folder, file, content) in [
        ("newer", "version", "4\n"),
        ("broken", "version", "3"),
        ("broken", "dynamodb.sqlite", "not a database"),
        ("broken-s3/spaces", "index.sqlite", "not a database"),
    ] {
        std::fs::create_dir_all(at(folder)).unwrap();
        std::fs::write(at(folder) + "/" + file, content).unwrap();
    }
    std::fs::write(at("broken.cedar"), "permit (principal, action, resource);\nforbid (everything);\n")
        .unwrap();
    let _other = Running::on(Path::new(&at("used"))).await;

    let none = ("LANG", String::new());
    let cases = [
        (format!("--ephemeral --port {port}"), none.clone(), format!("port {port} is in use")),
        (format!("--ephemeral --port {port}"), none.clone(), "with --port".into()),
        (format!("--ephemeral --s3-port {port}"), none.clone(), "with --s3-port".into()),
        (format!("--ephemeral --dynamodb-port {port}"), none.clone(), "with --dynamodb-port".into()),
        ("--data /proc/no".into(), none.clone(), "the data folder /proc/no cannot be written".into()),
        ("--data file".into(), none.clone(), "the data folder file cannot be written".into()),
        ("--data newer".into(), none.clone(), "is of version 4, this stack reads version 3".into()),
        ("--data used".into(), none.clone(), "is in use by another local stack".into()),
        ("--data broken".into(), none.clone(), "the embedded DynamoDB does not start: ".into()),
        ("--data broken-s3".into(), none.clone(), "the embedded S3 does not start: ".into()),
        ("--data broken-s3".into(), none.clone(), "not a database".into()),
        ("--data used --ephemeral".into(), none.clone(), "cannot be used with".into()),
        ("--ephemeral".into(), ("STORAGE_POLICIES", at("none.cedar")), at("none.cedar")),
        ("--ephemeral".into(), ("STORAGE_POLICIES", at("broken.cedar")), "line 2".into()),
        ("--ephemeral".into(), ("JWT_SECRET", "short".into()), "JWT_SECRET".into()),
    ];
    for (arguments, (name, value), expected) in cases {
        let mut arguments: Vec<_> = arguments.split(' ').collect();
        for flag in ["--port", "--s3-port", "--dynamodb-port"] {
            if !arguments.contains(&flag) {
                arguments.extend([flag, "0"]);
            }
        }
        let mut command = local(&arguments);
        command.current_dir(folder.path()).env(name, value);
        // That it comes to an end says that nothing is left running: it is one process.
        let Output { status, stdout, stderr } = output(command).await;
        let stderr = String::from_utf8(stderr).unwrap();
        assert_ne!(status.code(), Some(0), "{arguments:?}");
        assert!(stderr.contains("error: "), "{arguments:?}: {stderr}");
        assert!(stderr.contains(&expected), "{arguments:?} {name}: \"{expected}\" is not said: {stderr}");
        assert!(name == "LANG" || stderr.contains(name), "{name} is not named: {stderr}");
        assert!(!stderr.contains("panicked") && stdout.is_empty(), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn maintenance_can_be_run_by_hand_on_a_running_stack() {
    let stack = Running::ephemeral().await;
    stack.upload(&token(&["--org", "org-1", "--user", "1", "--role", "admin"]).await).await;
    let port = |name: &str| stack.address(name).rsplit(':').next().unwrap().to_owned();
    let (s3, dynamodb) = (port("s3"), port("dynamodb"));
    let ports = ["maintain", "--s3-port", &s3, "--dynamodb-port", &dynamodb];
    let text = output(local(&[&ports[..], &["--dry-run"]].concat())).await;
    assert!(text.status.success(), "{text:?}");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("Nothing to do. "), "{text}");
    let json = output(local(&[&ports[..], &["--json"]].concat())).await;
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&report["complete"], &report["found"]), (&json!(true), &json!({})), "{report}");

    stack.stop("-TERM").await;
    let refused = output(local(&ports)).await;
    assert_ne!(refused.status.code(), Some(0));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.starts_with(&format!("error: nothing listens on port {s3}: start the stack")), "{stderr}");
}

#[tokio::test]
async fn exported_settings_of_a_deployment_are_ignored_with_one_notice() {
    // Where nobody listens: whoever follows one of these settings fails.
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let mut command = local(&[&["--ephemeral"], &FREE_PORTS[..]].concat());
    for name in [
        "SPACES_ENDPOINT",
        "DYNAMODB_ENDPOINT",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
    ] {
        command.env(name, &closed);
    }
    for (name, value) in [
        ("SPACES_REGION", "nyc3"),
        ("SPACES_BUCKET", "production"),
        ("SPACES_ACCESS_KEY", "DO00PRODUCTION"),
        ("SPACES_SECRET_KEY", "production-secret"),
        ("AWS_ACCESS_KEY_ID", "AKIAPRODUCTION"),
        ("AWS_SECRET_ACCESS_KEY", "production-secret"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_PROFILE", "production"),
        ("FILE_RECORDS_TABLE", "production_file_records"),
    ] {
        command.env(name, value);
    }
    let stack = Running::start(command).await;
    let token = token(&["--org", "org-1", "--user", "1", "--role", "admin"]).await;
    let stored = stack.upload(&token).await;
    let path = stored["file_path"].as_str().unwrap_or_else(|| panic!("{stored}"));
    assert_eq!(stack.download(path, &token).await, PDF);
    let (_, _, stderr) = stack.stop("-TERM").await;
    assert_eq!(stderr.matches("are ignored").count(), 1, "{stderr}");
    assert!(!stderr.contains("production"), "{stderr}");

    let stack = Running::ephemeral().await;
    let (_, _, stderr) = stack.stop("-TERM").await;
    assert!(!stderr.contains("are ignored"), "{stderr}");
}
