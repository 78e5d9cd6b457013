//! The part of the raft log that is in memory, as raft-rs reads it.
//!
//! ```text
//!        first-1      first ................ last
//!    (index, term)   entries, shared bytes
//! ```
//!
//! Writes: the driver (append, truncate). Reads: raft-rs.
//! What lies below `first` is on disk only; nobody asks for it while this member is the sole voter.

use std::collections::VecDeque;

use raft::eraftpb::{self, ConfState, Entry, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

/// The tail of the log, with the hard state and conf state that raft-rs starts from.
#[derive(Default)]
pub struct LogStore {
    entries: VecDeque<Entry>,
    /// Index and term of the entry just before `entries`.
    before: (u64, u64),
    hard_state: eraftpb::HardState,
    conf_state: ConfState,
    bytes: usize,
}

impl LogStore {
    /// A log whose entries up to `before` (index, term) are already part of the state.
    pub fn new(before: (u64, u64), hard_state: eraftpb::HardState, conf_state: ConfState) -> LogStore {
        LogStore { before, hard_state, conf_state, ..LogStore::default() }
    }

    fn first(&self) -> u64 {
        self.before.0 + 1
    }

    pub fn last(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    /// Bytes of entry data held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends entries; those that share an index with a held one replace it and all that follow.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(head) = entries.first() else { return };
        assert!(
            head.index > self.before.0 && head.index <= self.last() + 1,
            "log append at {} leaves a gap after {}",
            head.index,
            self.last()
        );
        while self.last() >= head.index {
            let dropped = self.entries.pop_back().expect("last() counts the entries");
            self.bytes -= dropped.data.len();
        }
        self.bytes += entries.iter().map(|e| e.data.len()).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    /// Forgets entries up to and including `index`, which must be applied.
    pub fn truncate_to(&mut self, index: u64) {
        while self.before.0 < index {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.data.len();
            self.before = (entry.index, entry.term);
        }
    }
}

impl Storage for LogStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(&self, low: u64, high: u64, max_size: impl Into<Option<u64>>, _context: GetEntriesContext) -> raft::Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let (from, to) = ((low - self.first()) as usize, (high - self.first()) as usize);
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0;
        let mut taken = Vec::with_capacity(to - from);
        for entry in self.entries.range(from..to) {
            size += entry.data.len() as u64 + 16;
            if size > limit && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        if index < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        match self.entries.get((index - self.first()) as usize) {
            Some(entry) => Ok(entry.term),
            None => Err(Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![0; 10].into(), ..Default::default() }
    }

    #[test]
    fn an_overwritten_tail_is_replaced_and_its_bytes_are_given_back() {
        let mut log = LogStore::new((4, 1), Default::default(), Default::default());
        log.append(&[entry(5, 1), entry(6, 1), entry(7, 1)]);
        log.append(&[entry(6, 2)]);
        assert_eq!((log.last(), log.bytes()), (6, 20));
        assert_eq!(log.term(6).unwrap(), 2);
    }

    #[test]
    fn the_entry_before_the_first_still_has_a_term() {
        let mut log = LogStore::new((0, 0), Default::default(), Default::default());
        log.append(&[entry(1, 1), entry(2, 3)]);
        log.truncate_to(2);
        assert_eq!(log.term(2).unwrap(), 3);
        assert!(log.term(1).is_err());
        assert_eq!(log.first_index().unwrap(), 3);
    }
}
