//! Log lines as they leave the process, beside etcd's.

use std::process::Output;

use etcd::config::{Outcome, parse};
use etcd::server::log;
use serde_json::Value;

use super::oracle;
use crate::harness::runner;

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
    runner::command(std::env::current_exe().expect("this program"))
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
