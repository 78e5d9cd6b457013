//! `migrate`: the storage version of a member that is stopped, up or down one step at a time (VSN-3, VSN-6).
//!
//! ```text
//!   3.5 no row  <-->  3.6 "3.6.0"  <-->  3.7 "3.7.0"        row storageVersion of meta; no other row differs between these
//! ```
//!
//! Writes: the row, in the state engine or in the database of the Go server. Reads: it, and the log, whose entries an older release must
//! be able to apply.
//! Crash: the row is the old one or the new one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use prost::Message;

use super::{
    Settings,
    data_dir::{self, DataDir},
    go_database::{GoDatabase, MetaRow},
};
use crate::{
    cli::{Failure, number},
    membership::Version,
    print::text::quote,
    storage::{Batch, Engine, Keyspace, Read, keyspace::meta, rocks::RocksEngine},
    wal::{self, EntryKind, RealFileSystem, Record},
};

/// The first version that stores its own.
const STORES_VERSION: Version = Version::new(3, 6);
const LEAST: Version = Version::new(3, 5);
/// Versions whose differences from the one before are known.
const KNOWN: [Version; 2] = [STORES_VERSION, Version::new(3, 7)];

/// Sets the storage version of the data directory of a member that is stopped
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdutl migrate --data-dir <dir> --target-version <X.Y> [options]")]
pub struct Migrate {
    #[arg(hide = true)]
    _ignored: Vec<String>,
    /// The data directory, of this server or of the Go server
    #[arg(long, value_name = "dir", required = true)]
    data_dir: PathBuf,
    /// The release that is to use it, such as 3.6; 3.5 is the oldest
    #[arg(long, value_name = "X.Y", required = true)]
    target_version: String,
    /// Set the version even if the log or the steps forbid it
    #[arg(long)]
    force: bool,
}

impl Migrate {
    pub fn run(self, settings: &Settings) -> Result<(), Failure> {
        let target = target(&self.target_version).map_err(Failure::bad_args)?;
        migrate(&self.data_dir, target, self.force, settings).map_err(Failure::general)
    }
}

fn target(text: &str) -> Result<Version, String> {
    let parts: Vec<&str> = text.split('.').collect();
    let [major, minor] = parts[..] else {
        return Err(format!("wrong target version format, expected \"X.Y\", got {}", quote(text.as_bytes())));
    };
    let part = |part| {
        let number = number::parse(part, 10).map_err(|why| format!("failed to parse target version: {why}"))?;
        u64::try_from(number).map_err(|_| format!("failed to parse target version: {number} is negative"))
    };
    let target = Version::new(part(major)?, part(minor)?);
    if target < LEAST {
        return Err(format!("target version {:?} not supported. Minimal \"3.5\"", short(target)));
    }
    Ok(target)
}

fn short(version: Version) -> String {
    format!("{}.{}", version.major, version.minor)
}

fn migrate(dir: &Path, target: Version, is_forced: bool, settings: &Settings) -> Result<(), String> {
    let store = Store::take(dir, settings)?;
    let current = store.current().inspect_err(|_| {
        tracing::error!("failed to detect storage version. Please make sure you are using data dir from etcd v3.5 and older");
    })?;
    if current == target {
        tracing::info!(storage_version = short(current), "storage version up-to-date");
        return Ok(());
    }
    let needed = needed_by_log(&data_dir::log(dir)).map_err(|error| format!("failed to read wal: {error}"))?;
    match plan(current, target, needed) {
        Ok(steps) => {
            store.set(target)?;
            steps.iter().for_each(|step| tracing::info!(new_storage_version = %step, "updated storage version"));
        }
        Err(why) if !is_forced => return Err(why),
        Err(why) => {
            tracing::info!(error = why, "normal migrate failed, trying with force");
            store.set(target)?;
            match target < STORES_VERSION {
                true => tracing::warn!("forcefully cleared storage version"),
                false => tracing::warn!(storage_version = short(target), "forcefully set storage version"),
            }
        }
    }
    Ok(())
}

