//! What every engine promises, tried on each of them.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::memory::{Failure, MemoryEngine};
use super::rocks::RocksEngine;
use super::{Batch, Engine, Error, Keyspace, Read};

/// An engine with the directory it lives in.
struct Bench {
    engine: Arc<dyn Engine>,
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Bench {
    Bench { engine: MemoryEngine::new(), _dir: None }
}

fn rocks() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    Bench { engine: RocksEngine::open(dir.path(), super::rocks::Options::default()).unwrap(), _dir: Some(dir) }
}

macro_rules! on_every_engine {
    ($($name:ident)*) => {
        mod in_memory { $(#[test] fn $name() { super::$name(&*super::memory().engine); })* }
        mod on_disk { $(#[test] fn $name() { super::$name(&*super::rocks().engine); })* }
    };
}

on_every_engine! {
    a_batch_becomes_visible_as_a_whole
    the_last_change_of_a_key_in_a_batch_wins
    a_key_is_found_in_its_own_keyspace_only
    a_scan_stays_inside_its_bounds
    a_scan_ends_when_told_to
    many_keys_are_answered_in_their_order
    a_view_does_not_move
    only_a_flush_makes_rows_survive
    a_flush_covers_all_keyspaces
    defragmenting_changes_no_row
    rows_that_are_loaded_are_there_in_every_keyspace
    rows_that_are_not_wanted_after_all_are_no_error
}

fn put(engine: &dyn Engine, keyspace: Keyspace, key: &'static str, value: &'static str) {
    let mut batch = Batch::default();
    batch.put(keyspace, key, value);
    engine.write(&batch).unwrap();
}

fn rows(reader: &dyn Read, keyspace: Keyspace, from: &str, to: Option<&str>) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        rows.push((String::from_utf8(key.to_vec()).unwrap(), String::from_utf8(value.to_vec()).unwrap()));
        ControlFlow::Continue(())
    };
    reader.scan(keyspace, from.as_bytes(), to.map(str::as_bytes), &mut visit).unwrap();
    rows
}

fn keys(reader: &dyn Read, keyspace: Keyspace, from: &str, to: Option<&str>) -> Vec<String> {
    rows(reader, keyspace, from, to).into_iter().map(|(key, _)| key).collect()
}

fn a_batch_becomes_visible_as_a_whole(engine: &dyn Engine) {
    put(engine, Keyspace::Key, "old", "1");
    let mut batch = Batch::default();
    batch.put(Keyspace::Key, "a", "1");
    batch.put(Keyspace::Meta, "b", "2");
    batch.delete(Keyspace::Key, "old");
    assert_eq!(batch.bytes(), 7);
    engine.write(&batch).unwrap();
    assert_eq!(engine.get(Keyspace::Key, b"a").unwrap().unwrap(), "1");
    assert_eq!(engine.get(Keyspace::Meta, b"b").unwrap().unwrap(), "2");
    assert_eq!(engine.get(Keyspace::Key, b"old").unwrap(), None);
}

fn the_last_change_of_a_key_in_a_batch_wins(engine: &dyn Engine) {
    let mut batch = Batch::default();
    batch.put(Keyspace::Key, "a", "1");
    batch.delete(Keyspace::Key, "a");
    batch.put(Keyspace::Key, "b", "1");
    batch.put(Keyspace::Key, "b", "2");
    engine.write(&batch).unwrap();
    assert_eq!(engine.get(Keyspace::Key, b"a").unwrap(), None);
    assert_eq!(engine.get(Keyspace::Key, b"b").unwrap().unwrap(), "2");
}

fn a_key_is_found_in_its_own_keyspace_only(engine: &dyn Engine) {
    let mut all = Keyspace::BUCKETS.to_vec();
    all.push(Keyspace::Index);
    for &keyspace in &all {
        put(engine, keyspace, "same", keyspace.name());
    }
    for &keyspace in &all {
        assert_eq!(rows(engine, keyspace, "", None), [("same".to_owned(), keyspace.name().to_owned())]);
    }
}

fn a_scan_stays_inside_its_bounds(engine: &dyn Engine) {
    for keyspace in [Keyspace::Key, Keyspace::Lease] {
        for key in ["a", "b", "ba", "c", "\u{7f}"] {
            put(engine, keyspace, key, "");
        }
        assert_eq!(keys(engine, keyspace, "b", Some("c")), ["b", "ba"]);
        assert_eq!(keys(engine, keyspace, "b", None), ["b", "ba", "c", "\u{7f}"]);
        assert_eq!(keys(engine, keyspace, "", Some("b")), ["a"]);
        assert!(keys(engine, keyspace, "c", Some("b")).is_empty());
        assert!(keys(engine, keyspace, "c", Some("c")).is_empty());
    }
}

fn a_scan_ends_when_told_to(engine: &dyn Engine) {
    for key in ["a", "b", "c"] {
        put(engine, Keyspace::Key, key, "");
    }
    let mut seen = 0;
    let mut visit = |_: &[u8], _: &[u8]| {
        seen += 1;
        if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    engine.scan(Keyspace::Key, b"", None, &mut visit).unwrap();
    assert_eq!(seen, 2);
}

fn many_keys_are_answered_in_their_order(engine: &dyn Engine) {
    for keyspace in [Keyspace::Key, Keyspace::Members] {
        put(engine, keyspace, "a", "1");
        put(engine, keyspace, "c", "");
        let found = engine.multi_get(keyspace, &["c", "b", "a", "a"].map(Bytes::from)).unwrap();
        assert_eq!(found, [Some(Bytes::new()), None, Some("1".into()), Some("1".into())]);
    }
    assert!(engine.multi_get(Keyspace::Key, &[]).unwrap().is_empty());
}

fn a_view_does_not_move(engine: &dyn Engine) {
    put(engine, Keyspace::Key, "a", "1");
    put(engine, Keyspace::Auth, "x", "1");
    let view = engine.view();
    put(engine, Keyspace::Key, "a", "2");
    put(engine, Keyspace::Key, "b", "1");
    put(engine, Keyspace::Auth, "x", "2");
    engine.flush().unwrap();
    assert_eq!(view.get(Keyspace::Key, b"a").unwrap().unwrap(), "1");
    assert_eq!(view.get(Keyspace::Auth, b"x").unwrap().unwrap(), "1");
    assert_eq!(view.multi_get(Keyspace::Key, &["b".into(), "a".into()]).unwrap(), [None, Some("1".into())]);
    assert_eq!(keys(&*view, Keyspace::Key, "", None), ["a"]);
    assert_eq!(engine.get(Keyspace::Key, b"a").unwrap().unwrap(), "2");
}

fn only_a_flush_makes_rows_survive(engine: &dyn Engine) {
    put(engine, Keyspace::Meta, "consistent_index", "1");
    assert_eq!(engine.get_persisted(Keyspace::Meta, b"consistent_index").unwrap(), None);
    engine.flush().unwrap();
    put(engine, Keyspace::Meta, "consistent_index", "2");
    assert_eq!(engine.get_persisted(Keyspace::Meta, b"consistent_index").unwrap().unwrap(), "1");
    assert_eq!(engine.get(Keyspace::Meta, b"consistent_index").unwrap().unwrap(), "2");
}

fn a_flush_covers_all_keyspaces(engine: &dyn Engine) {
    for keyspace in Keyspace::BUCKETS {
        put(engine, keyspace, "k", "v");
    }
    engine.flush().unwrap();
    engine.flush().unwrap();
    for keyspace in Keyspace::BUCKETS {
        assert_eq!(engine.get_persisted(keyspace, b"k").unwrap().unwrap(), "v", "{keyspace:?}");
    }
}

fn defragmenting_changes_no_row(engine: &dyn Engine) {
    for key in ["a", "b", "c"] {
        put(engine, Keyspace::Key, key, "1");
        engine.flush().unwrap();
    }
    let mut batch = Batch::default();
    batch.delete(Keyspace::Key, "b");
    engine.write(&batch).unwrap();
    engine.defragment().unwrap();
    assert_eq!(keys(engine, Keyspace::Key, "", None), ["a", "c"]);
    assert!(engine.usage().disk > 0);
}

#[test]
fn a_crash_of_the_memory_engine_goes_back_to_the_last_flush() {
    let engine = MemoryEngine::new();
    put(&*engine, Keyspace::Key, "a", "1");
    put(&*engine, Keyspace::Meta, "m", "1");
    engine.flush().unwrap();
    put(&*engine, Keyspace::Key, "a", "2");
    put(&*engine, Keyspace::Key, "b", "2");
    put(&*engine, Keyspace::Meta, "m", "2");
    engine.crash();
    assert_eq!(rows(&*engine, Keyspace::Key, "", None), [("a".to_owned(), "1".to_owned())]);
    assert_eq!(rows(&*engine, Keyspace::Meta, "", None), [("m".to_owned(), "1".to_owned())]);
}

#[test]
fn an_injected_failure_leaves_the_memory_engine_as_it_was() {
    let engine = MemoryEngine::new();
    put(&*engine, Keyspace::Key, "a", "1");
    let mut batch = Batch::default();
    batch.put(Keyspace::Key, "a", "2");
    engine.fail_writes(Some(Failure::NoSpace));
    assert!(matches!(engine.write(&batch), Err(Error::NoSpace(_))));
    assert!(matches!(engine.flush(), Err(Error::NoSpace(_))));
    engine.fail_writes(Some(Failure::Fault));
    assert!(matches!(engine.write(&batch), Err(Error::Fault(_))));
    assert_eq!(engine.get(Keyspace::Key, b"a").unwrap().unwrap(), "1");
    engine.fail_writes(None);
    engine.write(&batch).unwrap();
    assert_eq!(engine.get(Keyspace::Key, b"a").unwrap().unwrap(), "2");
}

fn rows_that_are_loaded_are_there_in_every_keyspace(engine: &dyn Engine) {
    put(engine, Keyspace::Local, "before", "1");
    // More than one table file of each family.
    let value = |number: u32| vec![number as u8; 100_000];
    let number_of = |number: u32| number.to_be_bytes();
    engine
        .load(&mut |load| {
            for number in 0..800 {
                load.put(Keyspace::Index, &number_of(number), &value(number))?;
                load.put(Keyspace::Key, &number_of(number), &value(number))?;
            }
            load.put(Keyspace::Meta, b"last", b"2")?;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    engine.flush().unwrap();
    for keyspace in [Keyspace::Index, Keyspace::Key] {
        let mut next = 0;
        let mut visit = |key: &[u8], found: &[u8]| {
            assert!(key == number_of(next) && found == value(next), "{keyspace:?} {next}");
            next += 1;
            ControlFlow::Continue(())
        };
        engine.scan(keyspace, b"", None, &mut visit).unwrap();
        assert_eq!(next, 800);
        assert_eq!(engine.get_persisted(keyspace, &number_of(799)).unwrap().unwrap(), value(799));
    }
    assert_eq!(engine.get_persisted(Keyspace::Meta, b"last").unwrap().unwrap(), "2");
    assert_eq!(engine.get(Keyspace::Local, b"before").unwrap().unwrap(), "1");
    // What comes later counts.
    let mut batch = Batch::default();
    batch.put(Keyspace::Key, number_of(5).to_vec(), "later");
    batch.delete(Keyspace::Key, number_of(6).to_vec());
    engine.write(&batch).unwrap();
    engine.flush().unwrap();
    engine.defragment().unwrap();
    assert_eq!(engine.get(Keyspace::Key, &number_of(5)).unwrap().unwrap(), "later");
    assert_eq!(engine.get(Keyspace::Key, &number_of(6)).unwrap(), None);
}

fn rows_that_are_not_wanted_after_all_are_no_error(engine: &dyn Engine) {
    engine
        .load(&mut |load| {
            load.put(Keyspace::Key, b"k", b"v")?;
            Ok(ControlFlow::Break(()))
        })
        .unwrap();
    assert_eq!(engine.get(Keyspace::Key, b"k").unwrap(), None);
    let failed = engine.load(&mut |_| Err(Error::Fault("as told".into()))).unwrap_err();
    assert!(failed.to_string().contains("as told"), "{failed}");
}
