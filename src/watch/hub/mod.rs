//! The hub: sole owner of the watchers of one runtime thread's connections.
//!
//! ```text
//!   offer(batch)   level up, ring, look up who wants each event ---> deliver: one response per watcher, events encoded once
//!   reach(revision)  the batches between were lost: every watcher that may want one starts catching up
//!   create, cancel, progress, tick ---> replies through the same queues
//!   take(stream)   the consumer's side; room again, so watchers that lag are levelled (catch_up.rs)
//! ```
//!
//! Writes: the station of its thread only. Holds W1-W4 (see `watch`). Knows no clock: `tick` and `open_stream` bring the time.

mod events;
mod requests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::wire::error::Error;

pub(in crate::watch) use self::events::{Refusal, Why};
use super::catch_up::CatchUp;
use super::interval_map::IntervalMap;
use super::ring::Ring;
use super::slots::Slots;
use super::stream::{Message, Stream};
use super::watcher::Watcher;

#[derive(Clone, Debug)]
pub struct Options {
    /// Messages that a stream may hold, or four for each of its watchers if that is more.
    pub stream_messages: usize,
    /// Bytes that a stream may hold.
    pub stream_bytes: usize,
    /// Watchers that a stream may have.
    pub stream_watchers: usize,
    /// Bytes of recent batches kept to level watchers from.
    pub ring_bytes: usize,
    /// Bytes of events that one history scan brings.
    pub history_bytes: usize,
    /// A response is cut between revisions near this size.
    pub response_bytes: usize,
    /// A response of this size is sent in fragments where the client asked for them (WAT-16).
    pub fragment_bytes: usize,
    /// Time between two progress notifications of a quiet watcher (PRG-1).
    pub progress_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            stream_messages: 1024,
            stream_bytes: 2 << 20,
            stream_watchers: 1 << 20,
            ring_bytes: 8 << 20,
            history_bytes: 1 << 20,
            response_bytes: 1 << 20,
            fragment_bytes: 2 << 20,
            progress_interval: Duration::from_secs(600),
        }
    }
}

/// Number of a stream at its hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// What `take` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    Messages,
    /// Nothing now; the stream will be among the ready ones when there is.
    Nothing,
    /// Everything was taken and the stream ends with this.
    Ended(Error),
}

#[derive(Debug)]
pub struct Hub {
    pub(super) options: Options,
    /// The last revision that was offered or reached.
    pub(super) level: i64,
    pub(super) watchers: Slots<Watcher>,
    pub(super) streams: Slots<Stream>,
    pub(super) map: IntervalMap<u32>,
    pub(super) ring: Ring,
    pub(super) catch_up: CatchUp,
    ready: Vec<StreamId>,
    due: BTreeSet<(Duration, StreamId)>,
    serial: u64,
    pub(super) lagging_count: usize,
    events_sent: u64,
    /// Watcher and event, of the batch in hand; kept for its capacity.
    hits: Vec<(u32, u32)>,
}

impl Hub {
    /// `revision` is the store's revision when no applier runs yet.
    pub fn new(revision: i64, options: Options) -> Self {
        Hub {
            ring: Ring::new(options.ring_bytes),
            options,
            level: revision,
            watchers: Slots::default(),
            streams: Slots::default(),
            map: IntervalMap::default(),
            catch_up: CatchUp::default(),
            ready: Vec::new(),
            due: BTreeSet::new(),
            serial: 0,
            lagging_count: 0,
            events_sent: 0,
            hits: Vec::new(),
        }
    }

    pub fn level(&self) -> i64 {
        self.level
    }

    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    pub fn watcher_count(&self) -> usize {
        self.watchers.len()
    }

    pub fn lagging_count(&self) -> usize {
        self.lagging_count
    }

    pub fn events_sent(&self) -> u64 {
        self.events_sent
    }

    /// A new stream; `jitter` is added to its progress interval for as long as it lives (PRG-1).
    pub fn open_stream(&mut self, now: Duration, jitter: Duration, requires_leader: bool) -> StreamId {
        let every = (self.options.progress_interval + jitter).max(Duration::from_millis(1));
        let due = now + every;
        let stream = Stream { progress_due: due, progress_every: every, requires_leader, ..Stream::default() };
        let id = StreamId(self.streams.insert(stream));
        self.due.insert((due, id));
        id
    }

    pub fn close_stream(&mut self, id: StreamId) {
        let Some(stream) = self.streams.remove(id.0) else { return };
        self.due.remove(&(stream.progress_due, id));
        self.catch_up.forget(id);
        self.lagging_count -= stream.lagging.len();
        for slot in stream.ids.into_values() {
            let watcher = self.watchers.remove(slot).expect("a stream's watchers live as long as it does");
            self.map.remove(&watcher.span, slot);
        }
        if self.watchers.is_empty() {
            self.ring.clear();
        }
    }

    /// Whether the stream may be given another request: replies have to find room (see `stream`).
    pub fn accepts(&self, id: StreamId) -> bool {
        self.streams[id.0].has_room(self.options.stream_messages, self.options.stream_bytes)
    }

    /// Moves the stream's messages to its consumer and uses the room for watchers that lag.
    pub fn take(&mut self, id: StreamId, into: &mut VecDeque<Message>) -> Taken {
        self.streams[id.0].is_ready = false;
        self.streams[id.0].take(into);
        if !self.streams[id.0].lagging.is_empty() {
            self.level_stream(id);
        }
        self.settle_progress(id);
        let stream = &mut self.streams[id.0];
        if into.is_empty() {
            stream.is_ready = false;
            stream.take(into);
        }
        match stream.end {
            _ if !into.is_empty() => Taken::Messages,
            Some(error) => Taken::Ended(error),
            None => Taken::Nothing,
        }
    }

    /// Streams that have something to take since the last call, each once until it is taken from.
    pub fn take_ready(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.ready)
    }

    /// The server stops: every stream ends once its consumer has what was queued (GRP-11).
    pub fn shutdown(&mut self) {
        self.end_streams(Error::Stopped, |_| true);
    }

    /// The member has lost its leader for long: streams that asked for one end (WAT-23), the others stay (WAT-24).
    pub fn leader_lost(&mut self) {
        self.end_streams(Error::NoLeader, |stream| stream.requires_leader);
    }

    fn end_streams(&mut self, error: Error, is_meant: impl Fn(&Stream) -> bool) {
        let meant: Vec<u32> = self.streams.iter().filter(|(_, stream)| is_meant(stream)).map(|(slot, _)| slot).collect();
        meant.into_iter().for_each(|slot| self.end_stream(StreamId(slot), error));
    }

    pub(super) fn end_stream(&mut self, id: StreamId, error: Error) {
        let stream = &mut self.streams[id.0];
        if stream.end.is_none() {
            stream.end = Some(error);
            stream.is_ready = true;
            self.ready.push(id);
        }
    }

    pub(super) fn push(&mut self, id: StreamId, message: Message) {
        let stream = &mut self.streams[id.0];
        stream.push(message);
        if !stream.is_ready {
            stream.is_ready = true;
            self.ready.push(id);
        }
    }

    /// Takes the watcher out of everything but the queue of its stream.
    pub(super) fn drop_watcher(&mut self, slot: u32) {
        let watcher = self.watchers.remove(slot).expect("the watcher was looked up");
        self.map.remove(&watcher.span, slot);
        let stream = &mut self.streams[watcher.stream.0];
        stream.ids.remove(&watcher.id);
        if stream.lagging.remove(&slot) {
            self.lagging_count -= 1;
            if stream.lagging.is_empty() {
                self.catch_up.forget(watcher.stream);
            }
        }
    }
}
