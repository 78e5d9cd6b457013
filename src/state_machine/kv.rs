//! Range, Put, DeleteRange and Compaction, as entries and as operations of a transaction.

use bytes::Bytes;

use crate::lease::{Lessor, NO_LEASE};
use crate::mvcc::{PutValue, RangeError, Txn, Writer};
use crate::storage::{self, Batch};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{CompactionRequest, CompactionResponse, DeleteRangeRequest, PutRequest, RangeRequest};
use crate::wire::hot;

use super::effects::{Outcome, Stop, header};

/// A read that came through the log. It changes nothing; only the member that was asked needs it (DET-9).
pub(super) fn range(writer: &mut Writer, request: &RangeRequest, batch: &mut Batch) -> Outcome<hot::RangeResponse> {
    let txn = writer.begin(batch);
    txn.range(request).map_err(|error| match error {
        RangeError::Rejected(error) => Stop::Rejected(error),
        RangeError::Storage(error) => Stop::Storage(error),
    })
}

pub(super) fn put(writer: &mut Writer, lessor: &mut Lessor, request: PutRequest, batch: &mut Batch) -> Outcome<hot::PutResponse> {
    // In this order (PUT-2), inside a transaction too.
    check_lease(lessor, &request)?;
    let mut txn = writer.begin(batch);
    check_kept(&txn, &request)?;
    let response = run_put(&mut txn, lessor, request)?;
    txn.end();
    Ok(response)
}

pub(super) fn check_lease(lessor: &Lessor, request: &PutRequest) -> Result<(), Error> {
    if request.lease != NO_LEASE && !lessor.leases().exists(request.lease) { Err(Error::LeaseNotFound) } else { Ok(()) }
}

/// What is to be kept must be there.
pub(super) fn check_kept(txn: &Txn<'_>, request: &PutRequest) -> Result<(), Error> {
    let keeps = request.ignore_value || request.ignore_lease;
    if keeps && txn.current(&request.key).is_none() { Err(Error::KeyNotFound) } else { Ok(()) }
}

/// Puts what was checked.
pub(super) fn run_put(txn: &mut Txn<'_>, lessor: &mut Lessor, request: PutRequest) -> Result<hot::PutResponse, storage::Error> {
    let keeps = request.ignore_value || request.ignore_lease;
    let current = if keeps { txn.current(&request.key) } else { None };
    // The key can be gone again although it was checked: an earlier operation of the same transaction may have deleted it, if
    // its range ran to the last key (TXN-6b). etcd stops there; every member of ours keeps nothing, the same nothing.
    let value = match (request.ignore_value, current) {
        (true, Some(_)) => PutValue::Keep,
        (true, None) => PutValue::New(Bytes::new()),
        (false, _) => PutValue::New(request.value),
    };
    let lease = if request.ignore_lease { current.map_or(NO_LEASE, |current| current.lease) } else { request.lease };
    // A slice of a network frame would keep the frame: what stays is a copy of its own.
    let key = Bytes::copy_from_slice(&request.key);
    let put = txn.put(key.clone(), value, lease, request.prev_kv)?;
    lessor.move_key(&key, put.previous.map_or(NO_LEASE, |previous| previous.lease), lease);
    Ok(hot::PutResponse { header: header(txn.revision()), prev_kv: put.prev_kv })
}

pub(super) fn delete_range(
    writer: &mut Writer,
    lessor: &mut Lessor,
    request: &DeleteRangeRequest,
    batch: &mut Batch,
) -> Outcome<hot::DeleteRangeResponse> {
    let mut txn = writer.begin(batch);
    let response = run_delete_range(&mut txn, lessor, request)?;
    txn.end();
    Ok(response)
}

pub(super) fn run_delete_range(
    txn: &mut Txn<'_>,
    lessor: &mut Lessor,
    request: &DeleteRangeRequest,
) -> Result<hot::DeleteRangeResponse, storage::Error> {
    let deleted = txn.delete_range(&request.key, &request.range_end, request.prev_kv)?;
    for key in deleted.iter().filter(|deleted| deleted.lease != NO_LEASE) {
        lessor.move_key(&key.key, key.lease, NO_LEASE);
    }
    Ok(hot::DeleteRangeResponse {
        header: header(txn.revision()),
        deleted: deleted.len() as i64,
        prev_kvs: deleted.into_iter().filter_map(|deleted| deleted.prev_kv).collect(),
    })
}

/// The header tells the current revision, not the compacted one (HDR-6).
pub(super) fn compact(writer: &mut Writer, request: &CompactionRequest, batch: &mut Batch) -> Outcome<CompactionResponse> {
    writer.compact(request.revision, batch)?;
    Ok(CompactionResponse { header: header(writer.revision()) })
}
