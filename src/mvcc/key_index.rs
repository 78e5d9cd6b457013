//! Every key at every readable revision, in memory (D4).
//!
//! ```text
//!            live  "a" -> create 2, modified 9, version 4, lease, length, slot in the value cache     newest generation, alive now
//!                         past [2 v1] [5 v2] [7 v3]                                                    what newer changes replaced
//!            dead  "b" -> past [3 v1] [6 tombstone]                                                    keys that are not alive now
//!          births  (2 "a" +1) (3 "b" +1) (6 "b" -1)                                                    in revision order
//!
//!   a key at R     live if modified <= R, else the newest of its past with main <= R                   REV-11
//!   a count at R   keys in live now, minus the births after R
//! ```
//!
//! Writes: the writer, under one lock (`merge`, `prune`). Reads: scans, a few hundred keys a time.
//! Holds: at any moment every revision from the compact revision to the newest merged one can be asked for, so a reader that
//! keeps to the published revision never sees half of a merge. Past and births hold only what the sweep has not taken.

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
    /// What newer changes replaced. Most keys of most stores have none.
    past: Option<Box<History>>,
}

type History = VecDeque<Past>;

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
}

/// What a merged change left behind for the sweep to take later.
#[derive(Debug)]
pub(super) struct Merged {
    pub key: Key,
    /// The put that is now replaced, and its record's length.
    pub replaced: Option<(Revision, u32)>,
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
    dead: Tree<History>,
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

    /// The key as of revision `at`.
    fn at(&self, at: i64) -> Option<Found> {
        if self.main <= at { Some(self.found()) } else { Past::at(self.past.as_deref()?, at) }
    }

    pub fn set_slot(&self, slot: u32) {
        self.slot.store(slot, Ordering::Relaxed);
    }

    fn as_past(&self) -> Past {
        Past { main: self.main, create: self.create, version: self.version, sub: self.sub, length: self.length }
    }
}

