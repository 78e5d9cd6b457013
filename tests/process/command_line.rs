//! Wrong command lines and variables: the same exit code and the same complaint as etcd's.

use etcd::config::{Outcome, parse};

use super::oracle;

/// Exit code and complaint. Both servers are given a logger that does not exist, so that a line without any other mistake ends too.
type Verdict = (i32, String);

const ENDS_ANYWAY: &str = "--logger=none";

fn ours(words: &[&str], env: &[(&str, &str)]) -> Verdict {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let env: Vec<(String, String)> = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    match parse(&words, &env) {
        Outcome::Print { stderr, code, .. } => (i32::from(code), stderr.lines().next().unwrap_or_default().to_owned()),
        Outcome::Refuse(reason) => (1, reason),
        Outcome::Run(_) => panic!("{words:?} was accepted"),
    }
}

fn theirs(words: &[&str], env: &[(&str, &str)]) -> Verdict {
    let output = oracle::run(words, env);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().expect("it ends by itself");
    let mut logged = stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let refused = logged.rfind(|line| line["msg"] == "failed to verify flags");
    let complaint = match refused {
        Some(line) => line["error"].as_str().unwrap_or_default().to_owned(),
        None => stderr.lines().next().unwrap_or_default().to_owned(),
    };
    (code, complaint)
}

fn compare(words: &[&str], env: &[(&str, &str)]) {
    let words = [&[ENDS_ANYWAY], words].concat();
    assert_eq!(ours(&words, env), theirs(&words, env), "{words:?} {env:?}");
}

#[test]
fn a_wrong_flag_is_answered_as_etcd_answers_it() {
    for line in [
        "--bogus",
        "-bogus=1",
        "--name",
        "---name x",
        "--=x",
        "--proxy=x",
        "--max-txn-ops=abc",
        "--max-txn-ops=-1",
        "--max-txn-ops=",
        "--max-txn-ops=99999999999999999999999",
        "--max-concurrent-streams=4294967296",
        "--max-concurrent-streams=-1",
        "--quota-backend-bytes=9223372036854775808",
        "--backend-batch-limit=x",
        "--grpc-keepalive-interval=5",
        "--grpc-keepalive-interval=5d",
        "--grpc-keepalive-interval=",
        "--enable-pprof=yes",
        "--force-new-cluster=",
        "--version=foo",
        "--listen-client-urls=foo",
        "--listen-client-urls=ftp://127.0.0.1:1",
        "--listen-client-urls=http://127.0.0.1",
        "--listen-client-urls=http://127.0.0.1:x",
        "--listen-client-urls=127.0.0.1:2379",
        "--listen-client-urls=http://0.0.0.0:2379/foo",
        "--cors=http://a.com",
        "--cors=",
        "--initial-cluster-state=foo",
        "--discovery-fallback=foo",
        "--feature-gates=Foo=true",
        "--feature-gates=LeaseCheckpoint",
        "--feature-gates=AllAlpha=x",
        "--cluster-active-size=3 --bogus",
        "stray",
        "--enable-pprof false",
        "- --bogus",
        "-- x",
    ] {
        compare(&line.split(' ').collect::<Vec<_>>(), &[]);
    }
}

#[test]
fn a_right_flag_is_accepted_where_etcd_accepts_it() {
    for line in [
        "--max-txn-ops=0x10",
        "--max-txn-ops=1_0",
        "-name a -name=b",
        "--grpc-keepalive-interval=1h30m.5s",
        "--grpc-keepalive-interval=-5s",
        "--grpc-keepalive-interval=0",
        "--enable-pprof=T",
        "--listen-metrics-urls=",
        "--listen-client-urls=unix://name",
        "--version=false",
        "--v=1 --vv --config=x --snapshot",
        "--metrics=foo",
        "--feature-gates=LeaseCheckpoint=true,AllBeta=false",
        "--v2-deprecation=gone",
        "--",
    ] {
        compare(&line.split(' ').collect::<Vec<_>>(), &[]);
    }
}

#[test]
fn a_variable_is_read_as_etcd_reads_it() {
    for (name, value) in [
        ("ETCD_MAX_TXN_OPS", "abc"),
        ("ETCD_ENABLE_PPROF", "maybe"),
        ("ETCD_FEATURE_GATES", "Foo=true"),
        ("ETCD_LISTEN_CLIENT_URLS", "foo"),
        ("ETCD_INITIAL_CLUSTER_STATE", "x"),
        ("ETCD_CONFIG_FILE", "/nowhere/at/all"),
        ("ETCD_NAME", ""),
        ("ETCD_NOTHING_KNOWN", "1"),
        ("ETCD_VERSION", "true"),
    ] {
        compare(&[], &[(name, value)]);
    }
}

