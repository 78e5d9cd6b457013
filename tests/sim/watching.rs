//! The hub of one life of the member, and the watch clients that outlive it.
//!
//! ```text
//!   applier --offer--> inbox (small: beyond it the hub is told the revision to reach) --> Hub --take--> client
//!                                                                       jobs --perform--> outcomes --^
//! ```
//!
//! A client knows up to which revision it has been told everything, and after a restart watches from the next one on. Checked
//! with every message: what it was sent since is exactly what the model says happened there (order, once each, no gap, whole
//! revisions), progress says nothing about what was not sent, and "from now" is not before what anybody had seen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd::mvcc::Reader;
use etcd::watch::{self, Body, EventBatch, Hub, Job, Message, Outcome, StreamId, Taken};
use etcd::wire::etcdserverpb::{self, WatchCreateRequest};
use etcd::wire::hot::WatchResponse;
use etcd::wire::mvccpb::{self, event::EventType};
use prost::Message as _;
use rand::Rng;
use rand::rngs::StdRng;

use crate::bug::Bug;
use crate::member::{Stop, wrong};
use crate::model::{Change, Model, is_in};

/// Bound: batches in the inbox of the hub.
const INBOX_MAX: usize = 3;
const NEW: i64 = -1;

struct Watch {
    key: Bytes,
    end: Bytes,
    with_prev: bool,
    /// Its id at the stream, while it has one.
    id: Option<i64>,
    /// All that it wants up to here was sent; `NEW` before it was created the first time.
    complete: i64,
    /// The events of a response that has more fragments.
    fragments: Vec<mvccpb::Event>,
}

#[derive(Default)]
struct Client {
    stream: Option<StreamId>,
    watches: Vec<Watch>,
    /// Watches whose create request is under way, with what was seen by anybody before it.
    creating: VecDeque<(usize, i64)>,
    /// Ids whose cancel request is under way: each is answered once, also where a compaction has ended the watch before.
    canceling: Vec<i64>,
    /// It found nothing, and was not told since that there is something.
    is_parked: bool,
}

pub struct Watching {
    bug: Bug,
    hub: Hub,
    inbox: VecDeque<Arc<EventBatch>>,
    reach: Option<i64>,
    jobs: VecDeque<Job>,
    outcomes: Vec<Outcome>,
    clients: Vec<Client>,
    options: watch::Options,
    /// The newest revision that any client has been sent.
    pub seen: i64,
    pub events: usize,
}

fn random_options(rng: &mut StdRng) -> watch::Options {
    watch::Options {
        stream_messages: rng.random_range(1..6),
        stream_bytes: rng.random_range(200..3000),
        ring_bytes: [0, 500, 4000, 1 << 20][rng.random_range(0..4)],
        history_bytes: rng.random_range(1..600),
        response_bytes: rng.random_range(1..600),
        fragment_bytes: rng.random_range(80..400),
        progress_interval: Duration::from_secs(2),
        ..watch::Options::default()
    }
}

fn random_watch(rng: &mut StdRng) -> Watch {
    let ranges: [(&[u8], &[u8]); 5] = [(b"a", b""), (b"c", b""), (b"a", b"d"), (b"\0", b"\0"), (b"c", b"\0")];
    let (key, end) = ranges[rng.random_range(0..ranges.len())];
    let (key, end) = (Bytes::from_static(key), Bytes::from_static(end));
    Watch { key, end, with_prev: rng.random_bool(0.4), id: None, complete: NEW, fragments: Vec::new() }
}

fn events_of(events: &Bytes) -> Vec<mvccpb::Event> {
    let response = WatchResponse { events: events.clone(), ..WatchResponse::default() };
    etcdserverpb::WatchResponse::decode(&response.encode_to_vec()[..]).expect("events are well formed").events
}

impl Watching {
    pub fn new(bug: Bug, rng: &mut StdRng) -> Watching {
        let clients = (0..rng.random_range(1..4))
            .map(|_| Client { watches: (0..rng.random_range(1..4)).map(|_| random_watch(rng)).collect(), ..Client::default() });
        let clients = clients.collect();
        let options = random_options(rng);
        Watching {
            bug,
            hub: Hub::new(1, options.clone()),
            inbox: VecDeque::new(),
            reach: None,
            jobs: VecDeque::new(),
            outcomes: Vec::new(),
            clients,
            options,
            seen: 0,
            events: 0,
        }
    }

