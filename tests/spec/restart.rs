//! What must be there again after a stop, a kill -9, and both one after the other: every acknowledged write, the header's revision,
//! the compact revision, leases with their keys, and the hash over all of it.

use bytes::Bytes;
use etcd::wire::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest,
    LeaseTimeToLiveRequest, MemberListRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, StatusRequest, TxnRequest,
    request_op::Request,
};
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::harness::{self, Clients, Server};

/// All that a client can ask about the store.
#[derive(Debug, PartialEq)]
struct Store {
    revision: i64,
    everything: RangeResponse,
    past: RangeResponse,
    hash: (u32, i64, i64),
    leases: Vec<(i64, i64, Vec<Bytes>)>,
    members: String,
    ids: (u64, u64),
    term: u64,
}

fn all(revision: i64) -> RangeRequest {
    RangeRequest { key: b"\0"[..].into(), range_end: b"\0"[..].into(), revision, ..Default::default() }
}

fn put(key: String, value: &'static str, lease: i64) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), lease, ..Default::default() }
}

/// Everything but the term must be equal, and the term must not go back.
fn is_same(before: &Store, after: &Store) {
    assert!(after.term >= before.term, "the term went back: {} after {}", after.term, before.term);
    let (Store { term: _, everything: left, .. }, Store { term: _, everything: right, .. }) = (before, after);
    assert_eq!(left.kvs, right.kvs);
    assert_eq!(before.past.kvs, after.past.kvs);
    assert_eq!((before.revision, before.hash, &before.leases), (after.revision, after.hash, &after.leases));
    assert_eq!((&before.members, before.ids), (&after.members, after.ids));
}

async fn look(clients: &mut Clients, past: i64) -> Store {
    let everything = clients.kv.range(all(0)).await.expect("a read").into_inner();
    let past = clients.kv.range(all(past)).await.expect("a read of the past").into_inner();
    let header = everything.header.expect("a header");
    let hash = clients.maintenance.hash_kv(HashKvRequest { revision: header.revision }).await.expect("a hash").into_inner();
    let mut leases = Vec::new();
    for lease in clients.lease.lease_leases(LeaseLeasesRequest {}).await.expect("leases").into_inner().leases {
        let request = LeaseTimeToLiveRequest { id: lease.id, keys: true };
        let mut life = clients.lease.lease_time_to_live(request).await.expect("a lease").into_inner();
        life.keys.sort();
        leases.push((life.id, life.granted_ttl, life.keys));
    }
    leases.sort();
    let members = clients.cluster.member_list(MemberListRequest { linearizable: true }).await.expect("members").into_inner().members;
    let status = clients.maintenance.status(StatusRequest {}).await.expect("status").into_inner();
    Store {
        revision: header.revision,
        everything,
        past,
        hash: (hash.hash, hash.hash_revision, hash.compact_revision),
        leases,
        members: format!("{members:?}"),
        ids: (header.cluster_id, header.member_id),
        term: status.raft_term,
    }
}

/// Puts, deletes, transactions and leases; compacted at the returned revision.
async fn furnish(clients: &mut Clients) -> i64 {
    clients.lease.lease_grant(LeaseGrantRequest { id: 7, ttl: 6_000 }).await.expect("a grant");
    clients.lease.lease_grant(LeaseGrantRequest { id: -7, ttl: 7_000 }).await.expect("a grant");
    clients.lease.lease_grant(LeaseGrantRequest { id: 0, ttl: 8_000 }).await.expect("a grant");
    for n in 0..60 {
        let lease = [0, 7, -7][n % 3];
        clients.kv.put(put(format!("k/{:02}", n % 20), "some value", lease)).await.expect("a put");
        if n % 7 == 0 {
            let delete = DeleteRangeRequest { key: format!("k/{:02}", n % 20).into(), ..Default::default() };
            clients.kv.delete_range(delete).await.expect("a delete");
        }
        if n % 11 == 0 {
            let ops =
                [format!("t/{n}/a"), format!("t/{n}/b")].map(|key| RequestOp { request: Some(Request::RequestPut(put(key, "t", 0))) });
            clients.kv.txn(TxnRequest { success: ops.to_vec(), ..Default::default() }).await.expect("a txn");
        }
    }
    clients.kv.compact(CompactionRequest { revision: 40, physical: false }).await.expect("a compaction");
    40
}

