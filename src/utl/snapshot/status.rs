//! `snapshot status`: the facts of a snapshot file, equal to what etcd's own tool says of it (FMT-6).
//!
//! ```text
//!   CRC-32C of:  bucket name | key | value | key | value | ...  bucket name | ...        all buckets, in the order of the file
//! ```
//!
//! Writes: stdout. Reads: all of the file, twice: its structure first.
//! Bound: findings listed, and the set of keys alive.

use std::{collections::HashSet, ops::ControlFlow, path::Path};

use crate::{
    bbolt::{Database, Item, ReadAt},
    cli::Failure,
    membership::Version,
    mvcc::{Revision, record},
    print::{Answer, Cell, Column},
    storage::{Keyspace, keyspace::meta},
    utl::{
        Settings,
        database::{DatabaseFile, check_exists},
        print,
    },
};

const FINDINGS_LISTED_MAX: usize = 100;

pub fn run(path: &Path, settings: &Settings) -> Result<(), Failure> {
    check_exists(path)?;
    let style = settings.style()?;
    let file = DatabaseFile::open(path, settings.timeout())?;
    let database = file.database()?;
    check_structure(&database).map_err(|error| file.failed(error))?;
    let status = Status::read(&database).map_err(|error| file.failed(error))?;
    print(style, Answer::Row(&status.columns()))
}

/// Every page is used once, or free, and keys are in order.
pub fn check_structure<S: ReadAt>(database: &Database<S>) -> Result<(), String> {
    let (mut count, mut listed) = (0_u64, Vec::new());
    let mut report = |finding| {
        count += 1;
        if listed.len() < FINDINGS_LISTED_MAX {
            listed.push(format!("{finding}"));
        }
    };
    database.check(&mut |finding| report(finding)).map_err(|error| error.to_string())?;
    match count {
        0 => Ok(()),
        _ => Err(format!("snapshot file integrity check failed. {count} errors found.\n{}", listed.join("\n"))),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Status {
    pub hash: u32,
    pub revision: i64,
    pub keys: u64,
    pub size: u64,
    /// Empty below 3.6.
    pub version: String,
}

impl Status {
    pub fn read<S: ReadAt>(database: &Database<S>) -> Result<Status, String> {
        let mut tally = Tally::default();
        for name in database.buckets().map_err(|error| error.to_string())? {
            tally.add_bucket(database, &name)?;
        }
        let keys = tally.alive.len() as u64;
        Ok(Status { hash: tally.hash, revision: tally.revision, keys, size: database.size(), version: tally.version })
    }

    pub fn columns(&self) -> [Column; 5] {
        let number = |number: u64| Cell::Number(i64::try_from(number).unwrap_or(i64::MAX));
        [
            Column::new(["HASH", "Hash", "hash"], Cell::Hash(self.hash)),
            Column::new(["REVISION", "Revision", "revision"], Cell::Number(self.revision)),
            Column::new(["TOTAL KEYS", "Keys", "totalKey"], number(self.keys)),
            Column::new(["TOTAL SIZE", "Size", "totalSize"], Cell::Size(self.size)),
            Column::new(["VERSION", "Version", "version"], Cell::Text(self.version.clone())),
        ]
    }
}

#[derive(Default)]
struct Tally {
    hash: u32,
    revision: i64,
    alive: HashSet<Vec<u8>>,
    version: String,
}

impl Tally {
    fn add_bucket<S: ReadAt>(&mut self, database: &Database<S>, name: &[u8]) -> Result<(), String> {
        self.hash = crc32c::crc32c_append(self.hash, name);
        let Some(bucket) = database.bucket(name).map_err(|error| error.to_string())? else { return Ok(()) };
        let mut wrong = Ok(());
        let all = bucket.items(&[], &mut |item| {
            let (key, value): (&[u8], &[u8]) = match item {
                Item::Bucket { name } => (name, &[]),
                Item::Entry { key, value } => (key, value),
            };
            match self.add(name, key, value) {
                Ok(()) => ControlFlow::Continue(()),
                Err(why) => {
                    wrong = Err(format!("bucket {}, key {}: {why}", name.escape_ascii(), key.escape_ascii()));
                    ControlFlow::Break(())
                }
            }
        });
        all.map_err(|error| error.to_string())?;
        wrong
    }

    fn add(&mut self, bucket: &[u8], key: &[u8], value: &[u8]) -> Result<(), String> {
        self.hash = crc32c::crc32c_append(crc32c::crc32c_append(self.hash, key), value);
        if bucket == Keyspace::Meta.name().as_bytes() && key == meta::STORAGE_VERSION {
            self.version = String::from_utf8_lossy(value).parse::<Version>().map_or(String::new(), |version| version.to_string());
        }
        if bucket != Keyspace::Key.name().as_bytes() {
            return Ok(());
        }
        let (revision, is_tombstone) = Revision::decode(key).ok_or("it is not a revision")?;
        self.revision = revision.main;
        let alive = record::decode(value).ok_or("the value is not an encoded KeyValue")?.key;
        if is_tombstone {
            self.alive.remove(alive);
        } else if !self.alive.contains(alive) {
            self.alive.insert(alive.to_vec());
        }
        Ok(())
    }
}
