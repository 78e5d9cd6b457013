//! Compactions, sweeps and what a restart finds of them.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::engine::{MapEngine, Store, decode};
use crate::mvcc::{OpenError, Options, PutValue, Revision, Sweep, open};
use crate::storage::keyspace::{local, meta};
use crate::storage::{Batch, Engine, Keyspace, Read};
use crate::wire::error::Error;

fn compact_row(s: &Store, key: &[u8]) -> Option<i64> {
    s.engine.get(Keyspace::Meta, key).unwrap().map(|row| Revision::decode(&row).unwrap().0.main)
}

fn kept(s: &Store) -> Vec<(i64, bool)> {
    let rows = s.rows(Keyspace::Key);
    rows.iter().map(|(key, _)| Revision::decode(key).map(|(revision, gone)| (revision.main, gone)).unwrap()).collect()
}

/// a: 2 3 5t 7, b: 4 6t
fn two_keys() -> Store {
    let mut s = Store::new();
    s.put("a", "1");
    s.put("a", "2");
    s.put("b", "1");
    s.delete("a", "");
    s.delete("b", "");
    s.put("a", "3");
    s
}

#[test]
fn a_tombstone_at_the_compact_revision_is_kept_until_the_next_compaction() {
    let mut s = two_keys();
    s.compact(6).unwrap();
    s.sweep();
    assert_eq!(kept(&s), [(6, true), (7, false)]);
    let history = s.reader.history(6, 7, usize::MAX, &|_| true).unwrap();
    assert_eq!(history.events.iter().map(|e| (e.revision.main, e.is_delete)).collect::<Vec<_>>(), [(6, true), (7, false)]);
    s.compact(7).unwrap();
    s.sweep();
    assert_eq!(kept(&s), [(7, false)]);
}

#[test]
fn a_sweep_cut_short_is_resumed_after_a_restart() {
    for slice in 1..5 {
        let mut s = two_keys();
        s.compact(6).unwrap();
        assert_eq!(s.batch(|writer, batch| writer.sweep(batch, slice)), Sweep::More);
        assert_eq!((compact_row(&s, meta::SCHEDULED_COMPACT), compact_row(&s, meta::FINISHED_COMPACT)), (Some(6), None));
        let mut s = s.restart();
        assert_eq!((s.reader.revision(), s.reader.compact_revision()), (7, 6));
        assert_eq!(s.get("a", 5), Err(Error::Compacted));
        assert_eq!(s.get("a", 6), Ok(None));
        assert_eq!(s.get("b", 6), Ok(None), "a cut sweep brings nothing back");
        s.sweep();
        assert_eq!(kept(&s), [(6, true), (7, false)]);
        assert_eq!(compact_row(&s, meta::FINISHED_COMPACT), Some(6));
        let mut s = s.restart();
        assert_eq!(s.batch(|writer, batch| writer.sweep(batch, 10)), Sweep::Idle);
    }
}

#[test]
fn nothing_is_swept_before_readers_are_refused() {
    let mut s = two_keys();
    let swept = s.batch(|writer, batch| {
        writer.compact(6, batch).unwrap();
        writer.sweep(batch, 10)
    });
    assert_eq!((swept, kept(&s).len()), (Sweep::Idle, 6));
    assert_eq!(s.batch(|writer, batch| writer.sweep(batch, 10)), Sweep::Finished(6));
}

#[test]
fn the_revision_never_goes_back_when_all_records_are_gone() {
    // Issue 17780: members of older versions remove a tombstone at the compact revision, too.
    for row in [meta::SCHEDULED_COMPACT, meta::FINISHED_COMPACT] {
        let mut s = Store::new();
        s.put("a", "1");
        assert_eq!(s.delete("a", ""), (1, 3));
        s.compact(3).unwrap();
        let mut batch = Batch::default();
        for (key, _) in s.rows(Keyspace::Key) {
            batch.delete(Keyspace::Key, key.clone());
            batch.delete(Keyspace::Index, key.slice(..17));
        }
        batch.delete(Keyspace::Meta, meta::SCHEDULED_COMPACT);
        batch.put(Keyspace::Meta, row, Revision::first_of(3).encode().to_vec());
        s.engine.write(&batch).unwrap();
        let mut s = s.restart();
        assert_eq!((s.reader.revision(), s.reader.compact_revision()), (3, 3));
        assert_eq!(s.put("a", "2"), 4);
    }
}

