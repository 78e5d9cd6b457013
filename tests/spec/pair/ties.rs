//! Takes away what a sort leaves open: the order of keys whose sort targets are equal (RNG-10).
//!
//! Equal targets are put in key order. Where a limit cuts through a run of equal targets, which of them are shown is open too, so
//! the keys of that last run are blanked and only their number and target stay.

use etcd::wire::{
    etcdserverpb::{
        RangeRequest, RangeResponse, RequestOp, ResponseOp, TxnRequest, TxnResponse, range_request::SortTarget, request_op::Request,
        response_op::Response,
    },
    mvccpb::KeyValue,
};

pub fn untie(request: &RangeRequest, response: &mut RangeResponse) {
    let target = match request.sort_target() {
        SortTarget::Key => return,
        SortTarget::Value if request.keys_only => {
            // The sort used values that are not shown: all keys count as equal.
            return untie_run(None, &mut response.kvs, response.more);
        }
        target => target,
    };
    let total = response.kvs.len();
    let mut first = 0;
    while first < total {
        let mut end = first + 1;
        while end < total && is_equal(target, &response.kvs[first], &response.kvs[end]) {
            end += 1;
        }
        untie_run(Some(target), &mut response.kvs[first..end], response.more && end == total);
        first = end;
    }
}

/// Every range of the transaction, nested ones too. A response of another shape is left alone: the comparison will find it.
pub fn untie_txn(request: &TxnRequest, response: &mut TxnResponse) {
    let chosen = if response.succeeded { &request.success } else { &request.failure };
    for (RequestOp { request }, ResponseOp { response }) in chosen.iter().zip(&mut response.responses) {
        match (request, response) {
            (Some(Request::RequestRange(request)), Some(Response::ResponseRange(response))) => untie(request, response),
            (Some(Request::RequestTxn(request)), Some(Response::ResponseTxn(response))) => untie_txn(request, response),
            _ => {}
        }
    }
}

fn is_equal(target: SortTarget, left: &KeyValue, right: &KeyValue) -> bool {
    match target {
        SortTarget::Key => left.key == right.key,
        SortTarget::Version => left.version == right.version,
        SortTarget::Create => left.create_revision == right.create_revision,
        SortTarget::Mod => left.mod_revision == right.mod_revision,
        SortTarget::Value => left.value == right.value,
    }
}

fn untie_run(target: Option<SortTarget>, run: &mut [KeyValue], is_cut: bool) {
    if is_cut {
        for kv in run {
            *kv = only(target, kv);
        }
    } else {
        run.sort_by(|left, right| left.key.cmp(&right.key));
    }
}

/// The field that the sort looked at.
fn only(target: Option<SortTarget>, kv: &KeyValue) -> KeyValue {
    let mut kept = KeyValue::default();
    match target {
        Some(SortTarget::Version) => kept.version = kv.version,
        Some(SortTarget::Create) => kept.create_revision = kv.create_revision,
        Some(SortTarget::Mod) => kept.mod_revision = kv.mod_revision,
        Some(SortTarget::Value) => kept.value = kv.value.clone(),
        Some(SortTarget::Key) | None => {}
    }
    kept
}
