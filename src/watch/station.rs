//! Runs one hub on its runtime thread: empties its inbox, keeps its timer, has its jobs done, wakes its streams.
//!
//! ```text
//!   run (one task)  inbox, timer, leadership -+
//!                                             +--> turn: inbox into the hub, the act, jobs out, one wake per ready stream
//!   polls of the streams (same thread) -------+
//! ```
//!
//! The lock around the hub is there because gRPC services must be `Send`; only tasks of one runtime thread take it, so it is
//! never waited for. A turn empties the inbox before it acts, so a create or a progress request is answered at a level no
//! lower than any revision that was readable when it was sent (W4).

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch::Receiver;

use crate::clock::Clock;
use crate::mvcc::{Event, HistoryError, Previous, Reader};

use super::catch_up::{Failure, Job, Outcome, Participant};
use super::hub::{Hub, Options, StreamId, Taken};
use super::inbox::{Hubs, Inbox, Leadership};
use super::stream::Message;
use super::{EventBatch, IntervalMap};

/// A revision is readable moments after its batch was offered; a scan that is quicker looks this often before it gives way.
const READABLE_TRIES: usize = 1000;

pub struct Station {
    floor: Mutex<Floor>,
    inbox: Arc<Inbox>,
    clock: Arc<dyn Clock>,
    progress_interval: Duration,
}

struct Floor {
    hub: Hub,
    reader: Reader,
    /// By stream: the task that waits for it.
    wakers: Vec<Option<Waker>>,
}

impl Station {
    /// One station for each runtime thread, and what the applier offers to. To be called before the applier runs.
    pub fn for_threads(threads: usize, reader: &Reader, options: &Options, clock: &Arc<dyn Clock>) -> (Hubs, Vec<Arc<Station>>) {
        let station = |_| {
            Arc::new(Station {
                floor: Mutex::new(Floor { hub: Hub::new(reader.revision(), options.clone()), reader: reader.clone(), wakers: Vec::new() }),
                inbox: Arc::default(),
                clock: Arc::clone(clock),
                progress_interval: options.progress_interval,
            })
        };
        let stations: Vec<Arc<Station>> = (0..threads).map(station).collect();
        (Hubs::new(stations.iter().map(|station| Arc::clone(&station.inbox)).collect()), stations)
    }

    /// To be spawned on the thread whose connections use this station; ends when the server stops and the last stream is gone.
    pub async fn run(self: Arc<Self>, mut leadership: Receiver<Leadership>) {
        let mut has_sender = true;
        loop {
            let due = self.floor.lock().hub.next_tick();
            let wait = due.map_or(Duration::from_secs(3600), |due| due.saturating_sub(self.clock.now()));
            tokio::select! {
                () = self.inbox.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                changed = leadership.changed(), if has_sender => has_sender = changed.is_ok(),
            }
            let is_lost = *leadership.borrow_and_update() == Leadership::Lost;
            let now = self.clock.now();
            let stream_count = self.turn(|floor| {
                floor.hub.tick(now);
                if is_lost {
                    floor.hub.leader_lost();
                }
                floor.hub.stream_count()
            });
            if self.inbox.is_stopping() && stream_count == 0 {
                return;
            }
            while self.turn(|floor| floor.hub.step()) {
                tokio::task::yield_now().await;
            }
        }
    }

    pub fn open(&self, requires_leader: bool) -> StreamId {
        self.inbox.listen(true);
        let now = self.clock.now();
        let jitter = self.progress_interval.mul_f64(rand::random_range(0.0..0.1));
        let id = self.turn(|floor| floor.hub.open_stream(now, jitter, requires_leader));
        // The task that keeps the timer learns of the new due time.
        self.inbox.wake.notify_one();
        id
    }

    pub fn close(&self, id: StreamId) {
        let mut floor = self.floor.lock();
        floor.hub.close_stream(id);
        if let Some(waker) = floor.wakers.get_mut(id.0 as usize) {
            *waker = None;
        }
        if floor.hub.stream_count() == 0 {
            self.inbox.listen(false);
            self.inbox.wake.notify_one();
        }
        self.count(&floor.hub);
    }

    pub fn accepts(&self, id: StreamId) -> bool {
        self.floor.lock().hub.accepts(id)
    }

    /// Takes the stream's messages, or leaves the waker to be woken when there are some.
    pub fn take(&self, id: StreamId, into: &mut VecDeque<Message>, waker: &Waker) -> Taken {
        self.turn(|floor| {
            let taken = floor.hub.take(id, into);
            if taken == Taken::Nothing {
                let place = id.0 as usize;
                if floor.wakers.len() <= place {
                    floor.wakers.resize(place + 1, None);
                }
                floor.wakers[place] = Some(waker.clone());
            }
            taken
        })
    }

