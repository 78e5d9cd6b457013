//! The keyspaces and every key that is stored in them; all numbers big-endian.
//!
//! ```text
//!   key        main u64 '_' sub u64 ['t' if tombstone]   -> mvccpb.KeyValue            FMT-9
//!   index      main u64 '_' sub u64                      -> mvcc::index_row (ours: never exported, never hashed)
//!   meta       consistent_index, term                    -> u64                        FMT-10
//!              scheduledCompactRev, finishedCompactRev   -> main u64 '_' sub u64
//!              confState, storageVersion                 -> JSON, text
//!   lease      id u64 (two's complement)                 -> leasepb.Lease              FMT-11
//!   alarm      etcdserverpb.AlarmMember                  -> empty                      FMT-12
//!   auth..     authEnabled, authRevision; name           -> FMT-13
//!   members..  hex id                                    -> JSON                       FMT-14
//!   local      (ours) layout stamp, high-water sizes, sweep progress
//! ```

/// One of etcd's buckets, or one of our own two (`Index`, `Local`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Keyspace {
    Alarm,
    Auth,
    AuthRoles,
    AuthUsers,
    Cluster,
    Key,
    Lease,
    Members,
    MembersRemoved,
    Meta,
    /// Ours: what a restart needs to know of a record without reading it.
    Index,
    /// Ours: facts of this member alone.
    Local,
}

impl Keyspace {
    /// etcd's buckets in the order of their names, which is the order that `Hash` reads them in.
    pub const BUCKETS: [Keyspace; 10] = [
        Keyspace::Alarm,
        Keyspace::Auth,
        Keyspace::AuthRoles,
        Keyspace::AuthUsers,
        Keyspace::Cluster,
        Keyspace::Key,
        Keyspace::Lease,
        Keyspace::Members,
        Keyspace::MembersRemoved,
        Keyspace::Meta,
    ];

    /// The bucket's name in etcd's database file.
    pub fn name(self) -> &'static str {
        match self {
            Keyspace::Alarm => "alarm",
            Keyspace::Auth => "auth",
            Keyspace::AuthRoles => "authRoles",
            Keyspace::AuthUsers => "authUsers",
            Keyspace::Cluster => "cluster",
            Keyspace::Key => "key",
            Keyspace::Lease => "lease",
            Keyspace::Members => "members",
            Keyspace::MembersRemoved => "members_removed",
            Keyspace::Meta => "meta",
            Keyspace::Index => "index",
            Keyspace::Local => "local",
        }
    }
}

/// Keys of the `meta` keyspace.
pub mod meta {
    pub const CONSISTENT_INDEX: &[u8] = b"consistent_index";
    pub const TERM: &[u8] = b"term";
    pub const CONF_STATE: &[u8] = b"confState";
    pub const STORAGE_VERSION: &[u8] = b"storageVersion";
    pub const SCHEDULED_COMPACT: &[u8] = b"scheduledCompactRev";
    pub const FINISHED_COMPACT: &[u8] = b"finishedCompactRev";
}

/// Keys of the `local` keyspace.
pub mod local {
    pub const LAYOUT: &[u8] = b"layout";
    pub const DB_SIZE: &[u8] = b"db_size";
    pub const SWEEP: &[u8] = b"sweep";
}
