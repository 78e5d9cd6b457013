//! A write transaction: reads that see its own changes, puts and deletes that share one main revision (REV-2, REV-3, TXN-11).
//!
//! Writes: the batch, what the writer has staged. Everything it reads is the state after all earlier transactions, written yet
//! or not. Dropping it takes nothing back: validation comes before the first change (TXN-13).

use std::cell::Cell;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::storage::{self, Batch, Keyspace};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::RangeRequest;
use crate::wire::hot;

use super::index_row::IndexRow;
use super::interval::Interval;
use super::key_index::Found;
use super::range::{Item, Plan};
use super::record::{self, Encoded, Fields};
use super::revision::Revision;
use super::staged::{Change, Seen};
use super::tally::{Count, Tally};
use super::writer::{Event, Previous, Writer};

#[derive(Debug)]
pub struct Txn<'a> {
    writer: &'a mut Writer,
    batch: &'a mut Batch,
    begin: i64,
    /// Changes so far; the next one's sub revision.
    sub: i64,
    /// Operations so far.
    operations: Cell<u64>,
}

/// A key as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    pub create: i64,
    pub modified: Revision,
    pub version: i64,
    pub lease: i64,
}

impl From<Found> for Current {
    fn from(found: Found) -> Current {
        Current { create: found.create, modified: found.revision, version: found.version, lease: found.lease }
    }
}

/// The value of a put.
#[derive(Clone, Debug)]
pub enum PutValue {
    New(Bytes),
    /// That of the key now, which must exist (PUT-2, PUT-5).
    Keep,
}

/// What a put replaced.
#[derive(Clone, Debug)]
pub struct Put {
    pub previous: Option<Current>,
    /// Encoded `mvccpb.KeyValue`, if it was wanted and there was one.
    pub prev_kv: Option<Bytes>,
}

/// A key that a delete removed.
#[derive(Clone, Debug)]
pub struct Deleted {
    pub key: Bytes,
    pub lease: i64,
    /// Encoded `mvccpb.KeyValue`, if it was wanted.
    pub prev_kv: Option<Bytes>,
}

