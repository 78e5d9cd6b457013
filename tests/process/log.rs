//! Log lines as they leave the process, beside etcd's.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use etcd::config::{Outcome, parse};
use etcd::log;
use etcd::wire::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare::TargetUnion, request_op::Request,
};
use serde_json::Value;

use super::harness::{Clients, DEADLINE, Server, eventually, ours};
use super::oracle;

const FILE: &str = "ETCD_TEST_LOGS_TO";

/// Not a test by itself: the process whose log the next ones read.
#[test]
#[ignore = "only runs as the child of the tests below"]
fn logs_a_little() {
    let Ok(path) = std::env::var(FILE) else { return };
    let words = [format!("--log-outputs=stderr,{path}"), "--name=a".to_owned(), "--memory-mlock".to_owned()];
    let Outcome::Run(config) = parse(&words, &[]) else { panic!("the command line is right") };
    log::start(&config.log).expect("the outputs can be opened");
    log::notices(&config.notices);
    tracing::info!(target: "etcd::server", address = "127.0.0.1:1", "serving");
    log::refuse("\"x\" is not a valid flag");
    std::process::exit(0);
}

fn child(path: &std::path::Path) -> Output {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "log::logs_a_little", "--nocapture", "--ignored"])
        .env(FILE, path)
        .output()
        .expect("it starts")
}

fn parsed(text: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(text).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn keys(line: &Value) -> Vec<&String> {
    line.as_object().expect("an object").keys().collect()
}

#[test]
fn every_output_gets_every_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("etcd.log");
    let stderr = parsed(&child(&path).stderr);
    let file = parsed(&std::fs::read(&path).expect("it was written"));
    let messages: Vec<&Value> = stderr.iter().map(|line| &line["msg"]).collect();
    assert_eq!(messages.last().and_then(|message| message.as_str()), Some("failed to verify flags"));
    assert_eq!(stderr[..stderr.len() - 1], file[..]);
    assert_eq!((file.len(), &file[0]["setting"], &file[1]["address"]), (2, &"memory-mlock".into(), &"127.0.0.1:1".into()));
}

#[test]
fn a_refused_start_is_logged_as_etcd_logs_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let ours = parsed(&child(&dir.path().join("etcd.log")).stderr);
    let theirs = parsed(&oracle::run(&["x"], &[]).stderr);
    let (ours, theirs) = (ours.last().expect("a line"), theirs.last().expect("a line"));
    assert_eq!(keys(ours), keys(theirs));
    for key in ["level", "msg", "error"] {
        assert_eq!(ours[key], theirs[key]);
    }
    let shape = |ts: &Value| ts.as_str().expect("text").chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    assert_eq!(shape(&ours["ts"]), shape(&theirs["ts"]));
}

/// Two lines for each of nine requests.
const SLOW_LINES: usize = 18;

