//! `/health`: one answer for load balancers (HTP-2). The first check that fails gives the reason.
//!
//! Writes: `etcd_server_health_success` and `_failures`. Reads: the node.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Response, StatusCode, Uri};
use axum::routing::any;

use super::{Shared, TEXT, get_only, page, parameters, plain};
use crate::wire::etcdserverpb::AlarmType;

pub fn routes(shared: &Arc<Shared>) -> Router {
    let shared = Arc::clone(shared);
    Router::new().route(
        "/health",
        any(move |method: Method, uri: Uri| async move {
            match get_only(&method) {
                Some(refusal) => refusal,
                None => answer(&shared, uri.query()).await,
            }
        }),
    )
}

async fn answer(shared: &Shared, query: Option<&str>) -> Response<Body> {
    let reason = failure(shared, query).await;
    let body = serde_json::json!({"health": if reason.is_none() { "true" } else { "false" }, "reason": reason.as_deref().unwrap_or("")});
    if let Some(reason) = reason {
        shared.metrics.health_failures.inc();
        tracing::warn!(reason, "serving /health false");
        return plain(StatusCode::SERVICE_UNAVAILABLE, format!("{body}\n"));
    }
    shared.metrics.health_successes.inc();
    page(StatusCode::OK, TEXT, body.to_string())
}

async fn failure(shared: &Shared, query: Option<&str>) -> Option<String> {
    let source = &shared.source;
    let is_excluded = |alarm: &str| parameters(query, "exclude").any(|excluded| excluded == alarm);
    let is_serializable = parameters(query, "serializable").next() == Some("true");
    if let Some(name) = source.alarms().into_iter().filter_map(alarm_name).find(|name| !is_excluded(name)) {
        return Some(format!("ALARM {name}"));
    }
    if !is_serializable && !source.has_leader() {
        return Some("RAFT NO LEADER".to_owned());
    }
    let read = if is_serializable { source.serializable_read() } else { source.linearizable_read() };
    read.await.err().map(|error| format!("RANGE ERROR:{error}"))
}

fn alarm_name(alarm: AlarmType) -> Option<&'static str> {
    match alarm {
        AlarmType::None => None,
        AlarmType::Nospace => Some("NOSPACE"),
        AlarmType::Corrupt => Some("CORRUPT"),
    }
}
