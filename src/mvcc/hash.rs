//! The hash that members compare (HSH-2): CRC-32C over the records up to a revision, the same whatever the sweep has done yet.
//!
//! ```text
//!   "key" | record key | record | record key | record | ...        in revision order, from one view of the engine
//!
//!   main > R                              not hashed
//!   tombstone at the compact revision     not hashed        REV-13: older members have removed it already
//!   main <= compact revision              only what a key alive at R holds at R
//! ```
//!
//! Reads the whole `key` keyspace: for the blocking pool.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use crate::storage::{self, Keyspace, Read};

use super::interval::Interval;
use super::key_index::Walk;
use super::reader::{Reader, WALK_SLICE, key_of_record};
use super::revision::Revision;

/// A hash and what it is of. Two are comparable if `revision` and `compact_revision` are equal (HSH-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    pub hash: u32,
    pub revision: i64,
    pub compact_revision: i64,
    pub current_revision: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("compacted")]
    Compacted,
    #[error("a future revision")]
    FutureRev,
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

struct Hasher<'a> {
    reader: &'a Reader,
    hash: u32,
    revision: i64,
    compacted: i64,
    /// The revision whose keys decide about records that a compaction may have removed.
    kept_at: i64,
    fault: Option<storage::Error>,
}

impl Reader {
    /// Blocking. Revision 0 is the current one (HSH-3).
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, HashError> {
        loop {
            let compacted = self.compact_revision();
            let current = self.revision();
            if revision > 0 && revision < compacted {
                return Err(HashError::Compacted);
            }
            if revision > current {
                return Err(HashError::FutureRev);
            }
            let at = if revision == 0 { current } else { revision };
            // Quirk: with no key alive at R etcd hashes all records that the compaction left (etcd's kvHasher asks only a
            // non-empty set), which are those of the keys alive at the compact revision.
            let kept_at = if self.has_key_at(at) { at } else { compacted };
            let view = self.shared.engine.view();
            let mut hasher = Hasher { reader: self, hash: crc32c::crc32c(b"key"), revision: at, compacted, kept_at, fault: None };
            let all = hasher.add_all(&*view);
            // A compaction that moved meanwhile may have pruned what the decisions were made by.
            if self.shared.compacted.load(Ordering::Acquire) != compacted {
                continue;
            }
            all?;
            return Ok(HashKv { hash: hasher.hash, revision: at, compact_revision: compacted, current_revision: current });
        }
    }

    fn has_key_at(&self, at: i64) -> bool {
        let interval = Interval::From(&[]);
        let mut from = super::tree::Key::from([]);
        loop {
            let mut is_found = false;
            let walk = self.shared.index.read().walk(&interval, &from, at, &mut WALK_SLICE.clone(), &mut |_, _| {
                is_found = true;
                ControlFlow::Break(())
            });
            match walk {
                _ if is_found => return true,
                Walk::Done => return false,
                Walk::At(next) => from = next,
            }
        }
    }
}

impl Hasher<'_> {
    fn add_all(&mut self, view: &dyn Read) -> Result<(), storage::Error> {
        let end = Revision::first_of(self.revision.saturating_add(1).max(0)).encode();
        view.scan(Keyspace::Key, &[], Some(&end), &mut |key, record| match self.add(key, record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.fault = Some(error);
                ControlFlow::Break(())
            }
        })?;
        self.fault.take().map_or(Ok(()), Err)
    }

    fn add(&mut self, key: &[u8], record: &[u8]) -> Result<(), storage::Error> {
        let damaged = || storage::Error::Fault(format!("the record key {} cannot be read", key.escape_ascii()));
        let (revision, is_tombstone) = Revision::decode(key).ok_or_else(damaged)?;
        if is_tombstone && revision.main == self.compacted {
            return Ok(());
        }
        if revision.main <= self.compacted && (is_tombstone || !self.is_kept(revision, record)?) {
            return Ok(());
        }
        self.hash = crc32c::crc32c_append(crc32c::crc32c_append(self.hash, key), record);
        Ok(())
    }

    fn is_kept(&self, revision: Revision, record: &[u8]) -> Result<bool, storage::Error> {
        let key = key_of_record(record, revision)?;
        Ok(self.reader.shared.index.read().find(key, self.kept_at).is_some_and(|found| found.revision == revision))
    }
}
