//! Why the log did not do what it was asked, in words for the person who has to act on it.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing moved: the same call may be made again.
    #[error("no space left for the raft log: cannot {op} {}; free some space on that volume, the member then goes on by itself", file.display())]
    NoSpace { file: PathBuf, op: &'static str },
    /// What is on disk is unknown, and a second sync that succeeds proves nothing: the member must stop.
    #[error("cannot sync the raft log {}: {source}; what is on disk is unknown, so this member must stop: check the disk, then start it again", file.display())]
    Sync { file: PathBuf, source: io::Error },
    /// What is on disk cannot be trusted and was left as it is.
    #[error("the raft log is damaged: {} at byte {offset}: {what}; nothing was changed: restore this file, or remove the member and add it anew", file.display())]
    Damaged { file: PathBuf, offset: u64, what: String },
    #[error("the raft log in {} is in use by another process", file.display())]
    Locked { file: PathBuf },
    #[error("there is no raft log in {}", dir.display())]
    Missing { dir: PathBuf },
    #[error("there is a raft log in {} already", dir.display())]
    Exists { dir: PathBuf },
    /// Anything else: the member must stop.
    #[error("cannot {op} {} of the raft log: {source}", file.display())]
    Io { file: PathBuf, op: &'static str, source: io::Error },
}

impl Error {
    pub(super) fn io(file: &Path, op: &'static str, source: io::Error) -> Error {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace { file, op },
            _ => Error::Io { file, op, source },
        }
    }

    pub(super) fn sync(file: &Path, source: io::Error) -> Error {
        Error::Sync { file: file.to_owned(), source }
    }

    pub(super) fn damaged(file: &Path, offset: u64, what: impl Into<String>) -> Error {
        Error::Damaged { file: file.to_owned(), offset, what: what.into() }
    }

    pub fn is_no_space(&self) -> bool {
        matches!(self, Error::NoSpace { .. })
    }
}
