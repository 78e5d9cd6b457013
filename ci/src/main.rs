//! `cargo ci`: everything that is done to this repository, as one small program.
//!
//! ```text
//!   setup ---> rocksdb (one archive for every build) ---+--> run, ctl      the product, built for release
//!   tidy  ---> source, rules, rooms                     +--> test          what has to pass
//!                                                       +--> versus        side by side with the Go server
//! ```
//!
//! Knows nothing of the product's code but its layout, so that it builds in seconds where RocksDB does not.

#![forbid(unsafe_code)]

mod place;
mod product;
mod rocksdb;
mod setup;
mod shell;
mod suite;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo ci", bin_name = "cargo ci", about = "Everything that is done to this repository")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building and testing need and build RocksDB once for every checkout
    Setup,
    /// Install what is missing and pass every check and test
    Test {
        /// House rules, formatting and unit tests only
        #[arg(long)]
        quick: bool,
    },
    /// Check the house rules over the tree
    Tidy,
    /// Build the server for release and run it, data in ./default.etcd, clients at 127.0.0.1:2379
    Run {
        /// Flags for etcd
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Build etcdctl for release and run it
    Ctl {
        /// Arguments for etcdctl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the server beside the Go server under the same load (`cargo ci versus --help` has the rest)
    #[command(disable_help_flag = true)]
    Versus {
        /// Arguments for the load generator
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup => setup::setup(setup::Purpose::Tests).map(|archive| println!("rocksdb: {}", archive.folder.display())),
        Command::Test { quick } => suite::test(quick),
        Command::Tidy => tidy::tidy(),
        Command::Run { flags } => product::run(&flags),
        Command::Ctl { arguments } => product::ctl(&arguments),
        Command::Versus { arguments } => product::versus(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo ci: {error:#}");
            ExitCode::FAILURE
        }
    }
}
