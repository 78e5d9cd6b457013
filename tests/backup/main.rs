//! Backups: a snapshot of ours in etcd's hands, one of etcd's in ours.
//!
//! ```text
//!   our server ── etcdctl snapshot save ──► file ── etcd's etcdutl: status, restore ──► etcd's server      equal
//!   etcd's server ── Snapshot ──► import ──► our state machine; export ── etcdutl ──► etcd's server        equal
//! ```
//!
//! `ETCD_BACKUP_HISTORIES` says how many random histories go each way (50 for a long run), `ETCD_BACKUP_SEED` the first one's seed.
//! etcd's etcdutl is built by Go from its own modules; a Go that is missing is a failure, which `ETCD_CLIENTS_SKIP=go` accepts.

#[path = "../harness/mod.rs"]
mod harness;

mod history;
mod live;
mod lying_member;
mod oracle;
mod picture;
mod round_trip;
mod stream;
