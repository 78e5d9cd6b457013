//! Put, DeleteRange, Range and Compaction, and the worked example of the rules.

use super::*;

/// Create, mod, version.
fn revisions(kv: Option<KeyValue>) -> (i64, i64, i64) {
    let kv = kv.expect("the key is there");
    (kv.create_revision, kv.mod_revision, kv.version)
}

#[test]
fn the_worked_example_comes_out_as_written() {
    let mut bench = Bench::new();
    let read = bench.range(&range("a", "")).unwrap();
    assert_eq!((read.header.unwrap().revision, read.count), (1, 0)); // step 1
    assert_eq!(bench.put("a", "1").header.unwrap().revision, 2);
    assert_eq!(revisions(bench.get("a")), (2, 2, 1)); // step 2
    assert_eq!(bench.put("a", "1").header.unwrap().revision, 3);
    assert_eq!(revisions(bench.get("a")), (2, 3, 2)); // step 3
    let response = bench.txn(then(vec![range_op("a"), put_op("b", "1"), range_op("b"), put_op("c", "1")]));
    assert_eq!(response.header.unwrap().revision, 4);
    assert_eq!(txn::revisions(&response), [3, 4, 4, 4]); // step 4
    assert_eq!(revisions(bench.get("b")), (4, 4, 1));
    let nothing = bench.delete("zz", "");
    assert_eq!((nothing.header.unwrap().revision, nothing.deleted), (4, 0)); // step 5
    let one = bench.delete("a", "");
    assert_eq!((one.header.unwrap().revision, one.deleted), (5, 1)); // step 6
    assert_eq!(bench.put("a", "2").header.unwrap().revision, 6);
    assert_eq!(revisions(bench.get("a")), (6, 6, 1)); // step 7
    let Response::Compaction(compacted) = bench.reply(compaction(5)).unwrap() else { panic!("a compaction answers as such") };
    assert_eq!(compacted.header.unwrap().revision, 6); // step 8
    assert!(bench.range(&range_at("a", 5)).unwrap().kvs.is_empty());
    assert_eq!(bench.range(&range_at("a", 4)), Err(Error::Compacted));
    assert_eq!(bench.range(&range_at("a", 7)), Err(Error::FutureRev));
    assert_eq!(bench.error(compaction(5)), Error::Compacted); // step 11
    assert_eq!(bench.error(compaction(7)), Error::FutureRev);
    bench.grant(9, 60);
    assert_eq!(bench.revision(), 6); // step 12
    bench.put_leased("y", 9);
    bench.put_leased("x", 9);
    assert_eq!(bench.revision(), 8);
    bench.machine.writer().take_events();
    bench.reply(revoke(9)).unwrap();
    let events: Vec<_> =
        bench.machine.writer().take_events().into_iter().map(|e| (e.key, e.revision.main, e.revision.sub, e.is_delete)).collect();
    assert_eq!(events, [(bytes("x"), 9, 0, true), (bytes("y"), 9, 1, true)]); // step 13
    let bench = bench.restart();
    assert_eq!((bench.revision(), bench.machine.reader().compact_revision()), (9, 5)); // step 14
}

#[test]
fn a_put_with_an_unknown_lease_is_refused_before_a_missing_key_is() {
    let mut bench = Bench::new();
    let request = PutRequest { lease: 5, ignore_value: true, ..put("a", "") };
    assert_eq!(bench.error(Action::Put(request)), Error::LeaseNotFound);
    assert_eq!(bench.error(Action::Put(PutRequest { ignore_value: true, ..put("a", "") })), Error::KeyNotFound);
    assert_eq!(bench.error(Action::Put(PutRequest { ignore_lease: true, ..put("a", "1") })), Error::KeyNotFound);
    assert_eq!(bench.revision(), 1);
}

#[test]
fn a_put_that_ignores_the_value_keeps_it_and_makes_a_revision() {
    let mut bench = Bench::new();
    bench.put("a", "1");
    bench.put_request(PutRequest { ignore_value: true, ..put("a", "") });
    assert_eq!(bench.value("a").unwrap(), "1");
    assert_eq!(revisions(bench.get("a")), (2, 3, 2));
}

#[test]
fn a_put_answers_with_what_was_there_if_asked() {
    let mut bench = Bench::new();
    let asking = |value| PutRequest { prev_kv: true, ..put("a", value) };
    assert_eq!(bench.put_request(asking("1")).prev_kv, None);
    assert_eq!(kv_of(&bench.put_request(asking("2")).prev_kv.unwrap()).value, "1");
    assert_eq!(bench.put("a", "3").prev_kv, None);
}

#[test]
fn an_empty_value_is_a_value() {
    let mut bench = Bench::new();
    bench.put("a", "");
    assert_eq!(bench.value("a").unwrap(), "");
}

#[test]
fn a_delete_answers_with_what_it_took_in_order() {
    let mut bench = Bench::new();
    for key in ["b", "a", "c"] {
        bench.put(key, key);
    }
    let request = DeleteRangeRequest { prev_kv: true, ..delete("a", "c") };
    let Response::DeleteRange(response) = bench.reply(Action::DeleteRange(request)).unwrap() else { panic!("a delete answers as such") };
    assert_eq!(response.deleted, 2);
    assert_eq!(response.prev_kvs.iter().map(|record| kv_of(record).value).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(response.header.unwrap().revision, 5);
}

#[test]
fn compacting_a_fresh_store_at_zero_works_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.apply(compaction(0)).compacted, Some(0));
    let again = bench.apply(compaction(0));
    assert_eq!((again.reply.unwrap(), again.compacted), (Err(Error::Compacted), None));
}

#[test]
fn a_read_in_the_log_answers_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.put("a", "1");
    let before = bench.digest();
    let Response::Range(response) = bench.reply(Action::Range(range("a", ""))).unwrap() else { panic!("a range answers as such") };
    assert_eq!((response.count, response.header.unwrap().revision), (1, 2));
    assert_eq!(bench.error(Action::Range(range_at("a", 9))), Error::FutureRev);
    assert_ne!(before, bench.digest(), "the consistent index moves all the same (DET-5)");
    assert_eq!(bench.revision(), 2);
}
