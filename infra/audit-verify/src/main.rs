//! `audit-verify`: proves or refutes that the audit log is what was sealed. `audit-verify bundle`: copies archive and table
//! into a folder, to be verified elsewhere.

mod cli;
mod output;

use std::collections::BTreeSet;
use std::process::ExitCode;

use audit_verify::{Directory, Live, Options, Pins, Source, Verdict, export, verify};
use clap::Parser;
use jiff::Timestamp;

use crate::cli::{Bundle, Cli, Command, Stores, Verify};
use crate::output::Bar;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Bundle(bundle)) => make_bundle(&bundle),
        None => run(&cli.verify),
    };
    // What cannot be begun cannot be decided.
    let code = done.unwrap_or_else(|error| {
        eprintln!("audit-verify: {error}");
        Verdict::Undecided.exit_code()
    });
    ExitCode::from(code)
}

fn run(arguments: &Verify) -> Result<u8, Failure> {
    let now = Timestamp::now();
    let mut options = Options::new(arguments.keys()?, now);
    options.pins = arguments.pins.as_deref().map(Pins::load).transpose()?.unwrap_or_default();
    options.require_pins = arguments.require_pins;
    options.orgs = arguments.org.iter().cloned().collect();
    options.acknowledged = arguments.acknowledge.iter().cloned().collect();
    options.unsealed_limit = arguments.limit.try_into()?;
    options.stale_limit = arguments.stale.try_into()?;
    options.objects = arguments.objects;
    let source = match &arguments.bundle {
        Some(folder) => {
            let bundle = Directory::open(folder)?;
            // Whoever made it may have named any time; one that has not come would let entries expire.
            options.now = bundle.made_at()?.map_or(now, |made_at| made_at.min(now));
            Source::Directory(bundle)
        }
        None => live(&arguments.stores, arguments.objects, now)?,
    };
    let (report, pins) = verify(&source, &options, &Bar::new());
    if let (Verdict::Proven, Some(path)) = (report.verdict(), &arguments.pins) {
        pins.save(path)?;
    }
    match arguments.json {
        true => println!("{}", output::json(&report, options.now)),
        false => print!("{}", output::text(&report, options.now)),
    }
    Ok(report.verdict().exit_code())
}

fn make_bundle(arguments: &Bundle) -> Result<u8, Failure> {
    let now = Timestamp::now();
    let source = live(&arguments.stores, false, now)?;
    let orgs: BTreeSet<_> = arguments.org.iter().cloned().collect();
    export(&source, &orgs, &arguments.out, now, &Bar::new())?;
    Ok(0)
}

fn live(stores: &Stores, objects: bool, now: Timestamp) -> Result<Source, Failure> {
    Ok(Source::Live(Box::new(Live::new(stores.options(objects)?, now)?)))
}
