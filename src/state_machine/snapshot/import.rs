//! The rows of an etcd database file into an engine that is empty.
//!
//! ```text
//!   bucket `key`    revision -> record     row by row     -> `key` as it is, and the `index` row derived from it
//!   other buckets   key -> value           looked at      -> the same keyspace, as it is, but for what is to be changed
//!                                                         -> `local`: the layout stamp; the size is counted anew at open
//! ```
//!
//! Writes: the engine, row by row; `meta` comes last. The caller flushes.
//! Holds: an engine that was filled without an error opens, or says what it is that this program cannot do (auth).
//! Crash: in the middle of it, the engine holds a part of the rows and no consistent index: it is to be thrown away. So fill an
//! engine in a place of its own, flush it, and only then give it the name that a start looks at.
//! Hostile files: every row is looked at before it is taken; what is wrong is told with its bucket and key.

use std::ops::ControlFlow;

use super::generations::{Generations, REVISION_MAX};
use super::rows;
use crate::bbolt::{self, Database, Item, ReadAt};
use crate::membership::{Member, go_json, hex};
use crate::mvcc::Revision;
use crate::mvcc::index_row::LAYOUT;
use crate::state_machine::cluster::{decode_conf_state, encode_conf_state};
use crate::storage::keyspace::{local, meta};
use crate::storage::{self, Engine, Keyspace, Load};
use crate::wire::raftpb::ConfState;

/// How many bytes of rows, and how many rows, lie between two words on the progress.
const TOLD_BYTES: u64 = 1 << 20;
const TOLD_ROWS: u64 = 4096;
/// A bucket that old members left behind; nothing of it is taken (FMT-16).
const TEST_BUCKET: &[u8] = b"test";

/// What a restore replaces. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub struct ImportChanges {
    /// The members from now on, with nobody removed; None keeps both buckets (FMT-4).
    pub members: Option<Vec<Member>>,
    /// Where the log that belongs to this state stands; None keeps what the file says.
    pub position: Option<Position>,
    /// So many revisions are skipped, and all up to there count as compacted, so that no watcher takes the restored store for a
    /// continuation (FMT-5). 0 skips none.
    pub bump_revision: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    pub consistent_index: u64,
    pub term: u64,
    pub conf_state: ConfState,
}

/// What the engine holds now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    pub consistent_index: u64,
    pub term: u64,
    /// None where an old member wrote none. Quirk: after a restore by etcdutl it is still the old cluster's until the member has
    /// started (etcdutl/snapshot/v3_snapshot.go writes it to the log only), so ask the log first.
    pub conf_state: Option<ConfState>,
    /// The newest, as a member that opens the engine counts it (REV-14).
    pub revision: i64,
    /// -1 if nothing was ever compacted.
    pub compact_revision: i64,
    /// Keys alive at the newest revision.
    pub keys: u64,
    /// Rows of etcd's buckets.
    pub rows: u64,
    /// None below 3.6.
    pub storage_version: Option<String>,
}

