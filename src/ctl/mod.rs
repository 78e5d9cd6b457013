//! etcdctl: the command line of the public API, one file per command noun.
//!
//!   arguments --> command_line --> noun --> client --> member
//!   environment --> settings ------^  \--> print --> stdout
//!                                      \-> failure --> stderr, exit code
//!
//! Writes: stdout, and stderr for failures and warnings. Reads: arguments, `ETCDCTL_*`, stdin where a command says so.
//! What a script may parse is etcd's, byte for byte; help texts are our own.

mod alarm;
mod check;
mod command_line;
mod compaction;
mod defrag;
mod del;
mod downgrade;
mod elect;
mod endpoint;
mod get;
mod interrupt;
mod lease;
mod load;
mod lock;
mod log;
mod make_mirror;
mod member;
mod move_leader;
mod options;
mod put;
mod resident;
mod session;
mod settings;
mod snapshot;
mod snapshot_file;
mod txn;
mod txn_lines;
mod watch;
mod watch_lines;
mod words;

use std::{ffi::OsString, io::Write, process::ExitCode};

use self::{
    command_line::{Parsed, TOOL},
    session::Session,
};
pub use crate::cli::Failure;
use crate::cli::number;

/// Runs one command and says how it ended, on stderr and as an exit code.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return Failure::general(format!("cannot start: {e}")).report(),
    };
    let done = runtime.block_on(command(args));
    // Not joined: a thread may still wait for a line of stdin that never comes.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn command(args: Vec<OsString>) -> Result<(), Failure> {
    use command_line::Command;

    let (command, matches) = match command_line::parse(args)? {
        Parsed::Command { command, matches } => (command, matches),
        Parsed::Help(text) => return Ok(std::io::stdout().write_all(text.as_bytes())?),
    };
    let session = || Session::new(&matches);
    match *command {
        Command::Get(get) => get.run(session()).await,
        Command::Put(put) => put.run(session()).await,
        Command::Del(del) => del.run(session()).await,
        Command::Txn(txn) => txn.run(session()).await,
        Command::Compaction(compaction) => compaction.run(session()).await,
        Command::Watch(watch) => watch.run(session()).await,
        Command::Lease(lease) => lease.run(session()).await,
        Command::Alarm(alarm) => alarm.run(session()).await,
        Command::Defrag(defrag) => defrag.run(session()).await,
        Command::Endpoint(endpoint) => endpoint.run(session()).await,
        Command::Member(member) => member.run(session()).await,
        Command::MoveLeader(move_leader) => move_leader.run(session()).await,
        Command::Downgrade(downgrade) => downgrade.run(session()).await,
        Command::Lock(lock) => lock.run(session()).await,
        Command::Elect(elect) => elect.run(session()).await,
        Command::Check(check) => check.run(session()).await,
        Command::MakeMirror(make_mirror) => make_mirror.run(session()).await,
        Command::Snapshot(snapshot) => snapshot.run(session()).await,
        Command::Completion(completion) => completion.run(&TOOL),
        Command::Options(_) => options::run(),
        Command::Version(version) => version.run(&TOOL),
    }
}
