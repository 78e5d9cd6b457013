//! The state engine of the member: the one in memory, behind a place where a planted bug may alter what is written.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use etcd::mvcc::Revision;
use etcd::storage::keyspace::meta;
use etcd::storage::memory::{Failure, MemoryEngine};
use etcd::storage::{Batch, Engine, Error, Keyspace, Op, Read, Usage, Visit};

use crate::bug::Bug;

pub struct Seam {
    inner: Arc<MemoryEngine>,
    bug: Bug,
    /// What a planted bug writes later.
    held: Mutex<Vec<Op>>,
    writes: AtomicU64,
    pub is_booting: AtomicBool,
}

fn is_index(op: &Op) -> bool {
    matches!(op, Op::Put { keyspace: Keyspace::Meta, key, .. } if key == meta::CONSISTENT_INDEX || key == meta::TERM)
}

fn batch_of(ops: impl IntoIterator<Item = Op>) -> Batch {
    let mut batch = Batch::default();
    for op in ops {
        match op {
            Op::Put { keyspace, key, value } => batch.put(keyspace, key, value),
            Op::Delete { keyspace, key } => batch.delete(keyspace, key),
        }
    }
    batch
}

/// The put of the revision after the one that is removed.
fn neighbour(op: &Op) -> Option<Op> {
    let Op::Delete { keyspace: Keyspace::Key, key } = op else { return None };
    let (revision, _) = Revision::decode(key)?;
    let next = Revision { main: revision.main + 1, sub: 0 };
    Some(Op::Delete { keyspace: Keyspace::Key, key: Bytes::copy_from_slice(&next.encode()) })
}

impl Seam {
    pub fn new(bug: Bug) -> Arc<Seam> {
        let (held, writes, is_booting) = Default::default();
        Arc::new(Seam { inner: MemoryEngine::new(), bug, held, writes, is_booting })
    }

    /// The process ends.
    pub fn crash(&self) {
        self.inner.crash();
        self.inner.fail_writes(None);
        self.held.lock().expect("no write panics").clear();
    }

    pub fn set_full(&self, is_full: bool) {
        self.inner.fail_writes(is_full.then_some(Failure::NoSpace));
    }

    /// The newest index whose batch is written.
    pub fn index(&self) -> u64 {
        let row = self.inner.get(Keyspace::Meta, meta::CONSISTENT_INDEX).expect("the engine in memory reads");
        row.and_then(|row| row[..].try_into().ok()).map_or(0, u64::from_be_bytes)
    }

    fn bend(&self, keyspace: Keyspace, key: &[u8], row: Option<Bytes>) -> Option<Bytes> {
        let is_bent = self.bug == Bug::AppliedTwice
            && self.is_booting.load(Ordering::Relaxed)
            && (keyspace, key) == (Keyspace::Meta, meta::CONSISTENT_INDEX);
        let row = row?;
        let Some(index) = row[..].try_into().ok().map(u64::from_be_bytes).filter(|index| is_bent && *index > 2) else { return Some(row) };
        Some(Bytes::copy_from_slice(&(index - 1).to_be_bytes()))
    }
}

impl Read for Seam {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.bend(keyspace, key, self.inner.get(keyspace, key)?))
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        self.inner.multi_get(keyspace, keys)
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), Error> {
        self.inner.scan(keyspace, from, to, visit)
    }
}

impl Engine for Seam {
    fn write(&self, batch: &Batch) -> Result<(), Error> {
        let count = self.writes.fetch_add(1, Ordering::Relaxed);
        let ops = batch.ops().to_vec();
        match self.bug {
            Bug::IndexABatchLate | Bug::IndexABatchEarly => {
                let (now, later): (Vec<Op>, Vec<Op>) = ops.into_iter().partition(|op| is_index(op) == (self.bug == Bug::IndexABatchEarly));
                let mut held = self.held.lock().expect("no write panics");
                self.inner.write(&batch_of(held.iter().cloned().chain(now)))?;
                *held = later;
                Ok(())
            }
            Bug::WriteBehind => {
                let mut held = self.held.lock().expect("no write panics");
                self.inner.write(&batch_of(held.iter().cloned()))?;
                *held = ops;
                Ok(())
            }
            Bug::SplitBatch => {
                let (first, second) = ops.split_at(ops.len() / 2);
                self.inner.write(&batch_of(first.to_vec()))?;
                // As an engine does whose memory is full.
                if count.is_multiple_of(3) {
                    self.inner.flush()?;
                }
                self.inner.write(&batch_of(second.to_vec()))
            }
            Bug::CompactionIsForgotten => {
                let is_kept = |op: &Op| !matches!(op, Op::Put { key, .. } if key == meta::SCHEDULED_COMPACT);
                self.inner.write(&batch_of(ops.into_iter().filter(is_kept)))
            }
            Bug::RevokedLeaseReturns => {
                let is_kept = |op: &Op| !matches!(op, Op::Delete { keyspace: Keyspace::Lease, .. });
                self.inner.write(&batch_of(ops.into_iter().filter(is_kept)))
            }
            Bug::SweepBeyond => {
                let more: Vec<Op> = ops.iter().filter_map(neighbour).collect();
                self.inner.write(&batch_of(ops.into_iter().chain(more)))
            }
            _ => self.inner.write(batch),
        }
    }

    fn flush(&self) -> Result<(), Error> {
        self.inner.flush()
    }

    fn get_persisted(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.bend(keyspace, key, self.inner.get_persisted(keyspace, key)?))
    }

    fn view(&self) -> Arc<dyn Read> {
        self.inner.view()
    }

    fn defragment(&self) -> Result<(), Error> {
        self.inner.defragment()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}
