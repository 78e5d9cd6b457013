//! The doors of the raft transport. A group of one has no peer to let in: they check what they are shown as etcd does, and
//! answer what an etcd answers to a sender it does not know.
//!
//! ```text
//!   request --version fits?--no--> 412 incompatible version
//!              |  cluster is ours?--no--> 412 cluster ID mismatch
//!              +--> the sender is no member: 404 at a stream, 500 at a message or a snapshot
//! ```
//!
//! Writes: nothing; no message reaches raft from here. Reads: the member list, through `Group`; the clock, for `/raft/probing`.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::routing::any;
use futures_util::StreamExt;
use prost::Message;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::TEXT;
use super::{CLUSTER_ID, Group, of_cluster, page, refusal, refuse_method, text_of};
use crate::clock::{Clock, SystemClock};
use crate::wire::raftpb;

pub const OTHER_CLUSTER: &str = "cluster ID mismatch";
const SERVER_VERSION: HeaderName = HeaderName::from_static("x-server-version");
const MIN_CLUSTER_VERSION: &str = "x-min-cluster-version";
/// The oldest release whose messages are understood.
const OLDEST: (u64, u64) = (3, 0);
/// What a peer that does not say is taken for.
const UNSAID: &str = "2.0.0";
/// Bound: a message is read only to say whether it is one.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

pub fn routes(group: &Arc<dyn Group>, release: String) -> Router {
    let doors = Arc::new(Doors { group: Arc::clone(group), release });
    let (messages, streams, snapshots) = (Arc::clone(&doors), Arc::clone(&doors), doors);
    Router::new()
        .route("/raft", any(move |request: Request| async move { messages.message(request).await }))
        .route("/raft/stream/{*path}", any(move |request: Request| async move { streams.stream(&request) }))
        .route("/raft/snapshot", any(move |request: Request| async move { snapshots.snapshot(request).await }))
        .route("/raft/probing", any(|| async { probing() }))
}

struct Doors {
    group: Arc<dyn Group>,
    release: String,
}

impl Doors {
    async fn message(&self, request: Request) -> Response<Body> {
        if *request.method() != Method::POST {
            return refuse_method(&Method::POST);
        }
        let response = match self.check(request.headers()) {
            Err(reason) => refusal(StatusCode::PRECONDITION_FAILED, reason),
            Ok(()) => match to_bytes(request.into_body(), MESSAGE_BYTES_MAX).await.map(raftpb::Message::decode) {
                Err(_) => refusal(StatusCode::BAD_REQUEST, "error reading raft message"),
                Ok(Err(_)) => refusal(StatusCode::BAD_REQUEST, "error unmarshalling raft message"),
                Ok(Ok(_)) => {
                    let mut response = refusal(StatusCode::INTERNAL_SERVER_ERROR, "error processing raft message");
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    response
                }
            },
        };
        of_cluster(&*self.group, response)
    }

    fn stream(&self, request: &Request) -> Response<Body> {
        if *request.method() != Method::GET {
            return refuse_method(&Method::GET);
        }
        let path = request.uri().path();
        let (kind, from) = path.rsplit_once('/').unwrap_or((path, ""));
        let refuse = |status, reason| refusal(status, reason);
        let response = match (self.check(request.headers()), u64::from_str_radix(from, 16)) {
            (Err(reason), _) => refuse(StatusCode::PRECONDITION_FAILED, reason),
            _ if !matches!(kind, "/raft/stream/msgapp" | "/raft/stream/message") => refuse(StatusCode::NOT_FOUND, "invalid path"),
            (_, Err(_)) => refuse(StatusCode::NOT_FOUND, "invalid from"),
            (_, Ok(from)) if self.group.is_removed(from) => refuse(StatusCode::GONE, "removed member"),
            _ => refuse(StatusCode::NOT_FOUND, "error sender not found"),
        };
        let mut response = of_cluster(&*self.group, response);
        if let Ok(release) = HeaderValue::from_str(&self.release) {
            response.headers_mut().insert(SERVER_VERSION, release);
        }
        response
    }

    async fn snapshot(&self, request: Request) -> Response<Body> {
        if *request.method() != Method::POST {
            return refuse_method(&Method::POST);
        }
        let response = match self.check(request.headers()) {
            Err(reason) => refusal(StatusCode::PRECONDITION_FAILED, reason),
            Ok(()) => match envelope(request.into_body()).await {
                Err(reason) => refusal(StatusCode::BAD_REQUEST, format_args!("failed to decode raft message ({reason})")),
                Ok(message) if message.r#type() != raftpb::MessageType::MsgSnap => {
                    refusal(StatusCode::BAD_REQUEST, "wrong raft message type")
                }
                Ok(_) => refusal(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "failed to process raft message (this member is alone in its cluster and takes no snapshot)",
                ),
            },
        };
        of_cluster(&*self.group, response)
    }

    /// Whether the sender may be of this cluster, and of a release that this one understands (VSN-1).
    fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let said = |name: &str| match text_of(headers, name) {
            "" => major_minor(UNSAID),
            text => major_minor(text),
        };
        let (Some(release), Some(oldest)) = (said(SERVER_VERSION.as_str()), said(MIN_CLUSTER_VERSION)) else {
            return Err("incompatible version");
        };
        if release < OLDEST || Some(oldest) > major_minor(&self.release) {
            return Err("incompatible version");
        }
        if text_of(headers, CLUSTER_ID.as_str()) != format!("{:x}", self.group.cluster_id()) {
            return Err(OTHER_CLUSTER);
        }
        Ok(())
    }
}

fn major_minor(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// The message in front of a snapshot: its length, eight bytes big-endian, and the message. The rest of the body is not read.
async fn envelope(body: Body) -> Result<raftpb::Message, &'static str> {
    let (mut stream, mut read) = (body.into_data_stream(), Vec::new());
    loop {
        if let Some((length, rest)) = read.split_first_chunk::<8>() {
            let length = usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if length > MESSAGE_BYTES_MAX {
                return Err("rafthttp: error limit exceeded");
            }
            if let Some(message) = rest.get(..length) {
                return raftpb::Message::decode(message).map_err(|_| "the message does not decode");
            }
        }
        match stream.next().await {
            Some(Ok(bytes)) => read.extend_from_slice(&bytes),
            _ if read.is_empty() => return Err("EOF"),
            _ => return Err("unexpected EOF"),
        }
    }
}

/// What peers compare their clocks by. Quirk: JSON that calls itself a text, as etcd's does.
fn probing() -> Response<Body> {
    let unix = SystemClock::default().unix();
    let now = i128::try_from(unix.as_nanos()).ok().and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok());
    let now = now.and_then(|now| now.format(&Rfc3339).ok()).unwrap_or_default();
    page(StatusCode::OK, TEXT, format!("{{\"OK\":true,\"Now\":\"{now}\"}}\n"))
}
