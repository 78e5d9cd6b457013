//! What a client may not ask: each request is refused with the reference's code and text, the server lives, the store is as before.

use bytes::Bytes;
use etcd::wire::etcdserverpb::{
    AlarmRequest, CompactionRequest, Compare, DeleteRangeRequest, DowngradeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    WatchCreateRequest, alarm_request::AlarmAction, compare::TargetUnion, request_op::Request,
};

use crate::{
    harness::{
        self,
        watching::{NO_WATCHER, WatchStream},
    },
    pair::{
        Pair,
        op::{LeaseRef, Op},
    },
};

/// Ten keys at revisions 2..=11, compacted at 5, one lease with a key.
pub async fn furnished(flags: &[&str]) -> Pair {
    let mut pair = Pair::start(flags).await;
    for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        pair.same(Op::Put(put(key, "1"))).await;
    }
    pair.same(Op::Compact(CompactionRequest { revision: 5, physical: true })).await;
    pair.same(Op::Grant(LeaseRef::Chosen(7), 600)).await;
    pair.same(Op::Put(PutRequest { lease: 7, ..put("leased", "1") })).await;
    pair
}

/// Nothing moved: the header's revision and the hash are those of before, on both.
pub async fn is_untouched(pair: &mut Pair, work: impl AsyncFnOnce(&mut Pair)) {
    let before = pair.same(Op::HashKv(0)).await;
    work(pair).await;
    let after = pair.same(Op::HashKv(0)).await;
    assert_eq!(before, after, "the store is another than before");
    pair.conclude();
}

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..Default::default() }
}

fn range(key: &'static str) -> RangeRequest {
    RangeRequest { key: key.into(), ..Default::default() }
}

fn delete(key: &'static str, range_end: &'static str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: true }
}

fn op(request: impl Into<Request>) -> RequestOp {
    RequestOp { request: Some(request.into()) }
}

fn puts(keys: &[&'static str]) -> Vec<RequestOp> {
    keys.iter().map(|key| op(Request::RequestPut(put(key, "2")))).collect()
}

fn then(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success, ..Default::default() }
}

fn nested(txn: TxnRequest) -> RequestOp {
    op(Request::RequestTxn(txn))
}

fn compare(key: &'static str) -> Compare {
    Compare { key: key.into(), target_union: Some(TargetUnion::Version(1)), ..Default::default() }
}

