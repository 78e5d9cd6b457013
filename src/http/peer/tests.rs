//! The pages over a group that says what a test wants. `tests/process/peers.rs` holds them against a running etcd.

use tower::ServiceExt;

use super::super::tests::Fake;
use super::*;
use crate::metrics::Registry;
use crate::wire::etcdserverpb::ResponseHeader;

struct Removed;

impl Group for Removed {
    fn cluster_id(&self) -> u64 {
        0xab
    }
    fn members(&self) -> String {
        "[]".into()
    }
    fn is_removed(&self, id: u64) -> bool {
        id == 0xde
    }
    fn is_downgrading(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(async { Err("etcdserver: no leader".into()) })
    }
    fn promote(&self, _: u64) -> BoxFuture<'_, Result<(), (StatusCode, String)>> {
        Box::pin(async { Ok(()) })
    }
    fn hash_kv(&self, _: i64) -> BoxFuture<'_, Result<HashKvResponse, String>> {
        Box::pin(async { Ok(HashKvResponse { header: Some(ResponseHeader::default()), hash: 7, ..Default::default() }) })
    }
    fn renew(&self, _: i64) -> BoxFuture<'_, Result<i64, LeaseError>> {
        Box::pin(async { Err(LeaseError::Late) })
    }
    fn time_to_live(&self, _: i64, _: bool) -> BoxFuture<'_, Result<LeaseTimeToLiveResponse, LeaseError>> {
        Box::pin(async { Err(LeaseError::Other("not a primary lessor".into())) })
    }
}

async fn ask(method: &str, path: &str, headers: &[(&str, &str)], body: &'static [u8]) -> (u16, String) {
    let pages = Pages::new(Arc::new(Fake::healthy()), &Registry::default(), Vec::new());
    let group: Arc<dyn Group> = Arc::new(Removed);
    let mut request = axum::http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, body) = pages.peer(&group).oneshot(request.body(Body::from(body)).unwrap()).await.unwrap().into_parts();
    (head.status.as_u16(), String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn what_a_healthy_single_member_never_answers_has_etcds_words_too() {
    let ours = [("x-etcd-cluster-id", "ab"), ("x-server-version", "3.7.0"), ("x-min-cluster-version", "3.0.0")];
    for (method, path, body, status, text) in [
        ("GET", "/raft/stream/message/de", &b""[..], 410, "removed member\n"),
        ("GET", "/downgrade/enabled", b"", 500, "failed linearized read: etcdserver: no leader\n"),
        ("POST", "/leases", b"", 408, "waiting for node to catch up its applied index has timed out\n"),
        ("POST", "/leases/internal", b"", 500, "not a primary lessor\n"),
        ("POST", "/members/promote/5", b"", 200, "[]\n"),
        ("GET", "/members/hashkv", b"null", 200, "{\"header\":{},\"hash\":7}"),
    ] {
        assert_eq!(ask(method, path, &ours, body).await, (status, text.to_owned()), "{method} {path}");
    }
}

#[tokio::test]
async fn a_snapshot_is_refused_after_its_envelope_was_read() {
    let ours = [("x-etcd-cluster-id", "ab"), ("x-server-version", "3.7.0"), ("x-min-cluster-version", "3.0.0")];
    // The type of a message is field 1; MsgSnap is 7.
    for (body, status, text) in [
        (&b"\0\0\0\0\0\0\0\x02\x08\x07database"[..], 500, "failed to process raft message"),
        (b"\0\0\0\0\0\0\0\x02\x08\x03", 400, "wrong raft message type"),
        (b"\0\0\0\0\0\0\0\x02\x08", 400, "failed to decode raft message (unexpected EOF)"),
        (b"\xff\0\0\0\0\0\0\0", 400, "failed to decode raft message (rafthttp: error limit exceeded)"),
    ] {
        let (found, said) = ask("POST", "/raft/snapshot", &ours, body).await;
        assert!(found == status && said.starts_with(text), "{body:?}: {found} {said}");
    }
}

#[test]
fn a_question_about_a_hash_is_read_as_go_reads_it() {
    for (body, wanted) in [
        ("{}", Some(0)),
        ("null", Some(0)),
        (r#"{"revision":5}"#, Some(5)),
        (r#"{"REVISION":-1,"x":[]}"#, Some(-1)),
        (r#"{"revision":null}"#, Some(0)),
        (r#"{"revision":"5"}"#, None),
        (r#"{"revision":1.5}"#, None),
        ("[]", None),
        ("", None),
    ] {
        assert_eq!(wanted_revision(body.as_bytes()), wanted, "{body}");
    }
}
