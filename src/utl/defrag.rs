//! `defrag`: gives back what deleted rows still take on disk, of a member that is stopped.
//!
//! Writes: the state engine, or the database of the Go server.
//! Crash: the rows are there, in old files or in new ones.

use std::path::{Path, PathBuf};

use super::{
    Settings,
    data_dir::{self, DataDir},
    go_database::GoDatabase,
};
use crate::{
    cli::Failure,
    storage::{Batch, Engine, Keyspace, keyspace::local},
};

/// Defragments the data directory of a member that is stopped
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdutl defrag --data-dir <dir>")]
pub struct Defrag {
    #[arg(hide = true)]
    _ignored: Vec<String>,
    /// The data directory, of this server or of the Go server
    #[arg(long, value_name = "dir", required = true)]
    data_dir: PathBuf,
}

impl Defrag {
    pub fn run(self, settings: &Settings) -> Result<(), Failure> {
        let dir = self.data_dir;
        defragment(&dir, settings).map_err(|error| Failure::general(format!("Failed to defragment etcd data[{}] ({error})", dir.display())))
    }
}

fn defragment(dir: &Path, settings: &Settings) -> Result<(), String> {
    if let Some(path) = data_dir::go_database(dir) {
        return rewrite(&path, settings);
    }
    let data_dir = DataDir::take(dir, settings.timeout())?;
    let engine = data_dir.engine()?;
    let done = || {
        engine.defragment()?;
        // The size that only a defragmentation lowers: a start without it counts anew.
        let mut batch = Batch::default();
        batch.delete(Keyspace::Local, local::DB_SIZE);
        engine.write(&batch)?;
        engine.flush()
    };
    done().map_err(|error| error.to_string())
}

fn rewrite(path: &Path, settings: &Settings) -> Result<(), String> {
    let database = GoDatabase::take(path, settings.timeout())?;
    let before = database.size();
    tracing::info!(path = %path.display(), current_db_size_bytes = before, "defragmenting");
    let after = database.rewrite(None)?;
    tracing::info!(path = %path.display(), current_db_size_bytes = after, "finished defragmenting directory");
    Ok(())
}
