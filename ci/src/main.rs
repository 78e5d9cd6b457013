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
mod offered;
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

use anyhow::{Result, ensure};
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
    /// Install what is missing and pass every check and test; or suites of a platform
    Test {
        /// A row of platforms/matrix.toml: run suites of it and file the results
        #[arg(requires = "suite")]
        row: Option<String>,
        /// One, or several between commas: all are run, whichever fails
        #[arg(long, requires = "row", value_delimiter = ',')]
        suite: Vec<Suite>,
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
    Tidy {
        /// The workflows too, with actionlint: Go fetches it where there is none
        #[arg(long)]
        workflows: bool,
    },
    /// What this machine lacks to build, test and package a platform, and the command that brings it
    Doctor {
        /// A row of platforms/matrix.toml, by name or triple; all of them if left out
        row: Option<String>,
        /// Run those commands
        #[arg(long)]
        fix: bool,
        /// What `verify` looks into the platform's packages with, too
        #[arg(long)]
        verify: bool,
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
        /// Fail where an archive of a release is not there, and name each
        #[arg(long)]
        complete: bool,
        /// Rows whose job failed: those of tier 3 are not waited for
        #[arg(long, value_name = "ROW,..", value_delimiter = ',', requires = "complete")]
        failed: Vec<String>,
    },
    /// Try files as whoever gets them would: an archive, the source, a deb (in a clean Debian, as root), an rpm or apk
    Verify {
        /// Of a folder every archive, rpm and apk
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The programs need not run on the oldest system that their row promises
        #[arg(long)]
        any_floor: bool,
        /// Fail where nothing here could start an archive's programs, in place of saying so
        #[arg(long)]
        must_start: bool,
    },
    /// Write the support page from the matrix and the results on file
    Table {
        /// Write nothing; fail where the page on disk, a result or a declared tier is not true
        #[arg(long)]
        check: bool,
        /// With --check: every result that counts has to be about the sources of this commit
        #[arg(long, value_name = "REV", requires = "check")]
        of: Option<String>,
        /// With --of: what holds no release back, by the tier's policy, is written to this file in place of failing
        #[arg(long, value_name = "FILE", requires = "of")]
        notes: Option<PathBuf>,
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

impl Command {
    /// Whether it is to be run in the image, which is somewhere else.
    fn is_for_image(&self, is_inside: bool) -> bool {
        match self {
            Command::Build { how, .. } | Command::Check { how, .. } | Command::Dist { how, .. } | Command::Test { how, .. } => {
                how.route == Some(Route::Cross) && !is_inside
            }
            _ => false,
        }
    }
}

fn run(command: Command) -> Result<()> {
    if command.is_for_image(route::cross::is_inside()) {
        return route::cross::run(&std::env::args().skip(1).collect::<Vec<_>>());
    }
    match command {
        Command::Setup { row, route } => {
            let archive = match row {
                Some(row) => setup::row(matrix()?.row(&row)?, route)?,
                None => setup::setup(setup::Purpose::Tests)?,
            };
            println!("rocksdb: {}", archive.folder.display());
            Ok(())
        }
        Command::Test { row: Some(row), suite, partition, how, .. } => {
            let (matrix, scope) = (matrix()?, how.scope()?);
            let row = matrix.row(&row)?;
            each(&suite, |suite| suites::test(row, suite, how.route, &scope, partition))
        }
        Command::Test { quick, .. } => suite::test(quick),
        Command::Tidy { workflows } => {
            tidy::tidy()?;
            if workflows { tidy::lint_workflows() } else { Ok(()) }
        }
        Command::Doctor { row, fix, verify } => doctor::doctor(row.as_deref(), fix, verify),
        Command::Plan { changed_since } => plan::plan(changed_since.as_deref()),
        Command::Build { row, how } => build::build(matrix()?.row(&row)?, how.route, &how.scope()?).map(drop),
        Command::Check { row, how } => build::check(matrix()?.row(&row)?, how.route, &how.scope()?),
        Command::Dist { row, how } => dist::dist(&row, how.route, &how.scope()?),
        Command::Sums { folder, address, complete, failed } => {
            dist::sums(&folder, address.as_deref())?;
            // An empty word is no row: it is what a shell makes of nothing.
            let failed: Vec<String> = failed.into_iter().filter(|name| !name.is_empty()).collect();
            if complete { dist::are_complete(&matrix()?, &folder, &failed) } else { Ok(()) }
        }
        Command::Verify { files, any_floor, must_start } => {
            let floor = if any_floor { dist::Floor::Any } else { dist::Floor::Promised };
            offered::files(&files)?.iter().try_for_each(|file| dist::verify(file, floor, must_start))
        }
        Command::Table { check: false, .. } => page::table(),
        Command::Table { of: Some(commit), notes: Some(notes), .. } => page::check_release(&commit, &notes),
        Command::Table { of, .. } => page::check(of.as_deref()),
        Command::Report { output } => page::report(output),
        Command::Run { flags } => product::run(&flags),
        Command::Ctl { arguments } => product::ctl(&arguments),
        Command::Versus { arguments } => product::versus(&arguments),
    }
}

/// Runs all of them and fails if one did; of one alone with its own words.
fn each(suites: &[Suite], test: impl Fn(Suite) -> Result<()>) -> Result<()> {
    if let [only] = suites {
        return test(*only);
    }
    let mut failed = Vec::new();
    for suite in suites {
        if let Err(error) = test(*suite) {
            println!("error: {}: {error:#}", suite.word());
            failed.push(suite.word());
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn matrix() -> Result<Matrix> {
    Matrix::load(&place::checkout())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn every_suite_is_run_and_each_that_failed_is_named() {
        let ran = RefCell::new(Vec::new());
        let test = |suite: Suite| {
            ran.borrow_mut().push(suite);
            ensure!(suite == Suite::E2e, "it does not pass");
            Ok(())
        };
        let asked = [Suite::Unit, Suite::E2e, Suite::Stress];
        assert_eq!(each(&asked, test).unwrap_err().to_string(), "failed: unit, stress");
        assert_eq!(*ran.borrow(), asked);
        assert_eq!(each(&asked[..1], test).unwrap_err().to_string(), "it does not pass");
        each(&asked[1..2], test).unwrap();
    }

    #[test]
    fn the_route_cross_is_run_in_the_image_once() {
        let command = |words: &str| Cli::try_parse_from(words.split(' ')).unwrap().command;
        for words in ["ci build linux-s390x", "ci check linux-s390x", "ci test linux-s390x --suite unit", "ci dist all"] {
            let crossed = command(&format!("{words} --route cross"));
            assert_eq!((crossed.is_for_image(false), crossed.is_for_image(true)), (true, false), "{words}");
            assert!(!command(&format!("{words} --route zig")).is_for_image(false) && !command(words).is_for_image(false), "{words}");
        }
    }

    #[test]
    fn the_command_line_is_sound_and_takes_several_suites() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["cargo ci", "test", "linux-amd64", "--suite", "unit,e2e"]).unwrap();
        assert!(matches!(cli.command, Command::Test { suite, .. } if suite == [Suite::Unit, Suite::E2e]));
        assert!(Cli::try_parse_from(["cargo ci", "test", "linux-amd64"]).is_err(), "a row without a suite");
    }
}
