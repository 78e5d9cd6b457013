//! `export`: a stopped member's data directory, written anew as one that a Go member starts on. The way back from a takeover.
//!
//! ```text
//!   --data-dir  member/db   --every row of etcd's, as of one index--> member/snap/db                            (bbolt)
//!               member/wal  --metadata, entries above that index----> member/wal   behind a snapshot record at it
//!                             membership at that index -------------> member/snap/<term>-<index>.snap            FMT-23
//!   all of it under <to>.tmp, synced, then renamed to <to>
//! ```
//!
//! Writes: `--to`, which must not hold anything. Reads: `--data-dir`, under the member's own locks.
//! What is committed and not yet part of the state is carried along: whoever starts on it replays it.
//! Crash: `<to>.tmp`, which the next export removes, or the whole of it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Settings;
use super::data_dir::{self, DataDir};
use crate::bbolt::{ByteOrder, Format};
use crate::cli::Failure;
use crate::membership::{Member, SnapFile};
use crate::state_machine::snapshot;
use crate::storage::{Engine, Keyspace, Read};
use crate::wal::{self, Examined, FileSystem, HardState, RealFileSystem, Wal};

/// Bound: bytes of entries that are written to the new log at once.
const APPEND_BYTES: usize = 1 << 20;

/// Writes the data directory of a stopped member as one that a Go member starts on
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Data directory of the member, which must not run
    #[arg(long, value_name = "dir")]
    data_dir: PathBuf,
    /// Data directory to make for the Go member
    #[arg(long, value_name = "dir")]
    to: PathBuf,
    /// Directory of the member's log, if it is not in its data directory
    #[arg(long, value_name = "dir")]
    wal_dir: Option<PathBuf>,
}

impl Export {
    pub fn run(self, settings: &Settings) -> Result<(), Failure> {
        if data_dir::go_database(&self.data_dir).is_some() {
            return Err(Failure::general(format!("{} is a Go member's already", data_dir::member(&self.data_dir).display())));
        }
        let from = DataDir::take(&self.data_dir, settings.timeout()).map_err(Failure::general)?;
        check_target(&self.to)?;
        let engine = from.engine().map_err(Failure::general)?;
        let format = Format { order: ByteOrder::native(), page_size: 4096 };
        let database = snapshot::Export::plan(engine.view(), format).map_err(Failure::general)?;
        let at = standing(&*engine, &database)?;
        let wal_dir = self.wal_dir.unwrap_or_else(|| from.log());
        let log = wal::examine(&RealFileSystem, &wal_dir, at.index).map_err(Failure::general)?;
        if log.flushed_term.is_some_and(|term| at.index > 0 && term != at.term) {
            return Err(Failure::general(format!("the log in {} does not belong to the state beside it", wal_dir.display())));
        }
        let (revision, index, last) = (database.revision(), at.index, log.last_index);
        let staged = with_suffix(&self.to, ".tmp");
        write(&staged, database, &at, &log).inspect_err(|_| {
            // A part of it is of no use; the error that made it one is what is told.
            let _ = std::fs::remove_dir_all(&staged);
        })?;
        put_in_place(&staged, &self.to)?;
        let to = self.to.display();
        Ok(writeln!(io::stdout(), "exported revision {revision}, index {index}, log up to index {last}, to {to}")?)
    }
}

fn failed(op: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::general(format!("cannot {op} {}: {error}", path.display()))
}

fn check_target(to: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("list", to, &error)),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::general(format!("{} is not empty: name a directory that is not there yet", to.display()))),
        },
    }
}

