//! How large the store may grow, and what a request counts for (QUO-1, QUO-2). Asked by the API before proposing, and again at
//! apply, where it decides the reply and never the rows (QUO-4).

use crate::wire::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request};

use super::command::Action;

/// What `--quota-backend-bytes 0` means.
const DEFAULT_BYTES: i64 = 2 << 30;

/// What a record takes beside its key and value.
const PUT_OVERHEAD: u64 = 256;
pub const LEASE_COST: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    bytes: Option<u64>,
}

impl Quota {
    /// From the flag: 0 is the default, a negative number no quota.
    pub fn from_flag(bytes: i64) -> Quota {
        match bytes {
            0 => Quota { bytes: Some(DEFAULT_BYTES as u64) },
            bytes => Quota { bytes: u64::try_from(bytes).ok() },
        }
    }

    /// `None` if there is no quota.
    pub fn bytes(self) -> Option<u64> {
        self.bytes
    }

    /// Whether a request of this cost is too much for a store of this size; what costs nothing always passes.
    pub fn is_exceeded(self, db_size: u64, cost: u64) -> bool {
        cost > 0 && self.bytes.is_some_and(|bytes| db_size.saturating_add(cost) >= bytes)
    }
}

/// What a command counts for.
pub fn cost(action: &Action) -> u64 {
    match action {
        Action::Put(put) => put_cost(put),
        Action::Txn(txn) => txn_cost(txn),
        Action::LeaseGrant(_) => LEASE_COST,
        _ => 0,
    }
}

pub fn put_cost(put: &PutRequest) -> u64 {
    PUT_OVERHEAD + put.key.len() as u64 + put.value.len() as u64
}

/// The dearer branch; zero if neither puts anything.
pub fn txn_cost(txn: &TxnRequest) -> u64 {
    let branch = |ops: &[RequestOp]| ops.iter().map(op_cost).sum::<u64>();
    branch(&txn.success).max(branch(&txn.failure))
}

fn op_cost(op: &RequestOp) -> u64 {
    match &op.request {
        Some(Request::RequestPut(put)) => put_cost(put),
        Some(Request::RequestTxn(txn)) => txn_cost(txn),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: &'static str) -> RequestOp {
        let put = PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() };
        RequestOp { request: Some(Request::RequestPut(put)) }
    }

    #[test]
    fn a_transaction_counts_for_its_dearer_branch_with_all_that_is_inside() {
        let inside = TxnRequest { failure: vec![put("abc", "d")], ..TxnRequest::default() };
        let nested = RequestOp { request: Some(Request::RequestTxn(inside)) };
        let txn = TxnRequest { success: vec![put("a", "")], failure: vec![put("a", "b"), nested], ..TxnRequest::default() };
        assert_eq!(txn_cost(&txn), 258 + 260);
        assert_eq!(txn_cost(&TxnRequest::default()), 0);
    }

    #[test]
    fn reaching_the_quota_is_too_much_and_costing_nothing_never_is() {
        let quota = Quota::from_flag(1000);
        assert!(!quota.is_exceeded(742, 257));
        assert!(quota.is_exceeded(743, 257));
        assert!(!quota.is_exceeded(5000, 0));
    }

    #[test]
    fn the_flag_has_a_default_and_an_off() {
        assert_eq!(Quota::from_flag(0).bytes(), Some(2_147_483_648));
        assert_eq!(Quota::from_flag(-1).bytes(), None);
        assert!(!Quota::from_flag(-1).is_exceeded(u64::MAX, 1));
    }
}
