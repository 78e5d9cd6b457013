//! The calls that have one answer: which request goes where, and which may be sent twice.
//!
//! Writes: nothing. Reads: nothing. A call is repeated on the next endpoint while the member is unavailable if repeating it cannot do harm;
//! any other call only while no connection was made, as a member that broke off may have applied it (ERR-10).

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};

use super::{Client, Error};
use crate::wire::etcdserverpb::{
    AlarmRequest, AlarmResponse, CompactionRequest, CompactionResponse, DefragmentRequest, DefragmentResponse, DeleteRangeRequest,
    DeleteRangeResponse, DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
    MemberListRequest, MemberListResponse, MoveLeaderRequest, MoveLeaderResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    RangeStreamResponse, StatusRequest, StatusResponse, TxnRequest, TxnResponse, request_op::Request,
};

/// Pause before an unavailable member's call goes to the next one.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// Bound: attempts of one call; the caller's timeout usually ends it earlier.
const ATTEMPTS_MAX: usize = 100;

/// A request with one answer.
pub trait Call: Message + Clone + 'static {
    const PATH: &'static str;
    type Response: Message + Default + 'static;

    /// Whether sending it twice is the same as sending it once.
    fn is_repeatable(&self) -> bool;
}

macro_rules! calls {
    ($($request:ident -> $response:ident, $path:literal, $repeatable:expr;)*) => {
        $(impl Call for $request {
            const PATH: &'static str = $path;
            type Response = $response;

            fn is_repeatable(&self) -> bool {
                let is_repeatable: fn(&Self) -> bool = $repeatable;
                is_repeatable(self)
            }
        })*
    };
}

calls! {
    RangeRequest -> RangeResponse, "/etcdserverpb.KV/Range", |_| true;
    PutRequest -> PutResponse, "/etcdserverpb.KV/Put", |_| false;
    DeleteRangeRequest -> DeleteRangeResponse, "/etcdserverpb.KV/DeleteRange", |_| false;
    TxnRequest -> TxnResponse, "/etcdserverpb.KV/Txn", is_read_only;
    CompactionRequest -> CompactionResponse, "/etcdserverpb.KV/Compact", |_| false;
    LeaseGrantRequest -> LeaseGrantResponse, "/etcdserverpb.Lease/LeaseGrant", |_| true;
    LeaseRevokeRequest -> LeaseRevokeResponse, "/etcdserverpb.Lease/LeaseRevoke", |_| true;
    LeaseTimeToLiveRequest -> LeaseTimeToLiveResponse, "/etcdserverpb.Lease/LeaseTimeToLive", |_| true;
    LeaseLeasesRequest -> LeaseLeasesResponse, "/etcdserverpb.Lease/LeaseLeases", |_| true;
    MemberListRequest -> MemberListResponse, "/etcdserverpb.Cluster/MemberList", |_| true;
    AlarmRequest -> AlarmResponse, "/etcdserverpb.Maintenance/Alarm", |_| true;
    StatusRequest -> StatusResponse, "/etcdserverpb.Maintenance/Status", |_| true;
    HashKvRequest -> HashKvResponse, "/etcdserverpb.Maintenance/HashKV", |_| true;
    MoveLeaderRequest -> MoveLeaderResponse, "/etcdserverpb.Maintenance/MoveLeader", |_| true;
    DowngradeRequest -> DowngradeResponse, "/etcdserverpb.Maintenance/Downgrade", |_| false;
    DefragmentRequest -> DefragmentResponse, "/etcdserverpb.Maintenance/Defragment", |_| false;
}

fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.request {
        Some(Request::RequestRange(_)) | None => true,
        Some(Request::RequestTxn(inner)) => is_read_only(inner),
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => false,
    })
}

impl Client {
    /// Calls until there is an answer, a refusal, or the time is over.
    pub async fn call<C: Call>(&self, message: C, timeout: Option<Duration>) -> Result<C::Response, Error> {
        bounded(timeout, self.attempts(message, timeout)).await
    }

    async fn attempts<C: Call>(&self, message: C, timeout: Option<Duration>) -> Result<C::Response, Error> {
        let (mut is_token_new, mut attempts) = (false, 0);
        loop {
            attempts += 1;
            let connection = self.connection().await;
            let mut request = self.request(message.clone());
            if let Some(timeout) = timeout {
                request.set_timeout(timeout);
            }
            let status = match self.unary(connection.channel.clone(), request, C::PATH).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            if self.wants_new_token(&status) && !is_token_new {
                is_token_new = true;
                self.authenticate(&connection).await?;
            } else if status.code() == Code::Unavailable {
                self.leave(&connection);
                if !message.is_repeatable() || attempts == ATTEMPTS_MAX {
                    return Err(status.into());
                }
                self.give_notice(connection.at, status.message());
                tokio::time::sleep(RETRY_PAUSE).await;
            } else {
                return Err(ended(status));
            }
        }
    }

    /// A range that the member sends in parts, put together again. Not repeated once a part has come.
    pub async fn range_stream(&self, message: RangeRequest, timeout: Option<Duration>) -> Result<RangeResponse, Error> {
        bounded(timeout, async {
            let connection = self.connection().await;
            let request = self.request(message);
            let parts = self.server_streaming(connection.channel.clone(), request, "/etcdserverpb.KV/RangeStream").await;
            let mut parts = parts.map_err(ended)?;
            let mut whole = RangeResponse::default();
            while let Some(RangeStreamResponse { range_response }) =
                parts.message().await.map_err(super::error::normalise).map_err(ended)?
            {
                let part = range_response.unwrap_or_default();
                whole.header = part.header.or(whole.header);
                whole.kvs.extend(part.kvs);
                whole.more |= part.more;
                whole.count = whole.count.max(part.count);
            }
            Ok(whole)
        })
        .await
    }
}

async fn bounded<T>(timeout: Option<Duration>, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match timeout {
        Some(timeout) => tokio::time::timeout(timeout, call).await.unwrap_or(Err(Error::DeadlineExceeded)),
        None => call.await,
    }
}

/// The timer of the transport and the member's own may fire before ours.
fn ended(status: Status) -> Error {
    if super::error::is_timeout(&status) { Error::DeadlineExceeded } else { status.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::etcdserverpb::RequestOp;

    fn op(request: Request) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    #[test]
    fn a_transaction_may_be_repeated_only_if_no_branch_writes() {
        let read = op(Request::RequestRange(RangeRequest::default()));
        let write = op(Request::RequestPut(PutRequest::default()));
        let reads = TxnRequest { success: vec![read.clone()], failure: vec![read.clone()], ..Default::default() };
        assert!(reads.is_repeatable());
        assert!(!TxnRequest { failure: vec![write.clone()], ..reads.clone() }.is_repeatable());
        let inner = TxnRequest { success: vec![write], ..Default::default() };
        assert!(!TxnRequest { success: vec![op(Request::RequestTxn(inner))], ..reads }.is_repeatable());
    }
}
