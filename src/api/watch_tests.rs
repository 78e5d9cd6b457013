//! The Watch service over a real store in memory, polled the way a connection polls it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::{Permit, Responses, WatchService};
use crate::clock::{Clock, SystemClock};
use crate::mvcc::{self, PutValue, Reader, Sweep, Txn, Writer};
use crate::storage::memory::MemoryEngine;
use crate::storage::{Batch, Engine, Read};
use crate::watch::{EventBatch, Hubs, Leadership, Options, Station};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::watch_request::RequestUnion;
use crate::wire::etcdserverpb::{
    ResponseHeader, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use crate::wire::mvccpb::event::EventType;

/// A member reduced to its store, one hub, and one service.
struct Member {
    engine: Arc<MemoryEngine>,
    writer: Writer,
    reader: Reader,
    hubs: Hubs,
    station: Arc<Station>,
    service: WatchService,
    leadership: watch::Sender<Leadership>,
}

fn anybody() -> Permit {
    Arc::new(|_, _, _| Ok(()))
}

impl Member {
    fn new(options: Options) -> Self {
        Member::with(options, mvcc::Options::default(), anybody())
    }

    fn with(options: Options, store: mvcc::Options, permit: Permit) -> Self {
        let engine = MemoryEngine::new();
        let (writer, reader) = mvcc::open(engine.clone(), store, &mut |_| {}).expect("a fresh store opens");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let (hubs, mut stations) = Station::for_threads(1, &reader, &options, &clock);
        let station = stations.pop().expect("one station");
        let (leadership, known) = watch::channel(Leadership::Known);
        let header = Arc::new(|| ResponseHeader { cluster_id: 7, member_id: 8, revision: 999, raft_term: 2 });
        let service = WatchService::new(Arc::clone(&station), permit, header, known);
        Member { engine, writer, reader, hubs, station, service, leadership }
    }

    /// Runs the hub, as the runtime thread's own task does.
    fn run(&self) {
        tokio::spawn(Arc::clone(&self.station).run(self.leadership.subscribe()));
    }

    /// One batch, in the applier's order.
    fn batch<T>(&mut self, fill: impl FnOnce(&mut Writer, &mut Batch) -> T) -> T {
        let mut batch = Batch::default();
        let result = fill(&mut self.writer, &mut batch);
        self.engine.write(&batch).expect("the engine takes the batch");
        self.writer.merge();
        if let Some(batch) = EventBatch::of(self.writer.take_events()) {
            self.hubs.offer(&batch);
        }
        self.writer.publish();
        result
    }

    fn txn(&mut self, change: impl FnOnce(&mut Txn<'_>)) {
        self.batch(|writer, batch| {
            let mut txn = writer.begin(batch);
            change(&mut txn);
            txn.end()
        });
    }

    fn put(&mut self, key: &str, value: &str) {
        self.txn(|txn| put(txn, key, value));
    }

    fn delete(&mut self, key: &str) {
        self.txn(|txn| drop(txn.delete_range(key.as_bytes(), b"", false).expect("the store reads")));
    }

    fn compact(&mut self, revision: i64) {
        self.batch(|writer, batch| writer.compact(revision, batch)).expect("a revision to compact at");
        while self.batch(|writer, batch| writer.sweep(batch, 100)) == Sweep::More {}
    }

    fn open(&self) -> Client {
        self.open_with(MetadataMap::new()).expect("a stream")
    }

    fn open_with(&self, metadata: MetadataMap) -> Result<Client, Status> {
        let (requests, incoming) = mpsc::unbounded_channel();
        Ok(Client { requests: Some(requests), responses: self.service.open(metadata, UnboundedReceiverStream::new(incoming))? })
    }
}

fn put(txn: &mut Txn<'_>, key: &str, value: &str) {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    txn.put(key, PutValue::New(value), 0, false).expect("the store reads");
}

struct Client {
    requests: Option<mpsc::UnboundedSender<Result<WatchRequest, Status>>>,
    responses: Responses<UnboundedReceiverStream<Result<WatchRequest, Status>>>,
}

impl Client {
    fn send(&self, request: RequestUnion) {
        let request = WatchRequest { request_union: Some(request) };
        self.requests.as_ref().expect("the client's side is open").send(Ok(request)).expect("the stream is open");
    }

    fn create(&self, create: WatchCreateRequest) {
        self.send(RequestUnion::CreateRequest(create));
    }

    fn progress(&self) {
        self.send(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    }

    /// The next response as short text, as a client decodes it.
    async fn next(&mut self) -> String {
        let response = tokio::time::timeout(Duration::from_secs(20), self.responses.next()).await.expect("a response comes");
        describe(&decode(&response.expect("the stream is open").expect("no error")))
    }

    async fn take(&mut self, count: usize) -> Vec<String> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(self.next().await);
        }
        taken
    }

    async fn end(&mut self) -> Status {
        loop {
            match tokio::time::timeout(Duration::from_secs(20), self.responses.next()).await.expect("the stream ends") {
                Some(Ok(_)) => {}
                Some(Err(status)) => return status,
                None => panic!("the stream ended without a status"),
            }
        }
    }

    /// What one poll gives, if anything.
    fn poll(&mut self, waker: &Waker) -> Option<String> {
        match std::pin::Pin::new(&mut self.responses).poll_next(&mut Context::from_waker(waker)) {
            Poll::Ready(Some(Ok(response))) => Some(describe(&decode(&response))),
            Poll::Ready(other) => panic!("the stream ended: {other:?}"),
            Poll::Pending => None,
        }
    }
}

fn decode(response: &crate::wire::hot::WatchResponse) -> WatchResponse {
    use prost::Message;
    WatchResponse::decode(&response.encode_to_vec()[..]).expect("a response that clients can decode")
}

fn describe(response: &WatchResponse) -> String {
    let mut text = format!("{}:", response.watch_id);
    for (is_set, word) in [(response.created, " created"), (response.canceled, " canceled"), (response.fragment, " fragment")] {
        text += if is_set { word } else { "" };
    }
    if response.compact_revision != 0 {
        text += &format!(" compacted {}", response.compact_revision);
    }
    if !response.cancel_reason.is_empty() {
        text += &format!(" ({})", response.cancel_reason);
    }
    for event in &response.events {
        let kv = event.kv.as_ref().expect("a key");
        let (sign, value) = if event.r#type() == EventType::Delete { ("-", None) } else { ("", Some(&kv.value)) };
        text += &format!(" {sign}{}", String::from_utf8_lossy(&kv.key));
        text += &value.map_or(String::new(), |value| format!("={}", String::from_utf8_lossy(value)));
        text += &event.prev_kv.as_ref().map_or(String::new(), |kv| format!("<{}", String::from_utf8_lossy(&kv.value)));
        text += &format!("/{}.{}.{}", kv.create_revision, kv.mod_revision, kv.version);
    }
    text + &format!(" @{}", response.header.as_ref().map_or(-1, |header| header.revision))
}

fn watch_key(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..WatchCreateRequest::default() }
}

