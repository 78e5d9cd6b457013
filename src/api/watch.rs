//! The Watch service: one stream of requests in, one stream of responses out, both polled by the connection's own task.
//!
//! ```text
//!   poll --> messages taken before ----------------------------------------> response
//!        --> requests, while there is room for replies --> hub (create, cancel, progress)
//!        --> take everything the hub has for this stream, or leave a waker
//! ```
//!
//! A stream costs no task and no channel of its own: what the hub queues for it is moved out in one go, and one wake brings
//! all of it. A client that does not read its responses is not read from either, since nobody polls.
//!
//! Writes: nothing but the hub, through its station. Reads: the station of the connection's thread.
//! Does not resolve callers: `Permit` does.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::watch::{Body, Leadership, Message, Station, StreamId, Taken};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::watch_request::RequestUnion;
use crate::wire::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest};
use crate::wire::hot::WatchResponse;
use crate::wire::service::etcd::watch_server;

/// Whether the caller with this metadata may watch this key and range end, as they are in the request (WAT-5, WAT-25).
pub type Permit = Arc<dyn Fn(&MetadataMap, &[u8], &[u8]) -> Result<(), Error> + Send + Sync>;

/// A header of now; its revision is replaced.
pub type Header = Arc<dyn Fn() -> ResponseHeader + Send + Sync>;

/// Bound: requests read in one poll, so that a client that sends without pause does not hold the thread.
const REQUESTS_PER_POLL: usize = 64;

#[derive(Clone)]
pub struct WatchService {
    station: Arc<Station>,
    permit: Permit,
    header: Header,
    leadership: tokio::sync::watch::Receiver<Leadership>,
}

impl WatchService {
    /// The service of one runtime thread, whose station this is.
    pub fn new(station: Arc<Station>, permit: Permit, header: Header, leadership: tokio::sync::watch::Receiver<Leadership>) -> Self {
        WatchService { station, permit, header, leadership }
    }

    /// A stream for requests from anywhere: a connection, or the JSON gateway.
    pub fn open<R>(&self, metadata: MetadataMap, requests: R) -> Result<Responses<R>, Status> {
        let requires_leader = metadata.get("hasleader").is_some_and(|value| value == "true");
        if requires_leader && *self.leadership.borrow() != Leadership::Known {
            return Err(Error::NoLeader.status());
        }
        Ok(Responses {
            stream: self.station.open(requires_leader),
            service: self.clone(),
            metadata,
            requests: Some(requests),
            taken: VecDeque::new(),
            header: (self.header)(),
            is_over: false,
        })
    }
}

#[tonic::async_trait]
impl watch_server::Watch for WatchService {
    type WatchStream = Responses<Streaming<WatchRequest>>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let (metadata, _, requests) = request.into_parts();
        self.open(metadata, requests).map(Response::new)
    }
}

/// The responses of one watch stream; dropping it closes the stream at its hub.
pub struct Responses<R> {
    service: WatchService,
    stream: StreamId,
    metadata: MetadataMap,
    /// None once the client has closed its side, which ends nothing (WAT-1).
    requests: Option<R>,
    taken: VecDeque<Message>,
    header: ResponseHeader,
    is_over: bool,
}

impl<R: Stream<Item = Result<WatchRequest, Status>> + Unpin> Stream for Responses<R> {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(message) = this.taken.pop_front() {
                return Poll::Ready(Some(Ok(respond(message, this.header))));
            }
            if this.is_over {
                return Poll::Ready(None);
            }
            let end = match this.read_requests(cx) {
                Err(status) => status,
                Ok(()) => match this.service.station.take(this.stream, &mut this.taken, cx.waker()) {
                    Taken::Nothing => return Poll::Pending,
                    Taken::Messages => {
                        this.header = (this.service.header)();
                        continue;
                    }
                    Taken::Ended(error) => error.status(),
                },
            };
            this.is_over = true;
            return Poll::Ready(Some(Err(end)));
        }
    }
}

impl<R: Stream<Item = Result<WatchRequest, Status>> + Unpin> Responses<R> {
    /// Reads requests while replies to them have room; fails when the client's side failed.
    fn read_requests(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        for _ in 0..REQUESTS_PER_POLL {
            let Some(requests) = self.requests.as_mut().filter(|_| self.service.station.accepts(self.stream)) else { return Ok(()) };
            match Pin::new(requests).poll_next(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => self.requests = None,
                Poll::Ready(Some(request)) => self.handle(request?.request_union),
            }
        }
        // There may be more, and nobody else would wake this task for it.
        cx.waker().wake_by_ref();
        Ok(())
    }
}

impl<R> Responses<R> {
    fn handle(&self, request: Option<RequestUnion>) {
        let (station, stream) = (&self.service.station, self.stream);
        match request {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create),
            Some(RequestUnion::CancelRequest(cancel)) => station.request(|hub| hub.cancel(stream, cancel.watch_id)),
            Some(RequestUnion::ProgressRequest(_)) => station.request(|hub| hub.progress(stream)),
            // Empty, or of a kind that is not known: passed over (WAT-1).
            None => {}
        }
    }

    fn create(&self, create: &WatchCreateRequest) {
        let (station, stream) = (&self.service.station, self.stream);
        let compact_revision = station.compact_revision();
        match (self.service.permit)(&self.metadata, &create.key, &create.range_end) {
            Ok(()) => station.request(|hub| hub.create(stream, create, compact_revision)),
            Err(error) => station.request(|hub| hub.refuse(stream, refusal(error).into())),
        }
    }
}

impl<R> Drop for Responses<R> {
    fn drop(&mut self) {
        self.service.station.close(self.stream);
    }
}

/// The cancel reason of a create that is not permitted. Quirk: ERR-12, the long form that clients parse, and every other
/// failure is told as a permission denied (etcd's `server/etcdserver/api/v3rpc/watch.go`); pinned by
/// `a_refused_create_names_its_cause_in_the_long_form`.
fn refusal(error: Error) -> String {
    let told = match error {
        Error::InvalidAuthToken | Error::AuthOldRevision | Error::UserEmpty => error,
        _ => Error::PermissionDenied,
    };
    format!("rpc error: code = {:?} desc = {}", told.code(), told.text())
}

fn respond(message: Message, header: ResponseHeader) -> WatchResponse {
    let header = Some(ResponseHeader { revision: message.revision, ..header });
    let mut response = WatchResponse { header, watch_id: message.watch_id, ..WatchResponse::default() };
    match message.body {
        Body::Created => response.created = true,
        Body::Refused(reason) => {
            (response.created, response.canceled) = (true, true);
            response.cancel_reason = reason.into_owned();
        }
        Body::Canceled => response.canceled = true,
        Body::Compacted(revision) => (response.canceled, response.compact_revision) = (true, revision),
        Body::Progress => {}
        Body::Events { events, more } => (response.events, response.fragment) = (events, more),
    }
    response
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
