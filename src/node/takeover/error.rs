//! Why a Go member's directory was not taken over, in one line for the person who has to act on it.

use std::io;
use std::path::{Path, PathBuf};

use super::Step;
use crate::state_machine::snapshot::ImportError;
use crate::{bbolt, storage, wal};

#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    #[error("{} is in use by another process: stop the etcd that runs on this data directory first", _0.display())]
    InUse(PathBuf),
    #[error("the data directory of a Go member cannot be taken over: {0}; it was left as it is")]
    Refused(String),
    #[error("the data directory of a Go member cannot be taken over: {}: {source}; it was left as it is", path.display())]
    Database { path: PathBuf, source: bbolt::Error },
    #[error("the data directory of a Go member cannot be taken over: {}: {source}; it was left as it is", path.display())]
    Import { path: PathBuf, source: ImportError },
    #[error("the data directory of a Go member cannot be taken over: {0}; it was left as it is")]
    Log(wal::Error),
    #[error("the state of a Go member cannot be converted: {0}; its data directory was left as it is")]
    Engine(#[from] storage::Error),
    #[error("cannot {op} {} while taking over the data directory of a Go member: {source}", path.display())]
    Io { op: &'static str, path: PathBuf, source: io::Error },
    #[error("the takeover was stopped after {0:?}")]
    Stopped(Step),
}

impl TakeoverError {
    pub(super) fn io(op: &'static str, path: &Path, source: io::Error) -> TakeoverError {
        TakeoverError::Io { op, path: path.to_owned(), source }
    }
}

/// Another process that has the log is told as such.
impl From<wal::Error> for TakeoverError {
    fn from(error: wal::Error) -> TakeoverError {
        match error {
            wal::Error::Locked { file } => TakeoverError::InUse(file),
            other => TakeoverError::Log(other),
        }
    }
}
