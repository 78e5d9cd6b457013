//! The pages of peer listeners: the member list, hashes, leases and the doors of the raft transport (surface 3.7, HTP-11).
//!
//! ```text
//!   peer listener --> /members /members/promote/<id> /members/hashkv /downgrade/enabled /version
//!                     /leases /leases/internal                           lease.rs
//!                     /raft /raft/stream/.. /raft/snapshot /raft/probing raft.rs
//!                        |
//!                        +--Group--> the running node
//! ```
//!
//! Writes: nothing. Reads: the node, through `Group`.
//! The API of clients is not served here. Every answer that depends on the cluster names it in `X-Etcd-Cluster-ID`.

mod lease;
mod raft;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::routing::any;
use futures_util::future::BoxFuture;

use super::{Pages, get_only, not_found, page, plain};
use crate::wire::etcdserverpb::{HashKvResponse, LeaseTimeToLiveResponse};

/// Quirk: header names are compared without regard to case; etcd's own spelling is `X-Etcd-Cluster-Id` on the wire.
const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
/// Bound: the body of a question about a hash.
const QUESTION_BYTES_MAX: usize = 64 * 1024;

/// Why a lease could not be renewed or looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseError {
    NotFound,
    /// What is committed was not applied in time: the lease may be among it.
    Late,
    Other(String),
}

/// What peers ask of the running node.
pub trait Group: Send + Sync + 'static {
    fn cluster_id(&self) -> u64;

    /// The member list in etcd's JSON form, by id.
    fn members(&self) -> String;

    /// Whether the member of this id was removed from the cluster.
    fn is_removed(&self, id: u64) -> bool;

    /// Whether a downgrade is under way, after a round through the leader.
    fn is_downgrading(&self) -> BoxFuture<'_, Result<bool, String>>;

    /// Makes a learner a voter, and says why it cannot.
    fn promote(&self, id: u64) -> BoxFuture<'_, Result<(), (StatusCode, String)>>;

    fn hash_kv(&self, revision: i64) -> BoxFuture<'_, Result<HashKvResponse, String>>;

    /// Renews a lease of this leader, and says how many seconds it has now.
    fn renew(&self, id: i64) -> BoxFuture<'_, Result<i64, LeaseError>>;

    fn time_to_live(&self, id: i64, with_keys: bool) -> BoxFuture<'_, Result<LeaseTimeToLiveResponse, LeaseError>>;
}

impl Pages {
    /// What peer listeners serve.
    pub fn peer(&self, group: &Arc<dyn Group>) -> Router {
        let members = Router::new()
            .route("/members", on(group, Method::GET, |group, _| Box::pin(async move { members(&*group) })))
            .route("/members/hashkv", on(group, Method::GET, |group, request| Box::pin(async move { hash_kv(&*group, request).await })))
            .route(
                "/members/promote/{id}",
                on(group, Method::POST, |group, request| Box::pin(async move { promote(&*group, request).await })),
            )
            .route("/downgrade/enabled", on(group, Method::GET, |group, _| Box::pin(async move { downgrading(&*group).await })));
        members
            .merge(lease::routes(group))
            .merge(raft::routes(group, self.shared.source.release()))
            .merge(self.version())
            .fallback(not_found)
    }
}

type Handler = fn(Arc<dyn Group>, Request) -> BoxFuture<'static, Response<Body>>;

/// A route for one method; any other is refused.
fn on(group: &Arc<dyn Group>, wanted: Method, handler: Handler) -> axum::routing::MethodRouter {
    let group = Arc::clone(group);
    any(move |request: Request| {
        let (group, wanted) = (Arc::clone(&group), wanted.clone());
        async move { if *request.method() == wanted { handler(group, request).await } else { refuse_method(&wanted) } }
    })
}

