//! Every key at every readable revision, in memory (D4).
//!
//! ```text
//!            live  "a" -> create 2, modified 9, version 4, lease, length, slot in the value cache     newest generation, alive now
//!            past  "a" -> [2 v1] [5 v2] [7 v3]                                                         what newer changes replaced
//!                  "b" -> [3 v1] [6 tombstone]                                                         and generations that ended
//!          births  (2 "a" +1) (3 "b" +1) (6 "b" -1)                                                    in revision order
//!
//!   a key at R     live if modified <= R, else the newest of past with main <= R                       REV-11
//!   a count at R   keys in live now, minus the births after R
//! ```
//!
//! Writes: the writer, under one lock (`merge`, `prune`). Reads: scans, a few hundred keys a time.
//! Holds: at any moment every revision from the compact revision to the newest merged one can be asked for, so a reader that
//! keeps to the published revision never sees half of a merge. `past` and `births` hold only what the sweep has not taken.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cache;
use super::interval::Interval;
use super::revision::Revision;
use super::tree::{Key, Tree};

/// A key that is alive.
#[derive(Debug)]
pub(super) struct Live {
    pub create: i64,
    main: i64,
    pub version: i64,
    pub lease: i64,
    sub: u32,
    pub length: u32,
    /// Where the cache may hold the record; set by readers too.
    slot: AtomicU32,
}

/// A change that a newer one has replaced, or a tombstone.
#[derive(Clone, Copy, Debug)]
struct Past {
    main: i64,
    create: i64,
    /// 0 for a tombstone.
    version: i64,
    sub: u32,
    length: u32,
}

#[derive(Debug)]
struct Birth {
    main: i64,
    key: Key,
    delta: i8,
}

/// What a key was at some revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub revision: Revision,
    pub create: i64,
    pub version: i64,
    /// Known for keys alive now, 0 for older revisions.
    pub lease: i64,
    pub length: u32,
    pub slot: u32,
}

/// One change as the key index takes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merge<'a> {
    pub key: &'a [u8],
    pub revision: Revision,
    pub create: i64,
    /// 0 for a tombstone.
    pub version: i64,
    pub lease: i64,
    pub length: u32,
    pub slot: u32,
}

/// What a merged change left behind for the sweep to take later.
#[derive(Debug)]
pub(super) struct Merged {
    pub key: Key,
    /// The put that is now replaced, its record's length and its cache slot.
    pub replaced: Option<(Revision, u32, u32)>,
}

/// Where a walk stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Walk {
    Done,
    /// The next key to look at.
    At(Key),
}

#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    live: Tree<Live>,
    past: Tree<VecDeque<Past>>,
    births: VecDeque<Birth>,
    /// How many births were dropped before the first one held: a birth's place never changes.
    births_dropped: u64,
    /// The newest revision merged.
    newest: i64,
    past_len: usize,
}

impl Live {
    fn revision(&self) -> Revision {
        Revision { main: self.main, sub: i64::from(self.sub) }
    }

    pub fn found(&self) -> Found {
        Found {
            revision: self.revision(),
            create: self.create,
            version: self.version,
            lease: self.lease,
            length: self.length,
            slot: self.slot.load(Ordering::Relaxed),
        }
    }

    pub fn set_slot(&self, slot: u32) {
        self.slot.store(slot, Ordering::Relaxed);
    }

    fn past(&self) -> Past {
        Past { main: self.main, create: self.create, version: self.version, sub: self.sub, length: self.length }
    }
}

impl Past {
    fn revision(&self) -> Revision {
        Revision { main: self.main, sub: i64::from(self.sub) }
    }

    fn found(&self) -> Option<Found> {
        let Past { create, version, length, .. } = *self;
        (version != 0).then(|| Found { revision: self.revision(), create, version, lease: 0, length, slot: cache::NONE })
    }

    /// The change that a key with these older ones held at `at`.
    fn at(all: &VecDeque<Past>, at: i64) -> Option<Found> {
        let newer = all.partition_point(|past| past.main <= at);
        all.get(newer.checked_sub(1)?)?.found()
    }
}

impl KeyIndex {
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// Keys alive now.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Changes that can be read: keys alive, what they replaced, and tombstones.
    pub fn revisions(&self) -> usize {
        self.live.len() + self.past_len
    }

    pub fn live(&self, key: &[u8]) -> Option<&Live> {
        self.live.get(key).map(|(_, live)| live)
    }

    /// The key as of revision `at`.
    pub fn find(&self, key: &[u8], at: i64) -> Option<Found> {
        match self.live.get(key) {
            Some((_, live)) if live.main <= at => Some(live.found()),
            _ => Past::at(self.past.get(key)?.1, at),
        }
    }

