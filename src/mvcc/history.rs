//! What happened, in revision order: how a watcher catches up.
//!
//! ```text
//!   index rows  from.0 ......... last.n       which keys, how long each record is; cut between revisions when the budget is full
//!   records          |  |     |               fetched only for keys that are wanted
//! ```
//!
//! Reads the engine, so not for a thread that serves connections. Holds: a compaction that overtakes the read makes it
//! `Compacted`, never a history with holes; at the compact revision itself everything is still there (REV-12).

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::storage::{self, Keyspace};

use super::index_row::IndexRow;
use super::reader::{Reader, key_of_record, missing};
use super::record;
use super::revision::Revision;
use super::writer::{Event, Previous};

/// Bound: rows looked at in one call, so that a watcher of a quiet key among busy ones comes up for air.
const ROWS_MAX: usize = 65_536;

/// Events of whole revisions.
#[derive(Debug)]
pub struct History {
    pub events: Vec<Event>,
    /// Where to go on; past `last` when all of it has been read.
    pub next: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Below the compact revision, which this is.
    #[error("compacted at revision {0}")]
    Compacted(i64),
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

struct Wanted {
    revision: Revision,
    is_delete: bool,
    is_create: bool,
}

impl Reader {
    /// The events of the revisions `from..=last`, which must be readable, for keys that are wanted. Stops between revisions
    /// once `budget_bytes` of records are gathered.
    pub fn history(&self, from: i64, last: i64, budget_bytes: usize, wanted: &dyn Fn(&[u8]) -> bool) -> Result<History, HistoryError> {
        self.check_compacted(from)?;
        let (rows, next) = self.rows(from, last, budget_bytes, wanted)?;
        let keys: Vec<Bytes> = rows.iter().map(Wanted::record_key).collect();
        let records = self.shared.engine.multi_get(Keyspace::Key, &keys)?;
        // What was missed because a sweep went by is missed after the compact revision moved: asked before anything is believed.
        self.check_compacted(from)?;
        let mut events = Vec::with_capacity(rows.len());
        for (row, record) in rows.iter().zip(records) {
            let record = record.ok_or_else(|| missing(row.revision))?;
            events.push(row.event(&record)?);
        }
        self.add_previous(&mut events);
        self.check_compacted(from)?;
        Ok(History { events, next })
    }

    fn check_compacted(&self, from: i64) -> Result<(), HistoryError> {
        let compacted = self.shared.compacted.load(Ordering::Acquire);
        if from < compacted { Err(HistoryError::Compacted(compacted)) } else { Ok(()) }
    }

    fn rows(&self, from: i64, last: i64, budget_bytes: usize, wanted: &dyn Fn(&[u8]) -> bool) -> Result<(Vec<Wanted>, i64), HistoryError> {
        let start = Revision::first_of(from.max(0)).encode();
        let end = Revision::first_of(last.saturating_add(1).max(0)).encode();
        let (mut rows, mut bytes, mut looked) = (Vec::new(), 0usize, 0usize);
        let (mut main, mut next, mut fault) = (from, last.saturating_add(1), None);
        self.shared.engine.scan(Keyspace::Index, &start, Some(&end), &mut |key, row| {
            let (Some((revision, false)), Some(row)) = (Revision::decode(key), IndexRow::decode(row)) else {
                fault = Some(damaged(key));
                return ControlFlow::Break(());
            };
            if revision.main != main {
                if bytes >= budget_bytes || looked >= ROWS_MAX {
                    next = revision.main;
                    return ControlFlow::Break(());
                }
                main = revision.main;
            }
            looked += 1;
            if wanted(row.key) {
                bytes += row.length as usize;
                rows.push(Wanted { revision, is_delete: row.is_tombstone, is_create: row.create == revision.main });
            }
            ControlFlow::Continue(())
        })?;
        match fault {
            Some(fault) => Err(fault.into()),
            None => Ok((rows, next.max(from))),
        }
    }

    /// Where the record before each event is: the key's as of the revision before (EVT-3).
    fn add_previous(&self, events: &mut [Event]) {
        for slice in events.chunks_mut(super::reader::WALK_SLICE) {
            let index = self.shared.index.read();
            for event in slice.iter_mut().filter(|event| !event.is_create) {
                if let Some(found) = index.find(&event.key, event.revision.main - 1) {
                    event.prev = Previous::Stored(found.revision);
                }
            }
        }
    }
}

impl Wanted {
    fn record_key(&self) -> Bytes {
        if self.is_delete {
            Bytes::copy_from_slice(&self.revision.encode_tombstone())
        } else {
            Bytes::copy_from_slice(&self.revision.encode())
        }
    }

    fn event(&self, record: &Bytes) -> Result<Event, storage::Error> {
        let key = Bytes::copy_from_slice(key_of_record(record, self.revision)?);
        let encoded = record::event_of(record, self.is_delete.then_some(self.revision.main));
        let (is_delete, is_create) = (self.is_delete, self.is_create);
        Ok(Event { key, revision: self.revision, is_delete, is_create, encoded, prev: Previous::None })
    }
}

pub(super) fn damaged(key: &[u8]) -> storage::Error {
    storage::Error::Fault(format!("the index row {} cannot be read", key.escape_ascii()))
}