/// Where the row is.
enum Store {
    /// Locked for as long as it is used.
    Engine {
        engine: Arc<RocksEngine>,
        _dir: DataDir,
    },
    Go(GoDatabase),
}

impl Store {
    fn take(dir: &Path, settings: &Settings) -> Result<Store, String> {
        if let Some(path) = data_dir::go_database(dir) {
            return Ok(Store::Go(GoDatabase::take(&path, settings.timeout())?));
        }
        let dir = DataDir::take(dir, settings.timeout())?;
        Ok(Store::Engine { engine: dir.engine()?, _dir: dir })
    }

    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match self {
            Store::Engine { engine, .. } => {
                engine.get(Keyspace::Meta, key).map(|row| row.map(Into::into)).map_err(|error| error.to_string())
            }
            Store::Go(database) => database.meta_row(key),
        }
    }

    fn current(&self) -> Result<Version, String> {
        let stored = self.row(meta::STORAGE_VERSION)?;
        if let Some(version) = stored.and_then(|text| String::from_utf8_lossy(&text).parse().ok()) {
            return Ok(version);
        }
        match self.row(meta::TERM)?.is_some_and(|term| term.iter().any(|&byte| byte != 0)) {
            true => Ok(LEAST),
            false => Err("missing term information".into()),
        }
    }

    fn set(self, target: Version) -> Result<(), String> {
        let version = (target >= STORES_VERSION).then(|| target.to_string());
        match self {
            Store::Engine { engine, .. } => {
                let mut batch = Batch::default();
                match version {
                    Some(version) => batch.put(Keyspace::Meta, meta::STORAGE_VERSION, version),
                    None => batch.delete(Keyspace::Meta, meta::STORAGE_VERSION),
                }
                engine.write(&batch).and_then(|()| engine.flush()).map_err(|error| error.to_string())
            }
            Store::Go(database) => {
                let row = MetaRow { key: meta::STORAGE_VERSION, value: version.as_ref().map(String::as_bytes) };
                database.rewrite(Some(&row)).map(drop)
            }
        }
    }
}

/// The versions on the way, the last of them the target.
fn plan(current: Version, target: Version, needed: Option<Version>) -> Result<Vec<Version>, String> {
    let refused = |why: &str| format!("cannot create migration plan: {why}");
    let (mut at, mut steps) = (current.minor_only(), Vec::new());
    if at.major != target.major {
        return Err(refused("changing major storage version is not supported"));
    }
    while at != target {
        let next = Version::new(at.major, if at < target { at.minor + 1 } else { at.minor - 1 });
        let higher = at.max(next);
        if !KNOWN.contains(&higher) {
            return Err(refused(&format!("version \"{higher}\" is not supported")));
        }
        steps.push(next);
        at = next;
    }
    match needed.filter(|needed| target < current && target < *needed) {
        None => Ok(steps),
        Some(needed) => Err(format!(
            "cannot downgrade storage, WAL contains newer entries, as the target version ({target}) is lower than the version ({needed}) \
             detected from WAL logs"
        )),
    }
}

/// The only part of a command that a release of 3.5 does not know (api/etcdserverpb/raft_internal.proto); it exists for tests of this.
#[derive(Clone, PartialEq, Message)]
struct NewerCommand {
    #[prost(message, optional, tag = "9900")]
    version_test: Option<VersionTest>,
}

#[derive(Clone, PartialEq, Message)]
struct VersionTest {
    #[prost(string, tag = "1")]
    version: String,
}

impl NewerCommand {
    /// The least version that knows the command, if that is newer than 3.5.
    fn needs(data: &[u8]) -> Option<Version> {
        let test = NewerCommand::decode(data).ok()?.version_test?;
        let named = test.version.parse().unwrap_or(STORES_VERSION);
        Some(STORES_VERSION.max(named))
    }
}

