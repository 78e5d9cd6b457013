//! The log as a whole: order, replay, crashes.

use super::*;
use crate::mvcc::Sweep;
use crate::wire::etcdserverpb::{InternalRaftRequest, RequestHeader};

/// A log with something of everything, refusals among it.
pub(super) fn long_log() -> Bench {
    let mut bench = Bench::new();
    bench.apply_entry(bench.entry(EntryKind::Normal, Bytes::new())).unwrap();
    let member = raftpb::ConfChange { node_id: Some(LOCAL), context: Some(bytes(r#"{"id":17,"peerURLs":["u"]}"#)), ..Default::default() };
    bench.apply_entry(bench.entry(EntryKind::ConfChange, member.encode_to_vec().into())).unwrap();
    for round in 0..20 {
        let lease = 100 + round;
        bench.grant(lease, 60);
        for key in ["q", "p", "r"] {
            bench.put_leased(&format!("{key}{}", round % 3), lease);
        }
        bench.put("plain", &round.to_string());
        bench.txn(then(vec![put_op("t", "1"), delete_op("p0"), txn_op(then(vec![put_op("u", "2")]))]));
        bench.error(Action::Put(PutRequest { lease: 9999, ..put("never", "1") }));
        bench.delete("t", "v");
        if round % 5 == 4 {
            let revision = bench.revision() - 7;
            bench.reply(compaction(revision)).unwrap();
            bench.alarm(AlarmAction::Activate, round as u64, AlarmType::Nospace);
            bench.error(Action::Put(put("never", "1")));
            bench.alarm(AlarmAction::Deactivate, round as u64, AlarmType::Nospace);
        }
        if round % 2 == 1 {
            bench.reply(revoke(lease)).unwrap();
        }
    }
    bench
}

#[test]
fn replaying_a_log_leaves_the_same_rows_however_it_is_cut_into_batches() {
    let first = long_log();
    for size in [1, 3, 7, first.log.len()] {
        let mut again = Bench::new();
        for entries in first.log.chunks(size) {
            again.apply_batch(entries).unwrap();
        }
        assert_eq!(again.digest(), first.digest(), "in batches of {size}");
        assert_eq!(again.revision(), first.revision());
        assert_eq!(again.machine.leases().list(), first.machine.leases().list());
    }
}

#[test]
fn answers_do_not_depend_on_how_the_log_is_cut_into_batches() {
    let first = long_log();
    let (mut one, mut all) = (Bench::new(), Bench::new());
    let by_one: Vec<_> = first.log.iter().map(|entry| one.apply_batch(std::slice::from_ref(entry)).unwrap().remove(0)).collect();
    assert_eq!(all.apply_batch(&first.log).unwrap(), by_one);
}

#[test]
fn a_crash_at_any_entry_ends_in_the_same_rows() {
    let first = long_log();
    for (flushed, crashed) in [(0, 10), (3, 40), (50, 51), (90, 150)] {
        let mut bench = Bench::new();
        for (at, entry) in first.log.iter().take(crashed).enumerate() {
            if at == flushed {
                bench.engine.flush().unwrap();
            }
            bench.apply_entry(entry.clone()).unwrap();
        }
        bench.engine.crash();
        let mut bench = bench.restart();
        let applied = bench.machine.applied().0 as usize;
        assert_eq!(applied, flushed);
        bench.apply_batch(&first.log[applied..]).unwrap();
        assert_eq!(bench.digest(), first.digest(), "flushed at {flushed}, crashed at {crashed}");
    }
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let first = long_log();
    let mut bench = Bench::new();
    let (before, after) = first.log.split_at(first.log.len() / 2);
    bench.apply_batch(before).unwrap();
    let mut bench = bench.restart();
    bench.apply_batch(after).unwrap();
    assert_eq!(bench.digest(), first.digest());
    assert_eq!(bench.machine.applied(), (first.log.len() as u64, 3));
}

#[test]
fn a_swept_store_restarts_at_the_same_revision() {
    let mut bench = Bench::new();
    bench.put("a", "1");
    bench.delete("a", "");
    bench.put("b", "1");
    bench.delete("b", "");
    bench.reply(compaction(5)).unwrap();
    loop {
        let mut batch = Batch::default();
        let sweep = bench.machine.writer().sweep(&mut batch, 1);
        bench.engine.write(&batch).unwrap();
        bench.machine.writer().merge();
        if sweep != Sweep::More {
            break;
        }
    }
    let bench = bench.restart();
    assert_eq!((bench.revision(), bench.machine.reader().compact_revision()), (5, 5));
}

#[test]
fn an_empty_entry_moves_the_index_and_nothing_else() {
    let mut bench = Bench::new();
    let entry = bench.entry(EntryKind::Normal, Bytes::new());
    assert_eq!(bench.apply_entry(entry).unwrap(), Effects::default());
    assert_eq!(bench.restart().machine.applied(), (1, 3));
}

#[test]
fn an_entry_out_of_order_stops_the_member() {
    let mut bench = Bench::new();
    let skipped = Entry { index: 2, ..bench.entry(EntryKind::Normal, Bytes::new()) };
    assert!(matches!(bench.apply_entry(skipped), Err(Fault::Entry { index: 2, .. })));
    let first = bench.entry(EntryKind::Normal, Bytes::new());
    bench.apply_entry(first.clone()).unwrap();
    assert!(matches!(bench.apply_entry(first), Err(Fault::Entry { index: 1, .. })));
}

#[test]
fn an_entry_without_sense_stops_the_member() {
    let mut bench = Bench::new();
    let garbage = bench.entry(EntryKind::Normal, Bytes::from_static(b"\xff\xff"));
    assert!(matches!(bench.apply_entry(garbage), Err(Fault::Entry { index: 1, .. })));
}

#[test]
fn an_auth_entry_is_refused_and_the_log_goes_on() {
    let mut bench = Bench::new();
    let request = InternalRaftRequest {
        header: Some(RequestHeader { id: 5, ..Default::default() }),
        auth_enable: Some(Default::default()),
        ..Default::default()
    };
    let entry = bench.entry(EntryKind::Normal, request.encode_to_vec().into());
    let effects = bench.apply_entry(entry).unwrap();
    assert_eq!((effects.request_id, effects.reply), (5, Some(Err(Error::NotCapable))));
    bench.put("a", "1");
    assert_eq!(bench.machine.applied().0, 2);
}

#[test]
fn a_store_with_authentication_enabled_is_refused() {
    let engine = MemoryEngine::new();
    let mut batch = Batch::default();
    batch.put(Keyspace::Auth, "authEnabled", &b"\x01"[..]);
    engine.write(&batch).unwrap();
    assert!(matches!(StateMachine::open(engine, options(), &mut |_| {}), Err(OpenError::AuthEnabled)));
}

#[test]
fn an_engine_that_fails_stops_the_member_at_the_write() {
    use crate::storage::memory::Failure;
    let mut bench = Bench::new();
    bench.engine.fail_writes(Some(Failure::Fault));
    let command = Command { id: 1, caller: Caller::default(), action: Action::Put(put("a", "1")) };
    let entry = bench.entry(EntryKind::Normal, command.encode().unwrap());
    assert!(matches!(bench.apply_entry(entry), Err(Fault::Storage(storage::Error::Fault(_)))));
    assert_eq!(bench.revision(), 1, "nothing is readable before its batch is written");
}
