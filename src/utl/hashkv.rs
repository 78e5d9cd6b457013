//! `hashkv`: the hash that members compare (HSH-2), of a file that no member has open.
//!
//! ```text
//!   pass 1   of each key its last record at or below R       --> kept: what a compaction at R would leave
//!   pass 2   "key" | record key | record | ...               without main > R, and without main <= compact revision that is not kept
//! ```
//!
//! Writes: stdout. Reads: the bucket `key` twice, two rows of `meta`.
//! Bound: one entry for each key.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::{
    Settings,
    database::{DatabaseFile, RowError, check_exists, each_row},
    print,
};
use crate::{
    bbolt::{Database, ReadAt},
    cli::{Failure, number},
    mvcc::{Revision, record},
    print::{Answer, Cell, Column},
    storage::{Keyspace, keyspace::meta},
};

/// Shows the hash of the keys and their history in a database file
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdutl hashkv [options] <file>")]
pub struct HashKv {
    #[arg(value_name = "file", num_args = 0..)]
    args: Vec<PathBuf>,
    /// The newest revision to hash (0: the newest there is)
    #[arg(long, value_name = "int", default_value = "0", value_parser = number::parse_flag)]
    rev: i64,
}

impl HashKv {
    pub fn run(self, settings: &Settings) -> Result<(), Failure> {
        let [path] = &self.args[..] else {
            return Err(Failure::general(format!("accepts 1 arg(s), received {}", self.args.len())));
        };
        let style = settings.style()?;
        let hashed = hash(path, self.rev, settings)?;
        let columns = [
            Column::new(["HASH", "Hash", "hash"], Cell::Number(i64::from(hashed.hash))),
            Column::new(["HASH REVISION", "Hash revision", "hashRevision"], Cell::Number(hashed.revision)),
            Column::new(["COMPACT REVISION", "Compact revision", "compactRevision"], Cell::Number(hashed.compact_revision)),
        ];
        print(style, Answer::Row(&columns))
    }
}

fn hash(path: &Path, revision: i64, settings: &Settings) -> Result<Hashed, Failure> {
    check_exists(path)?;
    let file = DatabaseFile::open(path, settings.timeout())?;
    Hashed::of(&file.database()?, revision).map_err(|error| match error {
        // In etcd's words, which do not name the file.
        HashError::Compacted | HashError::Future => Failure::general(error),
        HashError::File(error) => file.failed(error),
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Hashed {
    hash: u32,
    revision: i64,
    compact_revision: i64,
}

#[derive(Debug, thiserror::Error)]
enum HashError {
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    #[error("mvcc: required revision is a future revision")]
    Future,
    #[error(transparent)]
    File(#[from] RowError),
}

const KEY: &[u8] = b"key";

impl Hashed {
    fn of<S: ReadAt>(database: &Database<S>, revision: i64) -> Result<Hashed, HashError> {
        let compacted = compact_revision(database)?;
        let mut newest = compacted.max(1);
        each_record(database, |at, _, _, _| newest = newest.max(at.main))?;
        if revision > 0 && revision < compacted {
            return Err(HashError::Compacted);
        }
        if revision > newest {
            return Err(HashError::Future);
        }
        let revision = if revision == 0 { newest } else { revision };
        let mut kept = kept(database, revision, compacted)?;
        if kept.is_none() {
            // Quirk: with no key alive at R etcd hashes all records that the compaction left (server/storage/mvcc/hash.go asks only a
            // set that is not empty), which are those of the keys alive at the compact revision.
            kept = self::kept(database, compacted, compacted)?;
        }
        let kept = kept.unwrap_or_default();
        let mut hash = crc32c::crc32c(KEY);
        each_record(database, |at, is_tombstone, key, record| {
            let is_left_out = at.main > revision
                || (at.main == compacted && is_tombstone)
                || (at.main <= compacted && (is_tombstone || !kept.contains(&at)));
            if !is_left_out {
                hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, key), record);
            }
        })?;
        Ok(Hashed { hash, revision, compact_revision: compacted })
    }
}

/// Of the keys alive at a revision, the records at or below the compact revision that they have then; `None` if no key is alive.
fn kept<S: ReadAt>(database: &Database<S>, revision: i64, compacted: i64) -> Result<Option<HashSet<Revision>>, RowError> {
    let mut last: HashMap<Vec<u8>, Revision> = HashMap::new();
    let mut wrong = None;
    each_record(database, |at, is_tombstone, _, record| {
        if at.main > revision {
            return;
        }
        match record::decode(record) {
            None => wrong = Some(at),
            Some(fields) if is_tombstone => drop(last.remove(fields.key)),
            Some(fields) => match last.get_mut(fields.key) {
                Some(known) => *known = at,
                None => drop(last.insert(fields.key.to_vec(), at)),
            },
        }
    })?;
    if let Some(Revision { main, sub }) = wrong {
        return Err(RowError::Row(format!("bucket key, revision {main}.{sub}: the value is not an encoded KeyValue")));
    }
    let kept = last.values().copied().filter(|at| at.main <= compacted).collect();
    Ok((!last.is_empty()).then_some(kept))
}

/// Up to where history is gone; -1 if it was never compacted.
fn compact_revision<S: ReadAt>(database: &Database<S>) -> Result<i64, RowError> {
    let mut compacted = -1;
    each_row(database, Keyspace::Meta.name().as_bytes(), |key, value| {
        if key == meta::FINISHED_COMPACT || key == meta::SCHEDULED_COMPACT {
            let (revision, _) =
                Revision::decode(value).ok_or_else(|| format!("bucket meta: {} is not a revision", value.escape_ascii()))?;
            compacted = compacted.max(revision.main);
        }
        Ok(())
    })?;
    Ok(compacted)
}

fn each_record<S: ReadAt>(database: &Database<S>, mut visit: impl FnMut(Revision, bool, &[u8], &[u8])) -> Result<(), RowError> {
    each_row(database, KEY, |key, record| {
        let (revision, is_tombstone) =
            Revision::decode(key).ok_or_else(|| format!("bucket key: {} is not a revision", key.escape_ascii()))?;
        visit(revision, is_tombstone, key, record);
        Ok(())
    })
}