/// Told now and then, and at the end. `bytes` of keys and values approach the file's size from below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub bucket: &'static str,
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the database file cannot be read: {0}")]
    File(#[from] bbolt::Error),
    #[error(transparent)]
    Engine(#[from] storage::Error),
    #[error("the state engine holds rows already: a database is read into an empty one only")]
    NotEmpty,
    #[error("the bucket {0:?} is none of etcd's: the file was not written by a version of etcd that is known")]
    UnknownBucket(String),
    #[error("bucket {bucket}, key {key}: {why}")]
    Row { bucket: &'static str, key: String, why: String },
    #[error("the file was written in storage version {0}, which is newer than {release}: use that release", release = crate::release::CLUSTER_VERSION)]
    Newer(String),
    #[error("the newest revision {newest} cannot be raised by {bump}")]
    Bump { newest: i64, bump: u64 },
}

/// Fills `engine` from `db`. Blocking, and reads the whole file.
pub fn import<S: ReadAt>(
    db: &Database<S>,
    engine: &dyn Engine,
    changes: &ImportChanges,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    check_empty(engine)?;
    check_buckets(db)?;
    let mut outcome = None;
    engine.load(&mut |load| match fill(db, load, changes, progress) {
        Err(ImportError::Engine(error)) => Err(error),
        Err(error) => {
            outcome = Some(Err(error));
            Ok(ControlFlow::Break(()))
        }
        Ok(imported) => {
            outcome = Some(Ok(imported));
            Ok(ControlFlow::Continue(()))
        }
    })?;
    outcome.unwrap_or_else(|| Err(storage::Error::Fault("the engine asked for no rows".into()).into()))
}

fn fill<S: ReadAt>(
    db: &Database<S>,
    load: &mut dyn Load,
    changes: &ImportChanges,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    load.put(Keyspace::Local, local::LAYOUT, LAYOUT)?;
    let mut intake = Intake::new(load, progress);
    for keyspace in Keyspace::BUCKETS {
        intake.bucket = keyspace;
        match (&changes.members, keyspace) {
            (Some(members), Keyspace::Members) => intake.set_members(members)?,
            (Some(_), Keyspace::MembersRemoved) => {}
            _ => intake.take_bucket(db, changes)?,
        }
        if keyspace == Keyspace::Key {
            intake.bump(changes.bump_revision)?;
        }
    }
    if let Some(position) = &changes.position {
        intake.set_position(position)?;
    }
    intake.tell();
    Ok(intake.finish())
}

fn check_empty(engine: &dyn Engine) -> Result<(), ImportError> {
    let mut is_empty = true;
    for keyspace in Keyspace::BUCKETS.into_iter().chain([Keyspace::Index, Keyspace::Local]) {
        engine.scan(keyspace, &[], None, &mut |key, _| {
            // An engine on disk is stamped when it is made.
            is_empty &= keyspace == Keyspace::Local && key == local::LAYOUT;
            if is_empty { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    if is_empty { Ok(()) } else { Err(ImportError::NotEmpty) }
}

fn check_buckets<S: ReadAt>(db: &Database<S>) -> Result<(), ImportError> {
    let known = |name: &[u8]| name == TEST_BUCKET || Keyspace::BUCKETS.iter().any(|keyspace| keyspace.name().as_bytes() == name);
    let mut unknown = None;
    db.root().items(&[], &mut |item| match item {
        Item::Bucket { name } if known(name) => ControlFlow::Continue(()),
        Item::Bucket { name } | Item::Entry { key: name, .. } => {
            unknown = Some(ImportError::UnknownBucket(name.escape_ascii().to_string()));
            ControlFlow::Break(())
        }
    })?;
    unknown.map_or(Ok(()), Err)
}

/// Rows on their way into the engine.
struct Intake<'a> {
    load: &'a mut dyn Load,
    progress: &'a mut dyn FnMut(Progress),
    generations: Generations,
    bucket: Keyspace,
    bytes: u64,
    /// Bytes and rows when the progress was told last.
    told: (u64, u64),
    imported: Imported,
}

impl<'a> Intake<'a> {
    fn new(load: &'a mut dyn Load, progress: &'a mut dyn FnMut(Progress)) -> Intake<'a> {
        let imported = Imported { compact_revision: -1, ..Imported::default() };
        Intake { load, progress, generations: Generations::default(), bucket: Keyspace::Alarm, bytes: 0, told: (0, 0), imported }
    }

    fn take_bucket<S: ReadAt>(&mut self, db: &Database<S>, changes: &ImportChanges) -> Result<(), ImportError> {
        let Some(bucket) = db.bucket(self.bucket.name().as_bytes())? else { return Ok(()) };
        let mut failed = None;
        bucket.items(&[], &mut |item| {
            let taken = match item {
                Item::Entry { key, value } => self.take(key, value, changes),
                Item::Bucket { name } => Err(self.refused(name, "it is a bucket, and etcd keeps none inside of another".into())),
            };
            match taken {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn take(&mut self, key: &[u8], value: &[u8], changes: &ImportChanges) -> Result<(), ImportError> {
        if self.bucket == Keyspace::Key {
            return self.take_record(key, value);
        }
        rows::check(self.bucket, key, value).map_err(|why| self.refused(key, why))?;
        if self.bucket == Keyspace::Meta {
            if changes.position.is_some() && [meta::CONSISTENT_INDEX, meta::TERM, meta::CONF_STATE].contains(&key) {
                return Ok(());
            }
            // What a bump has scheduled stands.
            if changes.bump_revision > 0 && key == meta::SCHEDULED_COMPACT {
                return Ok(());
            }
            self.note(key, value)?;
        }
        self.put(key, value)
    }

    fn take_record(&mut self, key: &[u8], record: &[u8]) -> Result<(), ImportError> {
        let (revision, row) = self.generations.next(key, record).map_err(|why| self.refused(key, why))?;
        self.load.put(Keyspace::Index, &revision.encode(), &row.encode())?;
        self.put(key, record)
    }

    fn refused(&self, key: &[u8], why: String) -> ImportError {
        ImportError::Row { bucket: self.bucket.name(), key: key.escape_ascii().to_string(), why }
    }

    /// Remembers what a row of `meta` says; it has been looked at.
    fn note(&mut self, key: &[u8], value: &[u8]) -> Result<(), ImportError> {
        let imported = &mut self.imported;
        match key {
            meta::CONSISTENT_INDEX => imported.consistent_index = rows::number(value).unwrap_or_default(),
            meta::TERM => imported.term = rows::number(value).unwrap_or_default(),
            meta::CONF_STATE => imported.conf_state = decode_conf_state(value).ok(),
            meta::SCHEDULED_COMPACT | meta::FINISHED_COMPACT => {
                imported.compact_revision = imported.compact_revision.max(rows::compact_revision(value).unwrap_or(-1));
            }
            meta::STORAGE_VERSION => {
                let (ours, text) = (rows::version(crate::release::CLUSTER_VERSION.as_bytes()), String::from_utf8_lossy(value).into_owned());
                if rows::version(value).ok().map(|version| version.minor_only()) > ours.ok() {
                    return Err(ImportError::Newer(text));
                }
                imported.storage_version = Some(text);
            }
            _ => {}
        }
        Ok(())
    }

    /// One of etcd's rows.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), ImportError> {
        self.load.put(self.bucket, key, value)?;
        self.imported.rows += 1;
        self.bytes += (key.len() + value.len()) as u64;
        if self.bytes - self.told.0 >= TOLD_BYTES || self.imported.rows - self.told.1 >= TOLD_ROWS {
            self.tell();
        }
        Ok(())
    }

    fn tell(&mut self) {
        self.told = (self.bytes, self.imported.rows);
        (self.progress)(Progress { bucket: self.bucket.name(), rows: self.imported.rows, bytes: self.bytes });
    }

    fn set_members(&mut self, members: &[Member]) -> Result<(), ImportError> {
        for member in members {
            let row = go_json(member).expect("rows hold only strings, numbers and lists, which all have a JSON form");
            self.put(hex(member.id).as_bytes(), row.as_bytes())?;
        }
        Ok(())
    }

    /// The row that etcdutl puts at the bumped revision: a record of nothing.
    fn bump(&mut self, bump: u64) -> Result<(), ImportError> {
        if bump == 0 {
            return Ok(());
        }
        let newest = self.generations.newest().main;
        let bumped = i64::try_from(bump).ok().and_then(|bump| newest.checked_add(bump)).filter(|bumped| *bumped <= REVISION_MAX);
        let key = Revision::first_of(bumped.ok_or(ImportError::Bump { newest, bump })?).encode();
        self.take_record(&key, &[])?;
        self.bucket = Keyspace::Meta;
        self.note(meta::SCHEDULED_COMPACT, &key)?;
        self.put(meta::SCHEDULED_COMPACT, &key)
    }

    fn set_position(&mut self, position: &Position) -> Result<(), ImportError> {
        let conf_state = encode_conf_state(&position.conf_state);
        let rows: [(&[u8], &[u8]); 3] = [
            (meta::CONF_STATE, conf_state.as_bytes()),
            (meta::TERM, &position.term.to_be_bytes()),
            (meta::CONSISTENT_INDEX, &position.consistent_index.to_be_bytes()),
        ];
        for (key, value) in rows {
            self.note(key, value)?;
            self.put(key, value)?;
        }
        Ok(())
    }

    fn finish(self) -> Imported {
        let revision = self.generations.newest().main.max(self.imported.compact_revision).max(1);
        Imported { revision, keys: self.generations.alive(), ..self.imported }
    }
}