#[test]
fn a_setting_that_cannot_work_is_refused_as_etcd_refuses_it() {
    for line in [
        "--listen-client-urls=http://foo.com:1",
        "--listen-client-urls=http://127.0.0.1:1",
        "--advertise-client-urls=http://:2379",
        "--heartbeat-interval=0",
        "--election-timeout=0",
        "--heartbeat-interval=1000",
        "--election-timeout=60000",
        "--auto-compaction-mode=foo",
        "--auto-compaction-mode=",
        "--initial-advertise-peer-urls=http://:2380",
        "--log-outputs=",
        "--enable-log-rotation",
        "--enable-log-rotation --log-outputs=a.log,b.log",
        "--enable-distributed-tracing --distributed-tracing-sampling-rate=5000000",
        "--compact-hash-check-time=0s",
        "--feature-gates=LeaseCheckpointPersist=true",
        "--discovery-token=x",
        "--discovery-srv=x --initial-cluster=default=http://localhost:2380",
        "--discovery-fallback=proxy",
        "--tls-min-version=foo",
        "--tls-min-version=TLS1.3 --cipher-suites=x",
        "--log-format=foo",
        "--log-outputs=a,default",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(ours(&words, &[]), theirs(&words, &[]), "{line}");
    }
}

#[test]
fn a_conflict_of_flag_and_variable_ends_with_the_same_code() {
    let (words, env) = (["--name=a", ENDS_ANYWAY], [("ETCD_NAME", "b")]);
    let (ours, theirs) = (ours(&words, &env), theirs(&words, &env));
    assert_eq!(ours.0, theirs.0);
    assert!(ours.1.contains("conflicting environment variable") && theirs.1.contains("conflicting environment variable"));
}

#[test]
fn version_and_help_leave_with_success() {
    for words in [["--version"], ["--help"], ["-h"]] {
        assert_eq!((ours(&words, &[]).0, theirs(&words, &[]).0), (0, 0), "{words:?}");
    }
}

#[test]
fn every_flag_of_etcd_is_known() {
    let text = String::from_utf8(oracle::run(&["--help"], &[]).stdout).expect("text");
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  --")?.split(' ').next()).collect();
    assert!(names.len() > 100, "{names:?}");
    // Listed in its help, but not defined any more.
    for name in names.into_iter().filter(|name| !matches!(*name, "discovery" | "discovery-proxy")) {
        let (_, complaint) = ours(&[&format!("--{name}="), "stray"], &[]);
        assert!(!complaint.contains("not defined"), "{name}: {complaint}");
    }
}

#[test]
fn a_file_is_accepted_and_refused_as_etcd_does() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("etcd.yml");
    let verdicts = |text: &str| {
        std::fs::write(&path, format!("logger: none\n{text}\n")).expect("it is written");
        let words = ["--config-file", path.to_str().expect("text")];
        (ours(&words, &[]), theirs(&words, &[]))
    };
    for text in [
        "",
        "bogus: 1",
        "NAME: a\nname: b\nname: c",
        "max-txn-ops: 7\nheartbeat-interval: 100\nquota-backend-bytes: -1",
        "watch-progress-notify-interval: 600000000000",
        "listen-client-urls: http://127.0.0.1:1",
        "force-new-cluster: no",
        "log-outputs: [stderr]\ncors: '*'\nname:",
        "client-transport-security:\n  foo: 1\n  auto-tls: true",
        "feature-gates: LeaseCheckpoint=true",
    ] {
        let (ours, theirs) = verdicts(text);
        assert_eq!(ours, theirs, "{text}");
    }
    for (key, value) in [
        ("max-txn-ops", "abc"),
        ("max-txn-ops", "-1"),
        ("max-txn-ops", "'12'"),
        ("heartbeat-interval", "100.5"),
        ("watch-progress-notify-interval", "10m"),
        ("force-new-cluster", "maybe"),
        ("name", "5"),
        ("listen-metrics-urls", "[http://127.0.0.1:1]"),
        ("client-transport-security", "1"),
        ("cors", "5"),
    ] {
        let (ours, theirs) = verdicts(&format!("{key}: {value}"));
        assert_eq!((ours.0, theirs.0), (1, 1), "{key}: {value}");
        assert!(ours.1.contains(key) && theirs.1.contains(key), "{ours:?} {theirs:?}");
    }
}
