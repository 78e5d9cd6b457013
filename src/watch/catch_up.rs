//! How watchers that lag get level again.
//!
//! ```text
//!   next >= ring's first   replay the ring, batch by batch, as far as the stream has room
//!   next <  ring's first   one history scan at a time, for every watcher that needs its span; then the ring
//!   previous value missing one batch of the ring at a time has its missing values read, then the ring again
//! ```
//!
//! A stream is looked at again when its consumer has taken messages, when a job came back, and when a slice ended before its
//! work did. There is no timer: a burst that fills a queue is made up for as fast as the consumer takes.
//!
//! Fairness (WAT-20): scans start in turn at the lowest revision needed (most watchers share it) and at the watcher that has
//! waited longest; a slice of ring or history ends by bytes or events.
//! Holds W1, W3. Does not read anything itself: jobs are performed by the station, off the runtime thread.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::mvcc::{Event, Previous};
use crate::wire::error::Error;

use super::EventBatch;
use super::batch::Encoder;
use super::hub::{Hub, Refusal, StreamId, Why};
use super::interval_map::IntervalMap;
use super::watcher::State;

/// Something to be read from the store for a hub; the answer is an `Outcome` of the same kind.
#[derive(Debug)]
pub enum Job {
    /// Events of `from..=last` for keys that are wanted, about `bytes` of them, cut between revisions; with previous values
    /// where wanted, and none left as `Previous::Stored` there.
    History { from: i64, last: i64, bytes: usize, wanted: Arc<IntervalMap<Participant>> },
    /// The batch again, with the previous values of the `wanted` events in it.
    Previous { batch: Arc<EventBatch>, wanted: Vec<u32> },
}

#[derive(Debug)]
pub enum Outcome {
    /// `next` is the first revision that was not looked at.
    History(Result<(Vec<Event>, i64), Failure>),
    Previous(Result<Arc<EventBatch>, Failure>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// History below this revision is gone.
    Compacted(i64),
    /// The store could not be read.
    Unreadable,
}

/// A watcher that a history scan reads for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Participant {
    slot: u32,
    serial: u64,
    pub with_prev: bool,
}

/// Bound: watchers that one scan reads for.
const PARTICIPANTS_MAX: usize = 4096;
/// Bound: events of the ring that one slice looks at.
const SLICE_EVENTS: usize = 4096;
/// Up to this many watchers are matched one by one; more get an interval map.
const MATCHED_SINGLY: usize = 16;

#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// Streams with a watcher that lags.
    lagging: BTreeSet<StreamId>,
    /// Streams to be levelled by `step`, in turn.
    soon: VecDeque<StreamId>,
    /// Streams that have room and a watcher that needs history.
    needy: BTreeSet<StreamId>,
    scan: Option<Scan>,
    /// Counts scans.
    turn: u64,
    /// First revisions of batches whose previous values are wanted, and the streams that wait for them.
    previous_wanted: BTreeSet<i64>,
    awaiting: BTreeSet<StreamId>,
    is_resolving: bool,
}

/// The history scan under way.
#[derive(Debug)]
struct Scan {
    participants: Vec<Participant>,
    wanted: Arc<IntervalMap<Participant>>,
}

impl CatchUp {
    pub fn lagging(&self) -> impl Iterator<Item = StreamId> {
        self.lagging.iter().copied()
    }

    /// The stream has no watcher that lags any more, or is gone.
    pub fn forget(&mut self, id: StreamId) {
        self.lagging.remove(&id);
        self.needy.remove(&id);
        self.awaiting.remove(&id);
    }

    pub fn want_previous(&mut self, batch_first: i64, waiting: StreamId) {
        self.previous_wanted.insert(batch_first);
        self.awaiting.insert(waiting);
    }
}

impl Hub {
    pub(super) fn lag(&mut self, slot: u32, next: i64) {
        let watcher = &mut self.watchers[slot];
        watcher.state = State::CatchingUp { next };
        self.lagging_count += usize::from(self.streams[watcher.stream.0].lagging.insert(slot));
        self.catch_up.lagging.insert(watcher.stream);
    }

    pub(super) fn level_soon(&mut self, id: StreamId) {
        if !std::mem::replace(&mut self.streams[id.0].is_queued, true) {
            self.catch_up.soon.push_back(id);
        }
    }

    /// Does one slice of levelling; true if there is more to do.
    pub fn step(&mut self) -> bool {
        if let Some(id) = self.catch_up.soon.pop_front()
            && let Some(stream) = self.streams.get_mut(id.0)
        {
            stream.is_queued = false;
            self.level_stream(id);
        }
        self.has_more()
    }

    /// Whether `step` has anything to do.
    pub fn has_more(&self) -> bool {
        !self.catch_up.soon.is_empty()
    }

