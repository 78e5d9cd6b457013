//! What the log promises, over a file system in memory.

mod damage;
mod examine;
mod faults;
mod golden;
mod memory;
mod replay;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use memory::{Fault, MemoryFileSystem};

/// A member id of the size that real ones have.
const NODE: u64 = 4_942_125_474_645_371_596;

fn dir() -> &'static Path {
    Path::new("/data/member/wal")
}

fn small() -> Options {
    Options { segment_bytes: 1024 }
}

fn first_segment() -> PathBuf {
    dir().join(segment::name(0, 0))
}

fn entry(index: u64, term: u64, data: impl Into<Bytes>) -> LogEntry {
    LogEntry { kind: EntryKind::EntryNormal, term, index, data: data.into() }
}

fn state(term: u64, commit: u64) -> HardState {
    HardState { term, vote: NODE, commit }
}

fn create(fs: &MemoryFileSystem) -> Wal {
    Wal::create(Arc::new(fs.clone()), dir(), b"whose", small()).unwrap()
}

fn open(fs: &MemoryFileSystem) -> Result<(Wal, Replay), Error> {
    open_at(fs, 0)
}

fn open_at(fs: &MemoryFileSystem, flushed_index: u64) -> Result<(Wal, Replay), Error> {
    Wal::open(Arc::new(fs.clone()), dir(), small(), flushed_index)
}

/// Entries `1..=last` of term 1, each committed by the append after its own, in one segment if they are few.
fn log_of(fs: &MemoryFileSystem, last: u64) -> Wal {
    let mut wal = create(fs);
    for index in 1..=last {
        wal.append(&[entry(index, 1, format!("value {index}"))], Some(state(1, index - 1))).unwrap();
        wal.sync().unwrap();
    }
    wal
}

fn damage(result: Result<(Wal, Replay), Error>) -> (PathBuf, u64, String) {
    match result {
        Err(Error::Damaged { file, offset, what }) => (file, offset, what),
        Err(other) => panic!("refused for another reason: {other}"),
        Ok((_, replay)) => panic!("not refused: {replay:?}"),
    }
}