/// The least version that could apply what the log holds after its newest snapshot; `None` if any could.
fn needed_by_log(dir: &Path) -> Result<Option<Version>, wal::Error> {
    let (mut newer, mut snapshots, mut commit): (Vec<(u64, Version)>, Vec<u64>, u64) = (Vec::new(), Vec::new(), 0);
    wal::visit(&RealFileSystem, dir, &mut |record| match record {
        Record::Entry(entry) => {
            // What followed was overwritten.
            newer.retain(|(index, _)| *index < entry.index);
            let needs = (entry.kind == EntryKind::EntryNormal).then(|| NewerCommand::needs(&entry.data)).flatten();
            newer.extend(needs.map(|version| (entry.index, version)));
        }
        Record::HardState(state) => commit = state.commit,
        Record::Snapshot(snapshot) => snapshots.push(snapshot.index),
        Record::Metadata(_) | Record::Crc(_) => {}
    })?;
    let snapshot = snapshots.into_iter().filter(|index| *index <= commit).max().unwrap_or_default();
    Ok(newer.into_iter().filter(|(index, _)| *index > snapshot).map(|(_, version)| version).max())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V35: Version = LEAST;
    const V36: Version = STORES_VERSION;
    const V37: Version = Version::new(3, 7);

    #[test]
    fn a_target_is_two_numbers_of_a_release_that_is_known() {
        assert_eq!(target("3.6"), Ok(V36));
        for (text, says) in [
            ("y", "wrong target version format, expected \"X.Y\", got \"y\""),
            ("3.6.0", "wrong target version format, expected \"X.Y\", got \"3.6.0\""),
            ("y.z", "failed to parse target version: strconv.ParseInt: parsing \"y\": invalid syntax"),
            ("3.4", "target version \"3.4\" not supported. Minimal \"3.5\""),
        ] {
            assert_eq!(target(text).unwrap_err(), says);
        }
    }

    #[test]
    fn a_migration_goes_one_version_at_a_time() {
        assert_eq!(plan(V35, V37, None), Ok(vec![V36, V37]));
        assert_eq!(plan(V37, V35, None), Ok(vec![V36, V35]));
        assert_eq!(plan(V37, Version::new(3, 8), None).unwrap_err(), "cannot create migration plan: version \"3.8.0\" is not supported");
        assert_eq!(
            plan(V37, Version::new(4, 0), None).unwrap_err(),
            "cannot create migration plan: changing major storage version is not supported"
        );
    }

    #[test]
    fn a_log_that_an_older_release_cannot_apply_forbids_the_way_down_only() {
        assert_eq!(plan(V35, V36, Some(V37)), Ok(vec![V36]));
        assert_eq!(plan(V37, V36, Some(V36)), Ok(vec![V36]));
        assert_eq!(
            plan(V36, V35, Some(V36)).unwrap_err(),
            "cannot downgrade storage, WAL contains newer entries, as the target version (3.5.0) is lower than the version (3.6.0) detected \
             from WAL logs"
        );
    }

    #[test]
    fn what_a_log_needs_is_read_from_what_follows_its_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("wal");
        let newer = NewerCommand { version_test: Some(VersionTest { version: "3.7.0".into() }) }.encode_to_vec();
        let entry = |index, data: &[u8]| wal::LogEntry { kind: EntryKind::EntryNormal, term: 1, index, data: data.to_vec().into() };
        let state = wal::HardState { term: 1, vote: 0, commit: 1 };
        let fs = std::sync::Arc::new(RealFileSystem);
        let options = wal::Options { segment_bytes: 1 << 20 };
        let mut wal = wal::Wal::create_with(fs, &log, b"", &[entry(1, b""), entry(2, &newer)], state, options).unwrap();
        assert_eq!(needed_by_log(&log).unwrap(), Some(V37));
        wal.save_snapshot(2, 1, &Default::default()).unwrap();
        assert_eq!(needed_by_log(&log).unwrap(), None);
    }
}