    /// Replays the ring to the watchers of the stream that lag and are inside it, as far as there is room, one slice at most.
    pub(super) fn level_stream(&mut self, id: StreamId) {
        let first = self.ring.first().unwrap_or(self.level + 1);
        let mut behind: Vec<(u32, i64)> = self.streams[id.0]
            .lagging
            .iter()
            .filter_map(|&slot| Some((slot, self.watchers[slot].next()?)))
            .filter(|&(_, next)| next >= first)
            .collect();
        let map = (behind.len() > MATCHED_SINGLY).then(|| self.map_of(&behind));
        let mut budget = SLICE_EVENTS;
        while let Some(next) = behind.iter().map(|&(_, next)| next).min().filter(|&next| next <= self.level) {
            if budget == 0 {
                self.level_soon(id);
                break;
            }
            if !self.accepts(id) {
                break;
            }
            let batch = Arc::clone(self.ring.at(next).expect("W2: the ring holds everything from its first revision to the level"));
            budget = budget.saturating_sub(batch.events.len() + 1);
            self.replay(id, &batch, &mut behind, map.as_ref());
        }
        self.settle(id);
    }

    /// Gives one batch to the watchers of `behind` that need it; those that cannot take it leave the list.
    fn replay(&mut self, id: StreamId, batch: &Arc<EventBatch>, behind: &mut Vec<(u32, i64)>, map: Option<&IntervalMap<u32>>) {
        let mut hits = Vec::new();
        for (index, event) in batch.events.iter().enumerate() {
            let mut hit = |slot: u32, next: i64| {
                if event.revision.main >= next && self.watchers[slot].wants(event) {
                    hits.push((slot, index as u32));
                }
            };
            match map {
                Some(map) => map.stab(&event.key, &mut |slot| {
                    if let Ok(place) = behind.binary_search_by_key(&slot, |&(slot, _)| slot) {
                        hit(slot, behind[place].1);
                    }
                }),
                None => behind
                    .iter()
                    .filter(|(slot, _)| self.watchers[*slot].span.contains(&event.key))
                    .for_each(|&(slot, next)| hit(slot, next)),
            }
        }
        let refused = self.deliver(&mut Encoder::new(&batch.events), &mut hits, Some(self.level));
        behind.retain_mut(|(slot, next)| {
            let refusal = find(&refused, *slot);
            *next = refusal.map_or((*next).max(batch.last + 1), |refusal| refusal.next);
            self.watchers[*slot].state = State::CatchingUp { next: *next };
            if refusal.is_some_and(|refusal| refusal.why == Why::ValueMissing) {
                self.catch_up.want_previous(batch.first, id);
            }
            refusal.is_none()
        });
    }

    fn map_of(&self, behind: &[(u32, i64)]) -> IntervalMap<u32> {
        let mut map = IntervalMap::default();
        behind.iter().for_each(|&(slot, _)| map.insert(&self.watchers[slot].span, slot));
        map
    }

    /// Notes where the stream's watchers stand: level ones are live, a stream with one before the ring needs history.
    fn settle(&mut self, id: StreamId) {
        let first = self.ring.first().unwrap_or(self.level + 1);
        let mut is_needy = false;
        let (watchers, level) = (&mut self.watchers, self.level);
        let lagging = &mut self.streams[id.0].lagging;
        self.lagging_count -= lagging.len();
        lagging.retain(|&slot| {
            let watcher = &mut watchers[slot];
            let next = watcher.next().unwrap_or(level + 1);
            is_needy |= next < first;
            if next > level {
                watcher.state = State::Live;
            }
            next <= level
        });
        self.lagging_count += lagging.len();
        if self.streams[id.0].lagging.is_empty() {
            self.catch_up.forget(id);
            return self.settle_progress(id);
        }
        if is_needy && self.accepts(id) {
            self.catch_up.needy.insert(id);
        } else {
            self.catch_up.needy.remove(&id);
        }
    }

    /// What the hub wants read next. At most one job of each kind is under way. Looking may leave work for `step`.
    pub fn take_job(&mut self) -> Option<Job> {
        self.take_history_job().or_else(|| self.take_previous_job())
    }

    fn take_history_job(&mut self) -> Option<Job> {
        if self.catch_up.scan.is_some() || self.catch_up.needy.is_empty() {
            return None;
        }
        let first = self.ring.first().unwrap_or(self.level + 1);
        let needy = std::mem::take(&mut self.catch_up.needy);
        // Served, next, slot: the first has waited longest.
        let mut waiting: Vec<(u64, i64, u32)> = Vec::new();
        for id in needy {
            // A stream that filled up meanwhile comes back when it is taken from.
            if self.accepts(id) {
                self.catch_up.needy.insert(id);
                let behind = self.streams[id.0].lagging.iter();
                let stand = behind.filter_map(|&slot| Some((self.watchers[slot].served, self.watchers[slot].next()?, slot)));
                waiting.extend(stand.filter(|&(_, next, _)| next < first));
            }
        }
        waiting.sort_unstable();
        self.catch_up.turn += 1;
        let longest = waiting.first()?.1;
        if self.catch_up.turn.is_multiple_of(2) {
            waiting.retain(|&(_, next, _)| next >= longest);
        }
        waiting.truncate(PARTICIPANTS_MAX);
        let from = waiting.iter().map(|&(_, next, _)| next).min()?;
        let mut wanted = IntervalMap::default();
        let mut participants = Vec::with_capacity(waiting.len());
        for (_, _, slot) in waiting {
            let watcher = &self.watchers[slot];
            let participant = Participant { slot, serial: watcher.serial, with_prev: watcher.with_prev };
            wanted.insert(&watcher.span, participant);
            participants.push(participant);
        }
        let wanted = Arc::new(wanted);
        self.catch_up.scan = Some(Scan { participants, wanted: Arc::clone(&wanted) });
        Some(Job::History { from, last: first - 1, bytes: self.options.history_bytes, wanted })
    }