/// Why a range inside a transaction has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    #[error(transparent)]
    Rejected(#[from] Error),
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl<'a> Txn<'a> {
    pub(super) fn new(writer: &'a mut Writer, batch: &'a mut Batch) -> Txn<'a> {
        Txn { begin: writer.revision, writer, batch, sub: 0, operations: Cell::new(0) }
    }

    /// The revision before this transaction.
    pub fn begin_revision(&self) -> i64 {
        self.begin
    }

    /// The revision that answers carry: that before the transaction until something changed (TXN-11).
    pub fn revision(&self) -> i64 {
        self.writer.revision
    }

    pub fn current(&self, key: &[u8]) -> Option<Current> {
        self.seen(key).map(|seen| seen.found().into())
    }

    /// The encoded `mvccpb.KeyValue` of the key now.
    pub fn value(&self, key: &[u8]) -> Result<Option<Bytes>, storage::Error> {
        self.seen(key).map(|seen| self.record_of(&seen)).transpose()
    }

    /// Visits the keys alive now in order.
    pub fn for_each(&self, key: &[u8], range_end: &[u8], visit: &mut dyn FnMut(&[u8], &Current) -> ControlFlow<()>) {
        let index = self.writer.reader.shared.index.read();
        let interval = Interval::new(key, range_end);
        self.writer.staged.walk(&index, &interval, i64::MAX, &mut |key, seen| visit(key, &seen.found().into()));
    }

    /// What the state before this transaction says to a range of it (TXN-12, TXN-14): also asked where the range itself is not run.
    pub fn check_range(&self, request: &RangeRequest) -> Result<(), Error> {
        match request.revision {
            0 => Ok(()),
            revision if revision > self.begin => Err(Error::FutureRev),
            // Quirk: a negative revision is not "the latest" here, unlike in a plain Range (etcd's checkRange).
            revision if revision < self.writer.compacted => Err(Error::Compacted),
            _ => Ok(()),
        }
    }

    /// A range that sees what the transaction has changed so far. Only the header's revision is set.
    pub fn range(&self, request: &RangeRequest) -> Result<hot::RangeResponse, RangeError> {
        self.count(&self.tally().ranges);
        if request.revision > self.begin {
            return Err(Error::FutureRev.into());
        }
        if request.revision > 0 && request.revision < self.writer.compacted {
            return Err(Error::Compacted.into());
        }
        let at = if request.revision > 0 { request.revision } else { self.revision() };
        let mut plan = Plan::new(request);
        let mut items = Vec::new();
        let (mut complete, mut visited) = (true, 0i64);
        {
            let index = self.writer.reader.shared.index.read();
            let interval = plan.interval();
            if !plan.is_count_only() {
                self.writer.staged.walk(&index, &interval, at, &mut |key, seen| {
                    visited += 1;
                    let item = plan.item(|| key.into(), seen.found(), || None);
                    items.extend(item.map(|item| with_staged(item, &seen, plan.wants_values())));
                    complete = !plan.is_full(&items);
                    if complete { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
            }
            let count = if plan.is_count_only() || !complete { self.writer.staged.count(&index, &interval, at) } else { visited };
            plan.set_count(count);
        }
        self.fill(&plan, &mut items, plan.wants_all_values())?;
        plan.arrange(&mut items);
        self.fill(&plan, &mut items, plan.wants_values())?;
        Ok(plan.response(items, self.revision()))
    }

    fn fill(&self, plan: &Plan, items: &mut [Item], is_wanted: bool) -> Result<(), storage::Error> {
        if !is_wanted {
            return Ok(());
        }
        let shared = &self.writer.reader.shared;
        let missing = shared.fill_from_cache(items);
        debug_assert!(plan.wants_values());
        shared.fill_from_engine(items, &missing)
    }

    /// Sets a key. The value may be part of a larger allocation: it is copied.
    pub fn put(&mut self, key: Bytes, value: PutValue, lease: i64, want_prev: bool) -> Result<Put, storage::Error> {
        let seen = self.seen(&key);
        let previous: Option<Current> = seen.as_ref().map(|seen| seen.found().into());
        let prev = seen.as_ref().map_or(Previous::None, |seen| self.previous_of(seen));
        let prev_kv = match &seen {
            Some(seen) if want_prev || matches!(value, PutValue::Keep) => Some(self.record_of(seen)?),
            _ => None,
        };
        let value = match &value {
            PutValue::New(value) => &value[..],
            PutValue::Keep => {
                let before = prev_kv.as_deref().expect("a value is kept only of a key that exists: checked before the first change");
                record::decode(before).map(|fields| fields.value).ok_or_else(|| damaged(&key))?
            }
        };
        self.count(&self.tally().puts);
        self.tally().put_bytes.add((key.len() + value.len()) as u64);
        let modified = self.begin + 1;
        let (create, version) = previous.map_or((modified, 1), |current| (current.create, current.version + 1));
        let encoded = record::put(&Fields { key: &key, create, modified, version, value, lease });
        let prev_kv = prev_kv.filter(|_| want_prev);
        self.stage(encoded, create, version, lease, prev);
        Ok(Put { previous, prev_kv })
    }

    /// Removes the keys alive now, in order (DEL-3).
    pub fn delete_range(&mut self, key: &[u8], range_end: &[u8], want_prev: bool) -> Result<Vec<Deleted>, storage::Error> {
        self.count(&self.tally().deletes);
        let mut doomed = Vec::new();
        {
            let index = self.writer.reader.shared.index.read();
            self.writer.staged.walk(&index, &Interval::new(key, range_end), i64::MAX, &mut |key, seen| {
                let prev = self.previous_of(&seen);
                let item = Item::new(key.into(), seen.found());
                doomed.push((with_staged(item, &seen, want_prev), seen.found().lease, prev));
                ControlFlow::Continue(())
            });
        }
        if want_prev {
            self.fill_doomed(&mut doomed)?;
        }
        let mut deleted = Vec::with_capacity(doomed.len());
        for (item, lease, prev) in doomed {
            let encoded = record::tombstone(item.key.as_deref().unwrap_or_default(), self.begin + 1);
            let key = encoded.key.clone();
            self.stage(encoded, 0, 0, 0, prev);
            deleted.push(Deleted { key, lease, prev_kv: item.record.filter(|_| want_prev) });
        }
        Ok(deleted)
    }

    fn fill_doomed(&self, doomed: &mut [(Item, i64, Previous)]) -> Result<(), storage::Error> {
        let mut items: Vec<Item> = doomed.iter().map(|(item, _, _)| item.clone()).collect();
        let shared = &self.writer.reader.shared;
        let missing = shared.fill_from_cache(&mut items);
        shared.fill_from_engine(&mut items, &missing)?;
        for (item, (target, _, _)) in items.into_iter().zip(doomed) {
            target.record = item.record;
        }
        Ok(())
    }

    /// The revision that the response's header carries.
    pub fn end(self) -> i64 {
        if self.operations.get() > 1 {
            self.tally().txns.add(1);
        }
        self.writer.ledger.store(self.batch);
        self.writer.revision
    }

    fn tally(&self) -> &Tally {
        &self.writer.reader.shared.tally
    }

    fn count(&self, kind: &Count) {
        kind.add(1);
        self.operations.set(self.operations.get() + 1);
    }

    fn seen(&self, key: &[u8]) -> Option<Seen<'_>> {
        if let Some(change) = self.writer.staged.latest(key) {
            return (change.version != 0).then_some(Seen::Staged(change));
        }
        let index = self.writer.reader.shared.index.read();
        index.live(key).map(|live| Seen::Merged(live.found()))
    }

    fn record_of(&self, seen: &Seen<'_>) -> Result<Bytes, storage::Error> {
        match seen {
            Seen::Staged(change) => Ok(change.record.clone()),
            Seen::Merged(found) => self.writer.reader.shared.record(found.slot, found.revision),
        }
    }

    /// Without asking the engine: events whose watchers do not want it would have paid for nothing.
    fn previous_of(&self, seen: &Seen<'_>) -> Previous {
        match seen {
            Seen::Staged(change) => Previous::Kv(change.record.clone()),
            Seen::Merged(found) => match self.writer.reader.shared.cache.read().get(found.slot, found.revision) {
                Some(record) => Previous::Kv(record),
                None => Previous::Stored(found.revision),
            },
        }
    }

    fn stage(&mut self, encoded: Encoded, create: i64, version: i64, lease: i64, before: Previous) {
        let Encoded { event, record, key } = encoded;
        let is_delete = version == 0;
        // Before the event means before the transaction, whatever else that did to the key (EVT-3, TXN-6b).
        let earlier = if self.sub > 0 { self.writer.staged.latest(&key).filter(|change| change.revision.main > self.begin) } else { None };
        let before = earlier.map_or(before, |change| change.before.clone());
        let revision = Revision { main: self.begin + 1, sub: self.sub };
        self.sub += 1;
        self.writer.revision = revision.main;
        let row = IndexRow { is_tombstone: is_delete, create, version, lease, length: record.len() as u32, key: &key }.encode();
        let index_key = Bytes::copy_from_slice(&revision.encode());
        let record_key = if is_delete { Bytes::copy_from_slice(&revision.encode_tombstone()) } else { index_key.clone() };
        self.batch.put(Keyspace::Key, record_key, record.clone());
        self.batch.put(Keyspace::Index, index_key, row);
        self.writer.ledger.add(record.len(), is_delete);
        let is_create = !is_delete && create == revision.main;
        let prev = if is_create { Previous::None } else { before.clone() };
        let event = Event { key: key.clone(), revision, is_delete, is_create, encoded: event, prev };
        self.writer.staged.push(Change { key, revision, create, version, lease, record, before, earlier: None }, event);
    }
}

/// The item with its record, if that is staged and wanted.
fn with_staged(mut item: Item, seen: &Seen<'_>, is_wanted: bool) -> Item {
    if let (Seen::Staged(change), true) = (seen, is_wanted) {
        item.record = Some(change.record.clone());
    }
    item
}

fn damaged(key: &[u8]) -> storage::Error {
    storage::Error::Fault(format!("the record of key {} cannot be read", key.escape_ascii()))
}