    /// A client's request, in its turn.
    pub fn request(&self, act: impl FnOnce(&mut Hub)) {
        self.turn(|floor| act(&mut floor.hub));
    }

    pub fn compact_revision(&self) -> i64 {
        self.floor.lock().reader.compact_revision()
    }

    /// Empties the inbox into the hub, acts, and performs what comes of it.
    fn turn<R>(&self, act: impl FnOnce(&mut Floor) -> R) -> R {
        let mut floor = self.floor.lock();
        if let Some(letters) = self.inbox.take() {
            if let Some(reader) = letters.reader {
                floor.reader = reader;
            }
            let hub = &mut floor.hub;
            letters.batches.into_iter().for_each(|batch| hub.offer(batch));
            letters.reach.into_iter().for_each(|revision| hub.reach(revision));
            letters.outcomes.into_iter().for_each(|outcome| hub.finish(outcome));
            if letters.is_stopping {
                hub.shutdown();
            }
        }
        let answer = act(&mut floor);
        let Floor { hub, reader, wakers } = &mut *floor;
        while let Some(job) = hub.take_job() {
            self.start(job, reader.clone());
        }
        if hub.has_more() {
            self.inbox.wake.notify_one();
        }
        let ready = hub.take_ready();
        let woken: Vec<Waker> = ready.into_iter().filter_map(|id| wakers.get_mut(id.0 as usize)?.take()).collect();
        self.count(hub);
        drop(floor);
        woken.into_iter().for_each(Waker::wake);
        answer
    }

    fn count(&self, hub: &Hub) {
        let gauges = &self.inbox.gauges;
        gauges.streams.store(hub.stream_count(), Ordering::Relaxed);
        gauges.watchers.store(hub.watcher_count(), Ordering::Relaxed);
        gauges.lagging.store(hub.lagging_count(), Ordering::Relaxed);
        gauges.events_sent.store(hub.events_sent(), Ordering::Relaxed);
    }

    /// Has the job done on the blocking pool; the hub has at most one of each kind, so that is the bound. It ends by itself,
    /// and an outcome that nobody takes any more does no harm.
    fn start(&self, job: Job, reader: Reader) {
        let inbox = Arc::clone(&self.inbox);
        tokio::task::spawn_blocking(move || {
            let unreadable = match job {
                Job::History { .. } => Outcome::History(Err(Failure::Unreadable)),
                Job::Previous { .. } => Outcome::Previous(Err(Failure::Unreadable)),
            };
            // A hub that waits for an answer for ever would be silent; one that has none ends the streams that need it.
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| perform(&reader, job)));
            inbox.put_outcome(outcome.unwrap_or(unreadable));
        });
    }
}

/// Reads what a hub asks for.
pub fn perform(reader: &Reader, job: Job) -> Outcome {
    match job {
        Job::History { from, last, bytes, wanted } => Outcome::History(history(reader, from, last, bytes, &wanted)),
        Job::Previous { batch, wanted } => {
            let mut events = batch.events.clone();
            let read = wanted.iter().try_for_each(|&index| add_previous(reader, &mut events[index as usize]));
            Outcome::Previous(read.map(|()| Arc::new(EventBatch::new(events, batch.first, batch.last))))
        }
    }
}

fn history(reader: &Reader, from: i64, last: i64, bytes: usize, wanted: &IntervalMap<Participant>) -> Result<(Vec<Event>, i64), Failure> {
    // The hub's level may be ahead of the readable revision by the moments between offer and publication.
    let mut tries = 0;
    while reader.revision() < last && tries < READABLE_TRIES {
        std::thread::yield_now();
        tries += 1;
    }
    let last = last.min(reader.revision());
    if last < from {
        return Ok((Vec::new(), from));
    }
    let mut slice = reader.history(from, last, bytes, &|key| wanted.covers(key)).map_err(|error| match error {
        HistoryError::Compacted(revision) => Failure::Compacted(revision),
        HistoryError::Storage(_) => Failure::Unreadable,
    })?;
    for event in &mut slice.events {
        let mut with_prev = false;
        wanted.stab(&event.key, &mut |participant| with_prev |= participant.with_prev);
        if with_prev {
            add_previous(reader, event)?;
        }
    }
    Ok((slice.events, slice.next))
}

/// Reads the event's previous value if it is still in the engine (EVT-3).
fn add_previous(reader: &Reader, event: &mut Event) -> Result<(), Failure> {
    if matches!(event.prev, Previous::Stored(_)) {
        let found = reader.previous(event).map_err(|_| Failure::Unreadable)?;
        event.prev = found.map_or(Previous::None, Previous::Kv);
    }
    Ok(())
}