    /// Another life begins: the hub is new, the clients have lost their streams.
    pub fn restart(&mut self, revision: i64) {
        self.hub = Hub::new(revision, self.options.clone());
        self.inbox.clear();
        self.reach = None;
        self.jobs.clear();
        self.outcomes.clear();
        self.clients.iter_mut().for_each(Client::lose_stream);
    }

    // === the applier's side ===

    pub fn offer(&mut self, batch: Arc<EventBatch>) {
        let batch = match self.bug {
            Bug::EventsTwice => {
                let twice = batch.events.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
                Arc::new(EventBatch::new(twice, batch.first, batch.last))
            }
            _ => batch,
        };
        if self.reach.is_none() && self.inbox.len() < INBOX_MAX {
            return self.inbox.push_back(batch);
        }
        if self.bug == Bug::SlowWatcherLosesBatch {
            return self.inbox.push_back(Arc::new(EventBatch::new(Vec::new(), batch.first, batch.last)));
        }
        self.reach = Some(batch.last);
    }

    // === the hub's thread ===

    pub fn can_turn(&self) -> bool {
        !self.inbox.is_empty() || self.reach.is_some() || !self.outcomes.is_empty() || self.hub.has_more()
    }

    /// Empties the inbox, acts, and takes the jobs that come of it, as a station does.
    fn turn<R>(&mut self, act: impl FnOnce(&mut Hub) -> R) -> R {
        let hub = &mut self.hub;
        self.inbox.drain(..).for_each(|batch| hub.offer(batch));
        self.reach.take().into_iter().for_each(|revision| hub.reach(revision));
        self.outcomes.drain(..).for_each(|outcome| hub.finish(outcome));
        let answer = act(hub);
        while let Some(job) = hub.take_job() {
            self.jobs.push_back(job);
        }
        for id in hub.take_ready() {
            self.clients.iter_mut().filter(|client| client.stream == Some(id)).for_each(|client| client.is_parked = false);
        }
        answer
    }

    pub fn step(&mut self, now: Duration) {
        self.turn(|hub| {
            hub.tick(now);
            hub.step()
        });
    }

    pub fn can_perform(&self) -> bool {
        !self.jobs.is_empty()
    }

    pub fn perform(&mut self, reader: &Reader) {
        let job = self.jobs.pop_front().expect("a job waits");
        let mut outcome = watch::perform(reader, job);
        if self.bug == Bug::CatchUpSkips
            && let Outcome::History(Ok((events, _))) = &mut outcome
            && let Some(first) = events.first().map(|event| event.revision.main)
        {
            events.retain(|event| event.revision.main != first);
        }
        self.outcomes.push(outcome);
    }

    // === the clients ===

    /// Something that a client may do now, if there is anything: open, create, take, ask for progress, cancel, close.
    pub fn act(&mut self, now: Duration, seen: i64, compact_revision: i64, rng: &mut StdRng) -> String {
        let at = rng.random_range(0..self.clients.len());
        let Some(stream) = self.clients[at].stream else {
            let jitter = Duration::from_millis(rng.random_range(0..200));
            let id = self.turn(|hub| hub.open_stream(now, jitter, false));
            (self.clients[at].stream, self.clients[at].is_parked) = (Some(id), false);
            return format!("client {at} opens a stream");
        };
        if !self.hub.accepts(stream) {
            return format!("client {at} is not heard");
        }
        let idle = self.clients[at].idle();
        match rng.random_range(0..12) {
            0..=7 if idle.is_some() => self.create(at, idle.expect("there is one"), seen, compact_revision, rng),
            8 | 9 => {
                self.turn(|hub| hub.progress(stream));
                format!("client {at} asks for progress")
            }
            10 => {
                let watches = &self.clients[at].watches;
                let Some(id) = watches[rng.random_range(0..watches.len())].id else { return format!("client {at} waits") };
                self.turn(|hub| hub.cancel(stream, id));
                self.clients[at].canceling.push(id);
                format!("client {at} cancels {id}")
            }
            11 if rng.random_bool(0.3) => {
                self.turn(|hub| hub.close_stream(stream));
                self.clients[at].lose_stream();
                format!("client {at} closes its stream")
            }
            _ => format!("client {at} waits"),
        }
    }

