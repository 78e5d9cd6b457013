//! Transactions that only read: answered from a reader at one revision, without an entry in the log (TXN-16).
//!
//! Reads: a `Reader`, on the caller's thread, which must be one that may wait for a disk where ranges are large.
//! Holds: all compares and ranges see the same revision, the newest readable when the transaction begins.

use prost::Message;

use crate::mvcc::{Current, RangeError, Reader, Revision, Step};
use crate::storage;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::compare::CompareTarget;
use crate::wire::etcdserverpb::request_op::Request;
use crate::wire::etcdserverpb::{Compare, RangeRequest, RequestOp, TxnRequest};
use crate::wire::hot::{self, response_op};
use crate::wire::mvccpb::KeyValue;

use super::effects::header;
use super::txn::{holds_for, value_holds};

/// Keys looked at between two chances for writers.
const SLICE: usize = 512;

/// Bound: how often a compaction may pass the revision before the caller hears of it.
const TRIES: usize = 8;

/// Nothing is put or deleted in either branch. A transaction inside counts as a change, even if it only reads (TXN-16).
pub fn is_read_only(request: &TxnRequest) -> bool {
    ops(request).all(|op| matches!(op.request, Some(Request::RequestRange(_)) | None))
}

/// All ranges may be answered from what this member has. Quirk: with compares alone that is so, too (TXN-17).
pub fn is_serializable(request: &TxnRequest) -> bool {
    ops(request).all(|op| !matches!(&op.request, Some(Request::RequestRange(range)) if !range.serializable))
}

fn ops(request: &TxnRequest) -> impl Iterator<Item = &RequestOp> {
    request.success.iter().chain(&request.failure)
}

/// Answers a transaction that `is_read_only`.
pub fn read(reader: &Reader, request: &TxnRequest) -> Result<hot::TxnResponse, RangeError> {
    let mut tries = 0;
    loop {
        let revision = reader.revision();
        tries += 1;
        match read_at(reader, request, revision) {
            // The newest revision is never compacted away before there is a newer one.
            Err(RangeError::Rejected(Error::Compacted)) if tries < TRIES && reader.compact_revision() > revision => {}
            done => return done,
        }
    }
}

fn read_at(reader: &Reader, request: &TxnRequest, revision: i64) -> Result<hot::TxnResponse, RangeError> {
    let mut succeeded = true;
    for compare in &request.compare {
        if !compare_holds(reader, compare, revision)? {
            succeeded = false;
            break;
        }
    }
    let chosen = if succeeded { &request.success } else { &request.failure };
    let ranges: Vec<Option<&RangeRequest>> = chosen
        .iter()
        .map(|op| match &op.request {
            Some(Request::RequestRange(range)) => Some(range),
            _ => None,
        })
        .collect();
    for range in ranges.iter().flatten() {
        check_range(reader, range, revision)?;
    }
    let mut responses = Vec::with_capacity(ranges.len());
    for range in ranges {
        let response = match range {
            Some(range) => {
                let at = if range.revision > 0 { range.revision } else { revision };
                let mut found = scan(reader, &RangeRequest { revision: at, ..range.clone() })?;
                found.header = header(revision);
                Some(response_op::Response::Range(found))
            }
            None => None,
        };
        responses.push(hot::ResponseOp { response });
    }
    Ok(hot::TxnResponse { header: header(revision), succeeded, responses })
}

/// The rules of a range inside a transaction (TXN-12).
fn check_range(reader: &Reader, range: &RangeRequest, revision: i64) -> Result<(), Error> {
    match range.revision {
        0 => Ok(()),
        at if at > revision => Err(Error::FutureRev),
        at if at < reader.compact_revision() => Err(Error::Compacted),
        _ => Ok(()),
    }
}

fn compare_holds(reader: &Reader, compare: &Compare, revision: i64) -> Result<bool, RangeError> {
    let request = RangeRequest { key: compare.key.clone(), range_end: compare.range_end.clone(), revision, ..RangeRequest::default() };
    let records = scan(reader, &request)?.kvs;
    let is_value = compare.target == CompareTarget::Value as i32;
    for record in &records {
        let holds = if is_value {
            value_holds(compare, record)?
        } else {
            let kv =
                KeyValue::decode(record.clone()).map_err(|error| storage::Error::Fault(format!("a record does not decode: {error}")))?;
            let modified = Revision::first_of(kv.mod_revision);
            holds_for(compare, Some(&Current { create: kv.create_revision, modified, version: kv.version, lease: kv.lease }))
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(if records.is_empty() { !is_value && holds_for(compare, None) } else { true })
}

fn scan(reader: &Reader, request: &RangeRequest) -> Result<hot::RangeResponse, RangeError> {
    let mut scan = reader.scan(request)?;
    loop {
        match scan.step(SLICE)? {
            Step::Done(response) => return Ok(response),
            Step::More => {}
            Step::Read => scan.read()?,
        }
    }
}
