//! Scans in slices: what they cost, what they see while writes and compactions go on.

use super::engine::{Store, kvs};
use crate::mvcc::{Options, Step};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::RangeRequest;

fn all() -> RangeRequest {
    RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() }
}

fn pods(n: usize) -> Store {
    let mut s = Store::new();
    for i in 0..n {
        s.put(&format!("/pods/{i:04}"), "v");
    }
    s
}

#[test]
fn a_count_at_a_pinned_revision_stays_while_keys_come_and_go() {
    let mut s = pods(100);
    let pinned = s.reader.revision();
    let page = RangeRequest { revision: pinned, limit: 3, ..all() };
    let count = |s: &Store, keys| s.range_in_steps(&page, keys).map(|r| (r.count, r.kvs.len(), r.more)).unwrap();
    // Few births, then far more births than keys, where the keys are walked instead.
    for round in 0..30 {
        assert_eq!(count(&s, 1), (100, 3, true), "round {round}");
        assert_eq!(count(&s, 1000), (100, 3, true), "round {round}");
        s.delete("/pods/", "/pods0");
        for i in 0..40 {
            s.put(&format!("/pods/{i:04}"), "w");
        }
        assert_eq!(s.range(&RangeRequest { count_only: true, ..all() }).unwrap().count, 40);
    }
    let s = s.restart();
    assert_eq!(count(&s, 7), (100, 3, true));
    assert_eq!(s.range(&RangeRequest { revision: pinned, count_only: true, ..all() }).unwrap().count, 100);
}

#[test]
fn a_scan_that_has_begun_does_not_see_later_writes() {
    let mut s = pods(50);
    let mut scan = s.reader.scan(&all()).unwrap();
    assert!(matches!(scan.step(10), Ok(Step::More)));
    s.delete("/pods/0000", "/pods/0030");
    s.put("/pods/0040", "new");
    s.put("/pods/0040x", "new");
    let response = loop {
        match scan.step(10).unwrap() {
            Step::Done(response) => break response,
            Step::More => {}
            Step::Read => scan.read().unwrap(),
        }
    };
    assert_eq!((response.count, response.kvs.len(), response.header.as_ref().unwrap().revision), (50, 50, 51));
    assert!(kvs(&response).iter().all(|kv| kv.value == "v"));
}

#[test]
fn a_compaction_that_passes_a_scan_ends_it_or_moves_it_to_the_latest() {
    let mut s = pods(50);
    let revision = s.reader.revision();
    let mut latest = s.reader.scan(&all()).unwrap();
    let mut pinned = s.reader.scan(&RangeRequest { revision, ..all() }).unwrap();
    for scan in [&mut latest, &mut pinned] {
        assert!(matches!(scan.step(10), Ok(Step::More)));
    }
    s.put("/pods/0000", "new");
    s.compact(revision + 1).unwrap();
    s.sweep();
    assert!(matches!(pinned.step(10), Err(Error::Compacted)));
    let Ok(Step::Done(response)) = latest.step(1000) else { panic!("one step is enough") };
    assert_eq!(response.header.as_ref().unwrap().revision, revision + 1);
    assert_eq!((response.kvs.len(), &kvs(&response)[0].value[..]), (50, &b"new"[..]));
}

#[test]
fn what_was_read_from_the_engine_is_in_memory_the_next_time() {
    let s = pods(50).restart();
    let mut cold = s.reader.scan(&all()).unwrap();
    assert!(matches!(cold.step(1000), Ok(Step::Read)));
    assert_eq!(cold.missing(), 50);
    cold.read().unwrap();
    assert!(matches!(cold.step(1000), Ok(Step::Done(_))));
    assert!(matches!(s.reader.scan(&all()).unwrap().step(1000), Ok(Step::Done(_))));
    assert!(s.reader.counts().cache_bytes > 0);
}

#[test]
fn a_small_cache_slows_answers_and_does_not_change_them() {
    let mut s = Store::with(Options { value_cache_bytes: 300, value_cache_record_max: 100 });
    for i in 0..20 {
        s.put(&format!("k{i:02}"), &"v".repeat(i * 10));
    }
    let response = s.range_in_steps(&all(), 3).unwrap();
    assert_eq!(kvs(&response).iter().map(|kv| kv.value.len()).collect::<Vec<_>>(), (0..20).map(|i| i * 10).collect::<Vec<_>>());
    assert!(s.reader.counts().cache_bytes <= 300);
}

#[test]
fn keys_alone_have_no_lease_unless_sorted_by_value() {
    let mut s = Store::new();
    s.put_leased("a", "v", 7);
    let keys_only = RangeRequest { keys_only: true, ..all() };
    assert_eq!(kvs(&s.range(&keys_only).unwrap())[0].lease, 0);
    let by_value = RangeRequest { sort_target: 4, ..keys_only };
    let kv = kvs(&s.range(&by_value).unwrap()).remove(0);
    assert_eq!((kv.lease, kv.value.len()), (7, 0));
}
