//! Transactions: choose, check, run (section 7 of the rules, TXN-1..TXN-20).
//!
//! ```text
//!   choose   all compares, of nested transactions of the chosen branches too, on the state before      -> path
//!   check    the operations along the path, on the state before                                        -> may refuse
//!   run      them, each seeing what came before it                                                     -> cannot fail
//!
//!   path = for each transaction met, in the order in which it is met, whether its compares held
//! ```
//!
//! Holds: a transaction that is refused has changed nothing (TXN-13); members that would not need the answer check all the
//! same (TXN-15).

use std::cmp::Ordering;
use std::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;

use crate::lease::Lessor;
use crate::mvcc::{Current, RangeError, Txn, Writer};
use crate::storage::{self, Batch};
use crate::wire::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::wire::etcdserverpb::request_op::Request;
use crate::wire::etcdserverpb::{Compare, RangeRequest, RequestOp, ResponseHeader, TxnRequest};
use crate::wire::hot::{self, response_op};
use crate::wire::mvccpb::KeyValue;

use super::effects::{Outcome, Stop, header};
use super::kv;

pub(super) fn txn(writer: &mut Writer, lessor: &mut Lessor, request: TxnRequest, batch: &mut Batch) -> Outcome<hot::TxnResponse> {
    let mut txn = writer.begin(batch);
    let mut path = Vec::new();
    choose(&txn, &request, &mut path)?;
    check(&txn, lessor, &request, &mut path.iter().copied())?;
    let mut response = run(&mut txn, lessor, request, &mut path.into_iter())?;
    response.header = header(txn.end());
    Ok(response)
}

fn branch(request: &TxnRequest, holds: bool) -> &[RequestOp] {
    if holds { &request.success } else { &request.failure }
}

/// One step of a path. It is as long as the walk that made it.
fn next(path: &mut dyn Iterator<Item = bool>) -> bool {
    path.next().expect("check and run meet the transactions that choose has met")
}

fn choose(txn: &Txn<'_>, request: &TxnRequest, path: &mut Vec<bool>) -> Outcome<()> {
    let mut holds = true;
    for compare in &request.compare {
        if !compare_holds(txn, compare)? {
            holds = false;
            break;
        }
    }
    path.push(holds);
    for op in branch(request, holds) {
        if let Some(Request::RequestTxn(inside)) = &op.request {
            choose(txn, inside, path)?;
        }
    }
    Ok(())
}

