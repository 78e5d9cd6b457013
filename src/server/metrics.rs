//! The metrics of a running member that are read where they live at each scrape: no hot path looks a label up (D6).

use std::sync::Arc;

use super::gather::Traffic;
use crate::config::Config;
use crate::metrics::{Registry, Server};
use crate::node::Node;
use crate::release;
use crate::wire::etcdserverpb::AlarmType;

/// Registers everything that is read from the node. Once for a registry.
pub fn register(node: &Arc<Node>, config: &Config, traffic: &Arc<Traffic>, registry: &Registry) {
    registry.process();
    facts(node, config, registry);
    raft(node, registry);
    store(node, registry);
    watchers(node, registry);
    let of = Gauges { node, registry };
    // Quirk: a gauge in etcd too, in spite of its name.
    of.gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log.", |n| n.pipeline.log_bytes() as f64);
    of.gauge("etcd_disk_defrag_inflight", "1 while the database is being defragmented.", |n| f64::from(u8::from(n.is_defragmenting())));
    let (received, sent) = (traffic.clone(), traffic.clone());
    registry.counter_of("etcd_network_client_grpc_received_bytes_total", "Bytes read from clients.", move || received.received() as f64);
    registry.counter_of("etcd_network_client_grpc_sent_bytes_total", "Bytes written to clients.", move || sent.sent() as f64);
}

/// What stands in labels, and what a scrape finds changed.
fn facts(node: &Arc<Node>, config: &Config, registry: &Registry) {
    let facts = Server::new(registry, release::VERSION, release::RUST_VERSION);
    Server::set_id(registry, node.member_id());
    for (gate, is_open) in config.gates.iter() {
        facts.set_feature(gate.name, gate.stage.label(), is_open);
    }
    let alarms = registry.gauges("etcd_debugging_server_alarms", "1 where an alarm stands.", &["server_id", "alarm_type"]);
    let node = Arc::clone(node);
    registry.before_scrape(move || {
        let status = node.pipeline.marks.status();
        facts.has_leader.set(i64::from(status.leader != 0));
        facts.is_leader.set(i64::from(status.leader == node.member_id()));
        facts.is_learner.set(i64::from(node.cluster.is_learner()));
        if let Some(version) = node.cluster.version() {
            facts.set_cluster_version(&format!("{}.{}", version.major, version.minor));
        }
        alarms.reset();
        for alarm in node.alarms.list(AlarmType::None.into()) {
            alarms.with_label_values(&[&format!("{:x}", alarm.member_id), alarm.alarm().as_str_name()]).set(1);
        }
    });
}

struct Gauges<'a> {
    node: &'a Arc<Node>,
    registry: &'a Registry,
}

impl Gauges<'_> {
    fn gauge(&self, name: &str, help: &str, read: fn(&Node) -> f64) {
        let node = Arc::clone(self.node);
        self.registry.gauge_of(name, help, move || read(&node));
    }

    fn counter(&self, name: &str, help: &str, read: fn(&Node) -> f64) {
        let node = Arc::clone(self.node);
        self.registry.counter_of(name, help, move || read(&node));
    }
}

fn raft(node: &Arc<Node>, registry: &Registry) {
    let of = Gauges { node, registry };
    of.gauge("etcd_server_proposals_committed_total", "The highest committed log index.", |n| n.pipeline.marks.commit() as f64);
    of.gauge("etcd_server_proposals_applied_total", "The highest applied log index.", |n| n.pipeline.marks.applied() as f64);
    of.gauge("etcd_server_proposals_pending", "Commands whose callers wait.", |n| n.pipeline.waiting() as f64);
    of.gauge("etcd_server_quota_backend_bytes", "The quota in force.", |n| n.quota().bytes().unwrap_or_default() as f64);
}

fn store(node: &Arc<Node>, registry: &Registry) {
    let of = Gauges { node, registry };
    of.gauge("etcd_debugging_mvcc_keys_total", "Keys alive.", |n| n.reader.counts().keys as f64);
    of.gauge("etcd_debugging_mvcc_current_revision", "The current revision.", |n| n.reader.revision() as f64);
    of.gauge("etcd_debugging_mvcc_compact_revision", "The last compaction's revision.", |n| n.reader.compact_revision() as f64);
    of.gauge("etcd_mvcc_db_total_size_in_bytes", "Size of the database, free pages included.", |n| n.reader.sizes().db_size as f64);
    of.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Size of the database in use.", |n| n.reader.sizes().db_size_in_use as f64);
    of.counter("etcd_mvcc_put_total", "Puts.", |n| n.reader.tally().puts.get() as f64);
    of.counter("etcd_mvcc_delete_total", "Deletes.", |n| n.reader.tally().deletes.get() as f64);
    of.counter("etcd_mvcc_range_total", "Ranges.", |n| n.reader.tally().ranges.get() as f64);
    of.counter("etcd_mvcc_txn_total", "Transactions of more than one operation.", |n| n.reader.tally().txns.get() as f64);
    // Quirk: a gauge in etcd too, in spite of its name.
    of.gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of keys and values put.", |n| n.reader.tally().put_bytes.get() as f64);
    of.counter("etcd_debugging_mvcc_db_compaction_keys_total", "Records that compactions removed.", |n| {
        n.reader.tally().swept.get() as f64
    });
}

fn watchers(node: &Arc<Node>, registry: &Registry) {
    let of = Gauges { node, registry };
    of.gauge("etcd_debugging_mvcc_watch_stream_total", "Open watch streams.", |n| n.pipeline.hubs.counts().streams as f64);
    of.gauge("etcd_debugging_mvcc_watcher_total", "Watchers.", |n| n.pipeline.hubs.counts().watchers as f64);
    of.gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that are catching up.", |n| n.pipeline.hubs.counts().lagging as f64);
    of.counter("etcd_debugging_mvcc_events_total", "Events sent to watchers.", |n| n.pipeline.hubs.counts().events_sent as f64);
}
