//! Drives the Go server and this one with the same load, in turn, and prints both.
//!
//! ```text
//!   for each load:  theirs --+
//!                   ours ----+--> Server (a process, loopback, a fresh data dir) <--h2-- one thread of clients
//!                   floor ---+        |
//!                                     +-- /proc: CPU, memory; the device --> Report --> table, JSON, SVG
//! ```
//!
//! The floor is a tonic server whose handlers answer with an empty message: what the libraries alone cost under the same client.
//! Every server is stopped by its pid and its data dir removed, at the end of a load and on an interrupt.

#![forbid(unsafe_code)]

mod client;
mod device;
mod drive;
mod floor;
mod loads;
mod report;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::loads::{Bench, LOADS, Load};
use crate::report::Report;
use crate::server::{Kind, Place};

#[derive(Parser)]
#[command(name = "cargo ci versus", bin_name = "cargo ci versus", about = "Two servers under the same load, side by side")]
struct Cli {
    /// The server to measure
    #[arg(long, value_name = "PATH")]
    ours: Option<PathBuf>,
    /// The server to measure it against [default: the vendored Go server]
    #[arg(long, value_name = "PATH")]
    theirs: Option<PathBuf>,
    /// The folder of the tools that belong to the other server, `etcdctl` and `etcdutl` [default: its own]; ours are beside our server
    #[arg(long, value_name = "DIR")]
    theirs_tools: Option<PathBuf>,
    /// Only loads whose name begins so (may be repeated; `--list` names them)
    #[arg(long = "load", value_name = "NAME")]
    loads: Vec<String>,
    /// Name the loads and stop
    #[arg(long)]
    list: bool,
    /// How long each load is measured, after a warm-up of a second
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Measure each load so often, the sides in turn, and show the median
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Keep the data below this folder in place of memory (/dev/shm); only then is what its device was given to write counted (it should have no other user)
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
    /// Also the loads over a million keys
    #[arg(long)]
    large: bool,
    /// Where versus.json and versus.svg go [default: beside this program]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Be the floor: serve empty answers at this address
    #[arg(long, hide = true, value_name = "ADDRESS")]
    floor: Option<SocketAddr>,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    if let Some(address) = cli.floor {
        return floor::serve(address);
    }
    if cli.list {
        LOADS.iter().for_each(|load| println!("{:<12} {}{}", load.name, load.about, if load.is_large { " (with --large)" } else { "" }));
        return Ok(());
    }
    let wanted: Vec<&Load> = LOADS.iter().filter(|load| is_wanted(load, &cli)).collect();
    if wanted.is_empty() {
        bail!("no load is called so; `--list` names them");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            done = measure(&cli, &wanted) => done,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

fn is_wanted(load: &Load, cli: &Cli) -> bool {
    if cli.loads.is_empty() { !load.is_large || cli.large } else { cli.loads.iter().any(|name| load.name.starts_with(name.as_str())) }
}

async fn measure(cli: &Cli, wanted: &[&Load]) -> Result<()> {
    let theirs = match &cli.theirs {
        Some(path) => path.clone(),
        None => etcd_bin_vendored::etcd_bin_path().map_err(|error| anyhow::anyhow!("{error}"))?.to_path_buf(),
    };
    let ours = cli.ours.clone().context("which server? give --ours PATH")?;
    let place = cli.disk.clone().map_or(Place::Memory, Place::Disk);
    let mut report = Report::new(&theirs, &ours, &place, cli.seconds, cli.rounds);
    let mut failures = 0;
    for load in wanted {
        let sides = [("theirs", Kind::Etcd(theirs.clone())), ("ours", Kind::Etcd(ours.clone())), ("floor", Kind::Floor)];
        let tools = |side: &str| match (side, &cli.theirs_tools) {
            ("theirs", Some(folder)) => folder.clone(),
            ("theirs", None) => theirs.parent().map(PathBuf::from).unwrap_or_default(),
            _ => ours.parent().map(PathBuf::from).unwrap_or_default(),
        };
        for (round, (side, kind)) in (1..=cli.rounds).flat_map(|round| sides.iter().map(move |side| (round, side))) {
            if *side == "floor" && !load.has_floor {
                continue;
            }
            let (tools, seconds) = (tools(side), Duration::from_secs_f64(cli.seconds));
            let bench = Bench { kind: kind.clone(), place: place.clone(), tools, seconds };
            eprintln!("{:<12} {side}, round {round} of {}", load.name, cli.rounds);
            match (load.run)(bench).await {
                Ok(rows) => report.add(side, rows),
                Err(error) => {
                    failures += 1;
                    eprintln!("{:<12} {side} failed: {error:#}", load.name);
                }
            }
        }
    }
    print!("{}", report.table());
    let out = match &cli.out {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default(),
    };
    report.write(&out)?;
    if failures > 0 {
        bail!("{failures} runs failed");
    }
    Ok(())
}
