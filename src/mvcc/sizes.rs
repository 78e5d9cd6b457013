//! How large the store would be as etcd's database file (QUO-1b): what quotas, Status and the size metrics go by.
//!
//! ```text
//!   in use = 4096 * (pages of an empty file + records packed into pages)        falls as the sweep removes records
//!   size   = a page more than the most that was in use since defragmentation    kept in `local`, 8 bytes big-endian
//! ```
//!
//! Writes: the writer. A member's own fact: never an input of apply (DET-1).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::storage::keyspace::local;
use crate::storage::{Batch, Keyspace};

use super::revision;

const PAGE: u64 = 4096;
/// Two meta pages, the root and one for its buckets.
const EMPTY_PAGES: u64 = 4;
/// What the last write left behind: pages are copied before they change.
const FREE_PAGES: u64 = 1;
/// A leaf element's head in a page.
const ELEMENT: u64 = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the file: falls only at defragmentation.
    pub db_size: u64,
    /// Bytes of it that hold something.
    pub db_size_in_use: u64,
}

/// The writer's count.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    bytes: u64,
    pages_max: u64,
    /// What `local` holds.
    pages_stored: u64,
}

/// What readers see of it.
#[derive(Debug, Default)]
pub(super) struct Published {
    db_size: AtomicU64,
    db_size_in_use: AtomicU64,
}

fn cost(record: usize, is_tombstone: bool) -> u64 {
    let key = if is_tombstone { revision::TOMBSTONE_LEN } else { revision::LEN };
    ELEMENT + key as u64 + record as u64
}

impl Ledger {
    /// After a restart: `stored` is the row of `local`.
    pub fn restore(&mut self, stored: Option<&[u8]>) {
        let stored = stored.and_then(|row| row.try_into().ok()).map_or(0, u64::from_be_bytes);
        self.pages_stored = stored / PAGE;
        self.pages_max = self.pages_stored.max(self.pages() + FREE_PAGES);
    }

    pub fn add(&mut self, record: usize, is_tombstone: bool) {
        self.bytes += cost(record, is_tombstone);
        self.pages_max = self.pages_max.max(self.pages() + FREE_PAGES);
    }

    pub fn remove(&mut self, record: usize, is_tombstone: bool) {
        self.bytes = self.bytes.saturating_sub(cost(record, is_tombstone));
    }

    pub fn defragmented(&mut self) {
        self.pages_max = self.pages() + FREE_PAGES;
    }

    /// Into the batch that moves the size.
    pub fn store(&mut self, batch: &mut Batch) {
        if self.pages_stored != self.pages_max {
            self.pages_stored = self.pages_max;
            batch.put(Keyspace::Local, local::DB_SIZE, (self.pages_max * PAGE).to_be_bytes().to_vec());
        }
    }

    pub fn publish(&self, to: &Published) {
        to.db_size.store(self.pages_max.max(EMPTY_PAGES + FREE_PAGES) * PAGE, Ordering::Relaxed);
        to.db_size_in_use.store(self.pages() * PAGE, Ordering::Relaxed);
    }

    /// etcd fills the pages of records, which come in order, to nine tenths.
    fn pages(&self) -> u64 {
        EMPTY_PAGES + (self.bytes * 10).div_ceil(9 * PAGE)
    }
}

impl Published {
    pub fn load(&self) -> Sizes {
        Sizes { db_size: self.db_size.load(Ordering::Relaxed), db_size_in_use: self.db_size_in_use.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(ledger: &Ledger) -> (u64, u64) {
        let published = Published::default();
        ledger.publish(&published);
        let Sizes { db_size, db_size_in_use } = published.load();
        (db_size, db_size_in_use)
    }

    #[test]
    fn the_size_falls_only_at_defragmentation() {
        let mut ledger = Ledger::default();
        assert_eq!(sizes(&ledger), (20_480, 16_384), "as a fresh etcd has it");
        for _ in 0..8 {
            ledger.add(4096, false);
        }
        let full = sizes(&ledger);
        assert!(full.0 >= 53_248 && full.0 == full.1 + PAGE, "{full:?}");
        for _ in 0..7 {
            ledger.remove(4096, false);
        }
        assert_eq!(sizes(&ledger).0, full.0);
        assert!(sizes(&ledger).1 < 32_768);
        ledger.defragmented();
        assert_eq!(sizes(&ledger).0, sizes(&ledger).1 + PAGE);
    }

    #[test]
    fn the_high_water_mark_outlives_a_restart() {
        let mut ledger = Ledger::default();
        ledger.add(100_000, false);
        let mut batch = Batch::default();
        ledger.store(&mut batch);
        let [crate::storage::Op::Put { value, .. }] = batch.ops() else { panic!("one row is written") };
        let mut again = Ledger::default();
        again.restore(Some(value));
        assert_eq!(sizes(&again).0, sizes(&ledger).0);
        let mut quiet = Batch::default();
        ledger.store(&mut quiet);
        assert!(quiet.is_empty());
    }
}
