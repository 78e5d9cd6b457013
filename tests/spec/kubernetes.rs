//! The calls of a Kubernetes API server (K8S-1..K8S-11), replayed against both: the same answers, the same watch cache.
//!
//! ```text
//!   create, update, delete ──► Txn on mod_revision ─┐
//!   list in pages ──► Range at a pinned revision    ├──► transcript, line by line the same
//!   watch cache ──► Watch with prev_kv, progress    │
//!   compactor ──► Txn on compact_rev_key, Compact ──┘
//! ```

use bytes::Bytes;
use etcd::wire::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest, TxnResponse,
    WatchCreateRequest, compare::CompareTarget, compare::TargetUnion, request_op::Request, response_op::Response,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tonic::metadata::MetadataValue;

use crate::{
    harness::{
        self, Clients, Server,
        watching::{Seen, WatchStream},
    },
    pair::op::shortened,
};

const OBJECTS: usize = 1_000;
const PAGE: i64 = 137;
const PREFIX: &str = "/registry/pods/";

/// An API server's store on one etcd, and what it was told.
struct Registry {
    clients: Clients,
    /// The newest resource version of each object.
    versions: Vec<i64>,
    transcript: Vec<String>,
}

#[tokio::test]
async fn an_api_server_is_told_the_same_by_both() {
    let seed = harness::seed("ETCD_K8S_SEED");
    let (ours, reference) = (harness::ours(), harness::reference());
    let (ours, reference) = tokio::join!(replay(&ours, seed), replay(&reference, seed));
    for (step, (ours, reference)) in ours.iter().zip(&reference).enumerate() {
        let (ours, reference) = (shortened(ours, 3_000), shortened(reference, 3_000));
        assert_eq!(ours, reference, "ETCD_K8S_SEED={seed}, line {step} of {}", OBJECTS);
    }
    assert_eq!(ours.len(), reference.len());
}

async fn replay(program: &std::path::Path, seed: u64) -> Vec<String> {
    // kubeadm asks for 5 s (K8S-8); the least that is allowed keeps the test short.
    let server = Server::start(program, &["--unsafe-no-fsync", "--watch-progress-notify-interval=100ms"]).await;
    let mut registry = Registry { clients: server.clients(), versions: vec![0; OBJECTS], transcript: Vec::new() };
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cache = registry.watch_from(1).await;

    for object in 0..OBJECTS {
        registry.create(object, &mut rng).await;
    }
    registry.create(7, &mut rng).await;
    registry.list(&mut rng).await;
    for _ in 0..OBJECTS {
        let object = rng.random_range(0..OBJECTS);
        match rng.random_range(0..10) {
            0 => registry.delete(object, false).await,
            1 => registry.delete(object, true).await,
            2 => registry.update(object, true, &mut rng).await,
            _ => registry.update(object, false, &mut rng).await,
        }
    }
    registry.count().await;
    registry.list(&mut rng).await;
    registry.note_cache(&mut cache).await;
    registry.compact_as_one_of_two().await;
    registry.resume_watches().await;
    registry.note_cache(&mut cache).await;
    registry.transcript
}

fn name(object: usize) -> Bytes {
    format!("{PREFIX}default/pod-{object:04}").into()
}

