//! What a request must be like before it may become a command. The order of the checks is etcd's, since clients see which one failed first.

use std::collections::HashSet;

use bytes::Bytes;

use crate::membership::{Cluster, Member, Version};
use crate::state_machine::command::NESTING_MAX;
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
    txn_ops(request, ops_max, NESTING_MAX)?;
    footprint(&request.success)?;
    footprint(&request.failure)?;
    Ok(())
}

fn key(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

/// A nested transaction gets the budget that the longest list of its parent leaves (TXN-2); `levels` more may lie inside.
fn txn_ops(request: &TxnRequest, budget: usize, levels: usize) -> Result<(), Error> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let Some(left) = budget.checked_sub(longest) else {
        return Err(Error::TooManyOps);
    };
    request.compare.iter().try_for_each(|c: &Compare| key(&c.key))?;
    request.success.iter().chain(&request.failure).try_for_each(|op| operation(op, left, levels))
}

fn operation(op: &RequestOp, budget: usize, levels: usize) -> Result<(), Error> {
    match &op.request {
        Some(Request::RequestRange(r)) => range(r),
        Some(Request::RequestPut(r)) => put(r),
        Some(Request::RequestDeleteRange(r)) => delete_range(r),
        // No entry of the log may be one that a member cannot decode.
        Some(Request::RequestTxn(_)) if levels == 0 => Err(Error::TooManyOps),
        Some(Request::RequestTxn(r)) => txn_ops(r, budget, levels - 1),
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

/// The peer URLs of a member to be added (MEM-6).
pub fn peer_urls(urls: &[String]) -> Result<(), Error> {
    if !urls.is_empty() && urls.iter().all(|url| is_peer_url(url)) { Ok(()) } else { Err(Error::MemberBadURLs) }
}

fn is_peer_url(url: &str) -> bool {
    let url = url.trim();
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    match scheme.to_ascii_lowercase().as_str() {
        "unix" | "unixs" => true,
        "http" | "https" => {
            let Some((host, port)) = rest.rsplit_once(':') else { return false };
            let is_bracketed = host.starts_with('[') && host.ends_with(']');
            // What is no digit would be a path, or no URL.
            port.bytes().all(|byte| byte.is_ascii_digit()) && (is_bracketed || !host.contains([':', '/', ' ', '[', ']']))
        }
        _ => false,
    }
}

/// The member that is asked about, if it is one (MEM-7).
pub fn member(members: &[Member], id: u64) -> Result<&Member, Error> {
    members.iter().find(|member| member.id == id).ok_or(Error::MemberNotFound)
}

/// VSN-4: exactly one minor down, and only one at a time.
pub fn downgrade(target: &str, cluster: &Cluster) -> Result<(), Error> {
    let target: Version = target.parse().or_else(|_| format!("{target}.0").parse()).map_err(|_| Error::WrongDowngradeVersionFormat)?;
    let version = cluster.version().ok_or(Error::ClusterVersionUnavailable)?;
    if version.minor.checked_sub(1).map(|minor| Version::new(version.major, minor)) != Some(target.minor_only()) {
        return Err(Error::InvalidDowngradeTargetVersion);
    }
    if cluster.downgrade().enabled { Err(Error::DowngradeInProcess) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_url_has_a_host_and_a_port() {
        let check = |url: &str| peer_urls(&[url.to_owned()]);
        for good in ["http://127.0.0.1:1", "https://[::1]:2380", " http://name:2380 ", "unix://socket", "http://127.0.0.1:"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for wrong in ["", "127.0.0.1:1", "http://127.0.0.1", "ftp://127.0.0.1:1", "http://127.0.0.1:1/path", "http://::1:1"] {
            assert_eq!(check(wrong), Err(Error::MemberBadURLs), "{wrong}");
        }
        assert_eq!(peer_urls(&[]), Err(Error::MemberBadURLs));
    }

    #[test]
    fn transactions_nest_as_deep_as_every_member_can_decode() {
        let deep = |levels: usize| (0..levels).fold(put_op("a"), |inside, _| nested(vec![inside], vec![]));
        assert_eq!(check(vec![deep(NESTING_MAX)]), Ok(()));
        assert_eq!(check(vec![deep(NESTING_MAX + 1)]), Err(Error::TooManyOps));
        let request = TxnRequest { success: vec![deep(NESTING_MAX)], ..TxnRequest::default() };
        let command = crate::wire::etcdserverpb::InternalRaftRequest { txn: Some(request), ..Default::default() };
        let bytes = prost::Message::encode_to_vec(&command);
        assert!(crate::state_machine::Command::decode(bytes.into()).is_ok());
    }

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
