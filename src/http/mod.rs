//! The HTTP pages beside the API: version, health, metrics, debug variables (HTP-1..HTP-5).
//!
//! ```text
//!   client listener   --guard--> /version /health /livez /readyz /metrics /debug/vars   (and the JSON gateway, merged in)
//!   metrics listener  ---------> /health /livez /readyz /metrics
//!   peer listener     ---------> /version and what peer/ lists
//!                                   |
//!                                   +--Source--> the running node
//! ```
//!
//! Writes: its own metrics. Reads: the node, through `Source`; the registry.
//! Does not open sockets: `server` does, and puts `guard` in front where clients are untrusted.

mod debug;
pub mod guard;
mod health;
pub mod peer;
mod probe;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::routing::any;
use futures_util::future::BoxFuture;

use crate::metrics::{self, Counter, CounterVec, Gauge, GaugeVec, Registry};
use crate::wire::etcdserverpb::AlarmType;

/// What the pages need to know of the running node.
pub trait Source: Send + Sync + 'static {
    /// The release of this member.
    fn release(&self) -> String;

    /// The cluster's version, three numbers; none before it is decided.
    fn cluster_version(&self) -> Option<String>;

    /// The version of the stored data, three numbers; none before it is known.
    fn storage_version(&self) -> Option<String>;

    /// Kinds of the alarms that are raised anywhere in the cluster, in the order they are listed.
    fn alarms(&self) -> Vec<AlarmType>;

    fn has_leader(&self) -> bool;

    fn is_learner(&self) -> bool;

    /// Reads one key here. The error is the text a client would get. Ends within the request timeout.
    fn serializable_read(&self) -> BoxFuture<'_, Result<(), String>>;

    /// The same after a round through the leader.
    fn linearizable_read(&self) -> BoxFuture<'_, Result<(), String>>;

    /// What `/debug/vars` shows as `raft.status`.
    fn raft_status(&self) -> serde_json::Value;
}

/// The pages of one node.
#[derive(Clone)]
pub struct Pages {
    shared: Arc<Shared>,
}

struct Shared {
    source: Arc<dyn Source>,
    registry: Registry,
    metrics: Metrics,
    command_line: Vec<String>,
}

/// How the probes and scrapes went.
struct Metrics {
    health_successes: Counter,
    health_failures: Counter,
    checks: CounterVec,
    check: GaugeVec,
    scrapes: CounterVec,
    scrapes_in_flight: Gauge,
}

impl Metrics {
    fn new(registry: &Registry) -> Metrics {
        let scrapes = registry.counters("promhttp_metric_handler_requests_total", "Scrapes by HTTP status.", &["code"]);
        for code in ["200", "500", "503"] {
            scrapes.with_label_values(&[code]);
        }
        Metrics {
            health_successes: registry.counter("etcd_server_health_success", "Requests to /health that passed."),
            health_failures: registry.counter("etcd_server_health_failures", "Requests to /health that failed."),
            checks: registry.counters("etcd_server_healthchecks_total", "Runs of each health check.", &["type", "name", "status"]),
            check: registry.gauges("etcd_server_healthcheck", "1 where the last run of a check passed.", &["type", "name"]),
            scrapes,
            scrapes_in_flight: registry.gauge("promhttp_metric_handler_requests_in_flight", "Scrapes being answered now."),
        }
    }
}

impl Pages {
    /// Registers its metrics, so once for a registry. The command line is shown by `/debug/vars`.
    pub fn new(source: Arc<dyn Source>, registry: &Registry, command_line: Vec<String>) -> Pages {
        let metrics = Metrics::new(registry);
        Pages { shared: Arc::new(Shared { source, registry: registry.clone(), metrics, command_line }) }
    }

    /// What client listeners serve. More routes may be merged in; whatever is not found is answered here.
    pub fn client(&self) -> Router {
        self.probes().merge(self.version()).merge(debug::routes(&self.shared)).fallback(not_found)
    }

    /// What metrics listeners serve.
    pub fn metrics(&self) -> Router {
        self.probes().fallback(not_found)
    }

    fn version(&self) -> Router {
        let shared = Arc::clone(&self.shared);
        Router::new().route("/version", any(move |method: Method| async move { get_only(&method).unwrap_or_else(|| version(&shared)) }))
    }

    fn probes(&self) -> Router {
        let shared = Arc::clone(&self.shared);
        let scrape = any(move || async move { scrape(&shared) });
        Router::new().merge(health::routes(&self.shared)).merge(probe::routes(&self.shared)).route("/metrics", scrape)
    }
}

fn version(shared: &Shared) -> Response<Body> {
    let source = &shared.source;
    let versions = serde_json::json!({
        "etcdserver": source.release(),
        "etcdcluster": source.cluster_version().unwrap_or_else(|| "not_decided".to_owned()),
        "storage": source.storage_version().unwrap_or_else(|| "unknown".to_owned()),
    });
    page(StatusCode::OK, "application/json", versions.to_string())
}

fn scrape(shared: &Shared) -> Response<Body> {
    shared.metrics.scrapes_in_flight.inc();
    let text = shared.registry.text();
    shared.metrics.scrapes_in_flight.dec();
    shared.metrics.scrapes.with_label_values(&["200"]).inc();
    page(StatusCode::OK, metrics::CONTENT_TYPE, text)
}

const TEXT: &str = "text/plain; charset=utf-8";

fn page(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A text that a browser must not take for anything else, as every answer made by hand is.
fn plain(status: StatusCode, body: String) -> Response<Body> {
    let mut response = page(status, TEXT, body);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The answer to any method but GET; HEAD is refused too.
fn get_only(method: &Method) -> Option<Response<Body>> {
    (method != Method::GET).then(|| {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n".to_owned());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        response
    })
}

async fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
}

/// The values of a repeatable parameter of the query, and whether it is there at all.
fn parameters<'a>(query: Option<&'a str>, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.unwrap_or_default().split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests;
