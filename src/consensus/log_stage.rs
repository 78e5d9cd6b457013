//! Puts what the driver hands out on disk, in order, and says when it is safe there.
//!
//! Writes: the WAL, of which it is the sole owner. Reads: its jobs.
//! Holds D2: one sync for everything that was proposed meanwhile; a sync error is a fault, never retried; a full disk is
//! neither: the append is cut back and tried again.

use std::time::Duration;

use super::{Append, EntryKind};
use crate::wal::{self, Wal};
use crate::wire::raftpb;

/// Why the log cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing of the append counts; the same one may be tried again when there is space.
    #[error("the disk of the write-ahead log is full")]
    NoSpace,
    #[error(transparent)]
    Fault(wal::Error),
}

pub struct LogStage {
    wal: Wal,
    /// Reused for every append.
    entries: Vec<wal::LogEntry>,
    sync_cost: Duration,
}

impl LogStage {
    pub fn new(wal: Wal) -> LogStage {
        LogStage { wal, entries: Vec::new(), sync_cost: Duration::ZERO }
    }

    /// Writes one append. Crash: the whole frames of a prefix may be there; nobody was told of any.
    pub fn append(&mut self, append: &Append) -> Result<(), Error> {
        self.entries.clear();
        self.entries.extend(append.entries.iter().map(|e| wal::LogEntry {
            kind: kind_out(e.kind),
            term: e.term,
            index: e.index,
            data: e.data.clone(),
        }));
        let done = self.wal.append(&self.entries, append.hard_state).map_err(Error::from);
        self.entries.clear();
        done
    }

    /// Syncs what was written. Crash: all of it is there.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.wal.sync().map_err(Error::from)
    }

    /// The state engine holds everything up to `index` on disk: says so in the log, then drops the segments below.
    pub fn flushed(&mut self, index: u64, term: u64, conf_state: &raftpb::ConfState, keep_segments: usize) -> Result<usize, Error> {
        self.wal.save_snapshot(index, term, conf_state)?;
        // Crash: the record is there and old segments remain; the next flush drops them.
        Ok(self.wal.purge(index, keep_segments)?)
    }

    /// Drops every segment that the newest snapshot record made needless.
    pub fn give_back(&mut self) -> Result<usize, Error> {
        Ok(self.wal.purge(u64::MAX, 1)?)
    }

    /// A moving average of what a sync costs, fed by whoever owns a clock.
    pub fn sync_cost(&self) -> Duration {
        self.sync_cost
    }

    pub fn note_sync(&mut self, took: Duration) {
        self.sync_cost = (self.sync_cost * 7 + took) / 8;
    }

    pub fn wal(&self) -> &Wal {
        &self.wal
    }
}

fn kind_out(kind: EntryKind) -> raftpb::EntryType {
    match kind {
        EntryKind::Normal => raftpb::EntryType::EntryNormal,
        EntryKind::ConfChange => raftpb::EntryType::EntryConfChange,
        EntryKind::ConfChangeV2 => raftpb::EntryType::EntryConfChangeV2,
    }
}

impl From<wal::Error> for Error {
    fn from(error: wal::Error) -> Error {
        match error {
            wal::Error::NoSpace { .. } => Error::NoSpace,
            other => Error::Fault(other),
        }
    }
}
