//! A database file of etcd's, opened for reading: a saved snapshot, or the database of a member.
//!
//! ```text
//!   | pages of the database ...                        | SHA-256 of them |      saved by a client: 32 bytes beyond a multiple of 512   FMT-2
//!   | pages of the database ...                        |                        copied from a data directory
//! ```
//!
//! Writes: nothing. Reads: the file, under a shared lock, since a member that is running changes its database in place.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{
    bbolt::{self, Database, Prefix, ReadAt},
    cli::Failure,
    clock::{Clock, SystemClock},
    go_words::go_words,
};

const DIGEST_BYTES: u64 = 32;
/// All sizes of sectors and pages are multiples of it.
const SECTOR_BYTES: u64 = 512;
/// How often a file that is in use is asked for again.
const RETRY_LOCK: Duration = Duration::from_millis(50);
const READ_BYTES: usize = 1 << 20;

pub struct DatabaseFile {
    path: PathBuf,
    file: File,
    len: u64,
}

/// Fails as etcd does if there is nothing at the path.
pub fn check_exists(path: &Path) -> Result<(), Failure> {
    std::fs::metadata(path).map(drop).map_err(|error| Failure::general(format!("stat {}: {}", path.display(), go_words(&error))))
}

/// Waits for a lock, for ever if there is no timeout; `try_lock` is asked again and again.
pub fn wait_for_lock(path: &Path, timeout: Option<Duration>, try_lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), String> {
    let clock = SystemClock::default();
    let start = clock.now();
    loop {
        match try_lock() {
            Ok(()) => return Ok(()),
            // Some network file systems have no locks.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(format!("lock {}: {}", path.display(), go_words(&error))),
            Err(TryLockError::WouldBlock) if timeout.is_some_and(|timeout| clock.now() - start >= timeout) => {
                return Err(format!("timeout: {} is in use by another process, which was waited for (--timeout)", path.display()));
            }
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(RETRY_LOCK),
        }
    }
}

impl DatabaseFile {
    pub fn open(path: &Path, timeout: Option<Duration>) -> Result<DatabaseFile, Failure> {
        let failed = |what: &str, error: &io::Error| Failure::general(format!("{what} {}: {}", path.display(), go_words(error)));
        let file = File::open(path).map_err(|error| failed("open", &error))?;
        let metadata = file.metadata().map_err(|error| failed("stat", &error))?;
        if metadata.is_dir() {
            return Err(failed("read", &io::ErrorKind::IsADirectory.into()));
        }
        wait_for_lock(path, timeout, || file.try_lock_shared()).map_err(Failure::general)?;
        Ok(DatabaseFile { path: path.to_owned(), file, len: metadata.len() })
    }

    /// Whether a digest follows the database.
    pub fn has_digest(&self) -> bool {
        self.len % SECTOR_BYTES == DIGEST_BYTES
    }

    /// Bytes of the database alone.
    pub fn database_bytes(&self) -> u64 {
        if self.has_digest() { self.len - DIGEST_BYTES } else { self.len }
    }

    pub fn database(&self) -> Result<Database<Prefix>, Failure> {
        let file = self.file.try_clone().map_err(|error| self.failed(error))?;
        let source = Prefix::new(file, self.database_bytes()).map_err(|error| self.failed(error))?;
        Database::open(source).map_err(|error| self.failed(error))
    }

    /// Reads the database and compares it with the digest that follows it.
    pub fn check_digest(&self, progress: &mut dyn FnMut(u64)) -> Result<(), Failure> {
        let mut expected = [0; DIGEST_BYTES as usize];
        let end = self.database_bytes();
        self.file.read_at(end, &mut expected).map_err(|error| self.failed(error))?;
        let (mut hasher, mut buffer, mut offset) = (Sha256::new(), vec![0; READ_BYTES], 0);
        while offset < end {
            let part = usize::try_from(end - offset).map_or(READ_BYTES, |left| left.min(READ_BYTES));
            self.file.read_at(offset, &mut buffer[..part]).map_err(|error| self.failed(error))?;
            hasher.update(&buffer[..part]);
            offset += part as u64;
            progress(offset);
        }
        let found: [u8; DIGEST_BYTES as usize] = hasher.finalize().into();
        if found == expected {
            Ok(())
        } else {
            Err(Failure::general(format!("expected sha256 {}, got {}", go_list(&expected), go_list(&found))))
        }
    }

    /// An error with the path in front.
    pub fn failed(&self, error: impl std::fmt::Display) -> Failure {
        Failure::general(format!("{}: {error}", self.path.display()))
    }
}

/// A list of bytes as Go prints it.
fn go_list(bytes: &[u8]) -> String {
    format!("[{}]", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(" "))
}

/// Visits all of a bucket; one that is not there is empty. What `visit` says is wrong ends it.
pub fn each_row<S: ReadAt>(
    database: &Database<S>,
    bucket: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
) -> Result<(), RowError> {
    use std::ops::ControlFlow::{Break, Continue};

    let Some(bucket) = database.bucket(bucket)? else { return Ok(()) };
    let mut wrong = None;
    bucket.scan(&[], &mut |key, value| match visit(key, value) {
        Ok(()) => Continue(()),
        Err(why) => {
            wrong = Some(RowError::Row(why));
            Break(())
        }
    })?;
    wrong.map_or(Ok(()), Err)
}

#[derive(Debug, thiserror::Error)]
pub enum RowError {
    #[error(transparent)]
    File(#[from] bbolt::Error),
    #[error("{0}")]
    Row(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(bytes: &[u8]) -> (tempfile::NamedTempFile, DatabaseFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let opened = DatabaseFile::open(file.path(), None).unwrap();
        (file, opened)
    }

    #[test]
    fn a_digest_is_told_by_the_length_of_the_file() {
        for (len, has_digest, database) in [(0, false, 0), (32, true, 0), (1024, false, 1024), (1056, true, 1024), (1055, false, 1055)] {
            let (_file, opened) = file_of(&vec![7; len]);
            assert_eq!((opened.has_digest(), opened.database_bytes()), (has_digest, database), "{len}");
        }
    }

    #[test]
    fn a_digest_that_does_not_match_is_told_with_both() {
        let mut bytes = vec![7; 1024];
        bytes.extend(Sha256::digest(&bytes));
        let (_file, opened) = file_of(&bytes);
        assert_eq!(opened.check_digest(&mut |_| {}), Ok(()));
        bytes[3] = 8;
        let (_file, opened) = file_of(&bytes);
        let text = format!("{:?}", opened.check_digest(&mut |_| {}).unwrap_err());
        assert!(text.contains("expected sha256 [") && text.contains("], got ["), "{text}");
    }

    #[test]
    fn a_file_in_use_is_not_waited_for_beyond_the_timeout() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let held = File::options().write(true).open(file.path()).unwrap();
        held.lock().unwrap();
        let refused = DatabaseFile::open(file.path(), Some(Duration::from_millis(1))).map(drop).unwrap_err();
        assert!(format!("{refused:?}").contains("is in use by another process"), "{refused:?}");
    }
}
