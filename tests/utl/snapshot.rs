//! Snapshot files as a client saves them: of a real server, with a history that has something of everything.

use std::path::PathBuf;

use etcd::wire::etcdserverpb::RequestOp;
use etcd::wire::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, PutRequest, SnapshotRequest, TxnRequest, request_op::Request,
};

use crate::harness::{Clients, Server, reference};

/// A file, and the server that it was taken of.
pub struct Snapshot {
    pub server: Server,
    pub file: PathBuf,
    /// The newest revision.
    pub revision: i64,
    _dir: tempfile::TempDir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// A server that nobody has written to.
    Empty,
    /// Versions, deleted keys, keys put anew, a lease, a transaction.
    Busy,
    /// The same, compacted in the middle, and at a deletion.
    Compacted,
    /// All keys are deleted and compacted.
    Gone,
}

impl History {
    pub const ALL: [History; 4] = [History::Empty, History::Busy, History::Compacted, History::Gone];
}

pub async fn take(history: History) -> Snapshot {
    let server = Server::start(&reference(), &[]).await;
    let mut clients = server.clients();
    let revision = write(&mut clients, history).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.db");
    save(&mut clients, &file).await;
    Snapshot { server, file, revision, _dir: dir }
}

async fn write(clients: &mut Clients, history: History) -> i64 {
    if history == History::Empty {
        return 1;
    }
    for round in 0..20 {
        for key in 0..30 {
            put(clients, &format!("key-{key}"), &format!("value-{round}-{key}"), 0).await;
        }
        delete(clients, &format!("key-{}", round % 30)).await;
    }
    let lease = clients.lease.lease_grant(LeaseGrantRequest { ttl: 3600, id: 0 }).await.unwrap().into_inner().id;
    put(clients, "leased", "x", lease).await;
    let op = |key: &str| Request::RequestPut(PutRequest { key: key.to_owned().into(), value: "t".into(), ..Default::default() });
    let success = ["t1", "t2"].map(|key| RequestOp { request: Some(op(key)) }).to_vec();
    clients.kv.txn(TxnRequest { success, ..Default::default() }).await.unwrap();
    let newest = delete(clients, "key-7").await;
    match history {
        History::Compacted => {
            compact(clients, 300).await;
            compact(clients, newest).await;
            put(clients, "after", "x", 0).await
        }
        History::Gone => {
            let all = DeleteRangeRequest { key: vec![0].into(), range_end: vec![0].into(), prev_kv: false };
            let newest = clients.kv.delete_range(all).await.unwrap().into_inner().header.unwrap().revision;
            compact(clients, newest).await;
            newest
        }
        _ => newest,
    }
}

async fn put(clients: &mut Clients, key: &str, value: &str, lease: i64) -> i64 {
    let put = PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), lease, ..Default::default() };
    clients.kv.put(put).await.unwrap().into_inner().header.unwrap().revision
}

async fn delete(clients: &mut Clients, key: &str) -> i64 {
    let delete = DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() };
    clients.kv.delete_range(delete).await.unwrap().into_inner().header.unwrap().revision
}

async fn compact(clients: &mut Clients, revision: i64) {
    clients.kv.compact(CompactionRequest { revision, physical: true }).await.unwrap();
}

async fn save(clients: &mut Clients, file: &std::path::Path) {
    let mut stream = clients.maintenance.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        bytes.extend_from_slice(&part.blob);
    }
    std::fs::write(file, bytes).unwrap();
}
