//! The newest batches, kept so that a watcher a little behind is levelled without reading history.
//!
//! Invariant W2: the batches follow each other without a gap and the last ends at the hub's level.
//! Bound: `bytes_max`; the oldest go first. The batches are shared between the hubs.

use std::collections::VecDeque;
use std::sync::Arc;

use super::EventBatch;

#[derive(Debug)]
pub struct Ring {
    batches: VecDeque<Arc<EventBatch>>,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    pub fn new(bytes_max: usize) -> Self {
        Ring { batches: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub fn push(&mut self, batch: Arc<EventBatch>) {
        debug_assert!(self.batches.back().is_none_or(|last| last.last + 1 == batch.first), "W2");
        self.bytes += batch.bytes();
        self.batches.push_back(batch);
        while self.bytes > self.bytes_max {
            let oldest = self.batches.pop_front().expect("bytes are held by batches");
            self.bytes -= oldest.bytes();
        }
    }

    pub fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }

    /// Forgets the batches that begin at or below a revision.
    pub fn drop_through(&mut self, revision: i64) {
        while let Some(oldest) = self.batches.pop_front_if(|batch| batch.first <= revision) {
            self.bytes -= oldest.bytes();
        }
    }

    /// First revision it holds.
    pub fn first(&self) -> Option<i64> {
        self.batches.front().map(|batch| batch.first)
    }

    /// The batch that holds the revision.
    pub fn at(&self, revision: i64) -> Option<&Arc<EventBatch>> {
        let place = self.batches.partition_point(|batch| batch.last < revision);
        self.batches.get(place).filter(|batch| batch.first <= revision)
    }

    /// Puts a batch with the same events in place of the one it was made from, if that is still here.
    pub fn replace(&mut self, batch: Arc<EventBatch>) {
        let place = self.batches.partition_point(|held| held.last < batch.first);
        if let Some(held) = self.batches.get_mut(place)
            && (held.first, held.last) == (batch.first, batch.last)
        {
            self.bytes = self.bytes - held.bytes() + batch.bytes();
            *held = batch;
        }
    }
}
