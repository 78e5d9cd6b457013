//! Reads at a revision, from any thread.
//!
//! ```text
//!   Shared   index   RwLock: the writer a batch's slice at a time, readers a few hundred keys at a time
//!            cache   RwLock: taken after `index`, never before it
//!            revision, compacted   what is readable; moved by the writer's `publish` only
//! ```
//!
//! Holds: I8 (nobody looks above the published revision). The engine is never asked under a lock.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::storage::{self, Engine, Keyspace};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::RangeRequest;

use super::cache::Cache;
use super::interval::Interval;
use super::key_index::{KeyIndex, Walk};
use super::range::{Item, by_revision};
use super::record;
use super::revision::Revision;
use super::scan::Scan;
use super::sizes::{self, Sizes};
use super::tally::Tally;
use super::tree::Key;
use super::writer::{Event, Previous};

/// Keys looked at under one hold of the lock where a whole keyspace is walked.
pub(super) const WALK_SLICE: usize = 256;
/// Records asked of the engine at once.
const GET_SLICE: usize = 1024;
/// Steps of a walk that cost less than one look-up, with a margin.
const WALK_STEPS_PER_RECORD: i64 = 4;
/// A walk over fewer records than this is not worth setting up.
const WALK_RECORDS_MIN: usize = 32;
/// A read of more records than this fills the cache only while there is room: it would push out what point reads need.
const EVICTING_READ_MAX: usize = 64;

pub(super) struct Shared {
    pub engine: Arc<dyn Engine>,
    pub index: RwLock<KeyIndex>,
    pub cache: RwLock<Cache>,
    pub revision: AtomicI64,
    pub compacted: AtomicI64,
    pub sizes: sizes::Published,
    pub tally: Tally,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("revision", &self.revision).field("compacted", &self.compacted).finish_non_exhaustive()
    }
}

/// What the store holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys alive.
    pub keys: u64,
    /// Changes in the key index: those that a sweep has not removed yet.
    pub revisions: u64,
    /// Bytes of records held in memory.
    pub cache_bytes: u64,
}

#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) shared: Arc<Shared>,
}

impl Reader {
    /// The newest readable revision; 1 on a fresh store (REV-1).
    pub fn revision(&self) -> i64 {
        self.shared.revision.load(Ordering::Acquire)
    }

    /// Reads below are refused; -1 on a fresh store (CMP-2).
    pub fn compact_revision(&self) -> i64 {
        self.shared.compacted.load(Ordering::Acquire)
    }

    /// A Range at one revision, to be read in slices.
    pub fn scan(&self, request: &RangeRequest) -> Result<Scan, Error> {
        Scan::new(Arc::clone(&self.shared), request)
    }

    /// The encoded `mvccpb.KeyValue` before an event; `None` for creates and where a compaction has passed (EVT-3).
    pub fn previous(&self, event: &Event) -> Result<Option<Bytes>, storage::Error> {
        let is_compacted = || event.revision.main - 1 < self.compact_revision();
        match &event.prev {
            _ if is_compacted() => Ok(None),
            Previous::None => Ok(None),
            Previous::Kv(record) => Ok(Some(record.clone())),
            Previous::Stored(revision) => match self.shared.stored(*revision)? {
                // Compacted and swept since the first look.
                None if is_compacted() => Ok(None),
                None => Err(missing(*revision)),
                found => Ok(found),
            },
        }
    }

    /// Logical sizes, as etcd's file would have them (QUO-1b).
    pub fn sizes(&self) -> Sizes {
        self.shared.sizes.load()
    }

    /// What the store was asked to do since the start.
    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    pub fn counts(&self) -> Counts {
        let (keys, revisions) = {
            let index = self.shared.index.read();
            (index.len() as u64, index.revisions() as u64)
        };
        Counts { keys, revisions, cache_bytes: self.shared.cache.read().bytes() as u64 }
    }

    /// Visits every key alive that has a lease: what a restart attaches (REV-17). Not for a moving store: keys are visited in
    /// slices of the newest state.
    pub fn for_each_leased(&self, visit: &mut dyn FnMut(&[u8], i64)) {
        let interval = Interval::From(&[]);
        let mut from = Key::from([]);
        loop {
            let mut budget = WALK_SLICE;
            let walk = self.shared.index.read().walk(&interval, &from, i64::MAX, &mut budget, &mut |key, found| {
                if found.lease != 0 {
                    visit(key, found.lease);
                }
                ControlFlow::Continue(())
            });
            match walk {
                Walk::Done => return,
                Walk::At(next) => from = next,
            }
        }
    }
}