#[tokio::test]
async fn keys_options_and_enums_are_checked() {
    let mut pair = furnished(&[]).await;
    is_untouched(&mut pair, async |pair| {
        pair.check("range, no key", Op::Range(range(""))).await;
        pair.check("range, no key but an end", Op::Range(RangeRequest { range_end: "z".into(), ..range("") })).await;
        pair.check("range stream, no key", Op::RangeStream(range(""))).await;
        pair.check("put, no key", Op::Put(put("", "1"))).await;
        pair.check("delete, no key", Op::DeleteRange(delete("", "z"))).await;
        pair.check("compare, no key", Op::Txn(TxnRequest { compare: vec![compare("")], ..Default::default() })).await;
        pair.check("put in a txn, no key", Op::Txn(then(puts(&[""])))).await;
        pair.check("operation without a kind", Op::Txn(then(vec![RequestOp { request: None }]))).await;
        pair.check("value and ignore_value", Op::Put(PutRequest { ignore_value: true, ..put("a", "1") })).await;
        pair.check("lease and ignore_lease", Op::Put(PutRequest { ignore_lease: true, lease: 7, ..put("a", "1") })).await;
        pair.check("ignore_value of no key", Op::Put(PutRequest { ignore_value: true, ..put("nothing", "") })).await;
        pair.check("ignore_lease of no key", Op::Put(PutRequest { ignore_lease: true, ..put("nothing", "1") })).await;
        pair.check("ignore_value of no key, lease unknown", Op::Put(PutRequest { ignore_value: true, lease: 99, ..put("nothing", "") }))
            .await;
        pair.check("unknown lease", Op::Put(PutRequest { lease: 99, ..put("a", "1") })).await;
        for number in [-1, 3, 9, i32::MAX, i32::MIN] {
            pair.check(&format!("sort order {number}"), Op::Range(RangeRequest { sort_order: number, ..range("a") })).await;
            pair.check(&format!("sort order {number}, no key"), Op::Range(RangeRequest { sort_order: number, ..range("") })).await;
            pair.check(&format!("sort order {number}, stream"), Op::RangeStream(RangeRequest { sort_order: number, ..range("a") })).await;
            let txn = then(vec![op(Request::RequestRange(RangeRequest { sort_order: number, ..range("a") }))]);
            pair.check(&format!("sort order {number}, txn"), Op::Txn(txn)).await;
        }
        for number in [-1, 5, 9, i32::MAX] {
            pair.check(&format!("sort target {number}"), Op::Range(RangeRequest { sort_target: number, ..range("a") })).await;
            let odd = |compare: Compare| Op::Txn(TxnRequest { compare: vec![compare], ..Default::default() });
            pair.check(&format!("compare result {number}"), odd(Compare { result: number, ..compare("a") })).await;
            pair.check(&format!("compare target {number}"), odd(Compare { target: number, ..compare("a") })).await;
            if !harness::is_reference_itself() {
                // The reference dies of an unknown alarm action, and of an unknown alarm that is raised; ours has to refuse and live.
                for request in [
                    AlarmRequest { action: number, ..Default::default() },
                    AlarmRequest { action: AlarmAction::Activate.into(), alarm: number, ..Default::default() },
                ] {
                    assert!(!pair.ours.perform(&Op::Alarm(request)).await.is_ok, "{request:?} is carried out");
                    assert!(pair.ours.server.is_alive(), "{request:?}");
                }
            }
            pair.check(&format!("downgrade action {number}"), Op::Downgrade(DowngradeRequest { action: number, version: "3.6".into() }))
                .await;
        }
        pair.check("alarm of an unknown type", Op::Alarm(AlarmRequest { alarm: 9, ..Default::default() })).await;
        pair.check("disarm what is not armed", Op::Alarm(AlarmRequest { action: 2, member_id: 5, alarm: 1 })).await;
        for stream_only in [RangeRequest { sort_order: 1, ..range("a") }, RangeRequest { min_mod_revision: 1, ..range("a") }] {
            pair.check("a range stream sorts and filters not", Op::RangeStream(stream_only)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn revisions_outside_of_history_are_refused() {
    let mut pair = furnished(&[]).await;
    is_untouched(&mut pair, async |pair| {
        for revision in [i64::MIN, -1, 1, 4, 5, 12, 13, 14, i64::MAX] {
            let at = RangeRequest { revision, ..range("a") };
            pair.check(&format!("range at {revision}"), Op::Range(at.clone())).await;
            pair.check(&format!("range stream at {revision}"), Op::RangeStream(at.clone())).await;
            pair.check(&format!("count at {revision}"), Op::Range(RangeRequest { count_only: true, ..at.clone() })).await;
            pair.check(&format!("txn at {revision}"), Op::Txn(then(vec![op(Request::RequestRange(at.clone()))]))).await;
            let inner = nested(then(vec![op(Request::RequestRange(at))]));
            pair.check(&format!("nested txn at {revision}"), Op::Txn(then(vec![inner]))).await;
            // Quirk not kept: HSH-2, of a revision that was compacted at the reference remembers the hash that its own compaction
            // took, with the compaction before it as compact_revision, until it restarts. Ours always hashes what is there.
            if revision != 5 {
                pair.check(&format!("hash at {revision}"), Op::HashKv(revision)).await;
            }
        }
        for revision in [i64::MIN, -1, 0, 4, 5, 13, i64::MAX] {
            pair.check(&format!("compact at {revision}"), Op::Compact(CompactionRequest { revision, physical: false })).await;
        }
        // A write beside a range that cannot be answered is not applied (TXN-13), nor is the next revision readable inside (TXN-14).
        for revision in [4, 13] {
            let mut ops = puts(&["a"]);
            ops.push(op(Request::RequestRange(RangeRequest { revision, ..range("a") })));
            pair.check(&format!("put, then range at {revision}"), Op::Txn(then(ops))).await;
        }
        for limit in [i64::MIN, -1, i64::MAX] {
            let all = RangeRequest { limit, range_end: b"\0"[..].into(), ..range("a") };
            pair.check(&format!("limit {limit}"), Op::Range(all.clone())).await;
            pair.check(&format!("limit {limit}, stream"), Op::RangeStream(all.clone())).await;
            pair.check(&format!("limit {limit}, sorted"), Op::Range(RangeRequest { sort_order: 2, ..all })).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_transaction_over_its_limits_is_refused() {
    let mut pair = furnished(&[]).await;
    let many = |count: usize| vec![op(Request::RequestRange(range("a"))); count];
    is_untouched(&mut pair, async |pair| {
        pair.check("129 compares", Op::Txn(TxnRequest { compare: vec![compare("a"); 129], ..Default::default() })).await;
        pair.check("129 then", Op::Txn(then(many(129)))).await;
        pair.check("129 else", Op::Txn(TxnRequest { failure: many(129), ..Default::default() })).await;
        pair.check("128 of each", Op::Txn(TxnRequest { compare: vec![compare("a"); 128], success: many(128), failure: many(128) })).await;
        // What a nested transaction may hold is what the largest list around it leaves (TXN-2).
        for (outer, inner) in [(1, 127), (1, 128), (64, 64), (64, 65), (127, 1), (127, 2)] {
            let mut ops = many(outer - 1);
            ops.push(nested(then(many(inner))));
            pair.check(&format!("{inner} nested in {outer}"), Op::Txn(then(ops))).await;
        }
        let mut deep = then(many(1));
        for depth in 1..=40 {
            deep = then(vec![nested(deep)]);
            pair.check(&format!("nested {depth} deep"), Op::Txn(deep.clone())).await;
        }
        pair.check("129 and an empty key", Op::Txn(TxnRequest { compare: vec![compare("")], success: many(129), ..Default::default() }))
            .await;
        pair.check(
            "an empty key and a duplicate",
            Op::Txn(TxnRequest { compare: vec![compare("")], success: puts(&["a", "a"]), ..Default::default() }),
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_transaction_puts_no_key_twice() {
    let mut pair = furnished(&[]).await;
    let put_and = |key: &'static str, other: DeleteRangeRequest| {
        let (first, second) = (puts(&[key]).remove(0), op(Request::RequestDeleteRange(other)));
        [vec![first.clone(), second.clone()], vec![second, first]]
    };
    let either = |success: &[&'static str], failure: &[&'static str]| TxnRequest {
        compare: vec![compare("a")],
        success: puts(success),
        failure: puts(failure),
    };
    let refused = [
        ("two puts", then(puts(&["a", "a"]))),
        ("two puts in else", TxnRequest { failure: puts(&["a", "a"]), ..Default::default() }),
        ("put and delete", then(put_and("a", delete("a", ""))[0].clone())),
        ("delete and put", then(put_and("a", delete("a", ""))[1].clone())),
        ("put and delete of a range", then(put_and("b", delete("a", "c"))[0].clone())),
        ("delete of a range and put", then(put_and("b", delete("a", "c"))[1].clone())),
        ("put and nested put", then([puts(&["a"]), vec![nested(then(puts(&["a"])))]].concat())),
        ("nested put and put", then([vec![nested(then(puts(&["a"])))], puts(&["a"])].concat())),
        ("put in two nested", then(vec![nested(then(puts(&["a"]))), nested(then(puts(&["a"])))])),
        (
            "put and nested delete",
            then([puts(&["a"]), vec![nested(then(vec![op(Request::RequestDeleteRange(delete("a", "")))]))]].concat()),
        ),
        ("put in a nested else and after it", then([vec![nested(either(&[], &["a"]))], puts(&["a"])].concat())),
        ("two levels down", then([puts(&["a"]), vec![nested(then(vec![nested(then(puts(&["a"])))]))]].concat())),
    ];
    is_untouched(&mut pair, async |pair| {
        for (what, txn) in refused {
            let answer = pair.same(Op::Txn(txn)).await;
            assert!(answer.text.contains("duplicate key given in txn request"), "{what}: {}", answer.text);
        }
    })
    .await;
    let accepted = [
        ("both branches of one txn", either(&["a"], &["a"])),
        ("both branches of one nested txn (TXN-6)", then(vec![nested(either(&["a"], &["a"]))])),
        ("a put at the end of a deleted range", then(put_and("c", delete("a", "c"))[0].clone())),
        (
            "overlapping deletes",
            then(vec![op(Request::RequestDeleteRange(delete("a", "c"))), op(Request::RequestDeleteRange(delete("b", "d")))]),
        ),
        ("a delete from a key on, then a put (TXN-6b)", then(put_and("x", delete("e", "\0"))[1].clone())),
        ("a put, then a delete from a key on (TXN-6b)", then(put_and("x", delete("e", "\0"))[0].clone())),
    ];
    for (what, txn) in accepted {
        pair.check(what, Op::Txn(txn)).await;
        pair.check(&format!("all after {what}"), Op::Range(RangeRequest { range_end: b"\0"[..].into(), ..range("a") })).await;
        pair.check(&format!("hash after {what}"), Op::HashKv(0)).await;
    }
    pair.conclude();
}

#[tokio::test]
async fn leases_with_odd_ids_and_lives_are_answered_alike() {
    let mut pair = furnished(&[]).await;
    is_untouched(&mut pair, async |pair| {
        for id in [1, -1, i64::MAX, i64::MIN, 7] {
            let lease = LeaseRef::Chosen(id);
            pair.check(&format!("grant {id}"), Op::Grant(lease, 600)).await;
            pair.check(&format!("grant {id} again"), Op::Grant(lease, 600)).await;
            pair.check(&format!("keep {id} alive"), Op::KeepAlive(vec![lease, lease])).await;
            pair.check(&format!("life of {id}"), Op::TimeToLive(lease, true)).await;
        }
        pair.check("all leases", Op::Leases).await;
        for id in [1, -1, i64::MAX, i64::MIN] {
            pair.check(&format!("revoke {id}"), Op::Revoke(LeaseRef::Chosen(id))).await;
            pair.check(&format!("revoke {id} again"), Op::Revoke(LeaseRef::Chosen(id))).await;
        }
        for id in [0, 5, -5] {
            let lease = LeaseRef::Chosen(id);
            pair.check(&format!("revoke {id}, unknown"), Op::Revoke(lease)).await;
            pair.check(&format!("keep {id} alive, unknown"), Op::KeepAlive(vec![lease, LeaseRef::Chosen(7), lease])).await;
            pair.check(&format!("life of {id}, unknown"), Op::TimeToLive(lease, true)).await;
        }
        for ttl in [0, -1, i64::MIN, 1, 2, 9_000_000_000, 9_000_000_001, i64::MAX] {
            let lease = LeaseRef::Chosen(1000);
            pair.check(&format!("grant for {ttl} s"), Op::Grant(lease, ttl)).await;
            pair.check(&format!("revoke what was granted for {ttl} s"), Op::Revoke(lease)).await;
        }
        pair.check("grant of a generated id, too long", Op::Grant(LeaseRef::Chosen(1), 9_000_000_001)).await;
        pair.check("keep nothing alive", Op::KeepAlive(Vec::new())).await;
    })
    .await;
}

#[tokio::test]
async fn requests_over_the_size_limits_are_refused() {
    // The limit for the command in the log, and that for the gRPC message, half a MiB above it (PUT-7).
    for (flags, limit) in [(&[][..], 1_572_864), (&["--max-request-bytes=10000"][..], 10_000)] {
        let mut pair = furnished(flags).await;
        let sized = |length: usize| PutRequest { key: "big".into(), value: Bytes::from(vec![0; length]), ..Default::default() };
        is_untouched(&mut pair, async |pair| {
            for length in [limit, limit + 1, limit + 500_000, limit + 524_288, limit + 4_000_000] {
                pair.check(&format!("put of {length}"), Op::Put(sized(length))).await;
                let txn = then(vec![op(Request::RequestPut(sized(length)))]);
                pair.check(&format!("txn of {length}"), Op::Txn(txn)).await;
                // Reads do not pass through the log: only the message limit holds for them.
                let key = Bytes::from(vec![b'k'; length]);
                pair.check(&format!("range of {length}"), Op::Range(RangeRequest { key, ..Default::default() })).await;
                let key = Bytes::from(vec![b'k'; length]);
                pair.check(&format!("delete of {length}"), Op::DeleteRange(DeleteRangeRequest { key, ..Default::default() })).await;
            }
        })
        .await;
        // Just below, with room for what wraps it.
        pair.check("put just below", Op::Put(sized(limit - 100))).await;
        pair.check("and its size", Op::Range(range("big"))).await;
        pair.conclude();
    }
}

#[tokio::test]
async fn member_changes_that_make_no_sense_are_refused() {
    let mut pair = furnished(&[]).await;
    let urls = |urls: &[&str]| urls.iter().map(ToString::to_string).collect::<Vec<_>>();
    is_untouched(&mut pair, async |pair| {
        pair.check("remove an unknown member", Op::MemberRemove(5)).await;
        pair.check("remove the last member", Op::MemberRemove(0)).await;
        pair.check("update an unknown member", Op::MemberUpdate(5, urls(&["http://127.0.0.1:1"]))).await;
        pair.check("promote an unknown member", Op::MemberPromote(5)).await;
        pair.check("promote a voter", Op::MemberPromote(0)).await;
        for bad in [&["127.0.0.1:1"][..], &["http://127.0.0.1"], &["ftp://127.0.0.1:1"], &["http://127.0.0.1:1/path"], &[""], &[]] {
            pair.check(&format!("add {bad:?}"), Op::MemberAdd(urls(bad))).await;
        }
        pair.check("add a member with our URL", Op::MemberAdd(urls(&["PEER"]))).await;
        pair.check("move the lead to an unknown member", Op::MoveLeader(5)).await;
        pair.check("move the lead to the leader", Op::MoveLeader(0)).await;
        pair.check("members after all", Op::Members { linearizable: true }).await;
    })
    .await;
    pair.conclude();
    if harness::is_reference_itself() {
        return;
    }
    // Findings: what the reference would carry out, ours does not do yet, and says so.
    let version = || "3.6.0".to_owned();
    for op in [
        Op::MemberAdd(urls(&["http://127.0.0.1:1"])),
        Op::MemberUpdate(0, urls(&["http://127.0.0.1"])),
        Op::Downgrade(DowngradeRequest { action: 1, version: version() }),
    ] {
        let answer = pair.ours.perform(&op).await;
        assert!(answer.text.starts_with("Unimplemented"), "{op:?}: {}", answer.text);
    }
    pair.check("members after all of this", Op::Members { linearizable: true }).await;
    pair.conclude();
}

#[tokio::test]
async fn downgrades_that_make_no_sense_are_refused() {
    let mut pair = furnished(&[]).await;
    is_untouched(&mut pair, async |pair| {
        for version in ["", "x", "3", "3.7", "3.8.0", "3.5.0", "4.0.0", "3.6.0-x"] {
            pair.check(&format!("downgrade to {version}"), Op::Downgrade(DowngradeRequest { action: 0, version: version.into() })).await;
        }
        pair.check("cancel no downgrade", Op::Downgrade(DowngradeRequest { action: 2, version: String::new() })).await;
    })
    .await;
}

#[tokio::test]
async fn watches_that_cannot_be_are_answered_alike() {
    let mut pair = furnished(&[]).await;
    is_untouched(&mut pair, async |pair| {
        let (ours, reference) = tokio::join!(odd_watches(&pair.ours.clients.watch), odd_watches(&pair.reference.clients.watch));
        for ((what, ours), (_, reference)) in ours.iter().zip(&reference) {
            pair.compare(what, ours, reference);
        }
        assert_eq!(ours.len(), reference.len());
    })
    .await;
}

/// One stream is asked for all of this, and answers an ordinary watcher at the end as at the beginning.
async fn odd_watches(client: &etcd::wire::etcdserverpb::watch_client::WatchClient<tonic::transport::Channel>) -> Vec<(String, String)> {
    let mut stream = WatchStream::open(client);
    let mut told = Vec::new();
    let watch = |key: &'static str| WatchCreateRequest { key: key.into(), ..Default::default() };
    let from = |start_revision| WatchCreateRequest { start_revision, ..watch("a") };
    let creates = [
        ("an ordinary one", watch("a")),
        ("the id 5", WatchCreateRequest { watch_id: 5, ..watch("a") }),
        ("the id 5 again", WatchCreateRequest { watch_id: 5, ..watch("a") }),
        ("a negative id", WatchCreateRequest { watch_id: -7, ..watch("a") }),
        ("the id of no watcher", WatchCreateRequest { watch_id: -9, ..watch("a") }),
        ("no key", watch("")),
        ("an empty interval", WatchCreateRequest { range_end: "a".into(), ..watch("a") }),
        ("a reversed interval", WatchCreateRequest { range_end: "a".into(), ..watch("b") }),
        ("no key up to nothing", WatchCreateRequest { range_end: b"\0"[..].into(), ..watch("") }),
        ("a start below zero", from(-1)),
        ("the lowest start", from(i64::MIN)),
        ("a compacted start", from(4)),
        ("the first start that is left", from(5)),
        ("a start to come", from(1000)),
        ("the last start", from(i64::MAX)),
        ("an unknown filter", WatchCreateRequest { filters: vec![9, -1], ..watch("a") }),
        ("the same filter twice", WatchCreateRequest { filters: vec![0, 0, 1, 1], ..watch("a") }),
    ];
    for (what, request) in creates {
        let is_compacted = request.start_revision == 4;
        let id = stream.create(request).await;
        if is_compacted {
            stream.until(id, |seen| seen.len() == 2).await;
        }
        told.push((what.to_owned(), format!("{id}: {:?}", stream.take_seen())));
        if id != NO_WATCHER && stream.is_live(id) && id != 5 {
            stream.cancel(id).await;
            told.push((format!("cancel of {what}"), format!("{:?}", stream.take_seen())));
        }
    }
    stream.send_nothing().await;
    for id in [99, -1, i64::MAX, i64::MIN] {
        stream.send_cancel(id).await;
    }
    let id = stream.create(watch("a")).await;
    told.push(("an ordinary one at the end".into(), format!("{id}: {:?}", stream.take_seen())));
    told
}
