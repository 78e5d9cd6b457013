//! The names on `/metrics` of both running servers: every name, type and label of ours is etcd's, and what ours lacks is listed here
//! with the reason.

use std::collections::{BTreeMap, BTreeSet};

use etcd::wire::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest};

use super::harness::{Server, eventually, ours, reference};
use super::oracle::ask;

/// Prefixes of names that etcd has and ours lacks.
const LACKING: &[(&str, &str)] = &[
    ("etcd_debugging_store_reads_total", "the v2 store is gone, and with it what was done to it"),
    ("etcd_debugging_store_writes_total", "as above"),
    ("etcd_grpc_proxy_", "the gRPC proxy is a program of its own"),
    ("etcd_debugging_snap_save_", "there are no .snap files: the state engine is the snapshot"),
    ("etcd_snap_", "as above"),
    ("etcd_server_snapshot_apply_in_progress_total", "snapshots are not received from peers yet"),
    ("etcd_debugging_disk_backend_commit_", "phases of a bbolt commit"),
    ("etcd_debugging_mvcc_index_compaction_pause_", "the key index is pruned in the same slices as the records"),
    ("etcd_debugging_mvcc_pending_events_total", "a hub queues shared batches, not events of its own"),
    ("etcd_debugging_server_watch_send_loop_", "a stream has no send loop of its own"),
    ("etcd_server_apply_duration_seconds", "entries are applied by the batch, and timed by it: etcd_disk_backend_commit_duration_seconds"),
];

/// Type and label names by metric; labels are known once there is a sample.
fn shape(page: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut metrics: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            metrics.insert(name.to_owned(), (kind.trim().to_owned(), BTreeSet::new()));
        } else if let Some((name, labels)) = line.split_once('{') {
            let labels = labels.rsplit_once('}').expect("labels end").0;
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = family.filter(|family| metrics.contains_key(*family)).unwrap_or(name);
            let names = labels.split("\",").filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned());
            if let Some((_, known)) = metrics.get_mut(family) {
                known.extend(names);
            }
        }
    }
    metrics
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_etcds_and_what_lacks_has_a_reason() {
    let server = Server::start(&ours(), &[]).await;
    let reference = Server::start(&reference(), &[]).await;
    for address in [&server.address(), &reference.address()] {
        ask(address, "GET", "/readyz");
    }
    let ours = shape(&ask(&server.address(), "GET", "/metrics").expect("a page"));
    let theirs = shape(&ask(&reference.address(), "GET", "/metrics").expect("a page"));
    let mut wrong = Vec::new();
    for (name, (kind, labels)) in &ours {
        match theirs.get(name) {
            None => wrong.push(format!("{name} is not etcd's")),
            Some((other, _)) if other != kind => wrong.push(format!("{name} is a {kind}, with etcd a {other}")),
            Some((_, other)) if !labels.is_empty() && !other.is_empty() && other != labels => {
                wrong.push(format!("{name} has {labels:?}, with etcd {other:?}"));
            }
            Some(_) => {}
        }
    }
    let is_lacking = |name: &str| LACKING.iter().any(|(prefix, _)| name.starts_with(prefix));
    wrong.extend(theirs.keys().filter(|name| !ours.contains_key(*name) && !is_lacking(name)).map(|name| format!("{name} is lacking")));
    wrong.extend(ours.keys().filter(|name| is_lacking(name)).map(|name| format!("{name} is listed as lacking and is there")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn value(page: &str, sample: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{sample} in {page}")).trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_counted_as_etcd_counts_it() {
    let server = Server::start(&ours(), &[]).await;
    let mut clients = server.clients();
    let page = || ask(&server.address(), "GET", "/metrics").expect("a page");
    let before = page();
    for number in 0..7 {
        let put = PutRequest { key: "key".into(), value: format!("{number}").into(), ..Default::default() };
        clients.kv.put(put).await.expect("a put");
    }
    clients.lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await.expect("a grant");
    let after = page();
    let rose = |sample: &str| value(&after, sample) - value(&before, sample);
    assert_eq!(rose("etcd_mvcc_put_total"), 7.0);
    assert_eq!(rose("etcd_debugging_mvcc_total_put_size_in_bytes"), 28.0);
    assert_eq!(rose("etcd_debugging_lease_granted_total"), 1.0);
    assert_eq!(rose("etcd_debugging_mvcc_current_revision"), 7.0);
    assert!(rose("etcd_server_proposals_applied_total") >= 8.0);
    assert!(rose("etcd_disk_wal_fsync_duration_seconds_count") >= 8.0);
    assert!(rose("etcd_disk_backend_commit_duration_seconds_count") >= 8.0);
    assert!(rose("etcd_network_client_grpc_received_bytes_total") > 0.0);
    let put = "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}";
    assert_eq!(rose(put), 7.0);
    let method = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    assert_eq!(rose(&format!("grpc_server_msg_received_total{{{method}}}")), 7.0);
    assert_eq!(rose(&format!("grpc_server_msg_sent_total{{{method}}}")), 7.0);
    assert_eq!(rose("etcd_server_request_duration_seconds_count{success=\"true\",type=\"Put\"}"), 7.0);
    assert_eq!(rose("etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"unary\"}"), 8.0);
    for (sample, wanted) in
        [("etcd_server_has_leader", 1.0), ("etcd_server_is_leader", 1.0), ("etcd_server_leader_changes_seen_total", 1.0)]
    {
        assert_eq!(value(&after, sample), wanted, "{sample}");
    }
}

/// Both count the messages of a stream, and its end with the code that it ended with.
#[tokio::test(flavor = "multi_thread")]
async fn the_messages_of_streams_are_counted() {
    for program in [ours(), reference()] {
        let server = Server::start(&program, &["--metrics=extensive"]).await;
        let mut clients = server.clients();
        clients.lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }).await.expect("a grant");
        let requests = tokio_stream::iter([7, 7, 7].map(|id| LeaseKeepAliveRequest { id }));
        let mut answers = clients.lease.lease_keep_alive(requests).await.expect("a stream").into_inner();
        while answers.message().await.expect("an answer").is_some() {}
        let method = "grpc_method=\"LeaseKeepAlive\",grpc_service=\"etcdserverpb.Lease\",grpc_type=\"bidi_stream\"";
        let page = eventually("the stream is counted as ended", async || {
            let page = ask(&server.address(), "GET", "/metrics").expect("a page");
            (value(&page, &format!("grpc_server_handled_total{{grpc_code=\"OK\",{method}}}")) == 1.0).then_some(page)
        })
        .await;
        // The end of what the client says is counted as well.
        for (name, wanted) in [("grpc_server_msg_received_total", 4.0), ("grpc_server_msg_sent_total", 3.0)] {
            assert_eq!(value(&page, &format!("{name}{{{method}}}")), wanted, "{name} of {}", program.display());
        }
        let unary = "grpc_method=\"LeaseGrant\",grpc_service=\"etcdserverpb.Lease\",grpc_type=\"unary\"";
        assert_eq!(value(&page, &format!("grpc_server_handling_seconds_count{{{unary}}}")), 1.0);
    }
}
