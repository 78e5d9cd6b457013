//! etcd's database file from one view of the engine.
//!
//! ```text
//!   plan    `index` rows (a record's length is in its row), small buckets --> sizes --> where every page goes
//!   write   `key` rows, small buckets, in the same order ------------------> pages, one after the other
//! ```
//!
//! Writes: what it is given to write to. Reads: the view, twice, filling no cache. Blocking, for a thread that may wait.
//! Holds: consistent index, term, conf state and rows are those of one moment. What a compaction has made removable is left out and
//! the compaction told as finished, so that the file is the same however far the sweep is (D3).
//! Bound: memory does not grow with the store; while a sweep is under way, a key for each one changed between the two compactions
//! while planning, and 16 bytes for each record that it has not taken yet.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::rows;
use crate::bbolt::{Format, Plan, Sizer, Writer};
use crate::mvcc::Revision;
use crate::mvcc::index_row::IndexRow;
use crate::state_machine::decode_conf_state;
use crate::storage::keyspace::meta;
use crate::storage::{self, Keyspace, Read};
use crate::wire::raftpb::ConfState;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Engine(#[from] storage::Error),
    #[error("{keyspace}, key {key}: {why}")]
    Row { keyspace: &'static str, key: String, why: String },
    /// The reader of the file is gone, or its disk refuses.
    #[error("the database file cannot be written: {0}")]
    Write(#[from] io::Error),
}

fn damaged(keyspace: Keyspace, key: &[u8], why: impl Into<String>) -> ExportError {
    ExportError::Row { keyspace: keyspace.name(), key: key.escape_ascii().to_string(), why: why.into() }
}

/// Called with each key and value; an error ends the scan.
type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), ExportError>;

/// A file that could be written now, and always will be the same.
pub struct Export {
    view: Arc<dyn Read>,
    plan: Plan,
    meta: Meta,
    /// Ascending.
    left_out: Vec<Revision>,
    revision: i64,
}

impl Export {
    /// Takes the sizes. The view is held until the export is written or dropped.
    pub fn plan(view: Arc<dyn Read>, format: Format) -> Result<Export, ExportError> {
        let mut meta = Meta::read(&*view)?;
        let left_out = match meta.sweep_under_way()? {
            Some((finished, scheduled)) => {
                meta.rows.insert(meta::FINISHED_COMPACT.into(), Bytes::copy_from_slice(&Revision::first_of(scheduled).encode()));
                removable(&*view, finished, scheduled)?
            }
            None => Vec::new(),
        };
        let mut sizer = Sizer::new(format);
        let mut newest = 0;
        for keyspace in Keyspace::BUCKETS {
            sizer.bucket(keyspace.name().as_bytes());
            match keyspace {
                Keyspace::Key => newest = size_records(&*view, &left_out, &mut sizer)?,
                Keyspace::Meta => meta.rows.iter().for_each(|(key, value)| sizer.entry(key, value.len())),
                _ => scan(&*view, keyspace, &mut |key, value| {
                    sizer.entry(key, value.len());
                    Ok(())
                })?,
            }
        }
        let revision = newest.max(meta.compact_revision()?).max(1);
        Ok(Export { view, plan: sizer.finish(), meta, left_out, revision })
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.plan.file_size()
    }

    /// The newest, as a member that opens the file counts it (REV-14).
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Of the last entry that the state holds; 0 if there is none.
    pub fn consistent_index(&self) -> Result<u64, ExportError> {
        self.meta.number(meta::CONSISTENT_INDEX)
    }

    /// Of the same entry.
    pub fn term(&self) -> Result<u64, ExportError> {
        self.meta.number(meta::TERM)
    }

    /// The group as of that entry.
    pub fn conf_state(&self) -> Result<ConfState, ExportError> {
        let Some(row) = self.meta.rows.get(meta::CONF_STATE) else { return Ok(ConfState::default()) };
        decode_conf_state(row).map_err(|error| damaged(Keyspace::Meta, meta::CONF_STATE, error.to_string()))
    }

    /// None below 3.6, and until the cluster has agreed on its version.
    pub fn storage_version(&self) -> Option<&str> {
        std::str::from_utf8(self.meta.rows.get(meta::STORAGE_VERSION)?).ok()
    }

    /// Writes the whole file, from its first byte to its last.
    pub fn write<W: io::Write>(self, out: W) -> Result<W, ExportError> {
        let Export { view, plan, meta, left_out, .. } = self;
        let mut writer = plan.writer(out);
        for keyspace in Keyspace::BUCKETS {
            writer.bucket(keyspace.name().as_bytes())?;
            match keyspace {
                Keyspace::Key => write_records(&*view, &left_out, &mut writer)?,
                Keyspace::Meta => meta.rows.iter().try_for_each(|(key, value)| writer.entry(key, value))?,
                _ => scan(&*view, keyspace, &mut |key, value| Ok(writer.entry(key, value)?))?,
            }
        }
        Ok(writer.finish()?)
    }
}

/// The rows of `meta`, which are few.
struct Meta {
    rows: BTreeMap<Bytes, Bytes>,
}

impl Meta {
    fn read(view: &dyn Read) -> Result<Meta, ExportError> {
        let mut rows = BTreeMap::new();
        scan(view, Keyspace::Meta, &mut |key, value| {
            rows.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            Ok(())
        })?;
        Ok(Meta { rows })
    }

    fn number(&self, key: &[u8]) -> Result<u64, ExportError> {
        self.rows.get(key).map_or(Ok(0), |row| rows::number(row)).map_err(|why| damaged(Keyspace::Meta, key, why))
    }

    /// -1 before the first compaction.
    fn compacted(&self, key: &[u8]) -> Result<i64, ExportError> {
        self.rows.get(key).map_or(Ok(-1), |row| rows::compact_revision(row)).map_err(|why| damaged(Keyspace::Meta, key, why))
    }

    fn compact_revision(&self) -> Result<i64, ExportError> {
        Ok(self.compacted(meta::SCHEDULED_COMPACT)?.max(self.compacted(meta::FINISHED_COMPACT)?))
    }

    /// The last compaction that was swept, and the one that is not yet.
    fn sweep_under_way(&self) -> Result<Option<(i64, i64)>, ExportError> {
        let (finished, scheduled) = (self.compacted(meta::FINISHED_COMPACT)?, self.compacted(meta::SCHEDULED_COMPACT)?);
        Ok((finished < scheduled).then_some((finished, scheduled)))
    }
}

/// What the sweep of the compaction at `scheduled` takes and has not taken yet: puts replaced since `finished`, and tombstones
/// before `scheduled` (REV-12).
fn removable(view: &dyn Read, finished: i64, scheduled: i64) -> Result<Vec<Revision>, ExportError> {
    let mut last_changes: HashMap<Box<[u8]>, Revision> = HashMap::new();
    each_change(view, finished + 1, scheduled, &mut |revision, row| {
        last_changes.insert(row.key.into(), revision);
        Ok(())
    })?;
    let mut removable = Vec::new();
    each_change(view, 0, scheduled, &mut |revision, row| {
        let is_replaced = last_changes.get(row.key).is_some_and(|last| *last > revision);
        if is_replaced || row.is_tombstone && revision.main < scheduled {
            removable.push(revision);
        }
        Ok(())
    })?;
    Ok(removable)
}

/// The newest revision.
fn size_records(view: &dyn Read, left_out: &[Revision], sizer: &mut Sizer) -> Result<i64, ExportError> {
    let (mut newest, mut left_out) = (0, left_out.iter().peekable());
    each_change(view, 0, i64::MAX, &mut |revision, row| {
        newest = revision.main;
        if left_out.next_if_eq(&&revision).is_some() {
            return Ok(());
        }
        if row.is_tombstone {
            sizer.entry(&revision.encode_tombstone(), row.length as usize);
        } else {
            sizer.entry(&revision.encode(), row.length as usize);
        }
        Ok(())
    })?;
    Ok(newest)
}

fn write_records<W: io::Write>(view: &dyn Read, left_out: &[Revision], writer: &mut Writer<W>) -> Result<(), ExportError> {
    let mut left_out = left_out.iter().peekable();
    scan(view, Keyspace::Key, &mut |key, record| {
        if let Some(next) = left_out.peek() {
            let (revision, _) = Revision::decode(key).ok_or_else(|| damaged(Keyspace::Key, key, "it is no revision"))?;
            if **next == revision {
                left_out.next();
                return Ok(());
            }
        }
        Ok(writer.entry(key, record)?)
    })
}

/// Visits the index rows of the revisions `from..=last`.
fn each_change(
    view: &dyn Read,
    from: i64,
    last: i64,
    visit: &mut dyn FnMut(Revision, IndexRow<'_>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let end = last.checked_add(1).map(|end| Revision::first_of(end).encode());
    let from = Revision::first_of(from.max(0)).encode();
    scan_between(view, Keyspace::Index, &from, end.as_ref().map(|end| &end[..]), &mut |key, row| {
        let (Some((revision, false)), Some(row)) = (Revision::decode(key), IndexRow::decode(row)) else {
            return Err(damaged(Keyspace::Index, key, "it cannot be read"));
        };
        visit(revision, row)
    })
}

fn scan(view: &dyn Read, keyspace: Keyspace, visit: Visit<'_>) -> Result<(), ExportError> {
    scan_between(view, keyspace, &[], None, visit)
}

/// A scan that ends at the first error.
fn scan_between(view: &dyn Read, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), ExportError> {
    let mut failed = None;
    view.scan(keyspace, from, to, &mut |key, value| match visit(key, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}