/// How many changes went, one or none.
fn forget(past: &mut History, revision: Revision) -> usize {
    let place = past.partition_point(|past| past.revision() < revision);
    if past.get(place).is_none_or(|past| past.revision() != revision) {
        return 0;
    }
    past.remove(place);
    if past.len() * 4 < past.capacity() {
        past.shrink_to(past.len() * 2);
    }
    1
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
    fn at(all: &History, at: i64) -> Option<Found> {
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
            Some((_, live)) => live.at(at),
            None => Past::at(self.dead.get(key)?.1, at),
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
        if interval.is_empty() {
            return Walk::Done;
        }
        if let Interval::One(key) = interval {
            *budget = budget.saturating_sub(1);
            let found = match self.live.get(key) {
                Some((key, live)) => live.at(at).map(|found| (key, found)),
                None => self.dead.get(key).and_then(|(key, past)| Past::at(past, at).map(|found| (key, found))),
            };
            if let Some((key, found)) = found {
                let _ = visit(key, found);
            }
            return Walk::Done;
        }
        // With nothing newer than `at` no dead key was alive then.
        if self.newest <= at { self.walk_live(interval, from, budget, visit) } else { self.walk_all(interval, from, at, budget, visit) }
    }

    /// Counts down to the interval's end instead of comparing with it, so that the keys' own memory is not touched.
    fn walk_live(
        &self,
        interval: &Interval<'_>,
        from: &[u8],
        budget: &mut usize,
        visit: &mut dyn FnMut(&Key, Found) -> ControlFlow<()>,
    ) -> Walk {
        let end = match interval {
            Interval::Between(_, end) => self.live.rank(end),
            _ => self.live.len(),
        };
        let mut left = end.saturating_sub(self.live.rank(from));
        let mut is_over = false;
        for (key, live) in self.live.iter_from(from) {
            if left == 0 {
                return Walk::Done;
            }
            if *budget == 0 || is_over {
                return Walk::At(key.clone());
            }
            *budget -= 1;
            left -= 1;
            is_over = visit(key, live.found()).is_break();
        }
        Walk::Done
    }

    fn walk_all(
        &self,
        interval: &Interval<'_>,
        from: &[u8],
        at: i64,
        budget: &mut usize,
        visit: &mut dyn FnMut(&Key, Found) -> ControlFlow<()>,
    ) -> Walk {
        let mut live = self.live.iter_from(from).peekable();
        let mut dead = self.dead.iter_from(from).peekable();
        let mut is_over = false;
        loop {
            let is_live = match (live.peek(), dead.peek()) {
                (None, None) => return Walk::Done,
                (Some((key, _)), Some((gone, _))) => key < gone,
                (newer, _) => newer.is_some(),
            };
            let next = if is_live { live.peek().map(|(key, _)| *key) } else { dead.peek().map(|(key, _)| *key) };
            match next {
                Some(key) if !interval.is_past(key) && (*budget == 0 || is_over) => return Walk::At(key.clone()),
                Some(key) if !interval.is_past(key) => *budget -= 1,
                _ => return Walk::Done,
            }
            let found = if is_live {
                live.next().and_then(|(key, live)| live.at(at).map(|found| (key, found)))
            } else {
                dead.next().and_then(|(key, past)| Past::at(past, at).map(|found| (key, found)))
            };
            is_over = found.is_some_and(|(key, found)| visit(key, found).is_break());
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

    /// Takes over one change. They come in revision order. `exchange` is told the cache slot and revision of what the change
    /// replaces, and says in which slot the change itself is.
    pub fn merge(&mut self, change: &Merge<'_>, exchange: &mut dyn FnMut(Option<(u32, Revision)>) -> u32) -> Merged {
        assert!(change.revision.main >= self.newest, "changes are merged in revision order");
        self.newest = change.revision.main;
        if change.version == 0 { self.merge_tombstone(change, exchange) } else { self.merge_put(change, exchange) }
    }

    fn merge_put(&mut self, change: &Merge<'_>, exchange: &mut dyn FnMut(Option<(u32, Revision)>) -> u32) -> Merged {
        let Merge { create, version, lease, length, .. } = *change;
        let (main, sub) = (change.revision.main, change.revision.sub as u32);
        if let Some((key, live)) = self.live.get_mut(change.key) {
            let before = live.as_past();
            let slot = exchange(Some((*live.slot.get_mut(), before.revision())));
            let mut past = live.past.take().unwrap_or_default();
            past.push_back(before);
            self.past_len += 1;
            *live = Live { create, main, version, lease, sub, length, slot: AtomicU32::new(slot), past: Some(past) };
            return Merged { key: key.clone(), replaced: Some((before.revision(), before.length)) };
        }
        let (key, past) = match self.dead.remove(change.key) {
            Some((key, past)) => (key, Some(Box::new(past))),
            None => (Key::from(change.key), None),
        };
        let slot = AtomicU32::new(exchange(None));
        self.live.insert(key.clone(), Live { create, main, version, lease, sub, length, slot, past });
        self.births.push_back(Birth { main, key: key.clone(), delta: 1 });
        Merged { key, replaced: None }
    }

    fn merge_tombstone(&mut self, change: &Merge<'_>, exchange: &mut dyn FnMut(Option<(u32, Revision)>) -> u32) -> Merged {
        let Revision { main, sub } = change.revision;
        let tombstone = Past { main, create: 0, version: 0, sub: sub as u32, length: change.length };
        self.past_len += 1;
        let Some((key, mut live)) = self.live.remove(change.key) else {
            // A tombstone alone is what a compaction at its revision leaves of a key (REV-16).
            let (key, mut past) = self.dead.remove(change.key).unwrap_or_else(|| (Key::from(change.key), History::new()));
            past.push_back(tombstone);
            self.dead.insert(key.clone(), past);
            return Merged { key, replaced: None };
        };
        self.births.push_back(Birth { main, key: key.clone(), delta: -1 });
        let before = live.as_past();
        exchange(Some((*live.slot.get_mut(), before.revision())));
        let mut past = live.past.map_or_else(History::new, |past| *past);
        past.extend([before, tombstone]);
        self.past_len += 1;
        self.dead.insert(key.clone(), past);
        Merged { key, replaced: Some((before.revision(), before.length)) }
    }

    /// Forgets a change that the sweep has removed. It is the key's oldest, but for a tombstone at the compact revision.
    pub fn prune(&mut self, key: &Key, revision: Revision) {
        if let Some((_, live)) = self.live.get_mut(key) {
            let Some(past) = &mut live.past else { return };
            self.past_len -= forget(past, revision);
            if past.is_empty() {
                live.past = None;
            }
        } else if let Some((_, past)) = self.dead.get_mut(key) {
            self.past_len -= forget(past, revision);
            if past.is_empty() {
                self.dead.remove(key);
            }
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
