//! What the store was asked to do, for metrics: relaxed atomics, counted where it happens.
//!
//! Writes: transactions and the sweep on the applier; ranges on any thread. Reads: the scrape.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct Tally {
    pub puts: Count,
    /// Keys and values of puts, in bytes.
    pub put_bytes: Count,
    pub deletes: Count,
    pub ranges: Count,
    /// Write transactions of more than one operation.
    pub txns: Count,
    /// Records that compactions removed.
    pub swept: Count,
}
