//! Recipes: what several clients agree on with nothing but keys, leases and watches (CLI-12).
//!
//! ```text
//!   <name>/<lease in hex>     one key for each who wants a turn; it goes with its lease
//!   the turn                  is whose key was created first; the others watch the one in front of them
//! ```
//!
//! Writes: keys of one prefix, bound to a session's lease. Reads: the same. Other programs that use these keys by the same rules, the
//! Go client's recipes among them, take turns with ours.

pub mod election;
pub mod mutex;
pub mod session;

use std::sync::Arc;

use bytes::Bytes;
use tonic::Code;

use super::watch::{self, Update, Watches};
use super::{Client, Error, key_range};
use crate::wire::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RangeResponse, RequestOp, WatchCreateRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    range_request::{SortOrder, SortTarget},
    request_op::Request,
};
use crate::wire::mvccpb::event::EventType;

/// Where those who want a turn at `name` have their keys.
fn prefix_of(name: &[u8]) -> Vec<u8> {
    [name, b"/"].concat()
}

/// The key of the session with this lease.
fn key_of(prefix: &[u8], lease: i64) -> Bytes {
    [prefix, format!("{lease:x}").as_bytes()].concat().into()
}

/// The one key of a prefix that was created first, or last.
fn by_creation(prefix: &[u8], order: SortOrder) -> RangeRequest {
    RangeRequest {
        key: prefix.to_vec().into(),
        range_end: key_range::prefix_end(prefix).into(),
        limit: 1,
        sort_target: SortTarget::Create.into(),
        sort_order: order.into(),
        ..Default::default()
    }
}

fn get(key: &Bytes) -> RangeRequest {
    RangeRequest { key: key.clone(), ..Default::default() }
}

fn put(key: &Bytes, value: &Bytes, lease: i64) -> RequestOp {
    let put = PutRequest { key: key.clone(), value: value.clone(), lease, ..Default::default() };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

fn read(range: RangeRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestRange(range)) }
}

/// Holds while the key is the one that was created at this revision; 0: while there is none.
fn created_at(key: &Bytes, revision: i64) -> Compare {
    Compare {
        key: key.clone(),
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

/// Returns when no key of the prefix is left that was created before `revision`.
async fn wait_turn(client: &Arc<Client>, prefix: &[u8], revision: i64) -> Result<(), Error> {
    loop {
        let in_front = RangeRequest { max_create_revision: revision - 1, ..by_creation(prefix, SortOrder::Descend) };
        let answer = client.call(in_front, None).await?;
        let Some(last) = answer.kvs.first() else { return Ok(()) };
        wait_deleted(client, &last.key, revision_of(&answer)).await?;
    }
}

async fn wait_deleted(client: &Arc<Client>, key: &Bytes, from: i64) -> Result<(), Error> {
    let watches = Watches::patient(client.clone());
    let mut updates = watches.watch(WatchCreateRequest { key: key.clone(), start_revision: from, ..Default::default() }).await;
    while let Some(update) = updates.recv().await {
        match update {
            Update::Response(response) if response.canceled => return Err(watch::cancel_error(&response)),
            Update::Response(response) if response.events.iter().any(|event| event.r#type() == EventType::Delete) => return Ok(()),
            Update::Response(_) => {}
            Update::Ended(error) => return Err(error),
        }
    }
    Err(Error::Status(Code::Unavailable, "lost watcher waiting for delete".into()))
}

fn revision_of(answer: &RangeResponse) -> i64 {
    answer.header.as_ref().map_or(0, |header| header.revision)
}
