//! Transactions, section 7 of the rules.

use super::*;
use crate::wire::etcdserverpb::Compare;
use crate::wire::etcdserverpb::ResponseHeader;
use crate::wire::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use hot::response_op::Response as Op;

fn header_of(op: &hot::ResponseOp) -> Option<ResponseHeader> {
    match op.response.as_ref().expect("an operation has a response") {
        Op::Range(response) => response.header,
        Op::Put(response) => response.header,
        Op::DeleteRange(response) => response.header,
        Op::Txn(response) => response.header,
    }
}

/// Of the headers of the operations.
pub(super) fn revisions(response: &hot::TxnResponse) -> Vec<i64> {
    response.responses.iter().map(|op| header_of(op).expect("an operation's response has a header").revision).collect()
}

fn compare(key: &str, range_end: &str, target: CompareTarget, result: CompareResult, union: Option<TargetUnion>) -> Compare {
    Compare { result: result as i32, target: target as i32, key: bytes(key), range_end: bytes(range_end), target_union: union }
}

fn version(key: &str, result: CompareResult, wanted: i64) -> Compare {
    compare(key, "", CompareTarget::Version, result, Some(TargetUnion::Version(wanted)))
}

fn value(key: &str, range_end: &str, result: CompareResult, wanted: &str) -> Compare {
    compare(key, range_end, CompareTarget::Value, result, Some(TargetUnion::Value(bytes(wanted))))
}

fn holds(bench: &mut Bench, compares: Vec<Compare>) -> bool {
    bench.txn(TxnRequest { compare: compares, ..TxnRequest::default() }).succeeded
}

/// Keys a (two puts, lease 9), b and c; revision 5.
fn stocked() -> Bench {
    let mut bench = Bench::new();
    bench.grant(9, 60);
    bench.put("a", "x");
    bench.put_leased("a", 9);
    bench.put("b", "w");
    bench.put("c", "v");
    bench
}

use CompareResult::{Equal, Greater, Less, NotEqual};

#[test]
fn compares_of_one_key_follow_the_table() {
    let mut bench = stocked();
    let all = [
        (CompareTarget::Version, 2, TargetUnion::Version as fn(i64) -> TargetUnion),
        (CompareTarget::Create, 2, TargetUnion::CreateRevision),
        (CompareTarget::Mod, 3, TargetUnion::ModRevision),
        (CompareTarget::Lease, 9, TargetUnion::Lease),
    ];
    for (target, found, union) in all {
        for (result, wanted, expected) in [
            (Equal, found, true),
            (Equal, found + 1, false),
            (NotEqual, found, false),
            (NotEqual, found + 1, true),
            (Greater, found - 1, true),
            (Greater, found, false),
            (Less, found + 1, true),
            (Less, found, false),
        ] {
            let compare = compare("a", "", target, result, Some(union(wanted)));
            assert_eq!(holds(&mut bench, vec![compare]), expected, "{target:?} {result:?} {wanted}");
        }
    }
    for (result, wanted, expected) in
        [(Equal, "v", true), (Equal, "w", false), (NotEqual, "w", true), (Greater, "u", true), (Greater, "v", false), (Less, "va", true)]
    {
        assert_eq!(holds(&mut bench, vec![value("a", "", result, wanted)]), expected, "VALUE {result:?} {wanted}");
    }
}

#[test]
fn an_absent_key_compares_as_zero_but_its_value_as_nothing() {
    let mut bench = stocked();
    for target in [CompareTarget::Version, CompareTarget::Create, CompareTarget::Mod, CompareTarget::Lease] {
        assert!(holds(&mut bench, vec![compare("zz", "", target, Equal, None)]), "{target:?}");
        assert!(!holds(&mut bench, vec![compare("zz", "", target, NotEqual, None)]), "{target:?}");
    }
    for result in [Equal, NotEqual, Greater, Less] {
        assert!(!holds(&mut bench, vec![value("zz", "", result, "")]), "{result:?}");
        assert!(!holds(&mut bench, vec![value("m", "n", result, "")]), "{result:?} of an empty interval");
    }
    assert!(holds(&mut bench, vec![compare("m", "n", CompareTarget::Version, Equal, None)]));
}

