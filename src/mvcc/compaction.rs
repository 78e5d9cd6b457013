//! Forgetting: the logical step that readers feel at once, and the sweep that removes records later.
//!
//! ```text
//!   queued as changes merge, in the order in which a compaction at C makes them removable:
//!     replaced     put 5 of "a", replaced at 9       removable once C >= 9
//!     tombstones   tombstone 6 of "b"                removable once C >  6        REV-12: at C = 6 a watch from 6 still needs it
//!
//!   compact(C)   scheduledCompactRev = C --------> publish --------> sweep, sweep, .. --> finishedCompactRev = C        CMP-4
//! ```
//!
//! Writes: deletes of records and index rows, the two rows of `meta`. Sole owner: the writer.
//! Holds: I5. The sweep follows the published compact revision and never passes it, so a reader that misses a record always
//! finds itself refused. A put is removed before or with the tombstone that ended it: a sweep cut anywhere brings nothing back.
//! Crash: in the middle of a sweep the rest is found again from the index rows, and finished (REV-15).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::storage::keyspace::meta;
use crate::storage::{Batch, Keyspace};
use crate::wire::error::Error;

use super::key_index::Merged;
use super::revision::Revision;
use super::tree::Key;
use super::writer::Writer;

/// What a slice of the sweep came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    Idle,
    More,
    /// Everything that the compaction at this revision made removable is gone with this batch.
    Finished(i64),
}

#[derive(Debug)]
struct Victim {
    /// The put is removable once this is compacted; the tombstone once something newer is.
    at: i64,
    revision: Revision,
    length: u32,
    key: Key,
}

#[derive(Debug, Default)]
pub(super) struct Compactor {
    replaced: VecDeque<Victim>,
    tombstones: VecDeque<Victim>,
    finished: i64,
    /// Removed in the batch being applied; the key index forgets them at merge.
    swept: Vec<(Key, Revision)>,
}

impl Compactor {
    pub fn new(finished: i64) -> Compactor {
        Compactor { finished, ..Compactor::default() }
    }

    /// Remembers what a merged change made removable.
    pub fn queue(&mut self, revision: Revision, is_tombstone: bool, length: u32, merged: Merged) {
        let at = revision.main;
        if let Some((replaced, length)) = merged.replaced {
            self.replaced.push_back(Victim { at, revision: replaced, length, key: merged.key.clone() });
        }
        if is_tombstone {
            self.tombstones.push_back(Victim { at, revision, length, key: merged.key });
        }
    }

    pub fn take_swept(&mut self) -> Vec<(Key, Revision)> {
        std::mem::take(&mut self.swept)
    }

    /// The next to go in a compaction at `compacted`, and whether it is a tombstone.
    fn next(&mut self, compacted: i64) -> Option<(Victim, bool)> {
        let replaced = self.replaced.front().map(|victim| victim.at).filter(|at| *at <= compacted);
        let tombstone = self.tombstones.front().map(|victim| victim.at).filter(|at| *at < compacted);
        match (replaced, tombstone) {
            (Some(put), Some(gone)) if gone < put => Some((self.tombstones.pop_front()?, true)),
            (Some(_), _) => Some((self.replaced.pop_front()?, false)),
            (None, Some(_)) => Some((self.tombstones.pop_front()?, true)),
            (None, None) => None,
        }
    }
}

impl Writer {
    /// Compacts logically (CMP-1): readers are refused below `revision` from the next publish on.
    pub fn compact(&mut self, revision: i64, batch: &mut Batch) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRev);
        }
        self.stamp(batch);
        self.compacted = revision;
        batch.put(Keyspace::Meta, meta::SCHEDULED_COMPACT, Revision::first_of(revision).encode().to_vec());
        Ok(())
    }

    /// Removes up to `records` records that the published compact revision made removable.
    pub fn sweep(&mut self, batch: &mut Batch, records: usize) -> Sweep {
        let compacted = self.reader.shared.compacted.load(Ordering::Relaxed);
        if self.compactor.finished >= compacted {
            return Sweep::Idle;
        }
        self.stamp(batch);
        for _ in 0..records.max(1) {
            let Some((victim, is_tombstone)) = self.compactor.next(compacted) else {
                self.compactor.finished = compacted;
                batch.put(Keyspace::Meta, meta::FINISHED_COMPACT, Revision::first_of(compacted).encode().to_vec());
                self.ledger.store(batch);
                return Sweep::Finished(compacted);
            };
            let index_key = victim.revision.encode();
            if is_tombstone {
                batch.delete(Keyspace::Key, victim.revision.encode_tombstone().to_vec());
            } else {
                batch.delete(Keyspace::Key, index_key.to_vec());
            }
            batch.delete(Keyspace::Index, index_key.to_vec());
            self.reader.shared.tally.swept.add(1);
            self.ledger.remove(victim.length as usize, is_tombstone);
            self.compactor.swept.push((victim.key, victim.revision));
        }
        Sweep::More
    }
}
