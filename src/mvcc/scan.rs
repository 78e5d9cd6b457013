//! A Range in slices, so that no reader holds the key index for long and no thread is held by a large answer.
//!
//! ```text
//!   Walk --> Count --> Arrange --> Fill --> Done          each `step` looks at about as many keys as it is told
//!              |                    |  ^
//!              +- only where the    |  +-- read: what the cache lacks, by the caller's choice of thread
//!                 walk was cut      +-> Read
//! ```
//!
//! Holds: all slices see the same revision, since records are immutable and the key index answers for every revision from the
//! compact revision on. If a compaction passes the revision meanwhile the answer is `Compacted` (RST-7), except that a read of
//! the latest revision starts anew at the latest.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::storage;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::RangeRequest;
use crate::wire::hot;

use super::key_index::{KeyIndex, Walk};
use super::range::{Item, Plan};
use super::reader::Shared;
use super::tree::Key;

/// A count by births is a comparison each; a walk is a step in the tree each, which costs about so many comparisons.
const BIRTHS_PER_KEY: u64 = 4;

#[derive(Debug)]
pub struct Scan {
    shared: Arc<Shared>,
    plan: Plan,
    /// The revision read at.
    at: i64,
    /// The readable revision when the scan began: the header's (HDR-2).
    revision: i64,
    is_latest: bool,
    stage: Stage,
    items: Vec<Item>,
    /// Keys found by the walk, dropped by filters or not.
    walked: i64,
    missing: Vec<usize>,
}

#[derive(Debug)]
enum Stage {
    Walk(Option<Key>),
    Count(Counting),
    /// Everything fetched is to be filled, before the sort.
    FillAll(usize),
    Arrange,
    Fill(usize),
    Respond,
}

#[derive(Debug)]
enum Counting {
    Begin,
    /// Keys alive in some newer state, less the births since: these places are still to be subtracted.
    Births(i64, Range<u64>),
    Walk(i64, Key),
}

/// What a slice came to.
#[derive(Debug)]
pub enum Step {
    /// Only the header's revision is set.
    Done(hot::RangeResponse),
    More,
    /// Some values are not in memory: call `read`, here or on a thread that may wait for a disk, then `step` again.
    Read,
}

impl Scan {
    pub(super) fn new(shared: Arc<Shared>, request: &RangeRequest) -> Result<Scan, Error> {
        shared.tally.ranges.add(1);
        // In this order: the revision seen is then not below the compact revision seen.
        let compacted = shared.compacted.load(Ordering::Acquire);
        let revision = shared.revision.load(Ordering::Acquire);
        if request.revision > revision {
            return Err(Error::FutureRev);
        }
        let is_latest = request.revision <= 0;
        let at = if is_latest { revision } else { request.revision };
        if at < compacted {
            return Err(Error::Compacted);
        }
        let plan = Plan::new(request);
        let stage = Scan::first_stage(&plan);
        Ok(Scan { shared, plan, at, revision, is_latest, stage, items: Vec::new(), walked: 0, missing: Vec::new() })
    }

