//! Looks at records from outside in revision order, and derives our index row of each.
//!
//! ```text
//!   of one key   [nothing, or what a compaction left]   put v1 -> put v2 -> .. -> tombstone   put v1 -> ..
//!                 \-- put v > 1 created earlier, or a tombstone alone (REV-16)
//! ```
//!
//! Reads: nothing but what it is given. Holds: what passes can be merged into the key index, and says of itself what the key
//! index will say of it.
//! Bound: one entry for each key of the file, about what the key index will hold for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::mvcc::Revision;
use crate::mvcc::index_row::IndexRow;
use crate::mvcc::record::{self, Fields};

/// Bound: revisions beyond could not be counted on from. No cluster gets here by counting.
pub(super) const REVISION_MAX: i64 = i64::MAX >> 1;

/// The last that was seen of a key.
#[derive(Clone, Copy)]
struct Last {
    create: i64,
    /// 0 after a tombstone.
    version: i64,
}

#[derive(Default)]
pub(super) struct Generations {
    newest: Revision,
    keys: HashMap<Box<[u8]>, Last>,
    alive: u64,
}

impl Generations {
    /// Of the last record.
    pub fn newest(&self) -> Revision {
        self.newest
    }

    /// Keys alive after the last record.
    pub fn alive(&self) -> u64 {
        self.alive
    }

    /// The index row of the next record, or what is wrong with it.
    pub fn next<'r>(&mut self, key: &[u8], record: &'r [u8]) -> Result<(Revision, IndexRow<'r>), String> {
        let (revision, is_tombstone) =
            Revision::decode(key).ok_or("a key is a revision of 17 bytes, 'main_sub', and a 't' if it is a tombstone")?;
        if !(1..=REVISION_MAX).contains(&revision.main) || !(0..=i64::from(u32::MAX)).contains(&revision.sub) {
            return Err(format!("revision {}.{} is out of range", revision.main, revision.sub));
        }
        if revision <= self.newest {
            let newest = self.newest;
            return Err(format!("revision {}.{} comes after {}.{}", revision.main, revision.sub, newest.main, newest.sub));
        }
        let fields = record::decode(record).ok_or("the value is not an encoded KeyValue")?;
        let length = u32::try_from(record.len()).map_err(|_| format!("the value has {} bytes", record.len()))?;
        let (create, version) = if is_tombstone { self.tombstone(&fields)? } else { self.put(revision, &fields)? };
        self.newest = revision;
        let row = IndexRow { is_tombstone, create, version, lease: fields.lease, length, key: fields.key };
        Ok((revision, row))
    }

    fn tombstone(&mut self, fields: &Fields<'_>) -> Result<(i64, i64), String> {
        if fields.key.is_empty() || (Fields { key: fields.key, ..Fields::default() }) != *fields {
            return Err("the value of a tombstone names its key and nothing else".into());
        }
        match self.keys.entry(fields.key.into()) {
            Entry::Occupied(known) if known.get().version == 0 => return Err("the key was deleted before, and not put since".into()),
            Entry::Occupied(mut known) => {
                known.insert(Last { create: 0, version: 0 });
                self.alive -= 1;
            }
            // A compaction at its revision left it alone.
            Entry::Vacant(unknown) => drop(unknown.insert(Last { create: 0, version: 0 })),
        }
        Ok((0, 0))
    }

    fn put(&mut self, revision: Revision, fields: &Fields<'_>) -> Result<(i64, i64), String> {
        let (create, version) = match (fields.key, *fields == Fields::default()) {
            // Quirk: what etcdutl puts at the bumped revision is an empty value (etcdutl/snapshot/v3_snapshot.go), and a member
            // takes it for a put of the empty key; pinned by `a_bumped_snapshot_is_read_as_etcd_reads_it`.
            ([], true) => self.bump(revision),
            ([], false) => return Err("the value has no key".into()),
            _ => self.check_put(revision, fields)?,
        };
        let last = self.keys.insert(fields.key.into(), Last { create, version });
        self.alive += u64::from(last.is_none_or(|last| last.version == 0));
        Ok((create, version))
    }

    /// Counted on as if it had been put, since version 0 is what tells a tombstone.
    fn bump(&self, revision: Revision) -> (i64, i64) {
        self.keys.get(&[][..]).map_or((revision.main, 1), |last| (last.create, last.version + 1))
    }

    fn check_put(&self, revision: Revision, fields: &Fields<'_>) -> Result<(i64, i64), String> {
        let Fields { create, modified, version, .. } = *fields;
        if modified != revision.main {
            return Err(format!("the value says that it was modified at {modified}"));
        }
        if create < 1 || create > revision.main || version < 1 || (create == revision.main) != (version == 1) {
            return Err(format!("the value says that it is version {version} of a key created at {create}"));
        }
        match self.keys.get(fields.key) {
            Some(last) if last.version == 0 && version > 1 => {
                Err(format!("the value is version {version} of a key that was deleted before"))
            }
            Some(last) if last.version > 0 && (create, version) != (last.create, last.version + 1) => Err(format!(
                "the value is version {version}, created at {create}, of a key whose version {} was created at {}",
                last.version, last.create
            )),
            _ => Ok((create, version)),
        }
    }
}
