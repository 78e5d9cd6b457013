//! The worked example of a fresh store, step by step: revisions, generations, watches, compaction, leases, a restart.
//!
//! Each step is held to the numbers of the table (etcd-semantics 1.1) and, whole, to the reference's answer.

use etcd::wire::{
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, request_op::Request,
    },
    mvccpb::event::EventType,
};

use crate::{
    harness::watching::{Seen, WatchStream},
    pair::{
        Answer, Pair,
        op::{LeaseRef, Op},
    },
};

fn range(key: &'static str, revision: i64) -> RangeRequest {
    RangeRequest { key: key.into(), revision, ..Default::default() }
}

fn put(key: &'static str, value: &'static str, lease: i64) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), lease, ..Default::default() }
}

fn delete(key: &'static str) -> Op {
    Op::DeleteRange(DeleteRangeRequest { key: key.into(), ..Default::default() })
}

fn compact(revision: i64) -> Op {
    Op::Compact(CompactionRequest { revision, physical: false })
}

fn has(answer: &Answer, revision: i64, parts: &[&str]) {
    assert_eq!(answer.revision, Some(revision), "{}", answer.text);
    for part in parts {
        assert!(answer.text.contains(part), "{part} is not in {}", answer.text);
    }
}

fn refuses(answer: &Answer, text: &str) {
    assert!(!answer.is_ok && answer.text.contains(text), "{}", answer.text);
}

#[tokio::test]
async fn the_worked_example_of_a_fresh_store_holds() {
    let mut pair = Pair::start(&[]).await;
    let mut live = [WatchStream::open(&pair.ours.clients.watch), WatchStream::open(&pair.reference.clients.watch)];
    for stream in &mut live {
        stream.raw = Some(Vec::new());
        let everything = WatchCreateRequest { key: b"\0"[..].into(), range_end: b"\0"[..].into(), ..Default::default() };
        stream.create(everything).await;
    }

    keys_and_generations(&mut pair).await;
    compaction_and_watches(&mut pair).await;
    leases(&mut pair).await;
    check_live_events(&mut live).await;

    // 14: a restart changes nothing.
    tokio::join!(pair.ours.restart(), pair.reference.restart());
    has(&pair.same(Op::Range(range("a", 0))).await, 9, &["create_revision: 6, mod_revision: 6, version: 1"]);
    refuses(&pair.same(Op::Range(range("a", 4))).await, "required revision has been compacted");
    has(&pair.same(Op::Range(range("a", 5))).await, 9, &["count: 0"]);
    pair.conclude();
}

/// Steps 1 to 7.
async fn keys_and_generations(pair: &mut Pair) {
    has(&pair.same(Op::Range(range("a", 0))).await, 1, &["count: 0"]);
    has(&pair.same(Op::Put(put("a", "1", 0))).await, 2, &[]);
    has(&pair.same(Op::Range(range("a", 0))).await, 2, &["create_revision: 2, mod_revision: 2, version: 1"]);
    has(&pair.same(Op::Put(put("a", "1", 0))).await, 3, &[]);
    has(&pair.same(Op::Range(range("a", 0))).await, 3, &["create_revision: 2, mod_revision: 3, version: 2"]);

    let ops = [
        Request::RequestRange(range("a", 0)),
        Request::RequestPut(put("b", "1", 0)),
        Request::RequestRange(range("b", 0)),
        Request::RequestPut(put("c", "1", 0)),
    ];
    let success = ops.into_iter().map(|op| RequestOp { request: Some(op) }).collect();
    let answer = pair.same(Op::Txn(TxnRequest { success, ..Default::default() })).await;
    has(&answer, 4, &["create_revision: 4, mod_revision: 4, version: 1"]);
    let inner: Vec<_> = answer.text.match_indices("cluster_id: 0, member_id: 0, revision: ").collect();
    let revisions: Vec<_> = inner.iter().map(|(at, label)| &answer.text[at + label.len()..=at + label.len()]).collect();
    assert_eq!(revisions, ["3", "4", "4", "4"], "headers of the operations (TXN-11): {}", answer.text);

    has(&pair.same(delete("zz")).await, 4, &["deleted: 0"]);
    has(&pair.same(delete("a")).await, 5, &["deleted: 1"]);
    has(&pair.same(Op::Put(put("a", "2", 0))).await, 6, &[]);
    has(&pair.same(Op::Range(range("a", 0))).await, 6, &["create_revision: 6, mod_revision: 6, version: 1"]);
}