impl Shared {
    /// The record of a put that is in the key index.
    pub fn record(&self, slot: u32, revision: Revision) -> Result<Bytes, storage::Error> {
        if let Some(record) = self.cache.read().get(slot, revision) {
            return Ok(record);
        }
        self.stored(revision)?.ok_or_else(|| missing(revision))
    }

    /// The record of a put as the engine has it.
    pub fn stored(&self, revision: Revision) -> Result<Option<Bytes>, storage::Error> {
        self.engine.get(Keyspace::Key, &revision.encode())
    }

    /// Takes what the cache holds; the places of the items still without a record.
    pub fn fill_from_cache(&self, items: &mut [Item]) -> Vec<usize> {
        let cache = self.cache.read();
        let mut missing = Vec::new();
        for (place, item) in items.iter_mut().enumerate() {
            if item.record.is_none() {
                item.record = cache.get(item.slot, item.revision);
                if item.record.is_none() {
                    missing.push(place);
                }
            }
        }
        missing
    }

    /// Takes the records at these places from the engine. For items that nothing can have swept.
    pub fn fill_from_engine(&self, items: &mut [Item], places: &[usize]) -> Result<(), storage::Error> {
        match self.read_records(items, places)? {
            None => Ok(()),
            Some(absent) => Err(missing(absent)),
        }
    }

    /// Takes the records at these places from the engine, in its own order; the revision of one that is not there, if any.
    pub fn read_records(&self, items: &mut [Item], places: &[usize]) -> Result<Option<Revision>, storage::Error> {
        let mut places = places.to_vec();
        by_revision(items, &mut places);
        for slice in places.chunks(GET_SLICE) {
            let revisions: Vec<Revision> = slice.iter().map(|place| items[*place].revision).collect();
            let records = self.stored_in_order(&revisions)?;
            for (place, record) in slice.iter().zip(records) {
                let item = &mut items[*place];
                let Some(record) = record else { return Ok(Some(item.revision)) };
                item.record = Some(record);
            }
        }
        self.offer_to_cache(items, &places);
        Ok(None)
    }

    /// The records of revisions in ascending order, each an allocation of its own. Where they lie close together, one walk over what is between costs less than
    /// looking each up: a look-up costs some fifteen steps of a walk.
    fn stored_in_order(&self, revisions: &[Revision]) -> Result<Vec<Option<Bytes>>, storage::Error> {
        let (Some(first), Some(last)) = (revisions.first(), revisions.last()) else { return Ok(Vec::new()) };
        let is_dense = last.main - first.main < WALK_STEPS_PER_RECORD * revisions.len() as i64;
        if !is_dense || revisions.len() < WALK_RECORDS_MIN {
            let keys: Vec<Bytes> = revisions.iter().map(|revision| Bytes::copy_from_slice(&revision.encode())).collect();
            return self.engine.multi_get(Keyspace::Key, &keys);
        }
        let mut found = vec![None; revisions.len()];
        let mut next = 0;
        let end = Revision::new(last.main, last.sub + 1).encode();
        self.engine.scan(Keyspace::Key, &first.encode(), Some(&end), &mut |key, record| {
            if let Some((revision, false)) = Revision::decode(key) {
                while revisions.get(next).is_some_and(|wanted| *wanted < revision) {
                    next += 1;
                }
                if revisions.get(next) == Some(&revision) {
                    found[next] = Some(Bytes::copy_from_slice(record));
                    next += 1;
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Keeps what was read from the engine for the next reader. Gives way where the locks are taken.
    fn offer_to_cache(&self, items: &[Item], places: &[usize]) {
        let may_evict = places.len() <= EVICTING_READ_MAX;
        for slice in places.chunks(WALK_SLICE) {
            let Some(index) = self.index.try_read() else { return };
            let Some(mut cache) = self.cache.try_write() else { return };
            for item in slice.iter().map(|place| &items[*place]) {
                let (Some(record), Some(key)) = (&item.record, &item.key) else { continue };
                if !may_evict && !cache.has_room(record) {
                    return;
                }
                let Some(live) = index.live(key) else { continue };
                let found = live.found();
                if found.revision == item.revision && cache.get(found.slot, found.revision).is_none() {
                    live.set_slot(cache.put(found.revision, record.clone()));
                }
            }
        }
    }
}

/// A record that the key index promises and the engine does not have.
pub(super) fn missing(revision: Revision) -> storage::Error {
    storage::Error::Fault(format!("the record of revision {}.{} is missing", revision.main, revision.sub))
}

/// The key that a record is about.
pub(super) fn key_of_record(record: &[u8], revision: Revision) -> Result<&[u8], storage::Error> {
    let damaged = || storage::Error::Fault(format!("the record of revision {}.{} cannot be read", revision.main, revision.sub));
    record::key_of(record).ok_or_else(damaged)
}
