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

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::mvcc::Previous;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::WatchCreateRequest;

use super::EventBatch;
use super::batch::Encoder;
use super::catch_up::CatchUp;
use super::interval_map::{IntervalMap, Span};
use super::ring::Ring;
use super::slots::Slots;
use super::stream::{Body, Message, NO_WATCHER, Stream};
use super::watcher::{State, Watcher, wants};

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

/// etcd's texts for refused creates (WAT-4).
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";

/// Bytes of a response beside its events, at most.
const ENVELOPE_BYTES: usize = 64;

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

    // ---- streams

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

    // ---- requests

    /// Makes a watcher (WAT-2..WAT-9); `compact_revision` is the store's now.
    pub fn create(&mut self, id: StreamId, request: &WatchCreateRequest, compact_revision: i64) {
        if request.start_revision < 0 {
            return self.refuse(id, Error::Compacted.text().into());
        }
        let Some(span) = Span::from_request(&request.key, &request.range_end) else {
            return self.refuse(id, EMPTY_RANGE.into());
        };
        if self.streams[id.0].ids.len() + self.streams[id.0].compacted.len() >= self.options.stream_watchers {
            return self.refuse(id, Error::RequestTooManyRequests.text().into());
        }
        let Some(watch_id) = self.streams[id.0].assign(request.watch_id) else {
            return self.refuse(id, DUPLICATE_ID.into());
        };
        self.push(id, Message { watch_id, revision: self.level, body: Body::Created });
        if (1..compact_revision).contains(&request.start_revision) {
            return self.push_compacted(id, watch_id, compact_revision);
        }
        self.serial += 1;
        let (wants_puts, wants_deletes) = wants(request);
        let from = if request.start_revision == 0 { self.level + 1 } else { request.start_revision };
        let slot = self.watchers.insert(Watcher {
            stream: id,
            id: watch_id,
            span: span.clone(),
            serial: self.serial,
            asked: request.start_revision,
            from,
            state: State::Live,
            wants_puts,
            wants_deletes,
            with_prev: request.prev_kv,
            with_fragments: request.fragment,
            with_progress: request.progress_notify,
            is_quiet: true,
            served: 0,
        });
        self.map.insert(&span, slot);
        self.streams[id.0].ids.insert(watch_id, slot);
        if from <= self.level {
            if from <= compact_revision {
                // The ring's events know what was before them; the store, asked now, no longer does (EVT-3).
                self.ring.drop_through(compact_revision);
            }
            self.lag(slot, from);
            self.level_soon(id);
        }
    }

    /// Answers a create request that is not granted, in its turn (CLI-2).
    pub fn refuse(&mut self, id: StreamId, reason: Cow<'static, str>) {
        self.push(id, Message { watch_id: NO_WATCHER, revision: self.level, body: Body::Refused(reason) });
    }

    /// Ends a watcher; an id that is not in use gets no reply (WAT-10).
    pub fn cancel(&mut self, id: StreamId, watch_id: i64) {
        if let Some(&slot) = self.streams[id.0].ids.get(&watch_id) {
            self.drop_watcher(slot);
            self.push(id, Message { watch_id, revision: self.level, body: Body::Canceled });
            self.settle_progress(id);
        } else if self.streams[id.0].compacted.remove(&watch_id) {
            self.push(id, Message { watch_id, revision: self.level, body: Body::Canceled });
        }
    }

    /// Tells a stream that one of its watchers needs what is gone (WAT-8, WAT-11).
    pub(super) fn push_compacted(&mut self, id: StreamId, watch_id: i64, revision: i64) {
        self.streams[id.0].compacted.insert(watch_id);
        self.push(id, Message { watch_id, revision: 0, body: Body::Compacted(revision) });
    }

    /// Asks for progress of the whole stream (PRG-2).
    ///
    /// Quirk: not kept. etcd drops the request while a watcher catches up, and Kubernetes' reads from its cache stall until
    /// they ask again (K8S-8); here the answer comes as soon as all are level, several requests getting one. Pinned by
    /// `a_progress_request_during_catch_up_is_answered_once_all_are_level`.
    pub fn progress(&mut self, id: StreamId) {
        self.streams[id.0].progress_wanted = true;
        self.settle_progress(id);
    }

    /// Answers a progress request if it is time to. Never below a start revision that was asked for (WAT-9), nor for a stream
    /// without watchers (PRG-3): there the request is dropped, as by etcd.
    pub(super) fn settle_progress(&mut self, id: StreamId) {
        let (messages_max, bytes_max) = (self.options.stream_messages, self.options.stream_bytes);
        let stream = &mut self.streams[id.0];
        if !stream.progress_wanted || !stream.lagging.is_empty() || !stream.has_room(messages_max, bytes_max) {
            return;
        }
        stream.progress_wanted = false;
        let is_ahead = |&slot: &u32| self.watchers[slot].asked > self.level;
        if !stream.ids.is_empty() && !stream.ids.values().any(is_ahead) {
            self.push(id, Message { watch_id: NO_WATCHER, revision: self.level, body: Body::Progress });
        }
    }

    // ---- time

    /// When `tick` has something to do next.
    pub fn next_tick(&self) -> Option<Duration> {
        self.due.first().map(|&(due, _)| due)
    }

    /// Sends the periodic progress that is due (PRG-1). A watcher that is not level, or whose stream is full, waits for its
    /// next turn.
    pub fn tick(&mut self, now: Duration) {
        while let Some(&(due, id)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, id));
            let stream = &mut self.streams[id.0];
            stream.progress_due = now + stream.progress_every;
            self.due.insert((stream.progress_due, id));
            let slots: Vec<u32> = stream.ids.values().copied().collect();
            for slot in slots {
                let watcher = &mut self.watchers[slot];
                let was_quiet = std::mem::replace(&mut watcher.is_quiet, true);
                let is_level = watcher.is_live() && watcher.asked <= self.level;
                if watcher.with_progress && was_quiet && is_level && self.accepts(id) {
                    let watch_id = self.watchers[slot].id;
                    self.push(id, Message { watch_id, revision: self.level, body: Body::Progress });
                }
            }
        }
    }

    // ---- events

    /// Takes the next applied batch. Batches known already are passed over, a gap is closed by way of history.
    pub fn offer(&mut self, batch: Arc<EventBatch>) {
        if batch.first != self.level + 1 {
            return self.reach(batch.last);
        }
        self.level = batch.last;
        if self.watchers.is_empty() {
            return self.ring.clear();
        }
        let mut hits = std::mem::take(&mut self.hits);
        for (index, event) in batch.events.iter().enumerate() {
            self.map.stab(&event.key, &mut |slot| {
                let watcher = &self.watchers[slot];
                if watcher.is_live() && watcher.wants(event) {
                    hits.push((slot, index as u32));
                }
            });
        }
        self.ring.push(Arc::clone(&batch));
        let refused = self.deliver(&mut Encoder::new(&batch.events), &mut hits, None);
        for refusal in refused {
            self.lag(refusal.slot, refusal.next);
            if refusal.why == Why::ValueMissing {
                self.catch_up.want_previous(batch.first, self.watchers[refusal.slot].stream);
            }
        }
        hits.clear();
        self.hits = hits;
    }

    /// The hub must get to this revision without the batches before it: its inbox overflowed, or the store was replaced by a
    /// snapshot (WAT-22). Level, not edge: watchers go on from where each of them stands.
    pub fn reach(&mut self, revision: i64) {
        if revision <= self.level {
            return;
        }
        let first_missed = self.level + 1;
        self.level = revision;
        self.ring.clear();
        let behind: Vec<(u32, i64)> = self
            .watchers
            .iter()
            .filter(|(_, watcher)| watcher.is_live() && watcher.from <= revision)
            .map(|(slot, watcher)| (slot, watcher.from.max(first_missed)))
            .collect();
        for (slot, next) in behind {
            self.lag(slot, next);
        }
        let lagging: Vec<StreamId> = self.catch_up.lagging().collect();
        lagging.into_iter().for_each(|id| self.level_soon(id));
    }

    /// Queues for each watcher of `hits` its events; answers those that could not take all of theirs. The header's revision is
    /// `revision`, or the last event's of each response (WAT-18).
    pub(super) fn deliver(&mut self, encoder: &mut Encoder<'_>, hits: &mut [(u32, u32)], revision: Option<i64>) -> Vec<Refusal> {
        hits.sort_unstable();
        let mut refused = Vec::new();
        let mut wanted = Vec::new();
        for group in hits.chunk_by(|a, b| a.0 == b.0) {
            wanted.clear();
            wanted.extend(group.iter().map(|&(_, index)| index));
            if let Err((next, why)) = self.serve(group[0].0, &wanted, encoder, revision) {
                refused.push(Refusal { slot: group[0].0, next, why });
            }
        }
        refused
    }

    /// Queues one watcher's events, cut between revisions near `response_bytes` (WAT-14); fails with the first revision that
    /// it did not queue.
    fn serve(&mut self, slot: u32, wanted: &[u32], encoder: &mut Encoder<'_>, revision: Option<i64>) -> Result<(), (i64, Why)> {
        let watcher = &self.watchers[slot];
        let (id, watch_id, with_prev, with_fragments) = (watcher.stream, watcher.id, watcher.with_prev, watcher.with_fragments);
        let is_missing = |&index: &u32| matches!(encoder.events()[index as usize].prev, Previous::Stored(_));
        if with_prev && wanted.iter().any(is_missing) {
            return Err((encoder.revision(wanted[0]), Why::ValueMissing));
        }
        let mut rest = wanted;
        while !rest.is_empty() {
            let (count, bytes) = response_len(rest, encoder, with_prev, self.options.response_bytes);
            let (part, after) = rest.split_at(count);
            if !self.streams[id.0].has_room(self.options.stream_messages, self.options.stream_bytes) {
                return Err((encoder.revision(part[0]), Why::StreamFull));
            }
            let revision = revision.unwrap_or_else(|| encoder.revision(part[count - 1]));
            let is_fragmented = with_fragments && count > 1 && bytes + ENVELOPE_BYTES >= self.options.fragment_bytes;
            let mut fragments = part;
            while is_fragmented && !fragments.is_empty() {
                let (fragment, after) = fragments.split_at(fragment_len(fragments, encoder, with_prev, self.options.fragment_bytes));
                let body = Body::Events { events: encoder.encode(fragment, with_prev), more: !after.is_empty() };
                self.push(id, Message { watch_id, revision, body });
                fragments = after;
            }
            if !is_fragmented {
                let body = Body::Events { events: encoder.encode(part, with_prev), more: false };
                self.push(id, Message { watch_id, revision, body });
            }
            self.events_sent += count as u64;
            self.watchers[slot].is_quiet = false;
            rest = after;
        }
        Ok(())
    }

    // ---- shared with catch_up.rs

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

