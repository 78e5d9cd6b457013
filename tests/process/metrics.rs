//! The names on `/metrics` of both running servers: every name, type and label of ours is etcd's, and what ours lacks is listed here
//! with the reason.

use std::collections::{BTreeMap, BTreeSet};

use etcd::wire::etcdserverpb::{LeaseGrantRequest, PutRequest};

use super::harness::{Server, ours};
use super::oracle::{self, ask};

/// Prefixes of names that etcd has and ours lacks.
const LACKING: &[(&str, &str)] = &[
    ("go_", "there is no Go runtime"),
    ("etcd_debugging_store_", "the v2 store is gone"),
    ("etcd_grpc_proxy_", "the gRPC proxy is a program of its own"),
    ("etcd_debugging_snap_save_", "there are no .snap files: the state engine is the snapshot"),
    ("etcd_snap_", "as above"),
    ("etcd_server_snapshot_apply_in_progress_total", "snapshots are not received from peers yet"),
    ("etcd_debugging_auth_revision", "there are no users yet"),
    ("etcd_network_known_peers", "there are no peers yet"),
    ("etcd_server_heartbeat_send_failures_total", "as above"),
    ("etcd_server_learner_promote_", "as above"),
    ("etcd_debugging_disk_backend_commit_", "phases of a bbolt commit"),
    ("etcd_mvcc_db_open_read_transactions", "reads hold no transaction of the engine"),
    ("etcd_debugging_mvcc_index_compaction_pause_", "the key index is pruned in the same slices as the records"),
    ("etcd_debugging_mvcc_pending_events_total", "a hub queues shared batches, not events of its own"),
    ("etcd_debugging_server_watch_send_loop_", "a stream has no send loop of its own"),
    ("etcd_server_apply_duration_seconds", "two clock reads and a label for each entry"),
    ("etcd_server_request_duration_seconds", "as above, for each request"),
    ("etcd_server_range_duration_seconds", "as above"),
    ("etcd_server_client_requests_total", "a label from what each client says of itself"),
    ("grpc_server_msg_", "messages of streams are not counted"),
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
    let reference = oracle::Server::start();
    for address in [&server.address(), &reference.client] {
        ask(address, "GET", "/readyz");
    }
    let ours = shape(&ask(&server.address(), "GET", "/metrics").expect("a page"));
    let theirs = shape(&ask(&reference.client, "GET", "/metrics").expect("a page"));
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
    for (sample, wanted) in
        [("etcd_server_has_leader", 1.0), ("etcd_server_is_leader", 1.0), ("etcd_server_leader_changes_seen_total", 1.0)]
    {
        assert_eq!(value(&after, sample), wanted, "{sample}");
    }
}
