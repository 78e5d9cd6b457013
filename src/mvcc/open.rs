//! From the engine to a writer and a reader: the key index is rebuilt from the `index` keyspace alone, in revision order, by
//! the same steps that merge a batch.
//!
//! Holds: REV-14, the revision is the largest of the newest row and both compact revisions, so it never goes back. A
//! compaction that was scheduled and not finished is in force at once and swept on (REV-15).

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use parking_lot::RwLock;

use crate::storage::keyspace::{local, meta};
use crate::storage::{self, Engine, Keyspace};

use super::cache::{self, Cache};
use super::compaction::Compactor;
use super::history::damaged;
use super::index_row::{self, IndexRow};
use super::key_index::{KeyIndex, Merge};
use super::reader::{Reader, Shared};
use super::revision::Revision;
use super::sizes::{self, Ledger};
use super::staged::Staged;
use super::tally::Tally;
use super::writer::Writer;

/// Rows between two words of progress.
const PROGRESS_ROWS: u64 = 65_536;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of records held in memory, ready to be sent.
    pub value_cache_bytes: usize,
    /// Larger records are always read from the engine.
    pub value_cache_record_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { value_cache_bytes: 256 << 20, value_cache_record_max: 1 << 20 }
    }
}

/// How far the rebuild of the key index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuild {
    pub rows: u64,
    /// Of the newest row so far.
    pub revision: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the state was written in layout {0:?}, which this program does not know")]
    Layout(String),
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

pub fn open(engine: Arc<dyn Engine>, options: Options, progress: &mut dyn FnMut(Rebuild)) -> Result<(Writer, Reader), OpenError> {
    let is_stamped = check_layout(&*engine)?;
    let compact_row = |key: &[u8]| -> Result<i64, OpenError> {
        let Some(row) = engine.get(Keyspace::Meta, key)? else { return Ok(-1) };
        let (revision, _) = Revision::decode(&row).ok_or_else(|| damaged(key))?;
        Ok(revision.main)
    };
    let scheduled = compact_row(meta::SCHEDULED_COMPACT)?;
    let finished = compact_row(meta::FINISHED_COMPACT)?;
    let compacted = scheduled.max(finished);

    let mut index = KeyIndex::default();
    let mut ledger = Ledger::default();
    let mut compactor = Compactor::new(finished);
    rebuild(&*engine, compacted, &mut index, &mut ledger, &mut compactor, progress)?;
    ledger.restore(engine.get(Keyspace::Local, local::DB_SIZE)?.as_deref());

    let revision = index.newest().max(compacted).max(1);
    let sizes = sizes::Published::default();
    ledger.publish(&sizes);
    let shared = Shared {
        engine,
        index: RwLock::new(index),
        cache: RwLock::new(Cache::new(options.value_cache_bytes, options.value_cache_record_max)),
        revision: AtomicI64::new(revision),
        compacted: AtomicI64::new(compacted),
        sizes,
        tally: Tally::default(),
    };
    let reader = Reader { shared: Arc::new(shared) };
    let writer = Writer { reader: reader.clone(), staged: Staged::default(), revision, compacted, ledger, compactor, is_stamped };
    Ok((writer, reader))
}

/// Whether the store has been written to. Rows without a stamp are not ours.
fn check_layout(engine: &dyn Engine) -> Result<bool, OpenError> {
    match engine.get(Keyspace::Local, local::LAYOUT)? {
        Some(stamp) if stamp == index_row::LAYOUT => Ok(true),
        Some(stamp) => Err(OpenError::Layout(stamp.escape_ascii().to_string())),
        None => {
            let mut is_empty = true;
            for keyspace in [Keyspace::Index, Keyspace::Key] {
                engine.scan(keyspace, &[], None, &mut |_, _| {
                    is_empty = false;
                    ControlFlow::Break(())
                })?;
            }
            if is_empty { Ok(false) } else { Err(OpenError::Layout(String::new())) }
        }
    }
}

fn rebuild(
    engine: &dyn Engine,
    compacted: i64,
    index: &mut KeyIndex,
    ledger: &mut Ledger,
    compactor: &mut Compactor,
    progress: &mut dyn FnMut(Rebuild),
) -> Result<(), OpenError> {
    let (mut rows, mut fault) = (0u64, None);
    engine.scan(Keyspace::Index, &[], None, &mut |key, row| {
        let (Some((revision, false)), Some(row)) = (Revision::decode(key), IndexRow::decode(row)) else {
            fault = Some(damaged(key));
            return ControlFlow::Break(());
        };
        let IndexRow { is_tombstone, create, version, lease, length, key } = row;
        let version = if is_tombstone { 0 } else { version };
        let merged = index.merge(&Merge { key, revision, create, version, lease, length }, &mut |_| cache::NONE);
        compactor.queue(revision, is_tombstone, length, merged);
        index.prune_births(compacted, 2);
        ledger.add(length as usize, is_tombstone);
        rows += 1;
        if rows.is_multiple_of(PROGRESS_ROWS) {
            progress(Rebuild { rows, revision: revision.main });
        }
        ControlFlow::Continue(())
    })?;
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    progress(Rebuild { rows, revision: index.newest() });
    Ok(())
}
