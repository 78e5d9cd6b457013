//! Records of keys alive, ready to be sent, as many as a budget of bytes allows.
//!
//! ```text
//!   Live.slot --> slots  | revision, record, used | ...     a slot answers only for the revision it holds,
//!                            ^ hand (CLOCK)                 so a slot that was given away is a miss and nothing worse
//! ```
//!
//! Writes: the writer at merge, readers that had to go to the engine. Reads: everybody.
//! Bound: `budget` bytes of records and their slots; a record above `record_max` is never held.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::revision::Revision;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// What a slot and the bookkeeping of its bytes take beside the record.
const SLOT_COST: usize = 96;

#[derive(Debug)]
struct Slot {
    revision: Revision,
    record: Bytes,
    used: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Cache {
    slots: Vec<Slot>,
    free: Vec<u32>,
    hand: usize,
    bytes: usize,
    budget: usize,
    record_max: usize,
}

impl Cache {
    pub fn new(budget: usize, record_max: usize) -> Cache {
        Cache { slots: Vec::new(), free: Vec::new(), hand: 0, bytes: 0, budget, record_max }
    }

    /// The record of `revision`, if that is what the slot holds.
    pub fn get(&self, slot: u32, revision: Revision) -> Option<Bytes> {
        let slot = self.slots.get(slot as usize)?;
        if slot.revision != revision {
            return None;
        }
        // A plain load first: readers of one hot key would otherwise fight over its cache line.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.record.clone())
    }

    /// Whether a record can be taken without another one having to go.
    pub fn has_room(&self, record: &Bytes) -> bool {
        record.len() <= self.record_max && self.bytes + record.len() + SLOT_COST <= self.budget
    }

    /// Takes a record; its slot, or `NONE` if it cannot be held. `record` must not be part of something larger.
    pub fn put(&mut self, revision: Revision, record: Bytes) -> u32 {
        let cost = record.len() + SLOT_COST;
        if record.len() > self.record_max || cost > self.budget || !self.make_room(cost) {
            return NONE;
        }
        self.bytes += cost;
        let entry = Slot { revision, record, used: AtomicBool::new(false) };
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = entry;
                slot
            }
            None => {
                self.slots.push(entry);
                (self.slots.len() - 1) as u32
            }
        }
    }

    /// Gives up the slot if it still holds `revision`.
    pub fn remove(&mut self, slot: u32, revision: Revision) {
        if self.slots.get(slot as usize).is_some_and(|held| held.revision == revision) {
            self.empty(slot as usize);
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn empty(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        self.bytes -= slot.record.len() + SLOT_COST;
        slot.record = Bytes::new();
        slot.revision = Revision::default();
        self.free.push(at as u32);
    }

    /// Bound: the hand goes round at most twice, the first time to take the marks of use away.
    fn make_room(&mut self, cost: usize) -> bool {
        let mut steps = self.slots.len() * 2;
        while self.bytes + cost > self.budget {
            if steps == 0 {
                return false;
            }
            steps -= 1;
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[self.hand];
            if slot.revision != Revision::default() && !std::mem::take(slot.used.get_mut()) {
                self.empty(self.hand);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(len: usize) -> Bytes {
        Bytes::from(vec![7; len])
    }

    #[test]
    fn a_slot_answers_only_for_its_revision() {
        let mut cache = Cache::new(10_000, 1000);
        let slot = cache.put(Revision::new(5, 1), record(10));
        assert_eq!(cache.get(slot, Revision::new(5, 1)), Some(record(10)));
        assert_eq!(cache.get(slot, Revision::new(5, 0)), None);
        assert_eq!(cache.get(NONE, Revision::new(5, 1)), None);
        cache.remove(slot, Revision::new(4, 0));
        assert!(cache.get(slot, Revision::new(5, 1)).is_some());
        cache.remove(slot, Revision::new(5, 1));
        assert_eq!(cache.get(slot, Revision::new(5, 1)), None);
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn the_budget_is_kept_and_what_was_used_stays_longer() {
        let mut cache = Cache::new(20 * (100 + SLOT_COST), 1000);
        let hot = cache.put(Revision::new(1, 0), record(100));
        for main in 2..500 {
            assert!(cache.get(hot, Revision::new(1, 0)).is_some(), "evicted before {main}");
            assert_ne!(cache.put(Revision::new(main, 0), record(100)), NONE);
            assert!(cache.bytes() <= 20 * (100 + SLOT_COST));
        }
        assert!(cache.slots.len() <= 20);
    }

    #[test]
    fn what_is_too_large_is_not_held() {
        let mut cache = Cache::new(500, 300);
        assert_eq!(cache.put(Revision::new(1, 0), record(301)), NONE);
        let mut none = Cache::new(0, 300);
        assert_eq!(none.put(Revision::new(1, 0), record(1)), NONE);
    }
}
