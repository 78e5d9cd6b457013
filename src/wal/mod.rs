//! The raft log on disk, in etcd's own format: what a member has promised survives in it and nowhere else (D1, D2).
//!
//! ```text
//!   driver's drain --append--> one buffer --one write--> tail segment --sync--> durable: acknowledge
//!                                                           | full
//!   0.tmp, set aside long before ------- rename ----------> next segment          old segments --purge--> gone
//!
//!   start: segments --reader--> Log --repair, if the tail was torn--> Replay {hard state, entries, snapshot}
//! ```
//!
//! Writes: the log thread, sole owner of `Wal`. Reads: the same at start; `visit` and `examine` read a log that nobody has open.
//! Invariant: what `append` took before a `sync` that returned is in every later `Replay`, or the log refuses to open.
//! Invariant: I2, the oldest segment begins at or below the purge limit, and that never passes a recorded snapshot.
//! Files: `segment` names, `frame` bytes, `reader` replay, `repair` torn tails, `marks` reading back, `append` and `open` the
//! two halves of `Wal`.
//! Does not know what entries mean, send anything, or look at a clock.

mod append;
mod error;
mod examine;
mod file_system;
mod frame;
mod marks;
mod open;
mod reader;
mod repair;
mod segment;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::raftpb;

pub use error::Error;
pub use examine::{Examined, ExaminedSegment, examine};
pub use file_system::{File, FileSystem, Open, RealFileSystem};
pub use frame::Record;
pub use open::visit;
pub use repair::Repair;
pub use segment::SEGMENT_BYTES;

/// What an entry holds: a command or a change of the membership.
pub type EntryKind = raftpb::EntryType;

/// One entry of the raft log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub kind: EntryKind,
    pub term: u64,
    pub index: u64,
    pub data: Bytes,
}

/// What raft must not forget besides the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    pub term: u64,
    pub vote: u64,
    pub commit: u64,
}

/// The state up to `index` is held elsewhere: by the state engine, or by a staged snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotRecord {
    pub index: u64,
    pub term: u64,
    pub conf_state: Option<raftpb::ConfState>,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes set aside for each segment; the next one is begun rather than go beyond (a batch larger than that still does).
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { segment_bytes: SEGMENT_BYTES }
    }
}

/// What the log held when it was opened.
#[derive(Clone, Debug)]
pub struct Replay {
    /// An encoded `etcdserverpb.Metadata`.
    pub metadata: Bytes,
    pub hard_state: HardState,
    /// Without a gap. They may begin before the flushed index, and end after the commit index.
    pub entries: Vec<LogEntry>,
    /// The newest recorded snapshot whose index is committed. `None` before the first one.
    pub snapshot: Option<SnapshotRecord>,
    pub repaired: Option<Repair>,
}

/// Totals since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub bytes_written: u64,
    pub entries: u64,
    pub syncs: u64,
    pub segments_begun: u64,
    pub segments_purged: u64,
}

/// The raft log, open for appending.
#[derive(Debug)]
pub struct Wal {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    options: Options,
    metadata: Bytes,
    /// Oldest first; the last one is the tail.
    segments: Vec<segment::Segment>,
    /// Where the next frame goes in the tail.
    offset: u64,
    /// Where the records that the tail began with end.
    header_end: u64,
    /// The rolling checksum before the next frame.
    crc: u32,
    hard_state: HardState,
    last_index: u64,
    /// Where entries stand, to read them back.
    marks: marks::Marks,
    /// The newest snapshot that was recorded: nothing at or above it is ever purged.
    snapshot_index: u64,
    /// The next segment, set aside.
    prepared: Option<append::Prepared>,
    prepared_count: u64,
    buffer: Vec<u8>,
    is_synced: bool,
    /// A sync failed, or a broken write could not be taken back: nothing more is written.
    has_failed: bool,
    counters: Counters,
}

impl Wal {
    pub fn metadata(&self) -> &Bytes {
        &self.metadata
    }

    /// The index of the last entry appended, or of a snapshot beyond it.
    pub fn last_index(&self) -> u64 {
        self.last_index
    }

    /// The last hard state appended.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    pub fn bytes_written(&self) -> u64 {
        self.counters.bytes_written
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Files that hold the log now.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Bytes that may still be written on the log's volume; `None` where that cannot be told.
    pub fn free_bytes(&self) -> Result<Option<u64>, Error> {
        self.fs.free_bytes(&self.dir).map_err(|error| Error::io(&self.dir, "measure", error))
    }
}
