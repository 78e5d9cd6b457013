//! What a request must be like before it may become a command. The order of the checks is etcd's, since clients see which one failed first.

use std::collections::HashSet;

use bytes::Bytes;

use crate::wire::error::Error;
use crate::wire::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, range_request::SortOrder, range_request::SortTarget,
    request_op::Request,
};

/// RNG-3, RNG-4.
pub fn range(request: &RangeRequest) -> Result<(), Error> {
    key(&request.key)?;
    if SortOrder::try_from(request.sort_order).is_err() || SortTarget::try_from(request.sort_target).is_err() {
        return Err(Error::InvalidSortOption);
    }
    Ok(())
}

/// PUT-1.
pub fn put(request: &PutRequest) -> Result<(), Error> {
    key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

pub fn delete_range(request: &DeleteRangeRequest) -> Result<(), Error> {
    key(&request.key)
}

/// TXN-2, TXN-3, TXN-5, TXN-6.
pub fn txn(request: &TxnRequest, ops_max: usize) -> Result<(), Error> {
    txn_ops(request, ops_max)?;
    footprint(&request.success)?;
    footprint(&request.failure)?;
    Ok(())
}

fn key(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

/// A nested transaction gets the budget that the longest list of its parent leaves (TXN-2).
fn txn_ops(request: &TxnRequest, budget: usize) -> Result<(), Error> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let Some(left) = budget.checked_sub(longest) else {
        return Err(Error::TooManyOps);
    };
    request.compare.iter().try_for_each(|c: &Compare| key(&c.key))?;
    request.success.iter().chain(&request.failure).try_for_each(|op| operation(op, left))
}

fn operation(op: &RequestOp, budget: usize) -> Result<(), Error> {
    match &op.request {
        Some(Request::RequestRange(r)) => range(r),
        Some(Request::RequestPut(r)) => put(r),
        Some(Request::RequestDeleteRange(r)) => delete_range(r),
        Some(Request::RequestTxn(r)) => txn_ops(r, budget),
        None => Err(Error::KeyNotFound),
    }
}

/// What one branch may write: keys it may put, intervals it may delete.
#[derive(Default)]
struct Footprint {
    puts: HashSet<Bytes>,
    deletes: Vec<Interval>,
}

/// `end` empty means one key. Quirk: TXN-6b, "from key to the end" (`end` = one zero byte) is taken literally, so it holds no
/// key here; pinned by `a_delete_from_a_key_to_the_end_conflicts_with_nothing`.
struct Interval {
    begin: Bytes,
    end: Bytes,
}

impl Interval {
    fn holds(&self, key: &[u8]) -> bool {
        if self.end.is_empty() { self.begin == key } else { self.begin.as_ref() <= key && key < self.end.as_ref() }
    }
}

impl Footprint {
    fn deletes(&self, key: &[u8]) -> bool {
        self.deletes.iter().any(|interval| interval.holds(key))
    }

    fn add_put(&mut self, key: Bytes) -> Result<(), Error> {
        if self.deletes(&key) || !self.puts.insert(key) { Err(Error::DuplicateKey) } else { Ok(()) }
    }
}

/// Refuses a branch that would put a key twice, or put a key inside an interval that it deletes; either order (TXN-5).
/// The two branches of a nested transaction exclude each other, so they may share keys (TXN-6).
fn footprint(ops: &[RequestOp]) -> Result<Footprint, Error> {
    let mut whole = Footprint::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(r)) = &op.request {
            whole.deletes.push(Interval { begin: r.key.clone(), end: r.range_end.clone() });
        }
    }
    for op in ops {
        let Some(Request::RequestTxn(nested)) = &op.request else { continue };
        let success = footprint(&nested.success)?;
        let failure = footprint(&nested.failure)?;
        for key in &success.puts {
            whole.add_put(key.clone())?;
        }
        for key in failure.puts {
            if success.puts.contains(&key) {
                continue;
            }
            whole.add_put(key)?;
        }
        whole.deletes.extend(success.deletes);
        whole.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let Some(Request::RequestPut(r)) = &op.request {
            whole.add_put(r.key.clone())?;
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_op(key: &'static str) -> RequestOp {
        RequestOp { request: Some(Request::RequestPut(PutRequest { key: key.into(), ..Default::default() })) }
    }

    fn delete_op(key: &'static str, end: &'static str) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestDeleteRange(DeleteRangeRequest { key: key.into(), range_end: end.into(), prev_kv: false })),
        }
    }

    fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        RequestOp { request: Some(Request::RequestTxn(TxnRequest { compare: vec![], success, failure })) }
    }

    fn check(success: Vec<RequestOp>) -> Result<(), Error> {
        txn(&TxnRequest { compare: vec![], success, failure: vec![] }, 128)
    }

    #[test]
    fn a_key_is_put_once_in_a_branch() {
        assert_eq!(check(vec![put_op("a"), put_op("a")]), Err(Error::DuplicateKey));
        assert_eq!(check(vec![put_op("a"), put_op("b")]), Ok(()));
    }

    #[test]
    fn a_put_inside_a_deleted_interval_conflicts_in_either_order() {
        assert_eq!(check(vec![put_op("b"), delete_op("a", "c")]), Err(Error::DuplicateKey));
        assert_eq!(check(vec![delete_op("a", "c"), put_op("b")]), Err(Error::DuplicateKey));
        assert_eq!(check(vec![delete_op("a", "b"), delete_op("a", "c")]), Ok(()));
    }

    #[test]
    fn a_delete_from_a_key_to_the_end_conflicts_with_nothing() {
        assert_eq!(check(vec![delete_op("a", "\0"), put_op("b")]), Ok(()));
    }

    #[test]
    fn the_branches_of_a_nested_transaction_may_share_keys_with_each_other_only() {
        assert_eq!(check(vec![nested(vec![put_op("a")], vec![put_op("a")])]), Ok(()));
        assert_eq!(check(vec![nested(vec![put_op("a")], vec![]), put_op("a")]), Err(Error::DuplicateKey));
        assert_eq!(check(vec![nested(vec![put_op("a")], vec![]), nested(vec![], vec![put_op("a")])]), Err(Error::DuplicateKey));
    }

    #[test]
    fn a_nested_transaction_has_the_budget_that_its_parent_leaves() {
        let inner = |n: usize| nested((0..n).map(|_| delete_op("k", "")).collect(), vec![]);
        assert_eq!(check(vec![inner(127)]), Ok(()));
        assert_eq!(check(vec![inner(128)]), Err(Error::TooManyOps));
    }

    #[test]
    fn an_operation_without_content_is_a_key_not_found() {
        assert_eq!(check(vec![RequestOp { request: None }]), Err(Error::KeyNotFound));
    }
}
