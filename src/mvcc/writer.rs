//! Turns transactions into revisions.
//!
//! ```text
//!   begin --> Txn: put, delete_range, range --> records and index rows into the Batch, changes and events staged
//!                                                       |
//!                                              engine.write(batch)
//!                                                       |
//!   merge: staged changes into the key index ---> take_events: to the watch hubs ---> publish: readable from here on
//! ```
//!
//! Writes: revision, compact revision, key index, cache, the `key` and `index` keyspaces, our rows of `meta` and `local`.
//! Sole owner: the state machine on the applier. Holds: I3 (revision moves only here, by one per transaction that changed
//! something), I5; nothing is readable before its batch is written (I6).
//! Knows no clock, no random number, no order of hashing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::storage::keyspace::local;
use crate::storage::{Batch, Keyspace};

use super::cache;
use super::compaction::Compactor;
use super::index_row;
use super::key_index::Merge;
use super::reader::{Reader, Shared};
use super::revision::Revision;
use super::sizes::Ledger;
use super::staged::Staged;
use super::txn::Txn;

/// Changes merged under one hold of the write lock. Bound: readers wait for so many at most.
const MERGE_SLICE: usize = 256;
const BIRTHS_SLICE: usize = 1024;

/// One change of one key, as watchers get it.
#[derive(Clone, Debug)]
pub struct Event {
    pub key: Bytes,
    pub revision: Revision,
    pub is_delete: bool,
    /// The put began the key's generation.
    pub is_create: bool,
    /// `mvccpb.Event` without `prev_kv`.
    pub encoded: Bytes,
    pub prev: Previous,
}

/// Where the key's record before an event is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Previous {
    None,
    /// Encoded `mvccpb.KeyValue`.
    Kv(Bytes),
    /// In the engine, until a compaction takes it.
    Stored(Revision),
}

#[derive(Debug)]
pub struct Writer {
    pub(super) reader: Reader,
    pub(super) staged: Staged,
    pub(super) revision: i64,
    pub(super) compacted: i64,
    pub(super) ledger: Ledger,
    pub(super) compactor: Compactor,
    /// The layout's stamp goes out with the first batch of a fresh store.
    pub(super) is_stamped: bool,
}

impl Writer {
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Of everything applied, readable already or not.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Of everything applied, in force for readers already or not; -1 before the first compaction.
    pub fn compact_revision(&self) -> i64 {
        self.compacted
    }

    pub fn begin<'a>(&'a mut self, batch: &'a mut Batch) -> Txn<'a> {
        self.stamp(batch);
        Txn::new(self, batch)
    }

    /// Everything since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.staged.events)
    }

    /// Takes the staged changes over into the key index. To be called when the batch has been written; what is merged is not
    /// readable before `publish`.
    pub fn merge(&mut self) {
        let shared = Arc::clone(&self.reader.shared);
        for changes in self.staged.changes.chunks(MERGE_SLICE) {
            // Index before cache, here and everywhere.
            let mut index = shared.index.write();
            let mut cache = shared.cache.write();
            for change in changes {
                let is_tombstone = change.version == 0;
                let merge = Merge {
                    key: &change.key,
                    revision: change.revision,
                    create: change.create,
                    version: change.version,
                    lease: change.lease,
                    length: change.record.len() as u32,
                };
                let merged = index.merge(&merge, &mut |replaced| {
                    if let Some((slot, revision)) = replaced {
                        cache.remove(slot, revision);
                    }
                    if is_tombstone { cache::NONE } else { cache.put(change.revision, change.record.clone()) }
                });
                self.compactor.queue(change.revision, is_tombstone, change.record.len() as u32, merged);
            }
        }
        self.staged.clear();
        let swept = self.compactor.take_swept();
        for slice in swept.chunks(MERGE_SLICE) {
            let mut index = shared.index.write();
            for (key, revision) in slice {
                index.prune(key, *revision);
            }
        }
        let compacted = shared.compacted.load(Ordering::Relaxed);
        shared.index.write().prune_births(compacted, BIRTHS_SLICE);
    }

    /// Makes everything merged readable, and a compaction felt.
    pub fn publish(&mut self) {
        let shared: &Shared = &self.reader.shared;
        self.ledger.publish(&shared.sizes);
        // In this order: a reader that sees the compact revision also sees a revision that is not below it.
        shared.revision.store(self.revision, Ordering::Release);
        shared.compacted.store(self.compacted, Ordering::Release);
    }

    /// After the engine has been defragmented: the size falls to what is in use.
    pub fn defragmented(&mut self, batch: &mut Batch) {
        self.ledger.defragmented();
        self.ledger.store(batch);
    }

    pub(super) fn stamp(&mut self, batch: &mut Batch) {
        if !self.is_stamped {
            self.is_stamped = true;
            batch.put(Keyspace::Local, local::LAYOUT, index_row::LAYOUT);
        }
    }
}
