//! The metrics of a running member, read where they live at each scrape: no hot path looks a label up (D6).

use std::sync::Arc;

use crate::metrics::{Registry, Server};
use crate::node::Node;
use crate::release;

/// Registers everything that is read from the node. Once for a registry.
pub fn register(node: &Arc<Node>, registry: &Registry) {
    registry.process();
    // The facts are in labels that never change.
    let _facts = Server::new(registry, release::VERSION, release::RUST_VERSION);
    Server::set_id(registry, node.member_id());
    raft(node, registry);
    store(node, registry);
    disk(node, registry);
}

fn raft(node: &Arc<Node>, registry: &Registry) {
    let gauge = |name: &str, help: &str, read: fn(&Node) -> f64| {
        let node = node.clone();
        registry.gauge_of(name, help, move || read(&node));
    };
    gauge("etcd_server_proposals_committed_total", "The highest committed log index.", |n| n.pipeline.marks.commit() as f64);
    gauge("etcd_server_proposals_applied_total", "The highest applied log index.", |n| n.pipeline.marks.applied() as f64);
    gauge("etcd_server_proposals_pending", "Commands whose callers wait.", |n| n.pipeline.waiting() as f64);
    gauge("etcd_server_quota_backend_bytes", "The quota in force.", |n| n.quota().bytes().unwrap_or_default() as f64);
}

fn store(node: &Arc<Node>, registry: &Registry) {
    let gauge = |name: &str, help: &str, read: fn(&Node) -> f64| {
        let node = node.clone();
        registry.gauge_of(name, help, move || read(&node));
    };
    gauge("etcd_debugging_mvcc_keys_total", "Keys alive.", |n| n.reader.counts().keys as f64);
    gauge("etcd_debugging_mvcc_current_revision", "The current revision.", |n| n.reader.revision() as f64);
    gauge("etcd_debugging_mvcc_compact_revision", "The last compaction's revision.", |n| n.reader.compact_revision() as f64);
    gauge("etcd_mvcc_db_total_size_in_bytes", "Size of the database, free pages included.", |n| n.reader.sizes().db_size as f64);
    gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Size of the database in use.", |n| n.reader.sizes().db_size_in_use as f64);
}

fn disk(node: &Arc<Node>, registry: &Registry) {
    let pipeline = node.pipeline.clone();
    // Quirk: a gauge in etcd too, in spite of its name.
    registry.gauge_of("etcd_disk_wal_write_bytes_total", "Bytes written to the log.", move || pipeline.log_bytes() as f64);
}