    fn create(&mut self, at: usize, place: usize, seen: i64, compact_revision: i64, rng: &mut StdRng) -> String {
        let client = &mut self.clients[at];
        let watch = &client.watches[place];
        // A watch that has been sent something goes on behind it; a new one begins now, or some way back.
        let late = i64::from(self.bug == Bug::ResumeTooLate);
        let start_revision = match watch.complete {
            NEW if rng.random_bool(0.7) => 0,
            NEW => rng.random_range(1..=seen.max(1) + 2),
            complete => complete + 1 + late,
        };
        let request = WatchCreateRequest {
            key: watch.key.clone(),
            range_end: watch.end.clone(),
            start_revision,
            progress_notify: rng.random_bool(0.5),
            prev_kv: watch.with_prev,
            fragment: rng.random_bool(0.5),
            ..WatchCreateRequest::default()
        };
        if watch.complete == NEW && start_revision > 0 {
            client.watches[place].complete = start_revision - 1;
        }
        client.creating.push_back((place, seen));
        let stream = client.stream.expect("it has a stream");
        self.turn(|hub| hub.create(stream, &request, compact_revision));
        format!("client {at} watches {place} from {start_revision}")
    }

    /// Clients that would find something, as far as they know.
    pub fn awake(&self) -> Vec<usize> {
        let is_awake = |&at: &usize| self.clients[at].stream.is_some() && !self.clients[at].is_parked;
        (0..self.clients.len()).filter(is_awake).collect()
    }

    pub fn take(&mut self, at: usize, model: &Model) -> Result<String, Stop> {
        let stream = self.clients[at].stream.expect("it is awake");
        let mut messages = VecDeque::new();
        match self.turn(|hub| hub.take(stream, &mut messages)) {
            Taken::Messages => {}
            Taken::Nothing => self.clients[at].is_parked = true,
            Taken::Ended(error) => return wrong(format!("the stream of client {at} ended: {error}")),
        }
        if self.bug == Bug::ProgressOvertakes {
            messages.make_contiguous().sort_by_key(|message| message.body != Body::Progress);
        }
        let count = messages.len();
        for message in messages {
            self.seen = self.seen.max(message.revision);
            self.events += self.clients[at].receive(&message, model).or_else(|what| wrong(format!("client {at}: {what}")))?;
        }
        Ok(format!("client {at} takes {count} messages"))
    }

    /// Nothing moves any more: everybody has been sent everything.
    pub fn check_complete(&self, model: &Model) -> Result<(), Stop> {
        let level = self.hub.level();
        for (at, client) in self.clients.iter().enumerate().filter(|(_, client)| client.stream.is_some()) {
            for watch in client.watches.iter().filter(|watch| watch.id.is_some()) {
                if let Some(change) = watch.wanted(model, level).next() {
                    return wrong(format!("client {at} was never sent {change:?}; it is complete up to {}", watch.complete));
                }
            }
        }
        if self.hub.lagging_count() > 0 {
            return wrong("a watcher lags and nothing is done about it");
        }
        Ok(())
    }
}

impl Client {
    fn lose_stream(&mut self) {
        self.stream = None;
        self.creating.clear();
        self.canceling.clear();
        self.is_parked = false;
        for watch in &mut self.watches {
            watch.id = None;
            watch.fragments.clear();
        }
    }

    /// A watch to be created.
    fn idle(&self) -> Option<usize> {
        (0..self.watches.len()).find(|&at| self.watches[at].id.is_none() && self.creating.iter().all(|&(place, _)| place != at))
    }