fn watch_from(revision: i64, key: &str) -> WatchCreateRequest {
    WatchCreateRequest { start_revision: revision, ..watch_key(key) }
}

fn with_leader() -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("hasleader", "true".parse().expect("plain text"));
    metadata
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_stream_carries_the_members_header_and_its_watchers_events() {
    let mut m = Member::new(Options::default());
    m.run();
    let mut c = m.open();
    c.create(watch_key("a"));
    let created = c.responses.next().await.expect("open").expect("no error");
    assert_eq!(created.header, Some(ResponseHeader { cluster_id: 7, member_id: 8, revision: 1, raft_term: 2 }));
    m.put("a", "1");
    m.put("a", "2");
    m.delete("a");
    let seen = c.take(3).await;
    assert_eq!(seen, ["0: a=1/2.2.1 @2", "0: a=2/2.3.2 @3", "0: -a/0.4.0 @4"]);
}

#[tokio::test]
async fn a_client_that_closes_its_side_still_gets_events() {
    let mut m = Member::new(Options::default());
    m.run();
    let mut c = m.open();
    c.create(watch_key("a"));
    c.requests = None;
    assert_eq!(c.next().await, "0: created @1");
    m.put("a", "1");
    assert_eq!(c.next().await, "0: a=1/2.2.1 @2");
}

