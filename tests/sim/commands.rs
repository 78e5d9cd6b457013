//! What clients ask for, and what they must be told.

use std::time::Duration;

use bytes::Bytes;
use etcd::state_machine::{Action, Reply, Response};
use etcd::wire::error::Error;
use etcd::wire::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use etcd::wire::etcdserverpb::request_op::Request;
use etcd::wire::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RequestOp, ResponseHeader,
    TxnRequest,
};
use etcd::wire::mvccpb::KeyValue;
use prost::Message as _;
use rand::Rng;
use rand::rngs::StdRng;

use crate::model::Answer;

const KEYS: [&str; 6] = ["a", "b", "c", "ca", "d", "e"];

/// Leases up to this id are granted again and again; nobody is promised anything of them.
pub const CONTESTED_MAX: i64 = 2;

/// A command under way.
#[derive(Clone, Debug)]
pub struct Pending {
    pub issued: Duration,
    /// The newest revision that anybody had been told of before.
    pub floor: i64,
}

pub fn key(rng: &mut StdRng) -> Bytes {
    Bytes::from_static(KEYS[rng.random_range(0..KEYS.len())].as_bytes())
}

/// A value that no other command writes; some are longer than a sector of the disk.
fn value(id: u64, rng: &mut StdRng) -> Bytes {
    let len = if rng.random_bool(0.1) { rng.random_range(300..1500) } else { rng.random_range(0..40) };
    format!("{id}-{}", "x".repeat(len)).into()
}

fn put(id: u64, lease: i64, rng: &mut StdRng) -> PutRequest {
    PutRequest { key: key(rng), value: value(id, rng), lease, prev_kv: rng.random_bool(0.3), ..PutRequest::default() }
}

fn delete(rng: &mut StdRng) -> DeleteRangeRequest {
    let range_end = if rng.random_bool(0.3) { key(rng) } else { Bytes::new() };
    DeleteRangeRequest { key: key(rng), range_end, prev_kv: true }
}

/// Compares one key, then changes two others at most.
fn txn(id: u64, revision: i64, rng: &mut StdRng) -> TxnRequest {
    let target = if rng.random_bool(0.5) {
        (CompareTarget::Mod, TargetUnion::ModRevision(rng.random_range(0..=revision)))
    } else {
        (CompareTarget::Version, TargetUnion::Version(rng.random_range(0..3)))
    };
    let compare = Compare {
        result: CompareResult::Equal as i32,
        target: target.0 as i32,
        key: key(rng),
        target_union: Some(target.1),
        ..Compare::default()
    };
    let mut branch = |text: &str| {
        let put = PutRequest { key: key(rng), value: format!("{id}-{text}").into(), ..PutRequest::default() };
        let gone = DeleteRangeRequest { key: key(rng), ..DeleteRangeRequest::default() };
        let mut requests = Vec::new();
        // Two changes of one key are not taken by the API.
        if rng.random_bool(0.6) && gone.key != put.key {
            requests.push(Request::RequestDeleteRange(gone));
        }
        if rng.random_bool(0.8) {
            requests.push(Request::RequestPut(put));
        }
        requests.into_iter().map(|request| RequestOp { request: Some(request) }).collect()
    };
    TxnRequest { compare: vec![compare], success: branch("yes"), failure: branch("no") }
}

/// One of the leases that were asked for, or one that never was.
fn lease(leases: &[i64], rng: &mut StdRng) -> i64 {
    if leases.is_empty() || rng.random_bool(0.1) { 999 } else { leases[rng.random_range(0..leases.len())] }
}

pub fn action(id: u64, revision: i64, compacted: i64, leases: &[i64], rng: &mut StdRng) -> Action {
    match rng.random_range(0..20) {
        0..=5 => Action::Put(put(id, 0, rng)),
        6..=8 => Action::Put(put(id, lease(leases, rng), rng)),
        9 | 10 => Action::DeleteRange(delete(rng)),
        11..=13 => Action::Txn(txn(id, revision, rng)),
        14 | 15 => Action::LeaseGrant(LeaseGrantRequest { ttl: rng.random_range(1..=5), id: id as i64 }),
        // Asked for by several clients, some of them too late.
        16 => Action::LeaseGrant(LeaseGrantRequest { ttl: rng.random_range(1..=5), id: rng.random_range(1..=CONTESTED_MAX) }),
        17 => Action::LeaseRevoke(LeaseRevokeRequest { id: lease(leases, rng) }),
        _ => Action::Compaction(CompactionRequest { revision: rng.random_range(compacted.max(0)..=revision + 1), physical: false }),
    }
}

fn revision_of(header: &Option<ResponseHeader>) -> i64 {
    header.as_ref().map_or(0, |header| header.revision)
}

fn kv(record: &Bytes) -> KeyValue {
    KeyValue::decode(&record[..]).expect("a record decodes")
}

/// A reply in the words of the model.
pub fn answer_of(reply: &Reply) -> Result<Answer, Error> {
    Ok(match reply.as_ref().map_err(|error| *error)? {
        Response::Put(put) => Answer::Put { revision: revision_of(&put.header), before: put.prev_kv.as_ref().map(kv) },
        Response::DeleteRange(delete) => {
            let before: Vec<KeyValue> = delete.prev_kvs.iter().map(kv).collect();
            assert_eq!(delete.deleted, before.len() as i64, "as many previous values as deletes");
            Answer::Delete { revision: revision_of(&delete.header), before }
        }
        Response::Txn(txn) => Answer::Txn { revision: revision_of(&txn.header), succeeded: txn.succeeded },
        Response::Compaction(compaction) => Answer::Compaction { revision: revision_of(&compaction.header) },
        Response::LeaseGrant(grant) => Answer::Grant { revision: revision_of(&grant.header), id: grant.id, ttl: grant.ttl },
        Response::LeaseRevoke(revoke) => Answer::Revoke { revision: revision_of(&revoke.header) },
        _ => Answer::Other,
    })
}