/// Where the state stands in the log, and who is a member there.
fn standing(engine: &dyn Read, database: &snapshot::Export) -> Result<SnapFile, Failure> {
    let mut members: Vec<Member> = Vec::new();
    each(engine, Keyspace::Members, |_, value| {
        members.push(serde_json::from_slice(value).map_err(|error| error.to_string())?);
        Ok(())
    })?;
    let mut removed = Vec::new();
    each(engine, Keyspace::MembersRemoved, |key, _| {
        let id = std::str::from_utf8(key).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        removed.push(id.ok_or("it is no id")?);
        Ok(())
    })?;
    let mut version = None;
    each(engine, Keyspace::Cluster, |key, value| {
        if key == b"clusterVersion" {
            version = String::from_utf8_lossy(value).parse().ok();
        }
        Ok(())
    })?;
    let index = database.consistent_index().map_err(Failure::general)?;
    let term = database.term().map_err(Failure::general)?;
    let conf_state = database.conf_state().map_err(Failure::general)?;
    Ok(SnapFile { index, term, conf_state, members, removed, version })
}

fn each(engine: &dyn Read, keyspace: Keyspace, mut take: impl FnMut(&[u8], &[u8]) -> Result<(), String>) -> Result<(), Failure> {
    let mut broken = None;
    let mut visit = |key: &[u8], value: &[u8]| match take(key, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(why) => {
            broken = Some(format!("the row {} of {} cannot be read: {why}", key.escape_ascii(), keyspace.name()));
            ControlFlow::Break(())
        }
    };
    engine.scan(keyspace, b"", None, &mut visit).map_err(Failure::general)?;
    broken.map_or(Ok(()), |why| Err(Failure::general(why)))
}

/// Everything, under a name that nobody looks at.
fn write(staged: &Path, database: snapshot::Export, at: &SnapFile, log: &Examined) -> Result<(), Failure> {
    if staged.exists() {
        std::fs::remove_dir_all(staged).map_err(|error| failed("remove", staged, &error))?;
    }
    let (member, snap) = (staged.join("member"), staged.join("member/snap"));
    make_dir(&snap)?;
    write_file(&snap.join("db"), |out| database.write(out).map(drop).map_err(io::Error::other))?;
    if at.index > 0 {
        write_file(&snap.join(at.name()), |out| out.write_all(&at.encode()))?;
    }
    write_log(&member.join("wal"), at, log).map_err(Failure::general)?;
    for dir in [&snap, &member, staged] {
        sync_dir(dir)?;
    }
    Ok(())
}

/// Readable by its owner alone (DIR-1).
fn make_dir(dir: &Path) -> Result<(), Failure> {
    RealFileSystem.create_dir(dir).map_err(|error| failed("create", dir, &error))
}

fn write_file(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Failure> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // DIR-1
    let filled = options.open(path).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        fill(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    });
    filled.map_err(|error| failed("write", path, &error))
}

/// A log that begins at the state's index. Quirk: etcd counts a snapshot record only if a hard state covers it (FMT-20).
fn write_log(dir: &Path, at: &SnapFile, log: &Examined) -> Result<(), wal::Error> {
    let mut wal = Wal::create(Arc::new(RealFileSystem), dir, &log.metadata, wal::Options::default())?;
    if at.index > 0 {
        wal.save_snapshot(at.index, at.term, &at.conf_state)?;
    }
    let mut rest = &log.entries[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |entry: &&wal::LogEntry| {
            bytes += entry.data.len();
            bytes <= APPEND_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1);
        wal.append(&rest[..count], None)?;
        rest = &rest[count..];
    }
    wal.append(&[], Some(HardState { commit: log.hard_state.commit.max(at.index), ..log.hard_state }))?;
    wal.sync()
}

fn put_in_place(staged: &Path, to: &Path) -> Result<(), Failure> {
    if to.exists() {
        std::fs::remove_dir(to).map_err(|error| failed("replace", to, &error))?;
    }
    std::fs::rename(staged, to).map_err(|error| failed("name", to, &error))?;
    sync_dir(to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn sync_dir(dir: &Path) -> Result<(), Failure> {
    RealFileSystem.sync_dir(dir).map_err(|error| failed("sync", dir, &error))
}

/// `/data/` and `/data` are the same directory and have the same neighbour.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.components().as_path().as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