#[tokio::test]
async fn a_stop_and_a_kill_lose_nothing() {
    let mut server = Server::start(&harness::ours(), &[]).await;
    let mut clients = server.clients();
    let compacted = furnish(&mut clients).await;
    let mut before = look(&mut clients, compacted).await;
    for how in ["kill", "stop", "kill", "kill"] {
        if how == "kill" {
            server.kill();
        } else {
            server.stop().await;
        }
        server.start_again().await;
        clients = server.clients();
        let after = look(&mut clients, compacted).await;
        is_same(&before, &after);
        let refused = clients.kv.range(all(compacted - 1)).await.expect_err("the past before the compaction is gone");
        assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
        let requests = tokio_stream::iter([LeaseKeepAliveRequest { id: -7 }]);
        let mut kept = clients.lease.lease_keep_alive(requests).await.expect("a stream").into_inner();
        assert_eq!(kept.next().await.expect("an answer").expect("a lease").ttl, 7_000, "the lease lives after a {how}");

        // The next write takes the next revision.
        let written = clients.kv.put(put("next".into(), how, 7)).await.expect("a put").into_inner();
        assert_eq!(written.header.map(|header| header.revision), Some(before.revision + 1), "after a {how}");
        before = look(&mut clients, compacted).await;
    }
}

/// The newest records may all be tombstones that a compaction took away; their revisions stay used (REV-14).
#[tokio::test]
async fn a_revision_is_not_used_again_when_its_records_are_gone() {
    let mut server = Server::start(&harness::ours(), &[]).await;
    let mut clients = server.clients();
    for n in 0..5 {
        clients.kv.put(put(format!("{n}"), "", 0)).await.expect("a put");
    }
    let delete = DeleteRangeRequest { key: b"\0"[..].into(), range_end: b"\0"[..].into(), ..Default::default() };
    let deleted = clients.kv.delete_range(delete).await.expect("a delete").into_inner();
    let last = deleted.header.expect("a header").revision;
    clients.kv.compact(CompactionRequest { revision: last, physical: true }).await.expect("a compaction");
    for is_kill in [true, false] {
        if is_kill {
            server.kill();
        } else {
            server.stop().await;
        }
        server.start_again().await;
        clients = server.clients();
        let read = clients.kv.range(all(0)).await.expect("a read").into_inner();
        assert_eq!((read.header.map(|header| header.revision), read.count), (Some(last), 0));
        clients.kv.range(all(last)).await.expect("the compact revision is readable");
        let refused = clients.kv.compact(CompactionRequest { revision: last, physical: false }).await.expect_err("compacted already");
        assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    }
    let written = clients.kv.put(put("a".into(), "", 0)).await.expect("a put").into_inner();
    assert_eq!(written.header.map(|header| header.revision), Some(last + 1));
}

/// HSH-2. The reference hashes by the way what a compaction reads, and remembers that until it restarts; then it tells what ours tells
/// from the start, since ours reads nothing that it keeps.
#[tokio::test]
async fn a_hash_at_a_compacted_revision_is_the_one_that_the_reference_tells_after_a_restart() {
    let mut told = Vec::new();
    for program in [harness::ours(), harness::reference()] {
        let mut server = Server::start(&program, &[]).await;
        let mut clients = server.clients();
        for key in ["a", "b", "a", "c", "b"] {
            clients.kv.put(put(key.into(), "1", 0)).await.expect("a put");
        }
        clients.kv.delete_range(DeleteRangeRequest { key: "c".into(), ..Default::default() }).await.expect("a delete");
        for revision in [4, 7] {
            clients.kv.compact(CompactionRequest { revision, physical: true }).await.expect("a compaction");
        }
        let mut hashes = Vec::new();
        for _ in 0..2 {
            let hash = clients.maintenance.hash_kv(HashKvRequest { revision: 7 }).await.expect("a hash").into_inner();
            hashes.push((hash.hash, hash.compact_revision, hash.hash_revision));
            server.stop().await;
            server.start_again().await;
            clients = server.clients();
        }
        told.push(hashes);
    }
    let [ours, reference] = &told[..] else { panic!("two servers") };
    assert_eq!(ours[0], ours[1], "a restart changes nothing");
    assert_eq!(ours[1], reference[1]);
    assert_eq!(ours[0].1, 7);
}