    fn receive(&mut self, message: &Message, model: &Model) -> Result<usize, String> {
        let id = message.watch_id;
        match &message.body {
            Body::Created => {
                let (place, seen) = self.creating.pop_front().ok_or("a created reply that nobody asked for")?;
                let watch = &mut self.watches[place];
                watch.id = Some(id);
                if message.revision < seen {
                    return Err(format!("watch {place} was created at {}, when {seen} had been seen", message.revision));
                }
                if watch.complete == NEW {
                    watch.complete = message.revision;
                }
                return Ok(0);
            }
            Body::Refused(reason) => return Err(format!("a watch was refused: {reason}")),
            Body::Progress => {
                for watch in self.watches.iter_mut().filter(|watch| watch.id.is_some() && (id == -1 || watch.id == Some(id))) {
                    watch.progress(message.revision, model)?;
                }
                return Ok(0);
            }
            _ => {}
        }
        let is_answer = matches!(message.body, Body::Canceled);
        if is_answer {
            let asked = self.canceling.iter().position(|&asked| asked == id).ok_or(format!("a cancel of {id} that nobody asked for"))?;
            self.canceling.swap_remove(asked);
        }
        let place = match self.watches.iter().position(|watch| watch.id == Some(id)) {
            Some(place) => place,
            None if is_answer => return Ok(0),
            None => return Err(format!("a message for {id}, which is no watch")),
        };
        let watch = &mut self.watches[place];
        match &message.body {
            Body::Events { events, more } => watch.receive(events_of(events), *more, message.revision, model),
            Body::Compacted(revision) => watch.compacted(*revision, model).map(|()| 0),
            _ => {
                (watch.id, watch.fragments) = (None, Vec::new());
                Ok(0)
            }
        }
        .map_err(|what| format!("watch {place}: {what}"))
    }
}

impl Watch {
    /// What it should have been sent of the revisions up to this one, and was not yet.
    fn wanted<'a>(&'a self, model: &'a Model, last: i64) -> impl Iterator<Item = &'a Change> {
        model.between(self.complete + 1, last).filter(|change| is_in(&change.key, &self.key, &self.end))
    }

    fn progress(&mut self, revision: i64, model: &Model) -> Result<(), String> {
        if revision < self.complete {
            return Err(format!("progress {revision} for a watch that is complete up to {}", self.complete));
        }
        if let Some(change) = self.wanted(model, revision).next() {
            return Err(format!("progress {revision}, and {change:?} was never sent"));
        }
        self.complete = revision;
        Ok(())
    }

    fn receive(&mut self, events: Vec<mvccpb::Event>, more: bool, header: i64, model: &Model) -> Result<usize, String> {
        let count = events.len();
        self.fragments.extend(events);
        if more {
            return Ok(count);
        }
        let sent = std::mem::take(&mut self.fragments);
        let last = sent.iter().filter_map(|event| event.kv.as_ref()).map(|kv| kv.mod_revision).max().ok_or("an empty response")?;
        if last > header || last > model.revision {
            return Err(format!("events up to {last} under the revision {header}, when the model is at {}", model.revision));
        }
        let wanted: Vec<&Change> = self.wanted(model, last).collect();
        if wanted.len() != sent.len() || !wanted.iter().zip(&sent).all(|(change, event)| self.is_same(change, event, model)) {
            return Err(format!("it was complete up to {}, wants {wanted:?} and was sent {sent:?}", self.complete));
        }
        self.complete = last;
        Ok(count)
    }

    fn is_same(&self, change: &Change, event: &mvccpb::Event, model: &Model) -> bool {
        let Some(kv) = &event.kv else { return false };
        let is_same = match &change.after {
            Some(after) => event.r#type() == EventType::Put && kv == after,
            None => event.r#type() == EventType::Delete && kv.key == change.key && kv.mod_revision == change.revision,
        };
        let may_be_gone = change.revision - 1 < model.compacted;
        let has_prev = event.prev_kv == change.before || (event.prev_kv.is_none() && may_be_gone);
        is_same && if self.with_prev { has_prev } else { event.prev_kv.is_none() }
    }

    /// History that it needs is gone: it goes on with what is left.
    fn compacted(&mut self, revision: i64, model: &Model) -> Result<(), String> {
        if revision > model.compacted || self.complete + 1 >= revision {
            return Err(format!("cancelled for a compaction at {revision} when it needs {}", self.complete + 1));
        }
        (self.id, self.complete, self.fragments) = (None, revision - 1, Vec::new());
        Ok(())
    }
}
