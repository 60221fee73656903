//! `operator provision`: makes tables and buckets what the service needs. `operator doctor`: says what is wrong with them.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use operator::provision::Plan;
use operator::{Stores, doctor};
use shared::app::connection_pool;
use shared::config::{Config, Needs};

/// Sets up the stores that the service runs on, and says what is wrong with them.
///
/// Reads the variables that the functions read.
#[derive(Parser)]
#[command(name = "operator")]
struct Cli {
    /// Variables, one `NAME=value` a line; they come before the environment's
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show what is to be changed in tables and buckets, and with --apply change it
    ///
    /// Exit code: 0 nothing is left to do, 2 something would be changed, 1 it failed or cannot be done.
    Provision(Provision),
    /// Try out everything that the service needs of its stores
    ///
    /// Exit code: 0 nothing failed, 1 something did.
    Doctor(Doctor),
}

#[derive(Args)]
struct Provision {
    /// Change it
    #[arg(long)]
    apply: bool,
    /// An origin whose pages are to reach the bucket, such as https://app.example.com (repeatable)
    #[arg(long, value_parser = origin)]
    origin: Vec<String>,
}

#[derive(Args)]
struct Doctor {
    /// An origin whose pages are to reach the bucket, such as https://app.example.com (repeatable)
    #[arg(long, value_parser = origin)]
    origin: Vec<String>,
    /// A check whose failure is known and accepted, such as copy-source of an emulator (repeatable)
    #[arg(long, value_name = "CHECK", value_parser = check)]
    allow: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Not 2, which says that something would be changed.
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let done = match variables(cli.env_file.as_deref()) {
        Ok(file) => {
            let variable = |name: &str| file.get(name).cloned().or_else(|| std::env::var(name).ok());
            match cli.command {
                Command::Provision(arguments) => provision(&arguments, &variable).await,
                Command::Doctor(arguments) => examine(&arguments, &variable).await,
            }
        }
        Err(error) => Err(error),
    };
    ExitCode::from(done.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        1
    }))
}

async fn provision(arguments: &Provision, variables: doctor::Variables<'_>) -> Result<u8, String> {
    let config = Config::load(Needs::ALL, variables, connection_pool()).await;
    let stores = Stores::new(config.map_err(|error| error.to_string())?);
    let plan = Plan::make(&stores, &arguments.origin).await?;
    print(&plan.to_string())?;
    if arguments.apply {
        plan.apply(&stores, |done| drop(print(&format!("{done}\n")))).await?;
    }
    match (plan.is_possible(), plan.is_empty() || arguments.apply) {
        (false, _) => Err("what is marked with ! cannot be done".into()),
        (true, true) => Ok(0),
        (true, false) => {
            print("\nNothing is changed yet: --apply does it.\n")?;
            Ok(2)
        }
    }
}

async fn examine(arguments: &Doctor, variables: doctor::Variables<'_>) -> Result<u8, String> {
    let mut report = doctor::examine(variables, &arguments.origin).await?;
    report.allow(&arguments.allow);
    print(&if arguments.json { format!("{:#}\n", report.json()) } else { report.to_string() })?;
    Ok(u8::from(!report.is_good()))
}

fn variables(file: Option<&Path>) -> Result<HashMap<String, String>, String> {
    let Some(file) = file else { return Ok(HashMap::new()) };
    let name = file.display();
    let lines = dotenvy::from_path_iter(file).map_err(|_| format!("--env-file: {name} cannot be read"))?;
    let mut variables = HashMap::new();
    for (count, line) in lines.enumerate() {
        // The library's own text quotes the line, which may hold a secret.
        let (name, value) =
            line.map_err(|_| format!("--env-file: {name}: what follows {count} variables is no NAME=value"))?;
        variables.insert(name, value);
    }
    Ok(variables)
}

/// As a browser sends it: scheme, host, perhaps a port, and nothing behind.
fn origin(text: &str) -> Result<String, String> {
    match operator::origin(text) {
        Some(origin) if origin == text => Ok(origin),
        Some(origin) if origin != "null" => Err(format!("not an origin; did you mean {origin}?")),
        _ => Err("not an origin, such as https://app.example.com".into()),
    }
}

fn check(text: &str) -> Result<String, String> {
    let known = || doctor::CHECKS.iter().flat_map(|group| group.iter());
    match known().any(|check| check.id == text) {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("no check; there are {}", known().map(|it| it.id).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Whoever stops reading has read enough.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}
