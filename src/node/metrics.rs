//! What the threads and tasks of a node count, under etcd's names (HTP-4). What can be read from the published state instead is
//! read at the scrape (`server/metrics.rs`).
//!
//! Writes: the pipeline, expiry, reads, proposals. Reads: the scrape.
//! Invariant: every member is a child already resolved; a batch costs a few relaxed additions.

use std::time::Duration;

use prost::Message;

use crate::consensus::{Entry, EntryKind};
use crate::metrics::{Buckets, Counter, Gauge, Histogram, Registry};
use crate::state_machine::LeaseEffect;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::InternalRaftRequest;
use crate::wire::loggable;

const TOO_LONG: &str = "apply request took too long";

pub struct Metrics {
    pub log_sync: Histogram,
    pub log_write: Histogram,
    pub engine_write: Histogram,
    pub leader_changes: Counter,
    pub proposals_failed: Counter,
    pub slow_applies: Counter,
    pub reads_failed: Counter,
    pub reads_slow: Counter,
    pub leases_expired: Counter,
    pub lease_renewals: Counter,
    leases_granted: Counter,
    leases_revoked: Counter,
    lease_ttl: Histogram,
    pub sweep_slice: Histogram,
    pub sweep: Histogram,
    pub sweep_ended: Gauge,
    pub hash: Histogram,
    pub hash_kv: Histogram,
    pub defragment: Histogram,
    pub snapshot: Histogram,
}

impl Metrics {
    /// Registers the set, so once for a registry.
    pub fn new(registry: &Registry) -> Metrics {
        let seconds = |name: &str, help: &str| registry.histogram(name, help, Buckets::SECONDS);
        let counter = |name: &str, help: &str| registry.counter(name, help);
        let hashes = Buckets::new(0.01, 15);
        Metrics {
            log_sync: seconds("etcd_disk_wal_fsync_duration_seconds", "Time of one sync of the log."),
            log_write: seconds("etcd_disk_wal_write_duration_seconds", "Time of one write to the log."),
            engine_write: seconds("etcd_disk_backend_commit_duration_seconds", "Time of one batch written to the state engine."),
            leader_changes: counter("etcd_server_leader_changes_seen_total", "Changes of leader that this member saw."),
            proposals_failed: counter("etcd_server_proposals_failed_total", "Proposals that were refused or not answered in time."),
            slow_applies: counter("etcd_server_slow_apply_total", "Batches and reads that took longer than --warning-apply-duration."),
            reads_failed: counter("etcd_server_read_indexes_failed_total", "Linearizable reads that found no leader to ask."),
            reads_slow: counter("etcd_server_slow_read_indexes_total", "Linearizable reads that waited too long for a leader."),
            leases_expired: counter("etcd_debugging_server_lease_expired_total", "Leases revoked because their time was up."),
            lease_renewals: counter("etcd_debugging_lease_renewed_total", "Renewals answered by this member as leader."),
            leases_granted: counter("etcd_debugging_lease_granted_total", "Leases granted."),
            leases_revoked: counter("etcd_debugging_lease_revoked_total", "Leases revoked."),
            lease_ttl: registry.histogram("etcd_debugging_lease_ttl_total", "TTLs granted, in seconds.", Buckets::new(1.0, 24)),
            sweep_slice: registry.histogram(
                "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                "Time that one slice of a compaction keeps the applier.",
                Buckets::new(1.0, 13),
            ),
            sweep: registry.histogram(
                "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                "Time of a whole compaction.",
                Buckets::new(100.0, 14),
            ),
            sweep_ended: registry.gauge("etcd_debugging_mvcc_db_compaction_last", "When the last compaction ended, in Unix seconds."),
            hash: registry.histogram("etcd_mvcc_hash_duration_seconds", "Time of a Hash.", hashes),
            hash_kv: registry.histogram("etcd_mvcc_hash_rev_duration_seconds", "Time of a HashKV.", hashes),
            defragment: registry.histogram(
                "etcd_disk_backend_defrag_duration_seconds",
                "Time of a defragmentation.",
                Buckets::new(0.1, 13),
            ),
            snapshot: registry.histogram(
                "etcd_disk_backend_snapshot_duration_seconds",
                "Time of a snapshot sent to a client.",
                Buckets::new(0.01, 17),
            ),
        }
    }

    /// Quirk: etcd's own words and fields (server/etcdserver/txn/util.go); pinned by
    /// `slow_requests_are_told_as_etcd_tells_them`. Entries are applied a batch at a time, so the line is about the largest of
    /// the batch, and says how many there were.
    #[cold]
    pub fn warn_slow_apply(&self, took: Duration, expected: Duration, entries: &[Entry]) {
        // Entries that change nothing tell nothing.
        let commands = entries.iter().filter(|entry| entry.kind == EntryKind::Normal && !entry.data.is_empty());
        let Some(largest) = commands.max_by_key(|entry| entry.data.len()) else { return };
        self.slow_applies.inc();
        let request = InternalRaftRequest::decode(largest.data.clone()).map_or_else(|e| e.to_string(), |r| loggable::command(&r));
        let (entries, bytes) = (entries.len(), entries.iter().map(|entry| entry.data.len()).sum::<usize>());
        if entries == 1 {
            tracing::warn!(took = ?took, "expected-duration" = ?expected, prefix = "", request, response = "", "{TOO_LONG}");
        } else {
            tracing::warn!(took = ?took, "expected-duration" = ?expected, prefix = "", request, response = "", entries, bytes, "{TOO_LONG}");
        }
    }

    /// The same about a read. `kind` ends with a blank.
    #[cold]
    pub fn warn_slow_read(&self, took: Duration, expected: Duration, kind: &str, request: &str, done: Result<String, Error>) {
        self.slow_applies.inc();
        match done {
            Ok(response) => {
                tracing::warn!(took = ?took, "expected-duration" = ?expected, prefix = kind, request, response, "{TOO_LONG}");
            }
            Err(error) => {
                // As etcd's inner errors are named.
                let error = error.text().trim_start_matches("etcdserver: ");
                tracing::warn!(took = ?took, "expected-duration" = ?expected, prefix = kind, request, response = "", error, "{TOO_LONG}");
            }
        }
    }

    pub fn note_leases(&self, effects: &[LeaseEffect]) {
        for effect in effects {
            match *effect {
                LeaseEffect::Granted { ttl, .. } => {
                    self.leases_granted.inc();
                    self.lease_ttl.observe(ttl as f64);
                }
                LeaseEffect::Revoked { .. } => self.leases_revoked.inc(),
                LeaseEffect::Checkpointed { .. } => {}
            }
        }
    }
}
