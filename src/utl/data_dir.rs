//! The data directory of a member of ours that is stopped.
//!
//! ```text
//!   <data-dir>/member/lock    held by whoever uses the directory
//!                    /db      the state engine
//!                    /wal     the log, unless --wal-dir put it elsewhere
//!                    /snap/db the Go server's database: see `go_database`
//! ```
//!
//! Writes: what its caller does with the engine. Reads: which kind of directory it is.
//! Holds: while a `DataDir` lives no server can use the directory.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::database::wait_for_lock;
use crate::go_words::go_words;
use crate::storage::rocks::{self, RocksEngine};

pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

pub fn member(data_dir: &Path) -> PathBuf {
    data_dir.join("member")
}

impl DataDir {
    /// Takes the directory for this process.
    pub fn take(path: &Path, timeout: Option<Duration>) -> Result<DataDir, String> {
        let db = member(path).join("db");
        std::fs::metadata(&db).map_err(|error| format!("stat {}: {}", db.display(), go_words(&error)))?;
        let lock = lock(&member(path), timeout)?;
        Ok(DataDir { path: path.to_owned(), _lock: lock })
    }

    pub fn engine(&self) -> Result<Arc<RocksEngine>, String> {
        RocksEngine::open(&member(&self.path).join("db"), rocks::Options::default()).map_err(|error| error.to_string())
    }

    pub fn log(&self) -> PathBuf {
        log(&self.path)
    }
}

/// Of a member of either kind.
pub fn log(data_dir: &Path) -> PathBuf {
    member(data_dir).join("wal")
}

/// The Go server's database, where the directory is its and no state engine of ours stands beside it.
pub fn go_database(data_dir: &Path) -> Option<PathBuf> {
    let (ours, theirs) = (member(data_dir).join("db"), member(data_dir).join("snap/db"));
    (!ours.exists() && theirs.exists()).then_some(theirs)
}

/// Takes the lock file that a server of this directory would take.
pub fn lock(member: &Path, timeout: Option<Duration>) -> Result<File, String> {
    let path = member.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| format!("open {}: {}", path.display(), go_words(&error)))?;
    wait_for_lock(&path, timeout, || file.try_lock())?;
    Ok(file)
}
