//! Changes of the batch being applied, before they are in the key index.
//!
//! ```text
//!   changes   [0 put a 5.0] [1 put b 5.1] [2 put a 6.0, earlier: 0] ...     in revision order; `merge` takes them from the front
//!   latest    "a" -> 2   "b" -> 1                                           in key order, for ranges inside transactions
//! ```
//!
//! Sole owner: the writer. Holds: what is staged is newer than everything in the key index.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::cache;
use super::interval::Interval;
use super::key_index::{Found, KeyIndex, Walk};
use super::revision::Revision;
use super::writer::{Event, Previous};

#[derive(Debug)]
pub(super) struct Change {
    pub key: Bytes,
    pub revision: Revision,
    pub create: i64,
    /// 0 for a tombstone.
    pub version: i64,
    pub lease: i64,
    pub record: Bytes,
    /// The key's record before the transaction that made this change.
    pub before: Previous,
    /// The same key's change before this one, if it is staged too.
    pub earlier: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Staged {
    pub changes: Vec<Change>,
    latest: BTreeMap<Bytes, u32>,
    pub events: Vec<Event>,
}

/// A key as a transaction sees it: in the key index, or only staged yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'a> {
    Merged(Found),
    Staged(&'a Change),
}

impl Seen<'_> {
    pub fn found(&self) -> Found {
        match self {
            Seen::Merged(found) => *found,
            Seen::Staged(change) => change.found(),
        }
    }
}

impl Change {
    pub fn found(&self) -> Found {
        let Change { revision, create, version, lease, .. } = *self;
        Found { revision, create, version, lease, length: self.record.len() as u32, slot: cache::NONE }
    }
}

impl Staged {
    pub fn latest(&self, key: &[u8]) -> Option<&Change> {
        self.latest.get(key).map(|at| &self.changes[*at as usize])
    }

    pub fn push(&mut self, mut change: Change, event: Event) {
        let at = self.changes.len() as u32;
        match self.latest.entry(change.key.clone()) {
            Entry::Occupied(mut latest) => change.earlier = Some(latest.insert(at)),
            Entry::Vacant(place) => {
                place.insert(at);
            }
        }
        self.changes.push(change);
        self.events.push(event);
    }

    /// Empties what `merge` has taken over; events wait for `take_events`.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.latest.clear();
    }

    /// The newest staged change of a key with main <= `at`, beginning with `latest`.
    fn as_of(&self, latest: u32, at: i64) -> Option<&Change> {
        let mut change = &self.changes[latest as usize];
        while change.revision.main > at {
            change = &self.changes[change.earlier? as usize];
        }
        Some(change)
    }

    /// Visits the keys of the interval alive at `at` in order, staged and merged together.
    pub fn walk<'a>(
        &'a self,
        index: &KeyIndex,
        interval: &Interval<'_>,
        at: i64,
        visit: &mut dyn FnMut(&[u8], Seen<'a>) -> ControlFlow<()>,
    ) {
        if interval.is_empty() {
            return;
        }
        let mut staged = self.staged_in(interval).peekable();
        let mut merged = |key: &[u8], found: Found| {
            while let Some((staged_key, latest)) = staged.next_if(|(staged_key, _)| &staged_key[..] <= key) {
                match self.as_of(latest, at) {
                    Some(change) if change.version != 0 => visit(staged_key, Seen::Staged(change))?,
                    Some(_) => {}
                    None if staged_key == key => return visit(key, Seen::Merged(found)),
                    None => {}
                }
                if staged_key == key {
                    return ControlFlow::Continue(());
                }
            }
            visit(key, Seen::Merged(found))
        };
        let mut broke = false;
        let walk = index.walk(interval, interval.start(), at, &mut usize::MAX.clone(), &mut |key, found| {
            let flow = merged(key, found);
            broke = flow.is_break();
            flow
        });
        if broke || walk != Walk::Done {
            return;
        }
        for (key, latest) in staged {
            if let Some(change) = self.as_of(latest, at)
                && change.version != 0
                && visit(key, Seen::Staged(change)).is_break()
            {
                return;
            }
        }
    }

    /// How many keys of the interval are alive at `at`.
    pub fn count(&self, index: &KeyIndex, interval: &Interval<'_>, at: i64) -> i64 {
        if interval.is_empty() {
            return 0;
        }
        let mut count = index.live_in(interval) as i64 - index.born_in(interval, index.births_after(at));
        for (key, latest) in self.staged_in(interval) {
            if let Some(change) = self.as_of(latest, at) {
                count += i64::from(change.version != 0) - i64::from(index.find(key, at).is_some());
            }
        }
        count
    }

    fn staged_in(&self, interval: &Interval<'_>) -> impl Iterator<Item = (&Bytes, u32)> {
        let end = match *interval {
            Interval::One(key) => Bound::Included(key),
            Interval::From(_) => Bound::Unbounded,
            Interval::Between(_, end) => Bound::Excluded(end),
        };
        self.latest.range::<[u8], _>((Bound::Included(interval.start()), end)).map(|(key, latest)| (key, *latest))
    }
}