#[test]
fn a_compare_of_an_interval_asks_every_key() {
    let mut bench = stocked();
    assert!(holds(&mut bench, vec![value("a", "d", Greater, "u")]));
    assert!(!holds(&mut bench, vec![value("a", "d", Greater, "v")]));
    assert!(holds(&mut bench, vec![compare("a", "\0", CompareTarget::Version, Greater, None)]));
    assert!(!holds(&mut bench, vec![compare("a", "\0", CompareTarget::Version, Equal, Some(TargetUnion::Version(1)))]));
    assert!(holds(&mut bench, vec![compare("b", "\0", CompareTarget::Version, Equal, Some(TargetUnion::Version(1)))]));
}

#[test]
fn a_target_of_another_kind_counts_as_zero() {
    let mut bench = stocked();
    assert!(!holds(&mut bench, vec![compare("a", "", CompareTarget::Version, Equal, Some(TargetUnion::ModRevision(2)))]));
    assert!(holds(&mut bench, vec![compare("a", "", CompareTarget::Version, Greater, Some(TargetUnion::ModRevision(2)))]));
    assert!(holds(&mut bench, vec![compare("a", "", CompareTarget::Value, Greater, Some(TargetUnion::Version(7)))]));
}

#[test]
fn compares_are_joined_by_and_and_none_at_all_hold() {
    let mut bench = stocked();
    assert!(holds(&mut bench, vec![]));
    assert!(holds(&mut bench, vec![version("a", Equal, 2), version("b", Equal, 1)]));
    assert!(!holds(&mut bench, vec![version("a", Equal, 2), version("b", Equal, 2)]));
}

#[test]
fn the_branch_that_was_not_chosen_is_not_run_and_not_checked() {
    let mut bench = stocked();
    let failure = vec![op(request_op::Request::RequestRange(range_at("a", 1000)))];
    let response = bench.txn(TxnRequest { success: vec![put_op("n", "1")], failure, ..TxnRequest::default() });
    assert!(response.succeeded);
    let response =
        bench.txn(TxnRequest { compare: vec![version("a", Equal, 77)], success: vec![put_op("n", "2")], failure: vec![put_op("m", "1")] });
    assert!(!response.succeeded);
    assert_eq!((bench.value("n").as_deref(), bench.value("m").as_deref()), (Some("1"), Some("1")));
}

#[test]
fn operations_see_those_before_them() {
    let mut bench = stocked();
    let response = bench.txn(then(vec![range_op("n"), put_op("n", "1"), range_op("n"), delete_op("n"), range_op("n"), delete_op("n")]));
    assert_eq!(response.header.unwrap().revision, 6);
    assert_eq!(revisions(&response), [5, 6, 6, 6, 6, 6]);
    let found: Vec<_> = response
        .responses
        .iter()
        .filter_map(|op| match op.response.as_ref()? {
            Op::Range(response) => Some(response.kvs.iter().map(|record| kv_of(record).mod_revision).collect::<Vec<_>>()),
            _ => None,
        })
        .collect();
    assert_eq!(found, [vec![], vec![6], vec![]]);
    assert_eq!(bench.revision(), 6);
}

#[test]
fn a_transaction_that_changes_nothing_makes_no_revision() {
    let mut bench = stocked();
    let response = bench.txn(then(vec![range_op("a"), delete_op("zz")]));
    assert_eq!((response.header.unwrap().revision, bench.revision()), (5, 5));
    assert_eq!(revisions(&response), [5, 5]);
    assert_eq!(bench.txn(TxnRequest::default()).header.unwrap().revision, 5);
}