fn check(txn: &Txn<'_>, lessor: &Lessor, request: &TxnRequest, path: &mut dyn Iterator<Item = bool>) -> Outcome<()> {
    for op in branch(request, next(path)) {
        match &op.request {
            Some(Request::RequestRange(range)) => txn.check_range(range)?,
            Some(Request::RequestPut(put)) => {
                kv::check_lease(lessor, put)?;
                kv::check_kept(txn, put)?;
            }
            Some(Request::RequestTxn(inside)) => check(txn, lessor, inside, path)?,
            Some(Request::RequestDeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

fn run(txn: &mut Txn<'_>, lessor: &mut Lessor, request: TxnRequest, path: &mut dyn Iterator<Item = bool>) -> Outcome<hot::TxnResponse> {
    let succeeded = next(path);
    let ops = if succeeded { request.success } else { request.failure };
    let mut responses = Vec::with_capacity(ops.len());
    for op in ops {
        let response = match op.request {
            Some(Request::RequestRange(range)) => Some(response_op::Response::Range(run_range(txn, &range)?)),
            Some(Request::RequestPut(put)) => Some(response_op::Response::Put(kv::run_put(txn, lessor, put)?)),
            Some(Request::RequestDeleteRange(delete)) => {
                Some(response_op::Response::DeleteRange(kv::run_delete_range(txn, lessor, &delete)?))
            }
            Some(Request::RequestTxn(inside)) => Some(response_op::Response::Txn(run(txn, lessor, inside, path)?)),
            None => None,
        };
        responses.push(hot::ResponseOp { response });
    }
    // Quirk: the header of a nested transaction is there and empty (server/etcdserver/txn/txn.go); pinned by
    // `the_header_of_a_nested_transaction_is_empty`.
    Ok(hot::TxnResponse { header: Some(ResponseHeader::default()), succeeded, responses })
}

fn run_range(txn: &Txn<'_>, request: &RangeRequest) -> Outcome<hot::RangeResponse> {
    txn.range(request).map_err(|error| match error {
        // Refusing now would leave half of a transaction behind (TXN-13).
        RangeError::Rejected(error) => Stop::Fault(format!("a range that was checked is refused: {error}")),
        RangeError::Storage(error) => Stop::Storage(error),
    })
}

/// Whether a compare holds for every key of its interval; where there is none, for an absent key (TXN-7, TXN-8).
fn compare_holds(txn: &Txn<'_>, compare: &Compare) -> Result<bool, Stop> {
    if compare.target == CompareTarget::Value as i32 {
        return values_hold(txn, compare);
    }
    if compare.range_end.is_empty() {
        return Ok(holds_for(compare, txn.current(&compare.key).as_ref()));
    }
    let (mut any, mut all) = (false, true);
    txn.for_each(&compare.key, &compare.range_end, &mut |_, current| {
        any = true;
        all = holds_for(compare, Some(current));
        if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    Ok(if any { all } else { holds_for(compare, None) })
}

/// The value of an absent key compares to nothing, not even as different (TXN-7).
fn values_hold(txn: &Txn<'_>, compare: &Compare) -> Result<bool, Stop> {
    let records = if compare.range_end.is_empty() {
        txn.value(&compare.key)?.into_iter().collect()
    } else {
        let request = RangeRequest { key: compare.key.clone(), range_end: compare.range_end.clone(), ..RangeRequest::default() };
        run_range(txn, &request)?.kvs
    };
    for record in &records {
        if !value_holds(compare, record)? {
            return Ok(false);
        }
    }
    Ok(!records.is_empty())
}

pub(super) fn value_holds(compare: &Compare, record: &Bytes) -> Result<bool, storage::Error> {
    let found = KeyValue::decode(record.clone()).map_err(|error| storage::Error::Fault(format!("a record does not decode: {error}")))?;
    let wanted: &[u8] = match &compare.target_union {
        Some(TargetUnion::Value(value)) => value,
        _ => b"",
    };
    Ok(result_holds(compare, found.value[..].cmp(wanted)))
}

pub(super) fn holds_for(compare: &Compare, current: Option<&Current>) -> bool {
    // A target without its value, or with that of another target, means zero (TXN-9).
    let (found, wanted) = match (CompareTarget::try_from(compare.target), &compare.target_union) {
        (Ok(CompareTarget::Version), union) => {
            (current.map(|key| key.version), if let Some(TargetUnion::Version(wanted)) = union { *wanted } else { 0 })
        }
        (Ok(CompareTarget::Create), union) => {
            (current.map(|key| key.create), if let Some(TargetUnion::CreateRevision(wanted)) = union { *wanted } else { 0 })
        }
        (Ok(CompareTarget::Mod), union) => {
            (current.map(|key| key.modified.main), if let Some(TargetUnion::ModRevision(wanted)) = union { *wanted } else { 0 })
        }
        (Ok(CompareTarget::Lease), union) => {
            (current.map(|key| key.lease), if let Some(TargetUnion::Lease(wanted)) = union { *wanted } else { 0 })
        }
        // A target that etcd does not know compares as equal there.
        (Ok(CompareTarget::Value) | Err(_), _) => (None, 0),
    };
    result_holds(compare, found.unwrap_or(0).cmp(&wanted))
}

fn result_holds(compare: &Compare, ordering: Ordering) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering.is_eq(),
        Ok(CompareResult::NotEqual) => ordering.is_ne(),
        Ok(CompareResult::Greater) => ordering.is_gt(),
        Ok(CompareResult::Less) => ordering.is_lt(),
        // A result that etcd does not know holds there.
        Err(_) => true,
    }
}
