//! `cargo ci`: everything that is done to this repository, as one small program.
//!
//! ```text
//!   setup ---> rocksdb (one archive for every build) ---+--> run, ctl      the product, built for release
//!   tidy  ---> source, rules, rooms                     +--> test          what has to pass
//!                                                       +--> versus        side by side with the Go server
//!
//!   platforms/matrix.toml ---> route ---> build, test ROW ---> results ---> table, report
//!                                  \----> dist ---> verify        plan, doctor
//! ```
//!
//! Knows nothing of the product's code but its layout, so that it builds in seconds where RocksDB does not.

#![forbid(unsafe_code)]

mod apt;
mod build;
mod digest;
mod dist;
mod doctor;
mod git;
mod matrix;
mod page;
mod place;
mod plan;
mod product;
mod programs;
mod results;
mod rocksdb;
mod route;
mod run;
mod runner;
mod setup;
mod shell;
mod suite;
mod suites;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use matrix::{Matrix, Route, Suite};
use programs::Scope;

#[derive(Parser)]
#[command(name = "cargo ci", bin_name = "cargo ci", about = "Everything that is done to this repository")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building and testing need and build RocksDB once for every checkout; or RocksDB for one platform
    Setup {
        /// A row of platforms/matrix.toml: only its RocksDB
        row: Option<String>,
        /// In place of the first route that works on this machine
        #[arg(long, requires = "row")]
        route: Option<Route>,
    },
    /// Install what is missing and pass every check and test; or one suite of a platform
    Test {
        /// A row of platforms/matrix.toml: run one suite of it and file the result
        #[arg(requires = "suite")]
        row: Option<String>,
        #[arg(long, requires = "row")]
        suite: Option<Suite>,
        /// One part of several: 2/4
        #[arg(long, value_name = "K/N", requires = "row")]
        partition: Option<suites::Partition>,
        #[command(flatten)]
        how: How,
        /// House rules, formatting and unit tests only
        #[arg(long, conflicts_with = "row")]
        quick: bool,
    },
    /// Check the house rules over the tree
    Tidy,
    /// What this machine lacks to build, test and package a platform, and the command that brings it
    Doctor {
        /// A row of platforms/matrix.toml, by name or triple; all of them if left out
        row: Option<String>,
        /// Run those commands
        #[arg(long)]
        fix: bool,
    },
    /// The rows and suites that a change asks for, as JSON
    Plan {
        /// Only what differs from this commit counts
        #[arg(long, value_name = "REV")]
        changed_since: Option<String>,
    },
    /// Build the programs of a platform for release
    Build {
        row: String,
        #[command(flatten)]
        how: How,
    },
    /// Check that the product and its tests compile for a platform: no C++, nothing is linked
    Check {
        row: String,
        #[command(flatten)]
        how: How,
    },
    /// Build a platform and write its archive, packages, bill of materials and checksums
    Dist {
        /// A row, `source`, or `all` for every row and the source
        row: String,
        #[command(flatten)]
        how: How,
    },
    /// Write SHA256SUMS over the files of a folder, and manifests/ for package managers
    Sums {
        folder: PathBuf,
        /// Where the files will be found: without it there are no manifests
        #[arg(long, value_name = "URL")]
        address: Option<String>,
    },
    /// Try a file as whoever gets it would: an archive, the source, a deb (in a clean Debian, as root), an rpm or apk
    Verify {
        file: PathBuf,
        /// The programs need not run on the oldest system that their row promises
        #[arg(long)]
        any_floor: bool,
    },
    /// Write the support page from the matrix and the results on file
    Table {
        /// Write nothing; fail where the page on disk, a result or a declared tier is not true
        #[arg(long)]
        check: bool,
        /// With --check: every result that counts has to be about the sources of this commit
        #[arg(long, value_name = "REV", requires = "check")]
        of: Option<String>,
    },
    /// Write the same as one HTML page
    Report {
        /// The file, in place of report.html in the target directory
        #[arg(long)]
        output: Option<PathBuf>,
    },
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

/// How a platform is built.
#[derive(Args)]
struct How {
    /// In place of the first route that works on this machine
    #[arg(long)]
    route: Option<Route>,
    /// Only what needs no RocksDB: etcdctl. It proves nothing for the platform's tier
    #[arg(long)]
    clients: bool,
}

impl How {
    fn scope(&self) -> Result<Scope> {
        Scope::of(self.clients)
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo ci: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup { row, route } => {
            let archive = match row {
                Some(row) => setup::row(matrix()?.row(&row)?, route)?,
                None => setup::setup(setup::Purpose::Tests)?,
            };
            println!("rocksdb: {}", archive.folder.display());
            Ok(())
        }
        Command::Test { row: Some(row), suite: Some(suite), partition, how, .. } => {
            suites::test(matrix()?.row(&row)?, suite, how.route, &how.scope()?, partition)
        }
        Command::Test { quick, .. } => suite::test(quick),
        Command::Tidy => tidy::tidy(),
        Command::Doctor { row, fix } => doctor::doctor(row.as_deref(), fix),
        Command::Plan { changed_since } => plan::plan(changed_since.as_deref()),
        Command::Build { row, how } => build::build(matrix()?.row(&row)?, how.route, &how.scope()?).map(drop),
        Command::Check { row, how } => build::check(matrix()?.row(&row)?, how.route, &how.scope()?),
        Command::Dist { row, how } => dist::dist(&row, how.route, &how.scope()?),
        Command::Sums { folder, address } => dist::sums(&folder, address.as_deref()),
        Command::Verify { file, any_floor } => dist::verify(&file, if any_floor { dist::Floor::Any } else { dist::Floor::Promised }),
        Command::Table { check, of } => page::table(check, of.as_deref()),
        Command::Report { output } => page::report(output),
        Command::Run { flags } => product::run(&flags),
        Command::Ctl { arguments } => product::ctl(&arguments),
        Command::Versus { arguments } => product::versus(&arguments),
    }
}

fn matrix() -> Result<Matrix> {
    Matrix::load(&place::checkout())
}