    /// Visits the keys of the interval alive at `at`, from `from` on (the interval's start, or where an earlier walk stopped),
    /// and looks at no more than `budget` keys.
    pub fn walk(
        &self,
        interval: &Interval<'_>,
        from: &[u8],
        at: i64,
        budget: &mut usize,
        visit: &mut dyn FnMut(&Key, Found) -> ControlFlow<()>,
    ) -> Walk {
        if let Interval::One(key) = interval {
            *budget = budget.saturating_sub(1);
            if let Some(found) = self.find(key, at) {
                let entry = self.live.get(key).map(|(key, _)| key.clone());
                let _ = visit(&entry.unwrap_or_else(|| Key::from(*key)), found);
            }
            return Walk::Done;
        }
        if interval.is_empty() {
            return Walk::Done;
        }
        let mut live = self.live.iter_from(from).peekable();
        // With nothing newer than `at` the older changes cannot matter.
        let mut past = (self.newest > at).then(|| self.past.iter_from(from)).into_iter().flatten().peekable();
        loop {
            let (key, found) = match (live.peek(), past.peek()) {
                (None, None) => return Walk::Done,
                (Some((key, entry)), older) if older.is_none_or(|(old, _)| key < old) => (*key, (entry.main <= at).then(|| entry.found())),
                (newer, Some((key, all))) => match newer {
                    Some((same, entry)) if same == key && entry.main <= at => (*key, Some(entry.found())),
                    _ => (*key, Past::at(all, at)),
                },
                (Some(_), None) => unreachable!("with nothing older the first arm took it"),
            };
            if interval.is_past(key) {
                return Walk::Done;
            }
            if *budget == 0 {
                return Walk::At(key.clone());
            }
            *budget -= 1;
            live.next_if(|(k, _)| *k == key);
            past.next_if(|(k, _)| *k == key);
            if let Some(found) = found
                && visit(key, found).is_break()
            {
                return live
                    .peek()
                    .map(|(k, _)| *k)
                    .into_iter()
                    .chain(past.peek().map(|(k, _)| *k))
                    .min()
                    .map_or(Walk::Done, |next| if interval.is_past(next) { Walk::Done } else { Walk::At(next.clone()) });
            }
        }
    }

    /// How many keys of the interval are alive as of the newest merged change.
    pub fn live_in(&self, interval: &Interval<'_>) -> usize {
        match interval {
            Interval::One(key) => usize::from(self.live.get(key).is_some()),
            Interval::From(key) => self.live.len() - self.live.rank(key),
            Interval::Between(start, end) => self.live.rank(end).saturating_sub(self.live.rank(start)),
        }
    }

    /// The places of the births after revision `at`.
    pub fn births_after(&self, at: i64) -> std::ops::Range<u64> {
        let first = if self.newest <= at { self.births.len() } else { self.births.partition_point(|birth| birth.main <= at) };
        self.births_dropped + first as u64..self.births_dropped + self.births.len() as u64
    }

    /// How many more keys of the interval were born than died in these places. They must not have been dropped.
    pub fn born_in(&self, interval: &Interval<'_>, places: std::ops::Range<u64>) -> i64 {
        let place = |place: u64| (place.saturating_sub(self.births_dropped)) as usize;
        let births = self.births.range(place(places.start)..place(places.end).min(self.births.len()));
        births.filter(|birth| interval.contains(&birth.key)).map(|birth| i64::from(birth.delta)).sum()
    }

    /// Takes over one change. They come in revision order.
    pub fn merge(&mut self, change: &Merge<'_>) -> Merged {
        assert!(change.revision.main >= self.newest, "changes are merged in revision order");
        self.newest = change.revision.main;
        if change.version == 0 { self.merge_tombstone(change) } else { self.merge_put(change) }
    }

    fn merge_put(&mut self, change: &Merge<'_>) -> Merged {
        let (main, sub) = (change.revision.main, change.revision.sub as u32);
        let entry = Live {
            create: change.create,
            main,
            version: change.version,
            lease: change.lease,
            sub,
            length: change.length,
            slot: AtomicU32::new(change.slot),
        };
        if let Some((key, live)) = self.live.get_mut(change.key) {
            let key = key.clone();
            let before = std::mem::replace(live, entry);
            let replaced = Some((before.revision(), before.length, before.slot.load(Ordering::Relaxed)));
            self.push_past(&key, before.past());
            return Merged { key, replaced };
        }
        let key = self.past.get(change.key).map_or_else(|| Key::from(change.key), |(key, _)| key.clone());
        self.live.insert(key.clone(), entry);
        self.births.push_back(Birth { main, key: key.clone(), delta: 1 });
        Merged { key, replaced: None }
    }

    fn merge_tombstone(&mut self, change: &Merge<'_>) -> Merged {
        let Revision { main, sub } = change.revision;
        let tombstone = Past { main, create: 0, version: 0, sub: sub as u32, length: change.length };
        // A tombstone alone is what a compaction at its revision leaves of a key (REV-16).
        let (key, replaced) = match self.live.remove(change.key) {
            Some((key, before)) => {
                self.births.push_back(Birth { main, key: key.clone(), delta: -1 });
                let replaced = (before.revision(), before.length, before.slot.load(Ordering::Relaxed));
                self.push_past(&key, before.past());
                (key, Some(replaced))
            }
            None => (self.past.get(change.key).map_or_else(|| Key::from(change.key), |(key, _)| key.clone()), None),
        };
        self.push_past(&key, tombstone);
        Merged { key, replaced }
    }

    fn push_past(&mut self, key: &Key, past: Past) {
        self.past_len += 1;
        match self.past.get_mut(key) {
            Some((_, all)) => all.push_back(past),
            None => {
                self.past.insert(key.clone(), VecDeque::from([past]));
            }
        }
    }

    /// Forgets a change that the sweep has removed. It is the key's oldest, but for a tombstone at the compact revision.
    pub fn prune(&mut self, key: &Key, revision: Revision) {
        let Some((_, all)) = self.past.get_mut(key) else { return };
        let place = all.partition_point(|past| past.revision() < revision);
        if all.get(place).is_none_or(|past| past.revision() != revision) {
            return;
        }
        self.past_len -= 1;
        all.remove(place);
        if all.is_empty() {
            self.past.remove(key);
        } else if all.len() * 4 < all.capacity() {
            all.shrink_to(all.len() * 2);
        }
    }

    /// Forgets at most `most` births that no readable revision needs any more; whether some are left.
    pub fn prune_births(&mut self, compacted: i64, most: usize) -> bool {
        for _ in 0..most {
            if self.births.front().is_none_or(|birth| birth.main > compacted) {
                return false;
            }
            self.births.pop_front();
            self.births_dropped += 1;
        }
        self.births.front().is_some_and(|birth| birth.main <= compacted)
    }
}
