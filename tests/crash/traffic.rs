//! Writers, a reader and watchers that go on over the death of the server.
//!
//! Whoever meets an error waits until the fault is over and the server serves again, and goes on: writers with the next attempt,
//! watchers from the revision after the last one they saw.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use etcd::wire::{
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, HashKvRequest, HashKvResponse, PutRequest, RangeRequest, RangeResponse, RequestOp,
        TxnRequest, WatchCreateRequest, request_op::Request,
    },
    mvccpb::Event,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinHandle};
use tonic::{Code, Status};

use crate::{
    harness::{
        Clients, DEADLINE,
        watching::{Seen, WatchStream},
    },
    history::{self, Attempt, Change, Writer},
};

const KEYS: u32 = 6;

/// What the parts of a run know of each other.
pub struct Shared {
    clients: Clients,
    /// How often the server was started again.
    starts: watch::Sender<u64>,
    is_over: AtomicBool,
    /// Whether the volume may be full, so that a refusal for it is an answer.
    may_be_full: bool,
    /// The highest revision that any writer was told.
    acknowledged: AtomicI64,
    /// The last revision of the run, once known.
    last: watch::Sender<Option<i64>>,
    /// The last revision that each watcher has seen.
    watched: Vec<AtomicI64>,
}

// === impl Shared ===

impl Shared {
    pub fn new(clients: Clients, watchers: usize) -> Shared {
        Shared {
            clients,
            starts: watch::Sender::new(0),
            is_over: AtomicBool::new(false),
            may_be_full: false,
            acknowledged: AtomicI64::new(1),
            last: watch::Sender::new(None),
            watched: (0..watchers).map(|_| AtomicI64::new(1)).collect(),
        }
    }

    pub fn on_a_volume_that_fills_up(self) -> Shared {
        Shared { may_be_full: true, ..self }
    }

    pub fn clients(&self) -> Clients {
        self.clients.clone()
    }

    pub fn restarted(&self, starts: u64) {
        self.starts.send_replace(starts);
    }

