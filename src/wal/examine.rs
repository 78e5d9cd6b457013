//! Looks at a whole log before anybody relies on it, and changes nothing.
//!
//! ```text
//!   every segment, oldest first --locked--> one checksum chain --> what it holds above an index, and what is wrong with it
//! ```
//!
//! Writes: nothing, not even the repair of a torn tail; `Wal::open` does that later. Reads: every segment that is there, where
//! `Wal::open` begins at the first one that it needs.
//! For the takeover of a directory that another program wrote, and for reading the log of a member that is stopped.
//! Holds: while an `Examined` lives, no other process can open the log for writing, ours or etcd.

use std::path::Path;

use bytes::Bytes;

use super::file_system::{File, FileSystem};
use super::frame::Record;
use super::open::{check_reach, open_locked, read_records};
use super::reader::Log;
use super::segment::{self, Segment};
use super::{Error, HardState, LogEntry, SnapshotRecord};

/// A log that was read from front to back and found whole. Its files stay locked.
#[derive(Debug)]
pub struct Examined {
    /// An encoded `etcdserverpb.Metadata`.
    pub metadata: Bytes,
    pub hard_state: HardState,
    /// Those above the flushed index, without a gap.
    pub entries: Vec<LogEntry>,
    /// The term of the entry at the flushed index, if the log still knows it.
    pub flushed_term: Option<u64>,
    /// The newest recorded snapshot whose index is committed.
    pub snapshot: Option<SnapshotRecord>,
    pub last_index: u64,
    /// What is wrong with the tail, if a crash tore it: nobody was told of what is missing.
    pub torn: Option<String>,
    segments: Vec<Segment>,
    /// Where the tail's last record ends.
    end: u64,
}

/// One file of a log that was examined. To be read through this: closing another handle of the same file would end its lock.
#[derive(Clone, Copy, Debug)]
pub struct ExaminedSegment<'a> {
    pub path: &'a Path,
    pub file: &'a dyn File,
    /// Bytes behind which all is zero: of a whole tail, up to the end of its last record; of any other, all.
    pub used: u64,
    /// The last one: the only one that is still written.
    pub is_tail: bool,
}

impl Examined {
    /// Oldest first.
    pub fn segments(&self) -> impl Iterator<Item = ExaminedSegment<'_>> {
        let last = self.segments.len() - 1;
        self.segments.iter().enumerate().map(move |(at, segment)| {
            let file = segment.file.as_deref().expect("an examined segment is open");
            // A file that cannot be measured is one of no bytes: whoever copies it meets the error again.
            let used = if at == last && self.torn.is_none() { self.end } else { file.size().unwrap_or_default() };
            ExaminedSegment { path: &segment.path, file, used, is_tail: at == last }
        })
    }
}

/// Reads a log that nobody has open. `flushed_index` is what the state beside it holds.
pub fn examine(fs: &dyn FileSystem, dir: &Path, flushed_index: u64) -> Result<Examined, Error> {
    let mut segments = segment::list(fs, dir)?;
    if segments.is_empty() {
        return Err(Error::Missing { dir: dir.to_owned() });
    }
    for segment in &mut segments {
        segment.file = Some(open_locked(fs, &segment.path)?);
    }
    let mut log = Log::default();
    let (offset, _, torn) = read_records(&segments, &mut |record, place| log.accept(without_old_data(record, flushed_index), place))?;
    check_reach(&mut log, segments.last().expect("there is a segment"), offset, torn.as_deref(), flushed_index)?;
    let snapshot = log.snapshot.clone();
    let at_flushed = log.entries.iter().find(|entry| entry.index == flushed_index).map(|entry| entry.term);
    let flushed_term = at_flushed.or_else(|| snapshot.as_ref().filter(|snapshot| snapshot.index == flushed_index).map(|found| found.term));
    let last_index = log.last_index();
    log.entries.retain(|entry| entry.index > flushed_index);
    let metadata = log.metadata.take().unwrap_or_default();
    Ok(Examined {
        metadata,
        hard_state: log.hard_state,
        entries: log.entries,
        flushed_term,
        snapshot,
        last_index,
        torn,
        segments,
        end: offset,
    })
}

/// Bound: of a log that is read whole only what is not yet part of the state stays in memory.
fn without_old_data(record: Record, flushed_index: u64) -> Record {
    match record {
        Record::Entry(entry) if entry.index <= flushed_index => Record::Entry(LogEntry { data: Bytes::new(), ..entry }),
        other => other,
    }
}
