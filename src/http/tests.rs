//! The pages over a node that says what a test wants.

use std::sync::Mutex;

use axum::body::to_bytes;
use axum::http::Request;
use tower::ServiceExt;

use super::guard::Guard;
use super::*;

#[derive(Clone)]
struct State {
    alarms: Vec<AlarmType>,
    has_leader: bool,
    is_learner: bool,
    read: Result<(), String>,
}

pub(super) struct Fake(Mutex<State>);

impl Fake {
    pub(super) fn healthy() -> Fake {
        Fake(Mutex::new(State { alarms: Vec::new(), has_leader: true, is_learner: false, read: Ok(()) }))
    }
}

impl Source for Fake {
    fn release(&self) -> String {
        "3.7.1".to_owned()
    }
    fn cluster_version(&self) -> Option<String> {
        self.has_leader().then(|| "3.7.0".to_owned())
    }
    fn storage_version(&self) -> Option<String> {
        self.has_leader().then(|| "3.7.0".to_owned())
    }
    fn alarms(&self) -> Vec<AlarmType> {
        self.0.lock().unwrap().alarms.clone()
    }
    fn has_leader(&self) -> bool {
        self.0.lock().unwrap().has_leader
    }
    fn is_learner(&self) -> bool {
        self.0.lock().unwrap().is_learner
    }
    fn serializable_read(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn linearizable_read(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.0.lock().unwrap().read.clone() })
    }
    fn raft_status(&self) -> serde_json::Value {
        serde_json::json!({"term": 2})
    }
}

struct Site {
    source: Arc<Fake>,
    registry: Registry,
    router: Router,
    metrics: Router,
}

impl Site {
    fn new() -> Site {
        let source = Arc::new(Fake::healthy());
        let registry = Registry::default();
        registry.process();
        let pages = Pages::new(source.clone(), &registry, vec!["etcd".to_owned(), "--name=a".to_owned()]);
        Site { source, registry, router: pages.client(), metrics: pages.metrics() }
    }

    fn with(change: impl FnOnce(&mut State)) -> Site {
        let site = Site::new();
        change(&mut site.source.0.lock().unwrap());
        site
    }

    fn guarded(hosts: &[&str], origins: &[&str]) -> Site {
        let mut site = Site::new();
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        site.router = Guard { hosts: owned(hosts), origins: owned(origins), is_tls: false }.before(site.router);
        site
    }

    fn get(&self, path: &str) -> Answer {
        ask(&self.router, Request::get(path).body(Body::empty()).unwrap())
    }

    fn send(&self, request: axum::http::request::Builder) -> Answer {
        ask(&self.router, request.body(Body::empty()).unwrap())
    }
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, body));
    }
}

fn ask(router: &Router, request: Request<Body>) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let response = router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    })
}

