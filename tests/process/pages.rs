//! Version, health and metrics pages beside those of a running etcd.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use etcd::http::{Pages, Source, guard::Guard};
use etcd::metrics::Registry;
use etcd::wire::etcdserverpb::AlarmType;
use futures_util::future::BoxFuture;
use tower::ServiceExt;

use super::oracle::{Server, ask};

/// A node to which nothing ever happened, of the release of the server beside it.
struct Quiet {
    release: String,
}

impl Source for Quiet {
    fn release(&self) -> String {
        self.release.clone()
    }
    fn cluster_version(&self) -> Option<String> {
        Some("3.7.0".to_owned())
    }
    fn storage_version(&self) -> Option<String> {
        Some("3.7.0".to_owned())
    }
    fn alarms(&self) -> Vec<AlarmType> {
        Vec::new()
    }
    fn has_leader(&self) -> bool {
        true
    }
    fn is_learner(&self) -> bool {
        false
    }
    fn serializable_read(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn linearizable_read(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn raft_status(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// Status, headers without the date, in order, and the lines of the body, in order.
type Answer = (u16, Vec<(String, String)>, Vec<String>);

fn theirs(address: &str, method: &str, path: &str) -> Answer {
    let text = ask(address, method, path).expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    answer(status, headers.collect(), body)
}

fn ours(router: &Router, method: &str, path: &str) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let request = Request::builder().method(method).uri(path).header("host", "localhost").body(Body::empty()).expect("a request");
        let (head, body) = router.clone().oneshot(request).await.expect("an answer").into_parts();
        let body = to_bytes(body, 1 << 24).await.expect("a body");
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
        let body = if method == "HEAD" { "".into() } else { String::from_utf8_lossy(&body) };
        answer(head.status.as_u16(), headers.collect(), &body)
    })
}

fn answer(status: u16, mut headers: Vec<(String, String)>, body: &str) -> Answer {
    headers.retain(|(name, _)| !matches!(name.as_str(), "date" | "connection" | "content-length" | "transfer-encoding"));
    headers.sort();
    // The order in which checks are listed is not fixed.
    let mut lines: Vec<String> = body.lines().map(str::to_owned).collect();
    lines.sort();
    (status, headers, lines)
}

#[test]
fn pages_answer_as_etcds_do() {
    let server = Server::start();
    let version: serde_json::Value = serde_json::from_str(&theirs(&server.client, "GET", "/version").2[0]).expect("JSON");
    let release = version["etcdserver"].as_str().expect("a release").to_owned();
    let registry = Registry::default();
    let pages = Pages::new(Arc::new(Quiet { release }), &registry, Vec::new());
    let anyone = Guard { hosts: vec!["*".to_owned()], origins: vec!["*".to_owned()], is_tls: false };
    let client = anyone.before(pages.client());
    for (method, path) in [
        ("GET", "/version"),
        ("POST", "/version"),
        ("HEAD", "/version"),
        ("GET", "/version/"),
        ("GET", "/health"),
        ("HEAD", "/health"),
        ("PUT", "/health"),
        ("GET", "/health?serializable=true&exclude=NOSPACE"),
        ("GET", "/livez"),
        ("POST", "/livez"),
        ("GET", "/livez?verbose"),
        ("GET", "/livez?verbose=false"),
        ("GET", "/livez?verbose&exclude=serializable_read"),
        ("GET", "/livez/serializable_read?verbose"),
        ("GET", "/livez/foo"),
        ("GET", "/livez/"),
        ("GET", "/readyz"),
        ("GET", "/readyz?verbose"),
        ("GET", "/readyz?verbose&exclude=data_corruption&exclude=foo"),
        ("GET", "/readyz/data_corruption?verbose&exclude=data_corruption"),
        ("GET", "/readyz/non_learner"),
        ("GET", "/"),
        ("GET", "/foo"),
        ("OPTIONS", "/foo"),
        ("OPTIONS", "/health"),
        ("HEAD", "/debug/vars"),
    ] {
        assert_eq!(ours(&client, method, path), theirs(&server.client, method, path), "{method} {path}");
    }
    for (method, path) in [("GET", "/version"), ("GET", "/health"), ("GET", "/readyz?verbose"), ("GET", "/debug/vars"), ("HEAD", "/foo")] {
        assert_eq!(ours(&pages.metrics(), method, path), theirs(&server.metrics, method, path), "{method} {path}");
    }
    for method in ["GET", "POST", "HEAD"] {
        let (ours, theirs) = (ours(&client, method, "/metrics"), theirs(&server.client, method, "/metrics"));
        assert_eq!((ours.0, ours.1), (theirs.0, theirs.1), "{method} /metrics");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_metrics_registered_here_have_etcds_names_types_and_labels() {
    let server = Server::start();
    // A probe must have run for its labels to be there.
    theirs(&server.client, "GET", "/readyz");
    let registry = Registry::default();
    registry.process();
    let facts = etcd::metrics::Server::new(&registry, "3.7.1", "1.0");
    facts.set_cluster_version("3.7");
    for (gate, is_open) in etcd::config::Gates::default().iter() {
        facts.set_feature(gate.name, gate.stage.label(), is_open);
    }
    etcd::metrics::Server::set_id(&registry, 1);
    let client = Pages::new(Arc::new(Quiet { release: String::new() }), &registry, Vec::new()).client();
    ours(&client, "GET", "/readyz");
    let shape = |lines: &[String]| -> std::collections::BTreeSet<String> {
        let sample = |line: &String| match line.strip_prefix("# TYPE ") {
            Some(kind) => Some(kind.to_owned()),
            None if line.starts_with('#') => None,
            None => line.rsplit_once(' ').map(|(name, _)| name.split(['"']).step_by(2).collect::<Vec<_>>().join("\"")),
        };
        lines.iter().filter_map(sample).collect()
    };
    let (ours, theirs) = (shape(&ours(&client, "GET", "/metrics").2), shape(&theirs(&server.client, "GET", "/metrics").2));
    let unknown: Vec<&String> = ours.difference(&theirs).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(ours.len() > 40, "{ours:?}");
}