fn unchanged(key: Bytes, mod_revision: i64) -> Compare {
    Compare { key, target: CompareTarget::Mod.into(), target_union: Some(TargetUnion::ModRevision(mod_revision)), ..Default::default() }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn object_of(rng: &mut StdRng, object: usize) -> Bytes {
    let length = rng.random_range(300..3_000);
    let mut value = format!("k8s\0 object {object} ").into_bytes();
    value.extend((0..length).map(|_| rng.random::<u8>()));
    value.into()
}

/// Headers without what differs between clusters.
fn revision(header: &Option<ResponseHeader>) -> i64 {
    header.as_ref().expect("a header").revision
}

/// The resource version that the API server takes from the inner header (K8S-2).
fn inner_revision(response: &TxnResponse) -> i64 {
    match response.responses.first().and_then(|op| op.response.as_ref()) {
        Some(Response::ResponsePut(put)) => revision(&put.header),
        Some(Response::ResponseDeleteRange(delete)) => revision(&delete.header),
        other => panic!("a put or a delete was to be answered: {other:?}"),
    }
}

// === impl Registry ===

impl Registry {
    fn note(&mut self, line: String) {
        self.transcript.push(line);
    }

    async fn txn(&mut self, what: &str, request: TxnRequest) -> TxnResponse {
        let mut response = self.clients.kv.txn(request).await.expect("a txn is answered").into_inner();
        let at = revision(&response.header);
        response.header = None;
        self.note(format!("{what} at {at}: {response:?}"));
        response
    }

    async fn create(&mut self, object: usize, rng: &mut StdRng) {
        let value = object_of(rng, object);
        let put = PutRequest { key: name(object), value, ..Default::default() };
        let success = vec![op(Request::RequestPut(put))];
        let request = TxnRequest { compare: vec![unchanged(name(object), 0)], success, failure: Vec::new() };
        let response = self.txn("create", request).await;
        if response.succeeded {
            self.versions[object] = inner_revision(&response);
        }
    }

    /// A stale update compares with a version that was, and reads what is (K8S-3).
    async fn update(&mut self, object: usize, is_stale: bool, rng: &mut StdRng) {
        let version = if is_stale { self.versions[object] - 1 } else { self.versions[object] };
        let put = PutRequest { key: name(object), value: object_of(rng, object), ..Default::default() };
        let get = RangeRequest { key: name(object), ..Default::default() };
        let request = TxnRequest {
            compare: vec![unchanged(name(object), version)],
            success: vec![op(Request::RequestPut(put))],
            failure: vec![op(Request::RequestRange(get))],
        };
        let response = self.txn("update", request).await;
        if response.succeeded {
            self.versions[object] = inner_revision(&response);
        }
    }

    async fn delete(&mut self, object: usize, is_stale: bool) {
        let version = if is_stale { self.versions[object] - 1 } else { self.versions[object] };
        let delete = DeleteRangeRequest { key: name(object), ..Default::default() };
        let get = RangeRequest { key: name(object), ..Default::default() };
        let request = TxnRequest {
            compare: vec![unchanged(name(object), version)],
            success: vec![op(Request::RequestDeleteRange(delete))],
            failure: vec![op(Request::RequestRange(get))],
        };
        let response = self.txn("delete", request).await;
        if response.succeeded {
            self.versions[object] = 0;
        }
    }

    /// A list in pages (K8S-4): every page at the first one's revision, while writes go on.
    async fn list(&mut self, rng: &mut StdRng) {
        let end = crate::differential::prefix_end(PREFIX.as_bytes());
        let mut request = RangeRequest { key: PREFIX.into(), range_end: end, limit: PAGE, ..Default::default() };
        loop {
            let page = self.clients.kv.range(request.clone()).await.expect("a page").into_inner();
            let at = revision(&page.header);
            let (count, more) = (page.count, page.more);
            self.note(format!("page at {at}: {count} left, more {more}: {:?}", page.kvs));
            assert!(page.kvs.iter().all(|kv| request.revision == 0 || kv.mod_revision <= request.revision));
            if !more {
                break;
            }
            if request.revision == 0 {
                request.revision = at;
            }
            let mut next = page.kvs.last().expect("a full page").key.to_vec();
            next.push(0);
            request.key = next.into();
            let object = rng.random_range(0..OBJECTS);
            self.update(object, false, rng).await;
        }
    }

    async fn count(&mut self) {
        let end = crate::differential::prefix_end(PREFIX.as_bytes());
        let request = RangeRequest { key: PREFIX.into(), range_end: end, count_only: true, ..Default::default() };
        let answer = self.clients.kv.range(request).await.expect("a count").into_inner();
        assert!(answer.kvs.is_empty());
        self.note(format!("count at {}: {}, more {}", revision(&answer.header), answer.count, answer.more));
    }

    async fn watch_from(&mut self, start_revision: i64) -> WatchStream {
        let mut stream = WatchStream::open_with(&self.clients.watch, |request| {
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        });
        let range_end = crate::differential::prefix_end(PREFIX.as_bytes());
        let request = WatchCreateRequest {
            key: PREFIX.into(),
            range_end,
            start_revision,
            prev_kv: true,
            progress_notify: true,
            ..Default::default()
        };
        let id = stream.create(request).await;
        assert_eq!(id, 0, "the first watcher of a stream");
        stream
    }

    /// A consistent read from the cache (K8S-8): learn the revision, ask for progress until the cache is there. Then the periodic
    /// progress must come as well.
    async fn note_cache(&mut self, cache: &mut WatchStream) {
        let read = RangeRequest { key: PREFIX.into(), count_only: true, ..Default::default() };
        let now = revision(&self.clients.kv.range(read).await.expect("a read").into_inner().header);
        cache.reach(now).await;
        let periodic = cache.next_progress_of(0).await;
        assert_eq!(periodic, now, "nothing was written meanwhile");
        let seen = cache.take_seen().remove(&0).unwrap_or_default();
        for seen in &seen {
            let Seen::Event(event) = seen else { continue };
            let kv = event.kv.as_ref().expect("a key");
            let is_create = kv.create_revision == kv.mod_revision;
            assert!(is_create || event.prev_kv.is_some(), "an event breaks the watch cache (K8S-7): {event:?}");
        }
        self.note(format!("watched up to {now}: {} events", seen.len()));
        self.transcript.extend(seen.into_iter().map(|seen| format!("{seen:?}")));
    }

    /// Two API servers want to compact (K8S-11): the version of one key decides which of them does.
    async fn compact_as_one_of_two(&mut self) {
        let key = Bytes::from("compact_rev_key");
        let mut versions = [0, 0];
        for round in 0..3 {
            for version in &mut versions {
                let is_next = Compare {
                    key: key.clone(),
                    target: CompareTarget::Version.into(),
                    target_union: Some(TargetUnion::Version(*version)),
                    ..Default::default()
                };
                let put = PutRequest { key: key.clone(), value: format!("{round}").into(), ..Default::default() };
                let get = RangeRequest { key: key.clone(), ..Default::default() };
                let request = TxnRequest {
                    compare: vec![is_next],
                    success: vec![op(Request::RequestPut(put))],
                    failure: vec![op(Request::RequestRange(get))],
                };
                let response = self.txn("compaction race", request).await;
                if response.succeeded {
                    *version += 1;
                    let at = inner_revision(&response) - 20;
                    for _ in 0..2 {
                        let compacted = self.clients.kv.compact(CompactionRequest { revision: at, physical: false }).await;
                        let told = compacted.map(|response| revision(&response.into_inner().header));
                        self.note(format!("compact {at}: {:?}", told.map_err(|status| (status.code(), status.message().to_owned()))));
                    }
                } else if let Some(Response::ResponseRange(read)) = response.responses.into_iter().next().and_then(|op| op.response) {
                    *version = read.kvs[0].version;
                }
            }
        }
    }

    /// Watches that resume: after the compaction, at it, and before it; and a page at a revision that is gone (K8S-6).
    async fn resume_watches(&mut self) {
        let read = RangeRequest { key: PREFIX.into(), count_only: true, ..Default::default() };
        let now = revision(&self.clients.kv.range(read.clone()).await.expect("a read").into_inner().header);
        for start in [now - 30, now - 10, now + 1] {
            let mut stream = self.watch_from(start).await;
            if start <= now {
                stream.reach(now).await;
            }
            let seen = stream.take_seen();
            self.note(format!("watch from {start} of {now}: {seen:?}"));
        }
        let gone = self.clients.kv.range(RangeRequest { revision: now - 40, ..read }).await.expect_err("compacted");
        self.note(format!("a page of the past: {:?} {}", gone.code(), gone.message()));
    }
}
