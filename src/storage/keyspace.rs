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
//!   local      (ours) layout stamp, high-water sizes
//! ```
//!
//! Where the disk engine keeps them (`Keyspace::place`): a column family each for the two large keyspaces, and one for all
//! the rest, where a key begins with one byte that names its keyspace.
//!
//! ```text
//!   family `key`      key rows, as above
//!   family `index`    index rows, as above
//!   family `rest`     'a' alarm   'h' auth   'r' authRoles   'u' authUsers   'c' cluster   'e' lease
//!                     'm' members 'x' members_removed        't' meta        'l' local
//! ```
//!
//! The whole layout carries one stamp, `local` / `layout` (`LAYOUT`); an engine with another stamp is refused. A change of
//! anything above needs a new stamp.

/// The stamp of the layout drawn above.
pub const LAYOUT: &[u8] = b"1";

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

/// A column family of the disk engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Key,
    Index,
    Rest,
}

impl Family {
    pub const ALL: [Family; 3] = [Family::Key, Family::Index, Family::Rest];
}

/// Where the disk engine keeps a keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub family: Family,
    /// What every key of the keyspace begins with there, if it shares its family.
    pub prefix: Option<u8>,
}

impl Keyspace {
    /// The picture of families above, as code.
    pub fn place(self) -> Place {
        let rest = |prefix| Place { family: Family::Rest, prefix: Some(prefix) };
        match self {
            Keyspace::Key => Place { family: Family::Key, prefix: None },
            Keyspace::Index => Place { family: Family::Index, prefix: None },
            Keyspace::Alarm => rest(b'a'),
            Keyspace::Auth => rest(b'h'),
            Keyspace::AuthRoles => rest(b'r'),
            Keyspace::AuthUsers => rest(b'u'),
            Keyspace::Cluster => rest(b'c'),
            Keyspace::Lease => rest(b'e'),
            Keyspace::Members => rest(b'm'),
            Keyspace::MembersRemoved => rest(b'x'),
            Keyspace::Meta => rest(b't'),
            Keyspace::Local => rest(b'l'),
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keyspaces_share_a_place() {
        let mut all = Keyspace::BUCKETS.to_vec();
        all.extend([Keyspace::Index, Keyspace::Local]);
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                assert_ne!(a.place(), b.place(), "{a:?} and {b:?}");
            }
        }
    }
}
