//! etcdutl: works on snapshot files and on the data directory of a member that is stopped, one file per command noun.
//!
//! ```text
//!   arguments --> command_line --> noun --> bbolt | storage, wal --> print --> stdout
//!                                    \-> Failure --> stderr, exit code
//! ```
//!
//! Writes: stdout, the log and failures on stderr, and what a command is told to make. Reads: arguments and files, no environment.
//! What a script may parse is etcd's, byte for byte; help texts are our own.

pub mod bbolt;
mod command_line;
mod data_dir;
mod database;
mod defrag;
mod export;
mod go_database;
mod hashkv;
mod migrate;
mod settings;
mod snapshot;

use std::{ffi::OsString, io::Write, process::ExitCode};

use self::command_line::{Command, TOOL};
pub use self::settings::{Settings, print};
use crate::{
    cli::{Failure, Parsed},
    log,
};

/// Runs one command and says how it ended, on stderr and as an exit code.
pub fn run(args: Vec<OsString>) -> ExitCode {
    match command(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn command(args: &[OsString]) -> Result<(), Failure> {
    let (command, matches) = match TOOL.parse(args)? {
        Parsed::Command { command, matches } => (command, matches),
        Parsed::Help(text) => return Ok(std::io::stdout().write_all(text.as_bytes())?),
    };
    let settings = Settings::new(&matches);
    let log = log::Options { level: log::Level::Info, is_console: true, outputs: vec![log::Output::Stderr] };
    log::start(&log).map_err(|error| Failure::general(format!("cannot write a log: {error}")))?;
    match *command {
        Command::Snapshot(snapshot) => snapshot.run(&settings),
        Command::HashKv(hashkv) => hashkv.run(&settings),
        Command::Defrag(defrag) => defrag.run(&settings),
        Command::Migrate(migrate) => migrate.run(&settings),
        Command::Bbolt(bbolt) => bbolt.run(),
        Command::Completion(completion) => completion.run(&TOOL),
        Command::Export(export) => export.run(&settings),
        Command::Version(version) => version.run(&TOOL),
    }
}
