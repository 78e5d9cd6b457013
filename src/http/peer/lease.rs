//! Leases as other members ask for them: only the leader keeps deadlines, so they bring what their clients want here (LSE-7).
//!
//! Writes: deadlines, through `Group`. Reads: the node.
//! Bound: a question is a number and a switch, so 64 KiB are more than enough.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::routing::any;
use prost::Message;

use super::{Group, LeaseError, QUESTION_BYTES_MAX, get_only, refusal};
use crate::wire::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use crate::wire::leasepb::{LeaseInternalRequest, LeaseInternalResponse};

pub fn routes(group: &Arc<dyn Group>) -> Router {
    let (renewing, looking) = (Arc::clone(group), Arc::clone(group));
    Router::new()
        .route(
            "/leases",
            any(move |request: Request| async move {
                match question(request).await {
                    Ok(body) => renew(&*renewing, body).await,
                    Err(refusal) => refusal,
                }
            }),
        )
        .route(
            "/leases/internal",
            any(move |request: Request| async move {
                match question(request).await {
                    Ok(body) => look(&*looking, body).await,
                    Err(refusal) => refusal,
                }
            }),
        )
}

async fn question(request: Request) -> Result<Bytes, Response<Body>> {
    if *request.method() != Method::POST {
        // Quirk: unlike the other pages these do not say what is allowed; pinned by `the_pages_of_peers_are_etcds`.
        let mut response = get_only(&Method::POST).expect("POST is not GET");
        response.headers_mut().remove(header::ALLOW);
        return Err(response);
    }
    to_bytes(request.into_body(), QUESTION_BYTES_MAX).await.map_err(|_| refusal(StatusCode::PAYLOAD_TOO_LARGE, "request body too large"))
}

async fn renew(group: &dyn Group, body: Bytes) -> Response<Body> {
    let Ok(LeaseKeepAliveRequest { id }) = LeaseKeepAliveRequest::decode(body) else { return unreadable() };
    match group.renew(id).await {
        Ok(ttl) => protobuf(&LeaseKeepAliveResponse { header: None, id, ttl }),
        Err(error) => refuse(&error, StatusCode::BAD_REQUEST),
    }
}

async fn look(group: &dyn Group, body: Bytes) -> Response<Body> {
    let Ok(LeaseInternalRequest { lease_time_to_live_request }) = LeaseInternalRequest::decode(body) else { return unreadable() };
    // A question without its one field ends the connection in etcd; here it is about lease 0, which does not exist.
    let wanted = lease_time_to_live_request.unwrap_or_default();
    match group.time_to_live(wanted.id, wanted.keys).await {
        Ok(answer) => protobuf(&LeaseInternalResponse { lease_time_to_live_response: Some(answer) }),
        Err(error) => refuse(&error, StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn unreadable() -> Response<Body> {
    refusal(StatusCode::BAD_REQUEST, "error unmarshalling request")
}

fn refuse(error: &LeaseError, otherwise: StatusCode) -> Response<Body> {
    match error {
        LeaseError::NotFound => refusal(StatusCode::NOT_FOUND, "lease not found"),
        LeaseError::Late => refusal(StatusCode::REQUEST_TIMEOUT, "waiting for node to catch up its applied index has timed out"),
        LeaseError::Other(reason) => refusal(otherwise, reason),
    }
}

fn protobuf(message: &impl Message) -> Response<Body> {
    let mut response = Response::new(Body::from(message.encode_to_vec()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/protobuf"));
    response
}
