//! Random histories and consumers against what etcd promises of a watch (WAT-13): ordered, unique, whole revisions, no gap,
//! and no progress past an event that was not sent. A failure names its seed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::scripted::{Change, Client, World, events_of};
use super::{Body, Message, Options, Span};
use crate::mvcc::Event;
use crate::wire::etcdserverpb::WatchCreateRequest;
use crate::wire::mvccpb;

const KEYS: [&str; 8] = ["a", "b", "c", "d", "da", "db", "e", "f"];
const ENDS: [&str; 6] = ["", "\0", "c", "db", "e", "zz"];

/// What one watcher asked for, and the last revision known to be complete for it.
struct Asked {
    request: WatchCreateRequest,
    span: Span,
    /// First revision that it has to get.
    from: i64,
    /// All that it wants up to here was sent.
    complete: i64,
    /// Inside fragments of this revision.
    open_fragment: Option<i64>,
    sent: Vec<(i64, i64, String)>,
}

struct Run {
    world: World,
    rng: StdRng,
    clients: Vec<(Client, BTreeMap<i64, Asked>, usize)>,
    /// Create requests in order, for the created replies that name their ids (CLI-2).
    pending: Vec<Vec<WatchCreateRequest>>,
    unoffered: Vec<Event>,
    finished: usize,
}

fn wants(asked: &Asked, event: &Event) -> bool {
    let filter = if event.is_delete { 1 } else { 0 };
    asked.span.contains(&event.key) && event.revision.main >= asked.from && !asked.request.filters.contains(&filter)
}