#[test]
fn the_version_page_names_server_cluster_and_storage() {
    let answer = Site::new().get("/version");
    answer.is(200, r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let young = Site::with(|state| state.has_leader = false);
    young.get("/version").is(200, r#"{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}"#);
}

#[test]
fn pages_are_read_with_get_alone() {
    let site = Site::new();
    for path in ["/version", "/health", "/livez", "/readyz/non_learner", "/debug/vars"] {
        for method in ["POST", "HEAD", "DELETE"] {
            let answer = site.send(Request::builder().method(method).uri(path));
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{method} {path}");
        }
    }
}

#[test]
fn an_unknown_path_is_not_found() {
    let site = Site::new();
    for path in ["/", "/foo", "/version/", "/health/", "/livez/", "/livez/foo", "/debug", "/debug/pprof/"] {
        let answer = site.get(path);
        answer.is(404, "404 page not found\n");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn a_healthy_member_says_so() {
    let answer = Site::new().get("/health");
    answer.is(200, r#"{"health":"true","reason":""}"#);
    assert_eq!((answer.header("content-type"), answer.header("x-content-type-options")), (Some(TEXT), None));
}

#[test]
fn the_first_failing_check_is_the_reason() {
    let sick = Site::with(|state| {
        state.alarms = vec![AlarmType::Nospace, AlarmType::Corrupt];
        state.has_leader = false;
        state.read = Err("etcdserver: request timed out".to_owned());
    });
    sick.get("/health").is(503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
    sick.get("/health?exclude=NOSPACE").is(503, "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
    let no_alarms = "/health?exclude=NOSPACE&exclude=CORRUPT";
    sick.get(no_alarms).is(503, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
    sick.get(&format!("{no_alarms}&serializable=true")).is(200, r#"{"health":"true","reason":""}"#);
    sick.source.0.lock().unwrap().has_leader = true;
    sick.get(no_alarms).is(503, "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: request timed out\"}\n");
    assert_eq!(sick.registry.value("etcd_server_health_failures"), Some(4.0));
    assert_eq!(sick.registry.value("etcd_server_health_success"), Some(1.0));
}

#[test]
fn a_probe_lists_its_checks_when_asked() {
    let site = Site::new();
    site.get("/livez").is(200, "ok\n");
    site.get("/livez?verbose").is(200, "[+]serializable_read ok\nok\n");
    let all = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n";
    site.get("/readyz?verbose=false").is(200, all);
    let fewer = "[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n";
    site.get("/readyz?verbose&exclude=data_corruption&exclude=foo").is(200, fewer);
}

#[test]
fn a_probe_that_fails_always_lists_its_checks() {
    let site = Site::with(|state| {
        state.alarms = vec![AlarmType::Corrupt];
        state.is_learner = true;
        state.read = Err("etcdserver: leader changed".to_owned());
    });
    let lines = "[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n\
                 [-]linearizable_read failed: etcdserver: leader changed\n[-]non_learner failed: not supported for learner\n\n";
    site.get("/readyz").is(503, lines);
    site.get("/readyz?exclude=data_corruption&exclude=non_learner&exclude=linearizable_read").is(200, "ok\n");
    site.get("/livez").is(200, "ok\n");
}

#[test]
fn each_check_has_a_page_that_excludes_nothing() {
    let site = Site::with(|state| state.alarms = vec![AlarmType::Corrupt]);
    let failed = "[-]data_corruption failed: alarm activated: CORRUPT\n\n";
    site.get("/readyz/data_corruption?exclude=data_corruption").is(503, failed);
    site.get("/readyz/non_learner").is(200, "ok\n");
    site.get("/livez/serializable_read?verbose").is(200, "[+]serializable_read ok\nok\n");
    let metrics = site.get("/metrics").body;
    let count = r#"etcd_server_healthchecks_total{name="data_corruption",status="error",type="readyz"} 1"#;
    assert!(metrics.contains(count) && metrics.contains(r#"etcd_server_healthcheck{name="data_corruption",type="readyz"} 0"#));
}

#[test]
fn metrics_are_text_for_any_method() {
    let site = Site::new();
    let answer = site.send(Request::post("/metrics"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(metrics::CONTENT_TYPE)));
    assert!(answer.body.contains("etcd_server_health_success 0\n"));
}

#[test]
fn a_metrics_listener_has_no_client_pages() {
    let site = Site::new();
    let get = |path: &str| ask(&site.metrics, Request::get(path).body(Body::empty()).unwrap()).status;
    for (path, status) in [("/metrics", 200), ("/health", 200), ("/livez", 200), ("/readyz", 200), ("/version", 404), ("/debug/vars", 404)]
    {
        assert_eq!(get(path), status, "{path}");
    }
}

#[test]
fn debug_variables_are_one_json_object() {
    let answer = Site::new().get("/debug/vars");
    let value: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&value["cmdline"][1], &value["raft.status"]["term"]), (&"--name=a".into(), &2.into()));
    assert_eq!(value.as_object().unwrap().len(), 4);
}

#[test]
fn a_host_that_is_not_listed_is_turned_away() {
    let site = Site::guarded(&["foo.com", "::1"], &["*"]);
    let answer = site.send(Request::get("/version").header("host", "bad.com:2379"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (421, None));
    assert!(answer.body.contains("--host-whitelist \"bad.com\""));
    for host in ["foo.com", "foo.com:99", "[::1]:2379"] {
        assert_eq!(site.send(Request::get("/version").header("host", host)).status, 200, "{host}");
    }
    assert_eq!(site.send(Request::get("/version")).status, 421);
    assert_eq!(Site::guarded(&["*"], &["*"]).send(Request::get("/version").header("host", "any")).status, 200);
}

#[test]
fn an_origin_that_is_listed_gets_the_cors_headers() {
    let site = Site::guarded(&["*"], &["http://a.com:1"]);
    let known = site.send(Request::get("/nowhere").header("origin", "http://a.com:1"));
    assert_eq!((known.status, known.header("access-control-allow-origin")), (404, Some("http://a.com:1")));
    assert_eq!(known.header("access-control-allow-methods"), Some("POST, GET, OPTIONS, PUT, DELETE"));
    assert_eq!(known.header("access-control-allow-headers"), Some("accept, content-type, authorization"));
    let unknown = site.send(Request::get("/version").header("origin", "http://c.com:1"));
    assert_eq!((unknown.status, unknown.header("access-control-allow-origin")), (200, None));
    assert_eq!(Site::guarded(&[], &["*"]).get("/version").header("access-control-allow-origin"), Some("*"));
}

#[test]
fn options_is_answered_by_the_guard() {
    let answer = Site::guarded(&["*"], &["*"]).send(Request::options("/anything"));
    answer.is(200, "");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}