#[test]
fn all_compares_are_asked_of_the_state_before() {
    let mut bench = stocked();
    let inside =
        TxnRequest { compare: vec![version("n", Equal, 0)], success: vec![put_op("m", "absent")], failure: vec![put_op("m", "present")] };
    let innermost = TxnRequest { compare: vec![version("m", Equal, 0)], success: vec![put_op("o", "1")], failure: vec![] };
    let response = bench.txn(then(vec![put_op("n", "1"), txn_op(inside), txn_op(then(vec![txn_op(innermost)]))]));
    assert_eq!(bench.value("m").unwrap(), "absent");
    assert_eq!(bench.value("o").unwrap(), "1");
    assert_eq!(bench.revision(), 6);
    let Some(Op::Txn(nested)) = &response.responses[1].response else { panic!("a nested transaction answers as such") };
    assert!(nested.succeeded);
    assert_eq!(revisions(nested), [6]);
}

#[test]
fn nested_transactions_of_the_branch_not_chosen_leave_the_path_alone() {
    let mut bench = stocked();
    let fails = |ops: Vec<RequestOp>| TxnRequest { compare: vec![version("a", Equal, 77)], failure: ops, ..TxnRequest::default() };
    let skipped = TxnRequest { failure: vec![txn_op(fails(vec![put_op("no", "1")]))], ..TxnRequest::default() };
    bench.txn(then(vec![txn_op(skipped), txn_op(fails(vec![put_op("yes", "1")])), txn_op(then(vec![put_op("also", "1")]))]));
    assert_eq!((bench.value("no"), bench.value("yes").as_deref(), bench.value("also").as_deref()), (None, Some("1"), Some("1")));
}

#[test]
fn the_header_of_a_nested_transaction_is_empty() {
    let mut bench = stocked();
    let response = bench.txn(then(vec![txn_op(then(vec![put_op("n", "1")]))]));
    assert_eq!(header_of(&response.responses[0]), Some(ResponseHeader::default()));
}

#[test]
fn a_check_that_fails_refuses_all_of_it() {
    let mut bench = stocked();
    bench.reply(compaction(4)).unwrap();
    let ranges_at = |revision| op(request_op::Request::RequestRange(range_at("a", revision)));
    let keeps = |key| op(request_op::Request::RequestPut(PutRequest { ignore_value: true, ..put(key, "") }));
    let leased = |lease| op(request_op::Request::RequestPut(PutRequest { lease, ..put("n", "1") }));
    let keeps_leased = op(request_op::Request::RequestPut(PutRequest { ignore_value: true, lease: 8, ..put("zz", "") }));
    for (op, expected) in [
        (ranges_at(6), Error::FutureRev),
        (ranges_at(3), Error::Compacted),
        (ranges_at(-1), Error::Compacted),
        (keeps("zz"), Error::KeyNotFound),
        (leased(8), Error::LeaseNotFound),
        (keeps_leased, Error::LeaseNotFound),
        (txn_op(then(vec![leased(8)])), Error::LeaseNotFound),
    ] {
        assert_eq!(bench.error(Action::Txn(then(vec![put_op("n", "1"), op.clone()]))), expected, "{op:?}");
        assert_eq!((bench.value("n"), bench.revision()), (None, 5));
    }
    bench.txn(then(vec![ranges_at(4), ranges_at(5), keeps("a"), leased(9)]));
    assert_eq!(bench.revision(), 6);
}

#[test]
fn a_key_put_in_the_transaction_does_not_count_as_there_before_it() {
    let mut bench = stocked();
    let keeps = op(request_op::Request::RequestPut(PutRequest { ignore_lease: true, ..put("n", "2") }));
    assert_eq!(bench.error(Action::Txn(then(vec![put_op("n", "1"), keeps]))), Error::KeyNotFound);
}

