//! A small language for tests of the hub: a store kept the naive way, and clients that note what they are sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use crate::mvcc::{Event, Previous, Revision};
use crate::wire::etcdserverpb::{self, WatchCreateRequest};
use crate::wire::hot::WatchResponse;
use crate::wire::mvccpb::{self, KeyValue, event::EventType};

use super::{Body, EventBatch, Failure, Hub, Job, Message, Options, Outcome, StreamId, Taken};

/// One hub in front of a store that keeps every event it ever had.
pub struct World {
    pub hub: Hub,
    pub events: Vec<Event>,
    pub revision: i64,
    pub compact_revision: i64,
    /// Values that the store does not hand over with the event, so that they have to be read.
    pub stores_previous: bool,
    live: BTreeMap<Bytes, KeyValue>,
    /// Of every revision that changed a key: what it was before.
    before: BTreeMap<(i64, Bytes), KeyValue>,
    pub now: Duration,
}

pub enum Change<'a> {
    Put(&'a str, &'a str),
    Delete(&'a str),
}

pub fn small() -> Options {
    Options { stream_messages: 4, ..Options::default() }
}

impl World {
    pub fn new(options: Options) -> Self {
        World {
            hub: Hub::new(1, options),
            events: Vec::new(),
            revision: 1,
            compact_revision: -1,
            stores_previous: false,
            live: BTreeMap::new(),
            before: BTreeMap::new(),
            now: Duration::ZERO,
        }
    }

    pub fn stream(&mut self) -> Client {
        Client { id: self.hub.open_stream(self.now, Duration::ZERO, false), ..Client::default() }
    }