#[test]
fn the_zeroth_revision_can_be_compacted_once() {
    let mut s = Store::new();
    assert_eq!(s.reader.compact_revision(), -1);
    assert_eq!((s.compact(0), s.compact(0), s.compact(1), s.compact(2)), (Ok(()), Err(Error::Compacted), Ok(()), Err(Error::FutureRev)));
    assert_eq!(s.restart().reader.compact_revision(), 1);
}

#[test]
fn a_key_deleted_and_put_in_one_revision_outlives_a_compaction_there() {
    // etcd loses the record here and dies at the next read of the key (TXN-6b, seen with 3.7.2).
    let mut s = Store::new();
    s.put("a", "old");
    s.txn(|txn| {
        txn.delete_range(b"a", b"\0", false).unwrap();
        txn.put("a".into(), PutValue::New("new".into()), 0, false).unwrap();
    });
    s.compact(3).unwrap();
    s.sweep();
    let mut s = s.restart();
    s.sweep();
    assert_eq!(s.get("a", 3).unwrap().unwrap().value, "new");
}

#[test]
fn leases_are_found_again_after_a_restart() {
    let mut s = Store::new();
    s.put_leased("a", "", 7);
    s.put_leased("b", "", 7);
    s.put_leased("c", "", 8);
    s.put_leased("b", "", 0);
    s.delete("c", "");
    let s = s.restart();
    let mut found = Vec::new();
    s.reader.for_each_leased(&mut |key, lease| found.push((key.to_vec(), lease)));
    assert_eq!(found, [(b"a".to_vec(), 7)]);
}

#[test]
fn sizes_grow_with_records_and_fall_as_etcds_do() {
    let mut s = Store::new();
    let value = "v".repeat(4096);
    while s.reader.sizes().db_size < 53_248 {
        s.put("k", &value);
    }
    let full = s.reader.sizes();
    s.compact(s.reader.revision()).unwrap();
    s.sweep();
    let swept = s.reader.sizes();
    assert_eq!(swept.db_size, full.db_size);
    assert!(swept.db_size_in_use <= full.db_size_in_use / 2, "{swept:?}");
    let mut s = s.restart();
    assert_eq!(s.reader.sizes(), swept);
    s.batch(|writer, batch| writer.defragmented(batch));
    let after = s.reader.sizes();
    assert!(after.db_size < 32_768 && after.db_size_in_use == swept.db_size_in_use, "{after:?}");
    assert_eq!(s.restart().reader.sizes(), after);
}

#[test]
fn a_store_in_an_unknown_layout_is_refused() {
    let refuse = |engine: std::sync::Arc<MapEngine>| matches!(open(engine, Options::default(), &mut |_| {}), Err(OpenError::Layout(_)));
    let mut s = Store::new();
    s.put("a", "1");
    let mut batch = Batch::default();
    batch.put(Keyspace::Local, local::LAYOUT, "2");
    s.engine.write(&batch).unwrap();
    assert!(refuse(s.engine));

    let bare = std::sync::Arc::new(MapEngine::default());
    let mut batch = Batch::default();
    batch.put(Keyspace::Key, Revision::new(2, 0).encode().to_vec(), "");
    bare.write(&batch).unwrap();
    assert!(refuse(bare));
}

#[test]
fn inside_a_transaction_the_rules_of_revisions_are_stricter() {
    use crate::wire::etcdserverpb::RangeRequest;
    let mut s = Store::new();
    s.put("a", "1");
    let at = |revision| RangeRequest { key: "a".into(), revision, ..Default::default() };
    assert!(s.txn(|txn| txn.check_range(&at(-1)).is_ok() && txn.range(&at(-1)).is_ok()).0);
    s.compact(2).unwrap();
    s.txn(|txn| {
        txn.put("b".into(), PutValue::New(Bytes::new()), 0, false).unwrap();
        assert_eq!((txn.begin_revision(), txn.revision()), (2, 3));
        let answers = [-1, 0, 1, 2, 3].map(|revision| txn.check_range(&at(revision)));
        assert_eq!(answers, [Err(Error::Compacted), Ok(()), Err(Error::Compacted), Ok(()), Err(Error::FutureRev)]);
        assert!(txn.range(&at(3)).is_err());
        let mut seen = Vec::new();
        txn.for_each(b"a", b"\0", &mut |key, current| {
            seen.push((key.to_vec(), current.modified.main));
            ControlFlow::Break(())
        });
        assert_eq!(seen, [(b"a".to_vec(), 2)]);
        assert_eq!(decode(&txn.value(b"b").unwrap().unwrap()).create_revision, 3);
    });
}
