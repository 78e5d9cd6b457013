//! `snapshot`: what a snapshot file holds, and a data directory made of it.

mod group;
mod progress;
mod restore;
mod stage;
mod status;
mod verify;

use std::path::{Path, PathBuf};

use super::Settings;
use crate::cli::Failure;

/// Looks at snapshot files and restores them
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, override_usage = "etcdutl snapshot <command>")]
pub struct Snapshot {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Shows the hash, the revision, the number of keys, the size and the storage version of a snapshot file
    #[command(override_usage = "etcdutl snapshot status <file>")]
    Status {
        #[arg(value_name = "file", num_args = 0..)]
        args: Vec<PathBuf>,
    },
    /// Makes the data directory of a new cluster's member from a snapshot file
    #[command(override_usage = "etcdutl snapshot restore <file> [options]")]
    Restore(Box<restore::Restore>),
    /// Checks all of a snapshot file without restoring it, and shows what a restore would give
    #[command(override_usage = "etcdutl snapshot verify [options] <file>")]
    Verify {
        #[arg(value_name = "file", num_args = 0..)]
        args: Vec<PathBuf>,
        /// Accept a file with a wrong digest, or without one
        #[arg(long)]
        skip_hash_check: bool,
    },
}

impl Snapshot {
    pub fn run(self, settings: &Settings) -> Result<(), Failure> {
        match self.command {
            Command::Status { args } => status::run(one("status", &args)?, settings),
            Command::Restore(restore) => restore.run(settings),
            Command::Verify { args, skip_hash_check } => verify::run(one("verify", &args)?, skip_hash_check, settings),
        }
    }
}

fn one<'a>(command: &str, args: &'a [PathBuf]) -> Result<&'a Path, Failure> {
    match args {
        [file] => Ok(file),
        _ => Err(Failure::bad_args(format!("snapshot {command} requires exactly one argument"))),
    }
}