#[tokio::test]
async fn an_empty_request_is_passed_over() {
    let m = Member::new(Options::default());
    let mut c = m.open();
    c.requests.as_ref().expect("open").send(Ok(WatchRequest { request_union: None })).expect("open");
    c.create(watch_key("a"));
    assert_eq!(c.next().await, "0: created @1");
}

#[tokio::test]
async fn a_create_and_a_progress_request_are_answered_at_what_was_readable_before_them() {
    let mut m = Member::new(Options::default());
    // The hub's own task does not run here: the request itself has to bring the hub level.
    let mut c = m.open();
    m.put("b", "1");
    c.create(watch_key("a"));
    assert_eq!(c.next().await, "0: created @2");
    m.put("b", "2");
    c.progress();
    assert_eq!(c.next().await, "-1: @3");
}

#[tokio::test]
async fn history_is_replayed_from_the_store_with_previous_values() {
    let store = mvcc::Options { value_cache_bytes: 0, value_cache_record_max: 0 };
    let mut m = Member::with(Options::default(), store, anybody());
    m.run();
    m.put("a", "1");
    m.put("b", "1");
    m.put("a", "2");
    let mut c = m.open();
    c.create(WatchCreateRequest { prev_kv: true, ..watch_from(1, "a") });
    assert_eq!(c.take(2).await, ["0: created @4", "0: a=1/2.2.1 a=2<1/2.4.2 @4"]);
    m.put("a", "3");
    assert_eq!(c.next().await, "0: a=3<2/2.5.3 @5");
    m.delete("a");
    assert_eq!(c.next().await, "0: -a<3/0.6.0 @6");
}

#[tokio::test]
async fn a_start_at_the_compact_revision_sees_the_tombstone_there_and_one_below_is_cancelled() {
    let mut m = Member::new(Options::default());
    m.run();
    m.put("a", "1");
    m.put("a", "2");
    m.delete("a");
    m.compact(4);
    let mut c = m.open();
    c.create(watch_from(3, "a"));
    assert_eq!(c.take(2).await, ["0: created @4", "0: canceled compacted 4 @0"]);
    c.create(watch_from(4, "a"));
    assert_eq!(c.take(2).await, ["1: created @4", "1: -a/0.4.0 @4"]);
}

