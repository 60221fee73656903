//! `cargo run`: the local stack. `cargo run -- token …`: a token for it. `cargo run -- maintain`: maintenance, now.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use local::gateway;
use local::stack::{self, Options, Stack};
use local::token::Identity;
use shared::app::App;
use shared::auth::Verifier;
use shared::clock::{self, Deadline};
use shared::config::DEVELOPMENT_JWT_SECRET;
use shared::ids::OrgId;
use shared::maintenance::{Maintenance, Options as MaintenanceOptions};
use shared::secret::Secret;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The storage service on this machine: all functions, an embedded S3 and an embedded DynamoDB, in one process.
#[derive(Parser)]
#[command(name = "local", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Print an access token for the running stack
    Token(Identity),
    /// Run maintenance on the running stack, now, and say what it found
    Maintain(Maintain),
}

#[derive(Args)]
struct Maintain {
    /// Only say what it would find
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Port of the stack's S3
    #[arg(long, default_value_t = 8788)]
    s3_port: u16,
    /// Port of the stack's DynamoDB
    #[arg(long, default_value_t = 8789)]
    dynamodb_port: u16,
}

#[derive(Args)]
struct Run {
    /// Port of the service; 0 picks a free one
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// Port of the embedded S3; 0 picks a free one
    #[arg(long, default_value_t = 8788)]
    s3_port: u16,
    /// Port of the embedded DynamoDB; 0 picks a free one
    #[arg(long, default_value_t = 8789)]
    dynamodb_port: u16,
    /// Where data are kept between runs
    #[arg(long, default_value = ".local", conflicts_with = "ephemeral")]
    data: PathBuf,
    /// Keep nothing
    #[arg(long)]
    ephemeral: bool,
}

/// The stores are told what to refuse by the service itself: a condition that does not hold is its daily business.
const DEFAULT_LOG: &str = "info,s3s=off,dynoxide=error";

/// How long `maintain` may take: the person at the terminal decides.
const MAINTENANCE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Settings of a deployment, which the local stack must not follow: they may point at production.
const IGNORED: [&str; 3] = ["SPACES_", "DYNAMODB_ENDPOINT", "AWS_"];

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let secret = variable("JWT_SECRET").unwrap_or_else(|| DEVELOPMENT_JWT_SECRET.to_owned());
    let done = match cli.command {
        Some(Command::Token(identity)) => print_token(&identity, &secret),
        Some(Command::Maintain(maintain)) => run_maintenance(&maintain, &secret).await,
        None => run(cli.run, secret).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn print_token(identity: &Identity, secret: &str) -> Result<(), String> {
    // What the service would refuse anyway is better said here.
    OrgId::parse(&identity.org).map_err(|error| format!("--org: {error}"))?;
    Verifier::hs256(&Secret::new(secret.to_owned()), None, None)
        .map_err(|error| format!("JWT_SECRET: {error}"))?;
    let token = identity.token(secret).map_err(|error| error.to_string())?;
    writeln!(io::stdout(), "{token}").map_err(|error| error.to_string())
}

async fn run_maintenance(maintain: &Maintain, jwt_secret: &str) -> Result<(), String> {
    let s3 = running(maintain.s3_port, "--s3-port").await?;
    let dynamodb = running(maintain.dynamodb_port, "--dynamodb-port").await?;
    let app = App::new(&stack::config(s3, dynamodb, jwt_secret, None)).map_err(|error| error.to_string())?;
    let options = MaintenanceOptions { dry_run: maintain.dry_run, ..MaintenanceOptions::default() };
    let deadline = Deadline::after(MAINTENANCE_LIMIT);
    let report = Maintenance::new(&app, clock::now(), deadline, options).run().await;
    let text = match maintain.json {
        true => serde_json::to_string_pretty(&report).map_err(|error| error.to_string())? + "\n",
        false => report.to_string(),
    };
    write!(io::stdout(), "{text}").map_err(|error| error.to_string())?;
    if report.complete { Ok(()) } else { Err("maintenance is not complete".into()) }
}

/// Where a store of the running stack answers.
async fn running(port: u16, flag: &str) -> Result<SocketAddr, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    match TcpStream::connect(address).await {
        Ok(_) => Ok(address),
        Err(_) => Err(format!(
            "nothing listens on port {port}: start the stack with `cargo run`, or say its port with {flag}"
        )),
    }
}

async fn run(run: Run, jwt_secret: String) -> Result<(), String> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    logs.with_ansi(io::stderr().is_terminal()).init();
    if std::env::vars_os()
        .any(|(name, _)| IGNORED.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)))
    {
        eprintln!(
            "note: SPACES_*, DYNAMODB_ENDPOINT and AWS_* are ignored: the local stack uses its own stores"
        );
    }
    let policies = match variable("STORAGE_POLICIES") {
        Some(file) => Some(
            std::fs::read_to_string(&file).map_err(|error| format!("STORAGE_POLICIES={file}: {error}"))?,
        ),
        None => None,
    };
    let options = Options {
        port: run.port,
        s3_port: run.s3_port,
        dynamodb_port: run.dynamodb_port,
        data: (!run.ephemeral).then_some(run.data),
        jwt_secret,
        policies,
    };
    let mut stack = Stack::start(&options).await.map_err(|error| error.to_string())?;
    stack.maintain().map_err(|error| error.to_string())?;
    stack.seal().map_err(|error| error.to_string())?;
    // Before anybody is told that it runs: from then on a signal means a clean stop.
    let stop_signal = stop_signal().map_err(|error| error.to_string())?;
    announce(&stack, &options).map_err(|error| error.to_string())?;
    stop_signal.await;
    eprintln!("stopping");
    stack.stop().await;
    Ok(())
}

/// What to do next, then one line for programs.
fn announce(stack: &Stack, options: &Options) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let api = format!("http://{}{}", stack.api, shared::http::BASE_PATH);
    let kept = options.data.as_ref().map_or("nowhere".to_owned(), |path| path.display().to_string());
    writeln!(out, "The storage service is running. Data are kept in: {kept}")?;
    writeln!(out)?;
    writeln!(out, "  Admin     http://{}/admin/", stack.api)?;
    writeln!(out, "  API       {api}, described at http://{}/docs/", stack.api)?;
    writeln!(out, "  S3        http://{}  (key id local, secret localsecret, bucket storage)", stack.s3)?;
    writeln!(out, "  DynamoDB  http://{}", stack.dynamodb)?;
    writeln!(out, "  Pages at  {}  may call it", gateway::ORIGINS.join(", "))?;
    writeln!(out)?;
    writeln!(out, "In another terminal, from the same folder:")?;
    writeln!(out, "  TOKEN=$(cargo run -q -- token --org org-123 --user 1 --role admin)")?;
    writeln!(out, "  curl -H \"Authorization: Bearer $TOKEN\" {api}/audit-logs")?;
    writeln!(out)?;
    writeln!(out, "Ctrl-C stops it.")?;
    writeln!(out, "{}", stack.addresses())?;
    out.flush()
}

/// Resolves when somebody asks the process to end. They may ask from the moment that this returns.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