    /// The revision that the answer's header carries.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// How many values `read` would fetch.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Looks at about `keys` keys.
    pub fn step(&mut self, keys: usize) -> Result<Step, Error> {
        let mut budget = keys.max(1);
        if !self.missing.is_empty() {
            return Ok(Step::Read);
        }
        self.keep_readable()?;
        while budget > 0 {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Respond) {
                Stage::Walk(from) => self.walk(from, &mut budget)?,
                Stage::Count(counting) => self.count(counting, &mut budget)?,
                Stage::FillAll(from) => self.fill(from, &mut budget).map_or(Stage::Arrange, Stage::FillAll),
                Stage::Arrange => self.arrange(),
                Stage::Fill(from) => self.fill(from, &mut budget).map_or(Stage::Respond, Stage::Fill),
                Stage::Respond => {
                    let items = std::mem::take(&mut self.items);
                    return Ok(Step::Done(self.plan.response(items, self.revision)));
                }
            };
            // A large answer is not gathered twice over: what one slice lacks is read before the next.
            if !self.missing.is_empty() {
                return Ok(Step::Read);
            }
        }
        Ok(Step::More)
    }

    /// Fetches what `step` found missing from the engine.
    pub fn read(&mut self) -> Result<(), storage::Error> {
        let missing = std::mem::take(&mut self.missing);
        let absent = self.shared.read_records(&mut self.items, &missing)?;
        match absent {
            // The sweep follows the published compact revision, so the next step sees that it was passed.
            Some(revision) if self.at >= self.shared.compacted.load(Ordering::Acquire) => Err(super::reader::missing(revision)),
            _ => Ok(()),
        }
    }

    fn first_stage(plan: &Plan) -> Stage {
        if plan.is_count_only() { Stage::Count(Counting::Begin) } else { Stage::Walk(None) }
    }

    /// Called under the key index's lock or before a look without it: from a compact revision at or below `at` all is there.
    fn keep_readable(&mut self) -> Result<(), Error> {
        let compacted = self.shared.compacted.load(Ordering::Acquire);
        if self.at >= compacted {
            return Ok(());
        }
        if !self.is_latest {
            return Err(Error::Compacted);
        }
        self.revision = self.shared.revision.load(Ordering::Acquire);
        self.at = self.revision;
        self.items.clear();
        self.walked = 0;
        self.stage = Scan::first_stage(&self.plan);
        Ok(())
    }

    /// Whether the key index can still answer for this scan. Asked under its lock: a sweep prunes only afterwards.
    fn is_readable(&self) -> bool {
        self.at >= self.shared.compacted.load(Ordering::Acquire)
    }

    fn walk(&mut self, from: Option<Key>, budget: &mut usize) -> Result<Stage, Error> {
        let shared = Arc::clone(&self.shared);
        let index = shared.index.read();
        if !self.is_readable() {
            drop(index);
            self.keep_readable()?;
            return Ok(Scan::first_stage(&self.plan));
        }
        let (plan, items, walked) = (&self.plan, &mut self.items, &mut self.walked);
        let interval = plan.interval();
        let from = from.as_deref().unwrap_or(interval.start());
        let cache = shared.cache.read();
        let walk = index.walk(&interval, from, self.at, budget, &mut |key, found| {
            *walked += 1;
            items.extend(plan.item(|| key.clone(), found, || cache.get(found.slot, found.revision)));
            if plan.is_full(items) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        Ok(match walk {
            Walk::Done => {
                self.plan.set_count(self.walked);
                self.values_first()
            }
            Walk::At(_) if self.plan.is_full(&self.items) => Stage::Count(Counting::Begin),
            Walk::At(next) => Stage::Walk(Some(next)),
        })
    }

    fn count(&mut self, counting: Counting, budget: &mut usize) -> Result<Stage, Error> {
        let shared = Arc::clone(&self.shared);
        let index = shared.index.read();
        if !self.is_readable() {
            drop(index);
            self.keep_readable()?;
            return Ok(Scan::first_stage(&self.plan));
        }
        let next = match counting {
            Counting::Begin => self.count_begin(&index),
            counting => counting,
        };
        let interval = self.plan.interval();
        let (count, left) = match next {
            Counting::Births(live, places) => {
                let most = (*budget as u64).saturating_mul(BIRTHS_PER_KEY);
                let end = places.end.min(places.start.saturating_add(most));
                let slice = places.start..end;
                *budget = budget.saturating_sub(1 + ((end - places.start) / BIRTHS_PER_KEY) as usize);
                let count = live - index.born_in(&interval, slice);
                (count, (end < places.end).then_some(Counting::Births(count, end..places.end)))
            }
            Counting::Walk(mut count, from) => {
                let walk = index.walk(&interval, &from, self.at, budget, &mut |_, _| {
                    count += 1;
                    ControlFlow::Continue(())
                });
                match walk {
                    Walk::Done => (count, None),
                    Walk::At(next) => (count, Some(Counting::Walk(count, next))),
                }
            }
            Counting::Begin => unreachable!("replaced above"),
        };
        Ok(match left {
            Some(counting) => Stage::Count(counting),
            None => {
                self.plan.set_count(count);
                self.values_first()
            }
        })
    }

    fn count_begin(&self, index: &KeyIndex) -> Counting {
        let interval = self.plan.interval();
        if interval.is_empty() {
            return Counting::Births(0, 0..0);
        }
        let live = index.live_in(&interval) as u64;
        let births = index.births_after(self.at);
        if births.end - births.start > (live + 64) * BIRTHS_PER_KEY {
            return Counting::Walk(0, Key::from(interval.start()));
        }
        Counting::Births(live as i64, births)
    }

    fn values_first(&self) -> Stage {
        if self.plan.wants_all_values() { Stage::FillAll(0) } else { Stage::Arrange }
    }

    fn arrange(&mut self) -> Stage {
        self.plan.arrange(&mut self.items);
        if self.plan.wants_values() { Stage::Fill(0) } else { Stage::Respond }
    }

    /// Takes records from the cache; where to go on, or `None` when all items have been looked at.
    fn fill(&mut self, from: usize, budget: &mut usize) -> Option<usize> {
        let end = self.items.len().min(from + *budget);
        *budget -= end - from;
        self.missing = self.shared.fill_from_cache(&mut self.items[from..end]);
        for place in &mut self.missing {
            *place += from;
        }
        (end < self.items.len()).then_some(end)
    }
}