#[tokio::test]
async fn a_consumer_that_sleeps_through_much_misses_nothing() {
    let options = Options { stream_messages: 2, ring_bytes: 2000, history_bytes: 500, ..Options::default() };
    let mut m = Member::new(options);
    m.run();
    let mut c = m.open();
    c.create(WatchCreateRequest { range_end: Bytes::from_static(b"\0"), ..watch_key("a") });
    c.next().await;
    for value in 0..500 {
        m.txn(|txn| {
            put(txn, "a", &value.to_string());
            put(txn, "b", &value.to_string());
        });
        if value % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut revisions = Vec::new();
    while revisions.len() < 1000 {
        let response = decode(&c.responses.next().await.expect("open").expect("no error"));
        revisions.extend(response.events.iter().map(|event| event.kv.as_ref().expect("a key").mod_revision));
    }
    let expected: Vec<i64> = (2..502).flat_map(|revision| [revision, revision]).collect();
    assert_eq!(revisions, expected);
    c.progress();
    assert_eq!(c.next().await, "-1: @501");
}

#[tokio::test]
async fn one_wake_brings_everything_a_batch_has_for_a_stream() {
    // Polled by hand, so without the budget that a task's polls have.
    tokio::task::unconstrained(one_wake()).await;
}

async fn one_wake() {
    let mut m = Member::new(Options::default());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut clients: Vec<Client> = (0..10).map(|_| m.open()).collect();
    for client in &mut clients {
        (0..100).for_each(|_| client.create(watch_key("a")));
        assert_eq!(std::iter::from_fn(|| client.poll(&waker)).count(), 100);
    }
    wakes.0.store(0, Ordering::Relaxed);
    m.put("a", "1");
    m.station.request(|_| {});
    assert_eq!(wakes.0.load(Ordering::Relaxed), 10);
    for client in &mut clients {
        assert_eq!(std::iter::from_fn(|| client.poll(&waker)).count(), 100);
    }
    assert_eq!(m.hubs.counts().events_sent, 1000);
}

#[tokio::test]
async fn a_stream_that_requires_a_leader_is_refused_without_one_and_ends_when_it_is_lost() {
    let m = Member::new(Options::default());
    m.run();
    let mut strict = m.open_with(with_leader()).expect("there is a leader");
    let mut patient = m.open();
    m.leadership.send_replace(Leadership::Missing);
    let refused = m.open_with(with_leader()).err().expect("no leader now");
    assert_eq!((refused.code(), refused.message()), (tonic::Code::Unavailable, "etcdserver: no leader"));
    strict.create(watch_key("a"));
    assert_eq!(strict.next().await, "0: created @1");
    m.leadership.send_replace(Leadership::Lost);
    let end = strict.end().await;
    assert_eq!((end.code(), end.message()), (tonic::Code::Unavailable, "etcdserver: no leader"));
    patient.create(watch_key("a"));
    assert_eq!(patient.next().await, "0: created @1");
}

#[tokio::test]
async fn a_stopping_server_ends_streams_after_what_is_queued() {
    let mut m = Member::new(Options::default());
    let task = tokio::spawn(Arc::clone(&m.station).run(m.leadership.subscribe()));
    let mut c = m.open();
    c.create(watch_key("a"));
    assert_eq!(c.next().await, "0: created @1");
    m.put("a", "1");
    m.hubs.shutdown();
    assert_eq!(c.next().await, "0: a=1/2.2.1 @2");
    let end = c.end().await;
    assert_eq!((end.code(), end.message()), (tonic::Code::Unavailable, "etcdserver: server stopped"));
    assert!(c.responses.next().await.is_none());
    drop(c);
    task.await.expect("the station's task ends with its last stream");
}

#[tokio::test]
async fn a_refused_create_names_its_cause_in_the_long_form() {
    let permit: Permit = Arc::new(|_, key, range_end| match (key, range_end) {
        (b"a", b"") => Ok(()),
        (b"token", _) => Err(Error::InvalidAuthToken),
        (b"other", _) => Err(Error::RoleNotFound),
        _ => Err(Error::PermissionDenied),
    });
    let m = Member::with(Options::default(), mvcc::Options::default(), permit);
    let mut c = m.open();
    c.create(watch_key("a"));
    c.create(WatchCreateRequest { range_end: Bytes::from_static(b"\0"), ..watch_key("a") });
    c.create(watch_key("token"));
    c.create(watch_key("other"));
    assert_eq!(
        c.take(4).await,
        [
            "0: created @1",
            "-1: created canceled (rpc error: code = PermissionDenied desc = etcdserver: permission denied) @1",
            "-1: created canceled (rpc error: code = Unauthenticated desc = etcdserver: invalid auth token) @1",
            "-1: created canceled (rpc error: code = PermissionDenied desc = etcdserver: permission denied) @1",
        ]
    );
}

#[tokio::test]
async fn a_store_that_cannot_be_read_ends_the_streams_that_need_it() {
    let mut m = Member::new(Options::default());
    m.run();
    m.put("a", "1");
    // The record is lost behind the store's back.
    let mut damage = Batch::default();
    let mut keys = Vec::new();
    m.engine
        .scan(crate::storage::Keyspace::Key, b"", None, &mut |key, _| {
            keys.push(Bytes::copy_from_slice(key));
            std::ops::ControlFlow::Continue(())
        })
        .expect("the engine reads");
    keys.into_iter().for_each(|key| damage.delete(crate::storage::Keyspace::Key, key));
    m.engine.write(&damage).expect("the engine writes");
    let mut behind = m.open();
    let mut level = m.open();
    behind.create(watch_from(1, "a"));
    level.create(watch_key("a"));
    assert_eq!(behind.next().await, "0: created @2");
    assert_eq!(behind.end().await.code(), tonic::Code::Unavailable);
    assert_eq!(level.next().await, "0: created @2");
}

#[tokio::test]
async fn a_dropped_stream_is_closed_at_its_hub() {
    let m = Member::new(Options::default());
    let mut c = m.open();
    c.create(watch_key("a"));
    c.next().await;
    m.station.request(|_| {});
    assert_eq!((m.hubs.counts().streams, m.hubs.counts().watchers), (1, 1));
    drop(c);
    assert_eq!((m.hubs.counts().streams, m.hubs.counts().watchers), (0, 0));
}

#[tokio::test]
async fn cancel_is_answered_once_and_later_events_are_not_sent() {
    let mut m = Member::new(Options::default());
    m.run();
    let mut c = m.open();
    c.create(watch_key("a"));
    c.create(watch_key("a"));
    assert_eq!(c.take(2).await, ["0: created @1", "1: created @1"]);
    for _ in 0..2 {
        c.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 0 }));
    }
    assert_eq!(c.next().await, "0: canceled @1");
    m.put("a", "1");
    assert_eq!(c.next().await, "1: a=1/2.2.1 @2");
}