    fn take_previous_job(&mut self) -> Option<Job> {
        if self.catch_up.is_resolving {
            return None;
        }
        while let Some(first) = self.catch_up.previous_wanted.pop_first() {
            if let Some(batch) = self.ring.at(first).map(Arc::clone) {
                let wanted = (0..batch.events.len() as u32).filter(|&index| self.wants_previous(&batch.events[index as usize])).collect();
                self.catch_up.is_resolving = true;
                return Some(Job::Previous { batch, wanted });
            }
            // The ring has moved on: who waited for this batch needs history now.
            self.level_awaiting();
        }
        None
    }

    fn wants_previous(&self, event: &Event) -> bool {
        let mut is_wanted = false;
        if matches!(event.prev, Previous::Stored(_)) {
            self.map.stab(&event.key, &mut |slot| is_wanted |= self.watchers[slot].with_prev);
        }
        is_wanted
    }

    fn level_awaiting(&mut self) {
        std::mem::take(&mut self.catch_up.awaiting).into_iter().for_each(|id| self.level_soon(id));
    }

    /// Takes the answer to a job.
    pub fn finish(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::History(answer) => {
                let scan = self.catch_up.scan.take().expect("a history scan is under way");
                self.finish_scan(&scan, answer);
            }
            Outcome::Previous(Ok(batch)) => {
                self.catch_up.is_resolving = false;
                self.ring.replace(batch);
                self.level_awaiting();
            }
            Outcome::Previous(Err(_)) => {
                self.catch_up.is_resolving = false;
                let awaiting: Vec<u32> = std::mem::take(&mut self.catch_up.awaiting).iter().map(|id| id.0).collect();
                self.end(&awaiting);
            }
        }
    }

    fn finish_scan(&mut self, scan: &Scan, answer: Result<(Vec<Event>, i64), Failure>) {
        let present: Vec<u32> =
            scan.participants.iter().filter(|p| self.position(p).is_some()).map(|participant| participant.slot).collect();
        let streams: BTreeSet<StreamId> = present.iter().map(|&slot| self.watchers[slot].stream).collect();
        match answer {
            Ok((events, next)) => self.take_history(scan, &present, &events, next),
            Err(Failure::Compacted(revision)) => self.cancel_compacted(&present, revision),
            Err(Failure::Unreadable) => {
                let streams: Vec<u32> = streams.iter().map(|id| id.0).collect();
                return self.end(&streams);
            }
        }
        streams.into_iter().for_each(|id| self.level_soon(id));
    }

    /// The next revision that a participant needs, if it is still there and still lags.
    fn position(&self, participant: &Participant) -> Option<i64> {
        self.watchers.get(participant.slot).filter(|watcher| watcher.serial == participant.serial)?.next()
    }

    fn take_history(&mut self, scan: &Scan, present: &[u32], events: &[Event], next: i64) {
        let mut hits = Vec::new();
        for (index, event) in events.iter().enumerate() {
            scan.wanted.stab(&event.key, &mut |participant| {
                let is_new = self.position(&participant).is_some_and(|next| event.revision.main >= next);
                if is_new && self.watchers[participant.slot].wants(event) {
                    hits.push((participant.slot, index as u32));
                }
            });
        }
        let refused = self.deliver(&mut Encoder::new(events), &mut hits, Some(self.level));
        for &slot in present {
            let watcher = &mut self.watchers[slot];
            let stood = watcher.next().unwrap_or(next);
            if stood < next {
                watcher.served = self.catch_up.turn;
            }
            watcher.state = State::CatchingUp { next: find(&refused, slot).map_or(stood.max(next), |refusal| refusal.next) };
        }
    }

    /// Compaction has overtaken watchers (WAT-11, WAT-21); one that needs exactly `revision` goes on.
    fn cancel_compacted(&mut self, present: &[u32], revision: i64) {
        for &slot in present {
            if self.watchers[slot].next().is_some_and(|next| next < revision) {
                let (id, watch_id) = (self.watchers[slot].stream, self.watchers[slot].id);
                self.drop_watcher(slot);
                self.push_compacted(id, watch_id, revision);
            }
        }
    }

    /// The store cannot be read: the streams that need it end, so that their clients go to another member (CLI-1).
    fn end(&mut self, streams: &[u32]) {
        for &slot in streams {
            self.end_stream(StreamId(slot), Error::Stopped);
        }
    }
}

fn find(refused: &[Refusal], slot: u32) -> Option<&Refusal> {
    refused.binary_search_by_key(&slot, |refusal| refusal.slot).ok().map(|place| &refused[place])
}
