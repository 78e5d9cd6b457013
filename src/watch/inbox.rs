//! What the applier holds of the hubs, and the bounded inbox in front of each.
//!
//! ```text
//!   applier --offer--> [ batch batch batch ]  --> station          there is room
//!   applier --offer--> [ batch batch | reach 42 ] --> station      full: the hub is told the revision to reach, and reads
//!                                                                  what lies between from history
//! ```
//!
//! Writes: the applier offers, jobs put their outcomes. Reads: the station of the hub, which always takes everything.
//! Bound: `BATCHES_MAX` batches or `BYTES_MAX` bytes; `offer` never waits. A hub without streams is not woken at all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::mvcc::Reader;

use super::EventBatch;
use super::catch_up::Outcome;

const BATCHES_MAX: usize = 1024;
const BYTES_MAX: usize = 16 << 20;

/// Whether this member knows a leader, as its monitor sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leadership {
    /// There is a leader.
    Known,
    /// There is none now: new streams that require one are refused (WAT-23).
    #[default]
    Missing,
    /// There has been none for three election timeouts: streams that require one end.
    Lost,
}

/// Handles of all hubs; what the applier offers to.
#[derive(Clone, Debug)]
pub struct Hubs {
    inboxes: Arc<[Arc<Inbox>]>,
}

/// What the hubs hold and have done, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub streams: usize,
    pub watchers: usize,
    /// Watchers that are catching up.
    pub lagging: usize,
    pub events_sent: u64,
}

impl Hubs {
    pub(super) fn new(inboxes: Vec<Arc<Inbox>>) -> Self {
        Hubs { inboxes: inboxes.into() }
    }

    /// Gives every hub the events of one written batch. Call it before the batch's last revision becomes readable (REV-19).
    pub fn offer(&self, batch: &Arc<EventBatch>) {
        self.inboxes.iter().for_each(|inbox| inbox.offer(batch));
    }

    /// Tells every hub that a snapshot was installed: from now on history is read here. Watchers go on from where they stand
    /// (WAT-22); what a job of the old store still brings is the same history.
    pub fn replace_store(&self, reader: &Reader) {
        for inbox in self.inboxes.iter() {
            let mut state = inbox.state.lock();
            state.reader = Some(reader.clone());
            inbox.set_reach(state, reader.revision());
        }
    }

    /// Ends every stream, after what is queued for it.
    pub fn shutdown(&self) {
        for inbox in self.inboxes.iter() {
            inbox.state.lock().is_stopping = true;
            inbox.wake.notify_one();
        }
    }

    pub fn counts(&self) -> Counts {
        self.inboxes.iter().fold(Counts::default(), |sum, inbox| Counts {
            streams: sum.streams + inbox.gauges.streams.load(Ordering::Relaxed),
            watchers: sum.watchers + inbox.gauges.watchers.load(Ordering::Relaxed),
            lagging: sum.lagging + inbox.gauges.lagging.load(Ordering::Relaxed),
            events_sent: sum.events_sent + inbox.gauges.events_sent.load(Ordering::Relaxed),
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    /// Rung when something came into an empty inbox, and by the station itself when a slice left work.
    pub wake: Notify,
    pub gauges: Gauges,
}

/// Written by the hub's thread alone.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub streams: AtomicUsize,
    pub watchers: AtomicUsize,
    pub lagging: AtomicUsize,
    pub events_sent: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Arc<EventBatch>>,
    bytes: usize,
    /// Set once a batch did not fit; later ones only move it on, so that nothing overtakes.
    reach: Option<i64>,
    outcomes: Vec<Outcome>,
    /// The store that a snapshot brought.
    reader: Option<Reader>,
    is_listening: bool,
    is_stopping: bool,
}

/// Everything that was in an inbox, in the order to be dealt with.
#[derive(Debug)]
pub(super) struct Letters {
    pub batches: VecDeque<Arc<EventBatch>>,
    pub reach: Option<i64>,
    pub outcomes: Vec<Outcome>,
    pub reader: Option<Reader>,
    pub is_stopping: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.batches.is_empty() && self.reach.is_none() && self.outcomes.is_empty()
    }
}

impl Inbox {
    fn offer(&self, batch: &Arc<EventBatch>) {
        let mut state = self.state.lock();
        if !state.is_listening || state.reach.is_some() || state.batches.len() >= BATCHES_MAX || state.bytes >= BYTES_MAX {
            return self.set_reach(state, batch.last);
        }
        let was_idle = state.is_idle();
        state.bytes += batch.bytes();
        state.batches.push_back(Arc::clone(batch));
        drop(state);
        if was_idle {
            self.wake.notify_one();
        }
    }

    fn set_reach(&self, mut state: parking_lot::MutexGuard<'_, State>, revision: i64) {
        let must_wake = state.is_listening && state.is_idle();
        state.reach = Some(state.reach.map_or(revision, |reach| reach.max(revision)));
        drop(state);
        if must_wake {
            self.wake.notify_one();
        }
    }

    pub fn put_outcome(&self, outcome: Outcome) {
        self.state.lock().outcomes.push(outcome);
        self.wake.notify_one();
    }

    /// Without streams a hub needs nothing but the revision to reach.
    pub fn listen(&self, is_listening: bool) {
        self.state.lock().is_listening = is_listening;
    }

    pub fn is_stopping(&self) -> bool {
        self.state.lock().is_stopping
    }

    /// None if there is nothing.
    pub fn take(&self) -> Option<Letters> {
        let mut state = self.state.lock();
        if state.is_idle() && !state.is_stopping {
            return None;
        }
        state.bytes = 0;
        Some(Letters {
            batches: std::mem::take(&mut state.batches),
            reach: state.reach.take(),
            outcomes: std::mem::take(&mut state.outcomes),
            reader: state.reader.take(),
            is_stopping: state.is_stopping,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(revision: i64) -> Arc<EventBatch> {
        Arc::new(EventBatch::new(Vec::new(), revision, revision))
    }

    #[test]
    fn a_full_inbox_keeps_what_it_has_and_names_the_revision_to_reach() {
        let inbox = Arc::new(Inbox::default());
        inbox.listen(true);
        let hubs = Hubs::new(vec![Arc::clone(&inbox)]);
        let last = 2 + BATCHES_MAX as i64 + 4;
        (2..=last).for_each(|revision| hubs.offer(&batch(revision)));
        let letters = inbox.take().expect("letters");
        assert_eq!(letters.batches.len(), BATCHES_MAX);
        assert_eq!(letters.batches.back().map(|batch| batch.last), Some(1 + BATCHES_MAX as i64));
        assert_eq!(letters.reach, Some(last));
        hubs.offer(&batch(last + 1));
        let letters = inbox.take().expect("letters");
        assert_eq!((letters.batches.len(), letters.reach), (1, None));
    }

    #[test]
    fn a_hub_without_streams_is_only_told_where_the_store_is() {
        let inbox = Arc::new(Inbox::default());
        let hubs = Hubs::new(vec![Arc::clone(&inbox)]);
        hubs.offer(&batch(2));
        hubs.offer(&batch(3));
        let letters = inbox.take().expect("letters");
        assert_eq!((letters.batches.len(), letters.reach), (0, Some(3)));
        assert!(inbox.take().is_none());
    }
}