#[tokio::test]
async fn a_watcher_goes_on_in_the_store_that_a_snapshot_brought() {
    let mut behind = Member::new(Options::default());
    let mut ahead = Member::new(Options::default());
    behind.run();
    let mut c = behind.open();
    c.create(watch_key("a"));
    assert_eq!(c.next().await, "0: created @1");
    for member in [&mut behind, &mut ahead] {
        member.put("a", "1");
    }
    for value in ["2", "3"] {
        ahead.put("a", value);
    }
    behind.hubs.replace_store(&ahead.reader);
    assert_eq!(c.next().await, "0: a=1/2.2.1 @2");
    assert_eq!(c.next().await, "0: a=2/2.3.2 a=3/2.4.3 @4");
    c.create(watch_from(3, "a"));
    assert_eq!(c.take(2).await, ["1: created @4", "1: a=2/2.3.2 a=3/2.4.3 @4"]);
}

#[tokio::test]
async fn a_client_over_a_socket_gets_many_watchers_events_and_the_end() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::server::conn::auto;
    use hyper_util::service::TowerToHyperService;

    use crate::wire::etcdserverpb::watch_client::WatchClient;
    use crate::wire::service::etcd::watch_server::WatchServer;

    let mut m = Member::new(Options::default());
    m.run();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let service = TowerToHyperService::new(WatchServer::new(m.service.clone()));
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a connection");
        let served = auto::Builder::new(TokioExecutor::new()).http2_only().serve_connection(TokioIo::new(socket), service).await;
        served.expect("the connection is served");
    });
    let mut client = WatchClient::connect(format!("http://{address}")).await.expect("the server listens");
    let (requests, outgoing) = mpsc::unbounded_channel();
    let mut responses = client.watch(UnboundedReceiverStream::new(outgoing)).await.expect("a stream").into_inner();
    for _ in 0..200 {
        requests.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(watch_key("a"))) }).expect("open");
    }
    for id in 0..200 {
        assert_eq!(describe(&responses.message().await.expect("no error").expect("open")), format!("{id}: created @1"));
    }
    for revision in 2..12 {
        m.put("a", "x");
        let mut ids = Vec::new();
        for _ in 0..200 {
            let response = responses.message().await.expect("no error").expect("open");
            assert_eq!(response.events[0].kv.as_ref().expect("a key").mod_revision, revision);
            ids.push(response.watch_id);
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..200).collect::<Vec<i64>>());
    }
    m.hubs.shutdown();
    let end = responses.message().await.expect_err("the stream ends");
    assert_eq!((end.code(), end.message()), (tonic::Code::Unavailable, "etcdserver: server stopped"));
    server.abort();
}
