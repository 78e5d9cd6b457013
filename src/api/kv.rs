//! The KV service.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use tonic::{Request, Response, Status};

use super::slow::Stopwatch;
use super::validate;
use crate::mvcc;
use crate::node::{Field, Seat};
use crate::state_machine::{Response as Applied, command, quota, read};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, InternalRaftRequest, PutRequest, RangeRequest, TxnRequest,
    range_request::{SortOrder, SortTarget},
};
use crate::wire::hot;
use crate::wire::service::etcd::kv_server::Kv;

#[derive(Clone)]
pub struct KvService {
    pub seat: Seat,
}

/// First chunk of a RangeStream, in keys (RST-4).
const FIRST_CHUNK_KEYS: i64 = 10;

impl KvService {
    /// Refuses a write that does not fit the quota, and raises the alarm (QUO-3).
    async fn make_room(&self, cost: u64) -> Result<(), Status> {
        if self.seat.node.fits(cost) {
            return Ok(());
        }
        crate::node::raise_no_space(&self.seat).await;
        Err(Error::NoSpace.status())
    }

    /// Proposes a write. One that found the quota exceeded was applied all the same; its caller hears so after the alarm is raised (QUO-4).
    async fn write<M: prost::Message>(&self, field: Field, request: M) -> Result<Applied, Status> {
        match self.seat.propose_field(field, request).await {
            Err(Error::NoSpace) => {
                crate::node::refused_for_space(&self.seat).await;
                Err(Error::NoSpace.status())
            }
            other => Ok(other?),
        }
    }

    async fn read(&self, request: &RangeRequest) -> Result<hot::RangeResponse, Error> {
        if !request.serializable {
            self.seat.linearize().await?;
        }
        self.seat.range(request).await
    }

    async fn read_txn(&self, request: &Arc<TxnRequest>) -> Result<hot::TxnResponse, Error> {
        if !read::is_serializable(request) {
            self.seat.linearize().await?;
        }
        self.seat.read_txn(request).await
    }
}