#[test]
fn a_kept_value_that_the_transaction_deleted_first_is_nothing() {
    let mut bench = stocked();
    let all = op(request_op::Request::RequestDeleteRange(delete("a", "\0")));
    let keeps = op(request_op::Request::RequestPut(PutRequest { ignore_value: true, ignore_lease: true, ..put("a", "") }));
    bench.txn(then(vec![all, keeps]));
    let kv = bench.get("a").unwrap();
    assert_eq!((&kv.value[..], kv.lease, kv.version, kv.create_revision), (&b""[..], 0, 1, 6));
}

#[test]
fn a_transaction_moves_keys_between_leases() {
    let mut bench = stocked();
    bench.grant(8, 60);
    let leased = |key, lease| op(request_op::Request::RequestPut(PutRequest { lease, ..put(key, "1") }));
    bench.txn(then(vec![leased("a", 8), leased("n", 9), leased("b", 9), delete_op("c")]));
    assert_eq!(bench.machine.leases().keys(8), ["a"]);
    assert_eq!(bench.machine.leases().keys(9), ["b", "n"]);
}

#[test]
fn a_transaction_that_only_reads_is_told_from_others() {
    use read::{is_read_only, is_serializable};
    let serializable = |key| op(request_op::Request::RequestRange(RangeRequest { serializable: true, ..range(key, "") }));
    assert!(is_read_only(&then(vec![range_op("a")])) && !is_serializable(&then(vec![range_op("a")])));
    assert!(is_serializable(&then(vec![serializable("a")])));
    assert!(!is_serializable(&TxnRequest { failure: vec![range_op("a")], ..then(vec![serializable("a")]) }));
    assert!(!is_read_only(&TxnRequest { failure: vec![delete_op("a")], ..TxnRequest::default() }));
    assert!(!is_read_only(&then(vec![txn_op(then(vec![range_op("a")]))])));
    let compares_alone = TxnRequest { compare: vec![version("a", Equal, 1)], ..TxnRequest::default() };
    assert!(is_read_only(&compares_alone) && is_serializable(&compares_alone));
}

/// The same question to a reader and through the log.
fn both_ways(bench: &mut Bench, request: &TxnRequest) -> (Result<hot::TxnResponse, Error>, Result<hot::TxnResponse, Error>) {
    let read = read::read(bench.machine.reader(), request).map_err(|error| match error {
        mvcc::RangeError::Rejected(error) => error,
        mvcc::RangeError::Storage(error) => panic!("{error}"),
    });
    let applied = bench.reply(Action::Txn(request.clone())).map(|response| match response {
        Response::Txn(response) => response,
        other => panic!("{other:?}"),
    });
    (read, applied)
}

#[test]
fn a_reader_answers_a_transaction_as_apply_does() {
    let mut bench = stocked();
    bench.reply(compaction(4)).unwrap();
    let mut compares = vec![];
    for result in [Equal, NotEqual, Greater, Less] {
        for (key, range_end) in [("a", ""), ("zz", ""), ("a", "d"), ("m", "n"), ("a", "\0"), ("\0", "\0")] {
            for target in [CompareTarget::Version, CompareTarget::Create, CompareTarget::Mod, CompareTarget::Lease] {
                compares.push(compare(key, range_end, target, result, None));
            }
            compares.push(value(key, range_end, result, "v"));
            compares.push(compare(key, range_end, CompareTarget::Version, result, Some(TargetUnion::Version(2))));
        }
    }
    for compare in compares {
        let request =
            TxnRequest { compare: vec![compare.clone()], success: vec![range_op("a"), range_op("zz")], failure: vec![range_op("b")] };
        let (read, applied) = both_ways(&mut bench, &request);
        assert_eq!(read, applied, "{compare:?}");
        assert!(applied.is_ok());
    }
    for revision in [-1, 3, 4, 5, 6] {
        let at = op(request_op::Request::RequestRange(RangeRequest { limit: 1, revision, ..range("a", "\0") }));
        let (read, applied) = both_ways(&mut bench, &then(vec![at]));
        assert_eq!(read, applied, "at {revision}");
        assert_eq!(applied.is_ok(), [4, 5].contains(&revision));
    }
}