    /// One transaction: one revision if it changes anything. Not offered yet.
    pub fn apply(&mut self, changes: &[Change<'_>]) -> Vec<Event> {
        let revision = self.revision + 1;
        let mut events = Vec::new();
        for change in changes {
            let key = match change {
                Change::Put(key, _) | Change::Delete(key) => Bytes::copy_from_slice(key.as_bytes()),
            };
            let before = self.live.get(&key).cloned();
            let (kind, kv) = match change {
                Change::Put(_, value) => {
                    let create_revision = before.as_ref().map_or(revision, |kv| kv.create_revision);
                    let version = before.as_ref().map_or(0, |kv| kv.version) + 1;
                    let value = Bytes::copy_from_slice(value.as_bytes());
                    let kv = KeyValue { key: key.clone(), create_revision, mod_revision: revision, version, value, lease: 0 };
                    self.live.insert(key.clone(), kv.clone());
                    (EventType::Put, kv)
                }
                Change::Delete(_) if before.is_none() => continue,
                Change::Delete(_) => {
                    self.live.remove(&key);
                    (EventType::Delete, KeyValue { key: key.clone(), mod_revision: revision, ..KeyValue::default() })
                }
            };
            let prev = match &before {
                None => Previous::None,
                Some(kv) if self.stores_previous => Previous::Stored(Revision { main: kv.mod_revision, sub: 0 }),
                Some(kv) => Previous::Kv(kv.encode_to_vec().into()),
            };
            let is_create = kind == EventType::Put && before.is_none();
            if let Some(kv) = before {
                self.before.insert((revision, key.clone()), kv);
            }
            events.push(Event {
                key,
                revision: Revision { main: revision, sub: events.len() as i64 },
                is_delete: kind == EventType::Delete,
                is_create,
                encoded: mvccpb::Event { r#type: kind.into(), kv: Some(kv), prev_kv: None }.encode_to_vec().into(),
                prev,
            });
        }
        if !events.is_empty() {
            self.revision = revision;
            self.events.extend(events.iter().cloned());
        }
        events
    }

    pub fn offer(&mut self, events: Vec<Event>) {
        if let Some(batch) = EventBatch::of(events) {
            self.hub.offer(batch);
        }
    }

    /// One revision with these changes, offered as a batch.
    pub fn txn(&mut self, changes: &[Change<'_>]) {
        let events = self.apply(changes);
        self.offer(events);
    }

    pub fn put(&mut self, key: &str, value: &str) {
        self.txn(&[Change::Put(key, value)]);
    }

    pub fn delete(&mut self, key: &str) {
        self.txn(&[Change::Delete(key)]);
    }

    pub fn compact(&mut self, revision: i64) {
        self.compact_revision = revision;
    }

    pub fn create(&mut self, client: &Client, request: &WatchCreateRequest) {
        self.hub.create(client.id, request, self.compact_revision);
    }

    /// Answers a job as a store would, at most about as many events as it asks bytes for.
    pub fn perform(&self, job: Job) -> Outcome {
        match job {
            Job::History { from, last, bytes, wanted } => {
                if from < self.compact_revision {
                    return Outcome::History(Err(Failure::Compacted(self.compact_revision)));
                }
                let (mut events, mut size, mut next) = (Vec::new(), 0, last + 1);
                for event in self.events.iter().filter(|event| (from..=last).contains(&event.revision.main)) {
                    let is_new_revision = events.last().is_some_and(|last: &Event| last.revision.main < event.revision.main);
                    if size > bytes && is_new_revision {
                        next = event.revision.main;
                        break;
                    }
                    // Compaction keeps of its revision what still holds there (WAT-21), so exactly that revision is complete.
                    if wanted.covers(&event.key) {
                        size += event.encoded.len();
                        events.push(self.with_previous(event));
                    }
                }
                Outcome::History(Ok((events, next)))
            }
            Job::Previous { batch, wanted } => {
                let mut events = batch.events.clone();
                for index in wanted {
                    events[index as usize] = self.with_previous(&events[index as usize]);
                }
                Outcome::Previous(Ok(Arc::new(EventBatch::new(events, batch.first, batch.last))))
            }
        }
    }

    fn with_previous(&self, event: &Event) -> Event {
        let prev = match &event.prev {
            Previous::Stored(_) => self.before_of(event).map_or(Previous::None, |kv| Previous::Kv(kv.encode_to_vec().into())),
            other => other.clone(),
        };
        Event { prev, ..event.clone() }
    }

    pub fn before_of(&self, event: &Event) -> Option<&KeyValue> {
        self.before.get(&(event.revision.main, event.key.clone()))
    }

    /// Does one job if there is one, and all levelling.
    pub fn work(&mut self) -> bool {
        loop {
            while self.hub.step() {}
            if let Some(job) = self.hub.take_job() {
                let outcome = self.perform(job);
                self.hub.finish(outcome);
                return true;
            }
            // Looking for a job may find that the ring has moved on, which is work for a step.
            if !self.hub.has_more() {
                return false;
            }
        }
    }

    /// Works until nothing is left to do while nobody takes anything; answers how many jobs that took.
    pub fn settle(&mut self) -> usize {
        let mut jobs = 0;
        while self.work() {
            jobs += 1;
            assert!(jobs < 100_000, "the hub asks for jobs without end");
        }
        jobs
    }

    /// Lets clients take, as tasks do: one that found nothing takes again only when its stream was reported ready.
    pub fn drain_all<'a>(&mut self, clients: impl Iterator<Item = &'a mut Client>) {
        let mut clients: Vec<&mut Client> = clients.collect();
        loop {
            let jobs = self.settle();
            let ready = self.hub.take_ready();
            let mut taken = 0;
            for client in &mut clients {
                client.is_parked &= !ready.contains(&client.id);
                taken += if client.is_parked { 0 } else { client.take(&mut self.hub) };
            }
            if jobs == 0 && ready.is_empty() && taken == 0 {
                return;
            }
        }
    }

    /// Lets the client take and the hub work until both are at rest.
    pub fn drain(&mut self, client: &mut Client) {
        loop {
            self.settle();
            if client.take(&mut self.hub) == 0 {
                return;
            }
        }
    }
}

/// What one stream was sent.
#[derive(Default)]
pub struct Client {
    pub id: StreamId,
    pub messages: Vec<Message>,
    pub ended: Option<crate::wire::error::Error>,
    pub seen: usize,
    /// It found nothing, and was not told since that there is something.
    pub is_parked: bool,
}

impl Client {
    /// Takes what is there; answers how many messages.
    pub fn take(&mut self, hub: &mut Hub) -> usize {
        let mut taken = VecDeque::new();
        match hub.take(self.id, &mut taken) {
            Taken::Messages => {}
            Taken::Nothing => self.is_parked = true,
            Taken::Ended(error) => self.ended = Some(error),
        }
        let count = taken.len();
        self.messages.extend(taken);
        count
    }

    /// The messages since the last call, as short text.
    pub fn news(&mut self) -> Vec<String> {
        let news = self.messages[self.seen..].iter().map(describe).collect();
        self.seen = self.messages.len();
        news
    }
}

/// `id: what @header revision`.
fn describe(message: &Message) -> String {
    let what = match &message.body {
        Body::Created => "created".to_owned(),
        Body::Refused(reason) => format!("refused: {reason}"),
        Body::Canceled => "canceled".to_owned(),
        Body::Compacted(revision) => format!("compacted {revision}"),
        Body::Progress => "progress".to_owned(),
        Body::Events { more, .. } => {
            let events: Vec<String> = events_of(message).iter().map(describe_event).collect();
            format!("{}{}", events.join(" "), if *more { " ..." } else { "" })
        }
    };
    format!("{}: {what} @{}", message.watch_id, message.revision)
}

fn describe_event(event: &mvccpb::Event) -> String {
    let kv = event.kv.as_ref().expect("every event has a key");
    let key = String::from_utf8_lossy(&kv.key);
    let text =
        if event.r#type() == EventType::Delete { format!("-{key}") } else { format!("{key}={}", String::from_utf8_lossy(&kv.value)) };
    let before = event.prev_kv.as_ref().map_or(String::new(), |kv| format!("<{}", String::from_utf8_lossy(&kv.value)));
    format!("{text}{before}/{}", kv.mod_revision)
}

/// A message's events, decoded as a client would.
pub fn events_of(message: &Message) -> Vec<mvccpb::Event> {
    let Body::Events { events, .. } = &message.body else { return Vec::new() };
    let response = WatchResponse { events: events.clone(), ..WatchResponse::default() };
    etcdserverpb::WatchResponse::decode(&response.encode_to_vec()[..]).expect("events are well formed").events
}

pub fn watch(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..WatchCreateRequest::default() }
}

pub fn watch_range(key: &str, end: &str) -> WatchCreateRequest {
    WatchCreateRequest { range_end: Bytes::copy_from_slice(end.as_bytes()), ..watch(key) }
}

pub fn from(revision: i64, request: WatchCreateRequest) -> WatchCreateRequest {
    WatchCreateRequest { start_revision: revision, ..request }
}