/// What a server says of the same requests when everything takes too long.
async fn told_of_slow_requests(program: &Path) -> Vec<Value> {
    let flags = ["--warning-apply-duration=1ns", "--warning-unary-request-duration=1ns"];
    let server = Server::start(program, &flags).await;
    let mut clients = Clients::to(&server.endpoint());
    // What a new member decides at its start is told of, too, and would be in one batch with a request.
    eventually("the version of the storage is decided", async || {
        matches!(clients.announced().await, Ok(status) if !status.storage_version.is_empty()).then_some(())
    })
    .await;
    let put = PutRequest { key: "slow/a".into(), value: "a secret".into(), ..Default::default() };
    clients.kv.put(put.clone()).await.expect("a put");
    let read = RangeRequest { key: "slow/".into(), range_end: "slow0".into(), limit: 5, serializable: true, ..Default::default() };
    clients.kv.range(read.clone()).await.expect("a read");
    clients.kv.range(RangeRequest { revision: 9_999, ..read.clone() }).await.expect_err("a read of the future");
    let op = |request| RequestOp { request: Some(request) };
    let compare =
        Compare { key: "slow/a".into(), target: 3, target_union: Some(TargetUnion::Value("secret".into())), ..Default::default() };
    let reads = TxnRequest { compare: vec![compare], success: vec![], failure: vec![op(Request::RequestRange(read))] };
    clients.kv.txn(reads.clone()).await.expect("a transaction that reads");
    let writes = TxnRequest { success: vec![op(Request::RequestPut(put))], ..reads };
    clients.kv.txn(writes).await.expect("a transaction that may write");
    let grant = LeaseGrantRequest { id: 0x77, ttl: 1_000 };
    clients.lease.lease_grant(grant).await.expect("a lease");
    clients.lease.lease_revoke(LeaseRevokeRequest { id: 0x77 }).await.expect("a revoke");
    clients.kv.compact(CompactionRequest { revision: 2, physical: true }).await.expect("a compaction");
    let delete = DeleteRangeRequest { key: "slow/b".into(), ..Default::default() };
    clients.kv.delete_range(delete).await.expect("a delete");

    // The lines of one request come in no order, since a reply may be on its way before its batch is told.
    let is_slow = |line: &&Value| line["msg"] == "request stats" || line["msg"] == "apply request took too long";
    let give_up = Instant::now() + DEADLINE;
    loop {
        let lines = parsed(server.log().as_bytes());
        if let Some(first) = lines.iter().position(|line| line.to_string().contains("slow/a")) {
            let mut slow: Vec<Value> = lines[first..].iter().filter(is_slow).cloned().collect();
            if slow.len() >= SLOW_LINES {
                slow.sort_by_key(|line| [&line["msg"], &line["response type"], &line["prefix"], &line["request"]].map(without_ids));
                return slow;
            }
        }
        assert!(Instant::now() < give_up, "not all is told of\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The words of a text without its numbers of requests.
fn without_ids(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default();
    let Some((before, after)) = text.split_once("ID:") else { return text.to_owned() };
    format!("{before}ID{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[tokio::test]
async fn slow_requests_are_told_as_etcd_tells_them() {
    let (ours, theirs) = (told_of_slow_requests(&ours()).await, told_of_slow_requests(oracle::binary()).await);
    let messages = |lines: &[Value]| lines.iter().map(|line| line["msg"].clone()).collect::<Vec<_>>();
    assert_eq!(messages(&ours), messages(&theirs));
    assert_eq!(ours.len(), SLOW_LINES, "{ours:#?}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(keys(ours), keys(theirs), "{ours} {theirs}");
        assert_eq!(ours["level"], theirs["level"]);
        assert!(!ours.to_string().contains("secret"), "{ours}");
        if ours["msg"] == "request stats" {
            assert_eq!(ours["response type"], theirs["response type"]);
            assert!(ours["remote"].as_str().is_some_and(|remote| remote.starts_with("127.0.0.1:")), "{ours}");
            // Of other calls ours does not have the messages any more.
            let is_read = ours["response type"] == "/etcdserverpb.KV/Range" && ours["request size"] != -1;
            for key in ["request count", "request size", "response count", "response size", "request content"] {
                // The ids of cluster and member are a part of a response, and not always of one length.
                let is_equal = ours[key] == theirs[key] || key == "response size" && ours[key].as_i64() > Some(40);
                assert!(!is_read || is_equal, "{key}: {ours} {theirs}");
                assert_eq!(ours[key].is_string(), theirs[key].is_string(), "{key}: {ours} {theirs}");
            }
        } else {
            assert_eq!(without_ids(&ours["request"]), without_ids(&theirs["request"]));
            assert_eq!(ours["expected-duration"], theirs["expected-duration"]);
            assert_eq!((&ours["prefix"], &ours["error"]), (&theirs["prefix"], &theirs["error"]));
            if ours["prefix"] != "" {
                assert_eq!(ours["response"], theirs["response"]);
            }
        }
    }
}