fn unexpected() -> Status {
    Status::internal("the state machine answered with another kind of response")
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<hot::RangeResponse>, Status> {
        let request = request.into_inner();
        validate::range(&request)?;
        let watch = Stopwatch::start(&self.seat.node);
        let done = self.read(&request).await;
        let took = watch.range(&request, &done);
        let mut response = done?;
        self.seat.node.fill(&mut response.header);
        Ok(watch.describe(took, &request, response))
    }

    type RangeStreamStream = Pin<Box<dyn Stream<Item = Result<hot::RangeStreamResponse, Status>> + Send>>;

    async fn range_stream(&self, request: Request<RangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        let mut request = request.into_inner();
        validate::range(&request)?;
        refuse_unstreamable(&request)?;
        // A target without an order sorts a Range, but not a stream.
        request.sort_target = SortTarget::Key as i32;
        let service = self.clone();
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            if !request.serializable {
                service.seat.linearize().await?;
            }
            let mut stream = RangeStream::new(request, service.seat.node.options.max_request_bytes);
            while let Some(chunk) = stream.next_request() {
                let response = service.seat.range(&chunk).await?;
                let mut part = stream.take(response);
                if part.header.is_some() {
                    service.seat.node.fill(&mut part.header);
                }
                yield hot::RangeStreamResponse { range_response: Some(part) };
            }
        })))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<hot::PutResponse>, Status> {
        let request = request.into_inner();
        self.make_room(quota::put_cost(&request)).await?;
        validate::put(&request)?;
        let Applied::Put(mut response) = self.write(Field::Put, request).await? else { return Err(unexpected()) };
        self.seat.node.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn delete_range(&self, request: Request<DeleteRangeRequest>) -> Result<Response<hot::DeleteRangeResponse>, Status> {
        let request = request.into_inner();
        validate::delete_range(&request)?;
        let Applied::DeleteRange(mut response) = self.seat.propose_field(Field::DeleteRange, request).await? else {
            return Err(unexpected());
        };
        self.seat.node.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<hot::TxnResponse>, Status> {
        let request = request.into_inner();
        self.make_room(quota::txn_cost(&request)).await?;
        validate::txn(&request, self.seat.node.options.max_txn_ops)?;
        command::check_nesting(&request)?;
        let mut response = if read::is_read_only(&request) {
            let (request, watch) = (Arc::new(request), Stopwatch::start(&self.seat.node));
            let done = self.read_txn(&request).await;
            watch.txn(&request, &done);
            done?
        } else {
            let Applied::Txn(response) = self.write(Field::Txn, request).await? else { return Err(unexpected()) };
            response
        };
        self.seat.node.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        let request = request.into_inner();
        let (revision, physical) = (request.revision, request.physical);
        let command = InternalRaftRequest { compaction: Some(request), ..Default::default() };
        let Applied::Compaction(mut response) = self.seat.propose(command).await? else { return Err(unexpected()) };
        if physical {
            // CMP-3: the answer waits for the bytes to be gone; reads below are refused already.
            self.seat.wait_swept(revision).await?;
        }
        self.seat.node.fill(&mut response.header);
        Ok(Response::new(response))
    }
}

/// RST-6. Key order is what a stream has anyway, asked for or not.
fn refuse_unstreamable(request: &RangeRequest) -> Result<(), Status> {
    let is_key_order = request.sort_order == SortOrder::Ascend as i32 && request.sort_target == SortTarget::Key as i32;
    if request.sort_order != SortOrder::None as i32 && !is_key_order {
        return Err(Status::unimplemented("RangeStream does not support custom sort orders"));
    }
    let filters = [request.min_mod_revision, request.max_mod_revision, request.min_create_revision, request.max_create_revision];
    if filters != [0; 4] {
        return Err(Status::unimplemented("RangeStream does not support revision filters"));
    }
    Ok(())
}

/// A Range in chunks at one revision (RST-1..5): what to ask for next, and what of the answer to send.
struct RangeStream {
    request: RangeRequest,
    /// Chunk size in keys; doubles and halves towards `bytes` (RST-4).
    keys: i64,
    bytes: usize,
    sent: i64,
    /// Current revision of the store at the start, for the header (RST-3).
    revision: i64,
    done: bool,
}

impl RangeStream {
    fn new(request: RangeRequest, bytes: usize) -> RangeStream {
        RangeStream { request, keys: FIRST_CHUNK_KEYS, bytes, sent: 0, revision: 0, done: false }
    }

    fn left(&self) -> Option<i64> {
        (self.request.limit > 0).then(|| self.request.limit - self.sent)
    }

    fn next_request(&self) -> Option<RangeRequest> {
        if self.done {
            return None;
        }
        let mut chunk = self.request.clone();
        if !chunk.count_only {
            chunk.limit = self.left().map_or(self.keys, |left| left.min(self.keys));
        }
        Some(chunk)
    }

    fn take(&mut self, mut response: hot::RangeResponse) -> hot::RangeResponse {
        if self.sent == 0 {
            self.revision = response.header.as_ref().map_or(0, |h| h.revision);
            if self.request.revision <= 0 {
                self.request.revision = self.revision;
            }
        }
        let before = self.sent;
        self.sent += response.kvs.len() as i64;
        let size: usize = response.kvs.iter().map(Bytes::len).sum();
        if size < self.bytes / 2 {
            self.keys = self.keys.saturating_mul(2);
        } else if size > self.bytes * 2 {
            self.keys = (self.keys / 2).max(1);
        }
        let limited = self.left() == Some(0);
        if response.more && !limited {
            self.request.key = successor(&response.kvs);
            return hot::RangeResponse { kvs: response.kvs, ..Default::default() };
        }
        self.done = true;
        response.count += before;
        response.header.get_or_insert_default().revision = self.revision;
        response
    }
}

/// The smallest key after the last one of a chunk.
fn successor(kvs: &[Bytes]) -> Bytes {
    let last = kvs.last().and_then(|kv| mvcc::record::key_of(kv)).unwrap_or_default();
    let mut next = BytesMut::with_capacity(last.len() + 1);
    next.put_slice(last);
    next.put_u8(0);
    next.freeze()
}