    /// No more writes and reads.
    pub fn finish(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Watchers end when they have seen this.
    pub fn watch_up_to(&self, last: i64) {
        self.last.send_replace(Some(last));
    }

    pub fn acknowledged(&self) -> i64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// What every watcher has seen.
    pub fn watched(&self) -> i64 {
        self.watched.iter().map(|revision| revision.load(Ordering::SeqCst)).min().unwrap_or(0)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// The number of starts now; to be read before a request, so that its failure waits for a later one.
    fn starts(&self) -> u64 {
        *self.starts.borrow()
    }

    /// Waits for the start after the one that a request failed on.
    async fn next_start(&self, failed_on: u64) {
        let mut starts = self.starts.subscribe();
        let waited = tokio::time::timeout(DEADLINE, starts.wait_for(|starts| *starts > failed_on)).await;
        waited.expect("the server is started again after a failure").expect("the run goes on");
    }
}

/// Everybody who is at work on a server, and what they came to.
pub struct Crew {
    pub shared: Arc<Shared>,
    reader: JoinHandle<()>,
    watchers: Vec<JoinHandle<Vec<Event>>>,
    writers: Vec<JoinHandle<Writer>>,
    /// How far behind the slowest watcher a compaction stays.
    kept: i64,
    compacted: i64,
}

/// What a run came to; all of it has been held against each other.
pub struct Outcome {
    pub events: Vec<Event>,
    pub acknowledged: u64,
    pub state: RangeResponse,
    pub hash: HashKvResponse,
}

impl Crew {
    pub fn start(shared: Shared, writers: u64, seed: u64, kept: i64) -> Crew {
        let shared = Arc::new(shared);
        let reader = tokio::spawn(read(shared.clone()));
        let watchers = (0..shared.watched.len()).map(|number| tokio::spawn(watch(shared.clone(), number))).collect();
        let writers = (0..writers).map(|number| tokio::spawn(write(shared.clone(), number, seed))).collect();
        Crew { shared, reader, watchers, writers, kept, compacted: 0 }
    }

    /// Compacts well below what every watcher has seen, so that all can resume.
    pub async fn compact(&mut self) {
        let revision = self.shared.watched() - self.kept;
        if revision > self.compacted {
            let request = CompactionRequest { revision, physical: false };
            self.shared.clients().kv.compact(request).await.expect("a compaction");
            self.compacted = revision;
        }
    }

    /// Lets all come to their end, and holds what each of them was told and has seen against what the server has.
    pub async fn end(self) -> Outcome {
        let shared = self.shared;
        shared.finish();
        let mut attempts: Vec<Writer> = Vec::new();
        for writer in self.writers {
            attempts.push(writer.await.expect("a writer"));
        }
        self.reader.await.expect("the reader");
        let (state, hash) = look(&mut shared.clients()).await;
        let last = state.header.as_ref().expect("a header").revision;
        assert!(last >= shared.acknowledged(), "revision {last} below the acknowledged {}", shared.acknowledged());
        shared.watch_up_to(last);
        let mut seen: Vec<Vec<Event>> = Vec::new();
        for watcher in self.watchers {
            seen.push(watcher.await.expect("a watcher"));
        }

        let acknowledged = history::check(&seen[0], &attempts, last);
        assert!(seen.iter().all(|other| *other == seen[0]), "watchers saw different histories");
        assert_eq!(history::fold(&seen[0]), state.kvs, "the history leads to another state");
        let tail = replay(&shared.clients(), self.compacted.max(1), last).await;
        let kept: Vec<_> = seen[0].iter().filter(|event| history::revision(event) >= self.compacted).cloned().collect();
        assert_eq!(tail, kept, "the history that is left is another than the one that was watched");
        Outcome { events: seen.swap_remove(0), acknowledged, state, hash }
    }
}

impl Outcome {
    /// After a restart that nobody wrote across, the server says the same.
    pub async fn must_be_unchanged(&self, clients: &mut Clients) {
        let (state, hash) = look(clients).await;
        assert_eq!(state.kvs, self.state.kvs);
        assert_eq!(state.header.map(|header| header.revision), Some(self.last()));
        assert_eq!((hash.hash, hash.compact_revision), (self.hash.hash, self.hash.compact_revision));
    }

    pub fn last(&self) -> i64 {
        self.state.header.as_ref().expect("a header").revision
    }
}

async fn look(clients: &mut Clients) -> (RangeResponse, HashKvResponse) {
    let everything = RangeRequest { key: b"\0"[..].into(), range_end: b"\0"[..].into(), ..Default::default() };
    let state = clients.kv.range(everything).await.expect("a read").into_inner();
    let revision = state.header.as_ref().expect("a header").revision;
    (state, clients.maintenance.hash_kv(HashKvRequest { revision }).await.expect("a hash").into_inner())
}

const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// The end of a connection is expected here; an answer that refuses is not, but for want of space.
fn must_be_the_fault(shared: &Shared, status: &Status) {
    let is_kill = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal | Code::DeadlineExceeded);
    let is_full = shared.may_be_full && (status.code(), status.message()) == (Code::ResourceExhausted, NO_SPACE);
    assert!(is_kill || is_full, "refused: {status:?}");
}

async fn write(shared: Arc<Shared>, number: u64, seed: u64) -> Writer {
    let mut rng = StdRng::seed_from_u64(seed ^ (number + 1));
    let prefix = format!("writer-{number}/");
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut kv = shared.clients().kv;
    while !shared.is_over() {
        let key = |rng: &mut StdRng| Bytes::from(format!("{prefix}{}", rng.random_range(0..KEYS)));
        let value = |part: usize| Some(Bytes::from(format!("{number}.{}.{part}", attempts.len())));
        let changes: Vec<Change> = match rng.random_range(0..10) {
            0..2 => vec![(key(&mut rng), None)],
            2..4 => vec![(format!("{prefix}left").into(), value(0)), (format!("{prefix}right").into(), value(1))],
            _ => vec![(key(&mut rng), value(0))],
        };
        let (starts, floor) = (shared.starts(), shared.acknowledged());
        let sent = tokio::time::timeout(DEADLINE, send(&mut kv, &changes)).await.expect("an answer or an end");
        match sent {
            Ok(Some(revision)) => {
                assert!(revision > floor, "revision {revision} was told after {floor}");
                shared.acknowledged.fetch_max(revision, Ordering::SeqCst);
                attempts.push(Attempt { changes, acknowledged: Some(revision) });
            }
            Ok(None) => {}
            Err(status) => {
                must_be_the_fault(&shared, &status);
                attempts.push(Attempt { changes, acknowledged: None });
                shared.next_start(starts).await;
            }
        }
    }
    Writer { prefix: prefix.into(), attempts }
}

/// The revision of the write, or none if it changed nothing.
async fn send(
    kv: &mut etcd::wire::etcdserverpb::kv_client::KvClient<tonic::transport::Channel>,
    changes: &[Change],
) -> Result<Option<i64>, Status> {
    let header = match changes {
        [(key, Some(value))] => {
            kv.put(PutRequest { key: key.clone(), value: value.clone(), ..Default::default() }).await?.into_inner().header
        }
        [(key, None)] => {
            let deleted = kv.delete_range(DeleteRangeRequest { key: key.clone(), ..Default::default() }).await?.into_inner();
            if deleted.deleted == 0 {
                return Ok(None);
            }
            deleted.header
        }
        several => {
            let put = |(key, value): &Change| {
                let request = PutRequest { key: key.clone(), value: value.clone().expect("a put"), ..Default::default() };
                RequestOp { request: Some(Request::RequestPut(request)) }
            };
            kv.txn(TxnRequest { success: several.iter().map(put).collect(), ..Default::default() }).await?.into_inner().header
        }
    };
    Ok(Some(header.expect("a header").revision))
}

/// Linearizable reads: what was acknowledged before the question is in the answer.
async fn read(shared: Arc<Shared>) {
    let mut kv = shared.clients().kv;
    while !shared.is_over() {
        let (starts, floor) = (shared.starts(), shared.acknowledged());
        let request = RangeRequest { key: "writer-0/0".into(), ..Default::default() };
        match tokio::time::timeout(DEADLINE, kv.range(request)).await.expect("an answer or an end") {
            Ok(response) => {
                let revision = response.into_inner().header.expect("a header").revision;
                assert!(revision >= floor, "a read at {revision} after {floor} was acknowledged");
            }
            Err(status) => {
                must_be_the_fault(&shared, &status);
                shared.next_start(starts).await;
            }
        }
        // Reads are there to be wrong, not to take the writers' time.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Watches everything from the first revision on, and resumes after each kill.
async fn watch(shared: Arc<Shared>, number: usize) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut last = shared.last.subscribe();
    loop {
        let starts = shared.starts();
        let seen = events.last().map_or(1, history::revision);
        if last.borrow_and_update().is_some_and(|last| seen >= last) {
            return events;
        }
        let mut stream = everything_from(&shared.clients(), seen + 1).await;
        loop {
            let response = tokio::select! {
                response = stream.next() => response,
                _ = last.changed() => break,
            };
            match response {
                Ok(response) => {
                    assert!(!response.canceled, "the watch was canceled: {response:?}");
                    events.extend(response.events);
                    let seen = events.last().map_or(1, history::revision);
                    shared.watched[number].store(seen, Ordering::SeqCst);
                    if last.borrow().is_some_and(|last| seen >= last) {
                        return events;
                    }
                }
                Err(status) => {
                    must_be_the_fault(&shared, &status);
                    shared.next_start(starts).await;
                    break;
                }
            }
        }
    }
}

/// The history that the server still has.
async fn replay(clients: &Clients, first: i64, last: i64) -> Vec<Event> {
    let mut stream = everything_from(clients, first).await;
    stream.until(0, |seen| matches!(seen.last(), Some(Seen::Event(event)) if history::revision(event) >= last)).await;
    let seen = stream.take_seen().remove(&0).unwrap_or_default();
    seen.into_iter()
        .filter_map(|seen| match seen {
            Seen::Event(event) => Some(event),
            _ => None,
        })
        .collect()
}

/// A stream with one watcher of everything; its answer to the create is left to be read.
async fn everything_from(clients: &Clients, start_revision: i64) -> WatchStream {
    let mut stream = WatchStream::open(&clients.watch);
    let request = WatchCreateRequest { key: b"\0"[..].into(), range_end: b"\0"[..].into(), start_revision, ..Default::default() };
    stream.send_create(request).await;
    stream
}