fn refuse_method(wanted: &Method) -> Response<Body> {
    // The two names are known, so the header is valid.
    let allowed = if *wanted == Method::GET { HeaderValue::from_static("GET") } else { HeaderValue::from_static("POST") };
    let mut response = get_only(&Method::POST).expect("POST is not GET");
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

/// A refusal as Go's `http.Error` writes it: the text and the end of its line.
fn refusal(status: StatusCode, text: impl std::fmt::Display) -> Response<Body> {
    plain(status, format!("{text}\n"))
}

/// Says which cluster answered.
fn of_cluster(group: &dyn Group, mut response: Response<Body>) -> Response<Body> {
    let id = HeaderValue::from_str(&format!("{:x}", group.cluster_id())).expect("hexadecimal digits are a valid header");
    response.headers_mut().insert(CLUSTER_ID, id);
    response
}

/// The text of a header, empty where there is none.
fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn members(group: &dyn Group) -> Response<Body> {
    of_cluster(group, page(StatusCode::OK, "application/json", format!("{}\n", group.members())))
}

async fn promote(group: &dyn Group, request: Request) -> Response<Body> {
    let text = request.uri().path().rsplit('/').next().unwrap_or_default();
    let response = match text.parse() {
        Err(_) => refusal(StatusCode::NOT_FOUND, format_args!("member {text} not found in cluster")),
        Ok(id) => match group.promote(id).await {
            Ok(()) => page(StatusCode::OK, "application/json", format!("{}\n", group.members())),
            Err((status, reason)) => refusal(status, reason),
        },
    };
    of_cluster(group, response)
}

async fn downgrading(group: &dyn Group) -> Response<Body> {
    let response = match group.is_downgrading().await {
        Ok(is_downgrading) => page(StatusCode::OK, "text/plain", is_downgrading.to_string()),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, format_args!("failed linearized read: {error}")),
    };
    of_cluster(group, response)
}

async fn hash_kv(group: &dyn Group, request: Request) -> Response<Body> {
    let theirs = text_of(request.headers(), CLUSTER_ID.as_str());
    if !theirs.is_empty() && theirs != format!("{:x}", group.cluster_id()) {
        return refusal(StatusCode::PRECONDITION_FAILED, raft::OTHER_CLUSTER);
    }
    let Ok(body) = to_bytes(request.into_body(), QUESTION_BYTES_MAX).await else {
        return refusal(StatusCode::BAD_REQUEST, "error reading body");
    };
    let Some(revision) = wanted_revision(&body) else {
        return refusal(StatusCode::BAD_REQUEST, "error unmarshalling request");
    };
    match group.hash_kv(revision).await {
        Ok(hash) => of_cluster(group, page(StatusCode::OK, "application/json", hash_json(&hash))),
        Err(reason) => refusal(StatusCode::BAD_REQUEST, reason),
    }
}

/// As Go reads `{"revision": N}`: names without regard to case, others passed over, null and nothing are zero.
fn wanted_revision(body: &[u8]) -> Option<i64> {
    match serde_json::from_slice(body).ok()? {
        serde_json::Value::Null => Some(0),
        serde_json::Value::Object(fields) => {
            let mut found = fields.iter().filter(|(name, value)| name.eq_ignore_ascii_case("revision") && !value.is_null());
            found.try_fold(0, |_, (_, value)| value.as_i64())
        }
        _ => None,
    }
}

/// As Go writes it: no field that is zero.
fn hash_json(hash: &HashKvResponse) -> String {
    let revision = hash.header.as_ref().map_or(0, |header| header.revision);
    let mut fields = serde_json::Map::new();
    fields.insert("header".into(), if revision == 0 { serde_json::json!({}) } else { serde_json::json!({ "revision": revision }) });
    let numbers = [("hash", i64::from(hash.hash)), ("compact_revision", hash.compact_revision), ("hash_revision", hash.hash_revision)];
    for (name, number) in numbers.into_iter().filter(|&(_, number)| number != 0) {
        fields.insert(name.into(), number.into());
    }
    serde_json::Value::Object(fields).to_string()
}

#[cfg(test)]
mod tests;
