//! Longshore beside its peers, on one machine and one store: `tests/bench/run`, which builds what this needs.
//!
//! Sides take turns, each with a bucket of its own whose data are deleted
//! before the next one's. A side that fails is a line of the report.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on has failed")]

mod attempt;
mod bucket;
mod cases;
mod content;
mod report;
mod server;
mod sides;
#[path = "../../support/mod.rs"]
mod support;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use attempt::attempt;
use cases::{Case, Scale, Station};
use report::Report;
use sides::Side;
use support::minio::Minio;

/// Measures Longshore beside its peers
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; everything, when nothing is named
    #[arg(value_parser = cases::NAMES)]
    cases: Vec<String>,
    /// Whom to measure; everyone, when nobody is named
    #[arg(long = "side")]
    sides: Vec<Side>,
    /// Only see that all of it works, with sizes that say nothing about speed
    #[arg(long)]
    quick: bool,
    /// Where tables, figures and pictures go [default: when everything is measured, docker/bench and the README; else nowhere]
    #[arg(long)]
    out: Option<PathBuf>,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is not measured by then is left out.
const LIMIT: Duration = Duration::from_mins(25);

/// What the store and the daemons need besides the data, in bytes.
const DISK_MARGIN: u64 = 1_000_000_000;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What panics is told in the report, by its first line.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt()).unwrap(), signal(SignalKind::terminate()).unwrap());
    let local = LocalSet::new();
    tokio::select! {
        code = local.run_until(run(arguments)) => code,
        _ = interrupt.recv() => ExitCode::FAILURE,
        _ = terminate.recv() => ExitCode::FAILURE,
    }
}

async fn run(arguments: Arguments) -> ExitCode {
    let scale = if arguments.quick { Scale::Quick } else { Scale::Full };
    let mut cases = cases::all(scale);
    cases.retain(|case| arguments.cases.is_empty() || arguments.cases.iter().any(|name| name == case.name));
    for case in &mut cases {
        case.sides.retain(|side| arguments.sides.is_empty() || arguments.sides.contains(side));
    }
    if let Err(missing) = check_disk(&cases) {
        eprintln!("{missing}");
        return ExitCode::FAILURE;
    }
    let report = measure(cases).await;
    println!("{}", report.markdown());
    let (root, folder) = (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new("docker/bench"));
    if let Some(folder) = arguments.out {
        report.write_to(&folder).unwrap();
    } else if arguments.cases.is_empty() && arguments.sides.is_empty() && !arguments.quick {
        report.write_to(&root.join(folder)).unwrap();
        report.write_to_readme(root, folder).unwrap();
    }
    if report.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Measures every side of every case, in turn, round after round.
async fn measure(cases: Vec<Case>) -> Report {
    let (mut report, deadline) = (Report::default(), Instant::now() + LIMIT);
    let minio = Arc::new(Minio::start().await);
    for case in cases {
        for round in 1..=case.rounds {
            for &side in &case.sides {
                let limit = case.limit.min(deadline.saturating_duration_since(Instant::now()));
                let began = Instant::now();
                let station = Station { side, minio: Arc::clone(&minio) };
                match attempt(limit, case.measure(station)).await {
                    Ok(readings) => report.add(side, readings),
                    Err(why) => report.add_failure(case.name, side, why),
                }
                eprintln!("{} {round}/{} {}: {:.1?}", case.name, case.rounds, side.name(), began.elapsed());
            }
        }
    }
    report
}

/// Why there is too little room for any one of `cases`; each deletes its data before the next.
fn check_disk(cases: &[Case]) -> Result<(), String> {
    let needed = DISK_MARGIN + cases.iter().map(|case| case.disk_bytes).max().unwrap_or(0);
    let folder = support::scratch_parent();
    let free = cases::free_bytes(&folder);
    if free < needed {
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        return Err(format!(
            "{} has {:.1} GB free, and {:.1} GB are needed: $LONGSHORE_TEST_TMP may name another place",
            folder.display(),
            gigabytes(free),
            gigabytes(needed)
        ));
    }
    Ok(())
}
