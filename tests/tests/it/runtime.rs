//! Lambda, as a function's process sees it: an environment, and a Runtime API that hands out one event after another
//! (Lambda developer guide, "Using the Lambda runtime API").

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::world::World;

/// The secret of the functions' tokens; they refuse the development one.
pub const SECRET: &str = "a-secret-of-the-deployed-functions";
/// No answer takes longer, unless there is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a function answers to an event.
#[derive(Debug)]
pub enum Outcome {
    /// A response, with its body parsed if that is JSON.
    Response { status: u64, headers: Value, body: Value },
    /// The runtime's error.
    Error(Value),
}

/// A function's process, and the Runtime API that it asks for work.
pub struct Function {
    child: Child,
    events: UnboundedSender<String>,
    answers: UnboundedReceiver<(String, Bytes)>,
    /// Everything it wrote.
    log: Arc<Mutex<String>>,
    tasks: JoinSet<()>,
}

/// The environment of a function on this world's stores.
pub fn environment(world: &World) -> Vec<(&'static str, String)> {
    vec![
        ("SPACES_ENDPOINT", format!("http://{}/", world.stack.s3)),
        ("SPACES_REGION", "us-east-1".into()),
        ("SPACES_BUCKET", "storage".into()),
        ("SPACES_ACCESS_KEY", "local".into()),
        ("SPACES_SECRET_KEY", "localsecret".into()),
        ("DYNAMODB_ENDPOINT", format!("http://{}", world.stack.dynamodb)),
        ("AWS_REGION", "us-east-1".into()),
        ("AWS_ACCESS_KEY_ID", "local".into()),
        ("AWS_SECRET_ACCESS_KEY", "localsecret".into()),
        // As in the world itself: what a function asks of its stores depends on it.
        ("AUDIT_ORIGIN", local::stack::AUDIT_ORIGIN.into()),
        ("AUDIT_ARCHIVE_ENDPOINT", format!("http://{}", world.stack.s3)),
        ("AUDIT_ARCHIVE_BUCKET", "audit-archive".into()),
        ("JWT_SECRET", SECRET.into()),
    ]
}

impl Function {
    pub async fn start(name: &str, environment: &[(&str, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, next) = unbounded_channel();
        let (answered, answers) = unbounded_channel();
        let mut tasks = JoinSet::new();
        // As long as the template gives it.
        let timeout_ms = if ["maintenance", "seal"].contains(&name) { 300_000 } else { 15_000 };
        let next = Arc::new(tokio::sync::Mutex::new((0, next)));
        tasks.spawn(serve(listener, Api { next, answered, timeout_ms }));

        let mut command = Command::new(env!("CARGO_BIN_EXE_function"));
        command.arg(name).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("AWS_LAMBDA_RUNTIME_API", address.to_string());
        for (name, value) in [
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ] {
            command.env(name, value);
        }
        command.envs(environment.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        tasks.spawn(collect(child.stdout.take().unwrap(), log.clone()));
        tasks.spawn(collect(child.stderr.take().unwrap(), log.clone()));
        Self { child, events, answers, log, tasks }
    }

    /// Hands an event to the function and waits for what it makes of it.
    pub async fn invoke(&mut self, event: impl ToString) -> Outcome {
        self.hand(event);
        let (kind, value) = self.answer().await;
        if kind != "response" {
            return Outcome::Error(value);
        }
        let text = value["body"].as_str().unwrap_or_default();
        Outcome::Response {
            status: value["statusCode"].as_u64().unwrap(),
            headers: value["headers"].clone(),
            body: serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        }
    }

    /// The same for a function that answers no request: its result, or its error.
    pub async fn result(&mut self, event: &str) -> Value {
        self.hand(event);
        self.answer().await.1
    }

    async fn answer(&mut self) -> (String, Value) {
        let answer = tokio::time::timeout(PATIENCE, self.answers.recv()).await;
        let Ok(Some((kind, bytes))) = answer else { panic!("no answer; it wrote:\n{}", self.log()) };
        (kind, serde_json::from_slice(&bytes).unwrap())
    }

    /// Hands an event to the function.
    pub fn hand(&self, event: impl ToString) {
        self.events.send(event.to_string()).unwrap();
    }

    /// Kills the process (SIGKILL) and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for a process that ends by itself.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it runs on; it wrote:\n{}", self.log())).unwrap();
        // The API's task never ends; those that read what the process wrote end with it, in whatever order.
        for _ in 0..2 {
            self.tasks.join_next().await.unwrap().unwrap();
        }
        let log = self.log();
        (status, log)
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The most memory that the process ever held, in KiB (proc(5), VmHWM).
    pub fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Outcome {
    #[track_caller]
    pub fn ok(self) -> Value {
        let Self::Response { status: 200, body, .. } = self else { panic!("{self:?}") };
        body
    }

    #[track_caller]
    pub fn refused(self, expected: u64, code: &str) -> Value {
        let Self::Response { status, headers, body } = self else { panic!("{self:?}") };
        assert_eq!((status, body["code"].as_str()), (expected, Some(code)), "{body}");
        assert_eq!(headers["content-type"], "application/problem+json");
        body
    }
}

#[derive(Clone)]
struct Api {
    next: Arc<tokio::sync::Mutex<(u64, UnboundedReceiver<String>)>>,
    answered: UnboundedSender<(String, Bytes)>,
    timeout_ms: i64,
}

async fn serve(listener: TcpListener, api: Api) {
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(answered))
        .layer(DefaultBodyLimit::disable())
        .with_state(api);
    axum::serve(listener, router).await.unwrap();
}

async fn next(State(api): State<Api>) -> Response<Body> {
    let mut next = api.next.lock().await;
    let Some(event) = next.1.recv().await else { return Response::new(Body::empty()) };
    next.0 += 1;
    let id = format!("8476a536-e9f4-11e8-9739-{:012x}", next.0);
    let deadline = shared::clock::now().as_millisecond() + api.timeout_ms;
    Response::builder()
        .header("lambda-runtime-aws-request-id", id)
        .header("lambda-runtime-deadline-ms", deadline.to_string())
        .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:f")
        .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1")
        .header("content-type", "application/json")
        .body(Body::from(event))
        .unwrap()
}

async fn answered(
    State(api): State<Api>,
    Path((_, kind)): Path<(String, String)>,
    body: Bytes,
) -> (StatusCode, String) {
    let _ = api.answered.send((kind, body));
    (StatusCode::ACCEPTED, json!({ "status": "OK" }).to_string())
}

async fn collect(stream: impl AsyncRead + Unpin, log: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut log = log.lock().unwrap();
        log.push_str(&line);
        log.push('\n');
    }
}