/// Steps 8 to 11.
async fn compaction_and_watches(pair: &mut Pair) {
    has(&pair.same(compact(5)).await, 6, &[]);
    has(&pair.same(Op::Range(range("a", 5))).await, 6, &["count: 0"]);
    refuses(&pair.same(Op::Range(range("a", 4))).await, "required revision has been compacted");
    refuses(&pair.same(Op::Range(range("a", 7))).await, "required revision is a future revision");

    let mut seen = Vec::new();
    for side in [&pair.ours, &pair.reference] {
        let mut stream = WatchStream::open(&side.clients.watch);
        let from = |start_revision| WatchCreateRequest { key: "a".into(), start_revision, prev_kv: true, ..Default::default() };
        let readable = stream.create(from(5)).await;
        stream.until(readable, |seen| seen.len() == 3).await;
        let compacted = stream.create(from(4)).await;
        stream.until(compacted, |seen| seen.len() == 2).await;
        let mut seen_here = stream.take_seen();
        let history = seen_here.remove(&readable).expect("events");
        let [Seen::Created { revision: 6 }, Seen::Event(deleted), Seen::Event(written)] = &history[..] else { panic!("{history:?}") };
        assert_eq!((deleted.r#type(), deleted.kv.as_ref().map(|kv| kv.mod_revision)), (EventType::Delete, Some(5)));
        assert_eq!((written.r#type(), written.kv.as_ref().map(|kv| kv.mod_revision)), (EventType::Put, Some(6)));
        assert!(deleted.prev_kv.is_none(), "the revision before it is compacted (EVT-3)");
        let canceled = seen_here.remove(&compacted).expect("a cancel");
        let expected = Seen::Canceled { revision: 0, compact_revision: 5, reason: String::new() };
        assert_eq!(canceled, [Seen::Created { revision: 6 }, expected]);
        seen.push((history, canceled));
    }
    assert_eq!(seen[0], seen[1], "ours and the reference's");

    refuses(&pair.same(compact(5)).await, "required revision has been compacted");
    refuses(&pair.same(compact(7)).await, "required revision is a future revision");
}

/// Steps 12 and 13.
async fn leases(pair: &mut Pair) {
    has(&pair.same(Op::Grant(LeaseRef::Chosen(7), 600)).await, 6, &["ttl: 600"]);
    has(&pair.same(Op::Put(put("y", "", 7))).await, 7, &[]);
    has(&pair.same(Op::Put(put("x", "", 7))).await, 8, &[]);
    has(&pair.same(Op::TimeToLive(LeaseRef::Chosen(7), true)).await, 8, &["granted_ttl: 600", r#"keys: [b"x", b"y"]"#]);
    has(&pair.same(Op::Revoke(LeaseRef::Chosen(7))).await, 9, &[]);
}

/// A watcher that was there all along: one response for each write, with its revision (WAT-18), in sub order (LSE-15).
async fn check_live_events(live: &mut [WatchStream]) {
    let mut told = Vec::new();
    for stream in live {
        stream.until(0, |seen| matches!(seen.last(), Some(Seen::Event(event)) if event.kv.as_ref().is_some_and(|kv| kv.key == "y" && kv.mod_revision == 9))).await;
        let responses = stream.raw.take().expect("responses were kept");
        let shape: Vec<_> = responses[1..]
            .iter()
            .map(|response| (response.header.as_ref().map_or(0, |header| header.revision), response.events.len()))
            .collect();
        assert_eq!(shape, [(2, 1), (3, 1), (4, 2), (5, 1), (6, 1), (7, 1), (8, 1), (9, 2)]);
        told.push(responses.into_iter().map(|response| response.events).collect::<Vec<_>>());
    }
    assert_eq!(told[0], told[1], "ours and the reference's");
    let last: Vec<_> = told[0].last().expect("responses").iter().map(|event| event.kv.as_ref().map(|kv| kv.key.clone())).collect();
    assert_eq!(last, [Some("x".into()), Some("y".into())], "keys of a lease go in order");
}