/// A watcher that could not take all of its events.
#[derive(Debug)]
pub(super) struct Refusal {
    pub slot: u32,
    /// The first revision that it still needs.
    pub next: i64,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    StreamFull,
    /// An event's previous value has to be read from the engine first (EVT-3).
    ValueMissing,
}

/// How many of the wanted events make one response: whole revisions, one at least. Their bytes with it.
fn response_len(wanted: &[u32], encoder: &Encoder<'_>, with_prev: bool, bytes_max: usize) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    for revision in wanted.chunk_by(|&a, &b| encoder.revision(a) == encoder.revision(b)) {
        let more: usize = revision.iter().map(|&index| encoder.len_of(index, with_prev)).sum();
        if count > 0 && bytes + more > bytes_max {
            break;
        }
        count += revision.len();
        bytes += more;
    }
    (count, bytes)
}

/// How many of the wanted events make one fragment: one at least (WAT-16).
fn fragment_len(wanted: &[u32], encoder: &Encoder<'_>, with_prev: bool, bytes_max: usize) -> usize {
    let mut bytes = ENVELOPE_BYTES;
    let fits = |&index: &&u32| {
        bytes += encoder.len_of(*index, with_prev);
        bytes < bytes_max
    };
    wanted.iter().take_while(fits).count().max(1)
}