fn identity(event: &mvccpb::Event) -> (i64, i64, String) {
    let kv = event.kv.as_ref().expect("a key");
    (kv.mod_revision, kv.version, String::from_utf8_lossy(&kv.key).into_owned())
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let options = Options {
            stream_messages: rng.random_range(1..6),
            stream_bytes: rng.random_range(200..2000),
            ring_bytes: *[0, 300, 3000, 1 << 20].choose(&mut rng).expect("not empty"),
            history_bytes: rng.random_range(1..400),
            response_bytes: rng.random_range(1..400),
            fragment_bytes: rng.random_range(80..300),
            progress_interval: Duration::from_secs(10),
            ..Options::default()
        };
        let mut world = World::new(options);
        world.stores_previous = rng.random_bool(0.4);
        Run { world, rng, clients: Vec::new(), pending: Vec::new(), unoffered: Vec::new(), finished: 0 }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..3 => self.open(),
            3..12 => self.create(),
            12..40 => self.change(),
            40..60 => self.offer(),
            60..63 => self.overflow(),
            63..65 => self.compact(),
            65..68 => self.cancel(),
            68..73 => self.progress(),
            73..75 => {
                self.world.now += Duration::from_secs(7);
                self.world.hub.tick(self.world.now);
            }
            75..76 => self.close(),
            76..86 => drop(self.world.work()),
            _ => self.take(),
        }
    }

    fn open(&mut self) {
        if self.clients.len() < 6 {
            let client = self.world.stream();
            self.clients.push((client, BTreeMap::new(), 0));
            self.pending.push(Vec::new());
        }
    }

    fn any_client(&mut self) -> Option<usize> {
        (!self.clients.is_empty()).then(|| self.rng.random_range(0..self.clients.len()))
    }

    fn create(&mut self) {
        let Some(index) = self.any_client() else { return };
        let level = self.world.hub.level();
        let start_revision = match self.rng.random_range(0..4) {
            0 => 0,
            1 => self.rng.random_range(1..=level),
            2 => self.rng.random_range((level - 3).max(1)..=level + 3),
            _ => level + self.rng.random_range(1..10),
        };
        let filters = if self.rng.random_bool(0.3) { vec![self.rng.random_range(0..2)] } else { vec![] };
        let request = WatchCreateRequest {
            key: Bytes::from_static(KEYS.choose(&mut self.rng).expect("not empty").as_bytes()),
            range_end: Bytes::from_static(ENDS.choose(&mut self.rng).expect("not empty").as_bytes()),
            start_revision,
            filters,
            progress_notify: self.rng.random_bool(0.5),
            prev_kv: self.rng.random_bool(0.4),
            fragment: self.rng.random_bool(0.3),
            watch_id: 0,
        };
        if Span::from_request(&request.key, &request.range_end).is_some() && self.world.hub.accepts(self.clients[index].0.id) {
            self.world.create(&self.clients[index].0, &request);
            self.pending[index].push(request);
        }
    }

    fn change(&mut self) {
        let count = *[1, 1, 1, 2, 5].choose(&mut self.rng).expect("not empty");
        let mut keys: Vec<&str> = KEYS.choose_multiple(&mut self.rng, count).copied().collect();
        keys.sort_unstable();
        let value = "v".repeat(self.rng.random_range(0..60));
        let is_delete: Vec<bool> = keys.iter().map(|_| self.rng.random_bool(0.3)).collect();
        let changes: Vec<Change<'_>> =
            keys.iter().zip(is_delete).map(|(key, gone)| if gone { Change::Delete(key) } else { Change::Put(key, &value) }).collect();
        let events = self.world.apply(&changes);
        self.unoffered.extend(events);
    }

    fn offer(&mut self) {
        let events = std::mem::take(&mut self.unoffered);
        self.world.offer(events);
    }

    fn overflow(&mut self) {
        self.unoffered.clear();
        self.world.hub.reach(self.world.revision);
    }

    /// Only what the hub has been told of is ever compacted, as the applier orders it.
    fn compact(&mut self) {
        let level = self.world.hub.level();
        if level > self.world.compact_revision.max(1) {
            let revision = self.rng.random_range(self.world.compact_revision.max(1)..=level);
            self.world.compact(revision);
        }
    }

    fn cancel(&mut self) {
        let Some(index) = self.any_client() else { return };
        let ids: Vec<i64> = self.clients[index].1.keys().copied().collect();
        if let Some(&id) = ids.choose(&mut self.rng) {
            self.world.hub.cancel(self.clients[index].0.id, id);
        }
    }

    fn progress(&mut self) {
        if let Some(index) = self.any_client() {
            self.world.hub.progress(self.clients[index].0.id);
        }
    }

    fn close(&mut self) {
        if let Some(index) = self.any_client() {
            let (client, ..) = self.clients.swap_remove(index);
            self.pending.swap_remove(index);
            self.world.hub.close_stream(client.id);
        }
    }

    fn take(&mut self) {
        let ready = self.world.hub.take_ready();
        for (client, ..) in &mut self.clients {
            client.is_parked &= !ready.contains(&client.id);
        }
        if let Some(index) = self.any_client()
            && !self.clients[index].0.is_parked
        {
            self.clients[index].0.take(&mut self.world.hub);
            self.check(index);
        }
    }

    /// Everything settles: then every watcher must be complete up to the level.
    fn finish(&mut self) {
        self.offer();
        self.world.drain_all(self.clients.iter_mut().map(|(client, ..)| client));
        (0..self.clients.len()).for_each(|index| self.check(index));
        assert_eq!(self.world.hub.lagging_count(), 0, "all are level");
        let level = self.world.hub.level();
        for index in 0..self.clients.len() {
            let ids: Vec<i64> = self.clients[index].1.keys().copied().collect();
            for id in ids {
                let asked = &self.clients[index].1[&id];
                assert_eq!(asked.open_fragment, None, "watcher {id}: the last fragment came");
                self.complete_up_to(index, id, level);
                self.finished += 1;
            }
        }
    }

    /// The watcher was sent exactly what it wants of the revisions up to this one.
    fn complete_up_to(&mut self, index: usize, id: i64, revision: i64) {
        let asked = &self.clients[index].1[&id];
        let expected: Vec<(i64, i64, String)> = self
            .world
            .events
            .iter()
            .filter(|event| event.revision.main <= revision && wants(asked, event))
            .map(|event| {
                use prost::Message;
                identity(&mvccpb::Event::decode(&event.encoded[..]).expect("an event"))
            })
            .collect();
        let sent: Vec<_> = asked.sent.iter().filter(|(main, ..)| *main <= revision).cloned().collect();
        assert_eq!(sent, expected, "watcher {id} up to {revision}, from {}", asked.from);
    }

    fn check(&mut self, index: usize) {
        let (client, _, seen) = &mut self.clients[index];
        let news = client.messages[*seen..].to_vec();
        *seen = client.messages.len();
        for message in news {
            let id = message.watch_id;
            let between_fragments = self.clients[index].1.iter().find(|(_, asked)| asked.open_fragment.is_some()).map(|(id, _)| *id);
            assert!(between_fragments.is_none_or(|open| open == id), "fragments are contiguous");
            match &message.body {
                Body::Created => {
                    let request = self.pending[index].remove(0);
                    let from = if request.start_revision == 0 { message.revision + 1 } else { request.start_revision };
                    let span = Span::from_request(&request.key, &request.range_end).expect("checked before");
                    let asked = Asked { request, span, from, complete: 0, open_fragment: None, sent: Vec::new() };
                    assert!(self.clients[index].1.insert(id, asked).is_none(), "the id was free");
                }
                Body::Refused(reason) => panic!("refused: {reason}"),
                Body::Canceled => {
                    // Compaction may have been quicker; then both are told.
                    let (client, watchers, _) = &mut self.clients[index];
                    let is_compacted = |m: &Message| m.watch_id == id && matches!(m.body, Body::Compacted(_));
                    assert!(watchers.remove(&id).is_some() || client.messages.iter().any(is_compacted), "a watcher to cancel");
                }
                Body::Compacted(revision) => {
                    let asked = self.clients[index].1.remove(&id).expect("a watcher to cancel");
                    assert_eq!(message.revision, 0);
                    assert!(asked.complete < *revision, "it needed what is gone");
                }
                Body::Progress => self.check_progress(index, id, message.revision),
                Body::Events { more, .. } => {
                    let events = events_of(&message);
                    assert!(!events.is_empty(), "no empty responses");
                    self.check_events(index, id, &events, *more, message.revision);
                }
            }
        }
    }

    fn check_progress(&mut self, index: usize, id: i64, revision: i64) {
        let ids: Vec<i64> = if id == -1 { self.clients[index].1.keys().copied().collect() } else { vec![id] };
        assert!(!ids.is_empty(), "progress speaks for somebody");
        for id in ids {
            let asked = self.clients[index].1.get_mut(&id).expect("progress of a watcher that is there");
            assert!(revision >= asked.request.start_revision, "no progress below the start");
            assert!(revision >= asked.complete, "progress is monotonic");
            asked.complete = revision;
            self.complete_up_to(index, id, revision);
        }
    }

    fn check_events(&mut self, index: usize, id: i64, events: &[mvccpb::Event], more: bool, header: i64) {
        let all = &self.world.events;
        let asked = self.clients[index].1.get_mut(&id).expect("events of a watcher that is there");
        for event in events {
            let (revision, version, key) = identity(event);
            assert!(header >= revision);
            assert!(asked.open_fragment.is_some() || revision > asked.complete || revision == asked.sent.last().map_or(0, |s| s.0));
            asked.sent.push((revision, version, key.clone()));
            let stored = all.iter().find(|e| e.revision.main == revision && e.key == key.as_bytes()).expect("it happened");
            let before = if asked.request.prev_kv { self.world.before_of(stored).cloned() } else { None };
            assert_eq!(event.prev_kv, before, "previous value of {key} at {revision}");
        }
        let last = asked.sent.last().expect("not empty").0;
        asked.open_fragment = more.then_some(last);
        assert!(!more || asked.request.fragment, "fragments only where asked for");
        if !more {
            assert!(last > asked.complete, "nothing twice");
            asked.complete = last;
            self.complete_up_to(index, id, last);
        }
    }
}

#[test]
fn every_watcher_is_sent_exactly_what_it_wants_in_order() {
    let seeds = std::env::var("WATCH_SEED").ok().and_then(|seed| seed.parse().ok()).map_or(0..300, |seed: u64| seed..seed + 1);
    let mut finished = 0;
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..500 {
                run.step();
            }
            run.finish();
            run.finished
        });
        finished += run.unwrap_or_else(|cause| {
            eprintln!("failed with WATCH_SEED={seed}");
            std::panic::resume_unwind(cause)
        });
    }
    assert!(finished > 0, "some watchers lived to the end");
}
