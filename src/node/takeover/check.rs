//! Reads a Go member's directory whole before anything is made of it, and says in one line why it cannot be taken over.
//!
//! ```text
//!   snap/db locked --pages, rows--> consistent index, term, members, versions
//!        |                               |
//!        |   log locked --checksum chain, every segment--> whose it is, snapshots, entries above that index
//!        |                               |
//!        +-- older than the log's newest snapshot: <index>.snap.db, received and not yet in place, counts instead (SNP-5)
//! ```
//!
//! Writes: nothing. Reads: everything. Holds both locks, etcd's own, so that no Go member runs or starts meanwhile.
//! Whatever the start would stumble over after the switch is refused here, before it.

use std::fs::File;
use std::path::{Path, PathBuf};

use prost::Message;

use super::rows::Rows;
use super::{Place, TakeoverError, keep};
use crate::bbolt::{Database, Prefix};
use crate::membership::{Change, Member, Version, cluster_id, hex, snap_file};
use crate::node::monitor::CLUSTER_VERSION;
use crate::node::space::Space;
use crate::state_machine::snapshot::Position;
use crate::state_machine::{Action, Command};
use crate::wal::{self, EntryKind, Examined, LogEntry, RealFileSystem};
use crate::wire::{etcdserverpb, raftpb};

/// Beside the rows themselves: the engine's own files.
const ENGINE_BYTES: u64 = 4 << 20;

/// A directory that can be taken over. Nobody else can open it while this lives.
pub(super) struct Checked {
    pub database: Database<Prefix>,
    pub database_path: PathBuf,
    pub log: Examined,
    /// Where the database stands in the log.
    pub position: Position,
    /// A database that does not count, but for its lock.
    _stale: Option<Database<Prefix>>,
}

impl Checked {
    pub fn new(place: &Place) -> Result<Checked, TakeoverError> {
        let mut database_path = place.go_db();
        let mut database = open(&database_path)?;
        let mut rows = Rows::read(&database, &database_path)?;
        let mut stale = None;
        let mut log = examine(place, &rows)?;
        if let Some(index) = log.snapshot.as_ref().map(|snapshot| snapshot.index).filter(|index| *index > rows.consistent_index) {
            database_path = received(place, index, rows.consistent_index)?;
            stale = Some(std::mem::replace(&mut database, open(&database_path)?));
            rows = Rows::read(&database, &database_path)?;
            if rows.consistent_index < index {
                let has = rows.consistent_index;
                return refused(format!("{} holds index {has}, and its name promises {index}", database_path.display()));
            }
            // Its locks go before they are taken again.
            drop(log);
            log = examine(place, &rows)?;
        }
        let term = check_term(&rows, &log)?;
        check_versions(&rows)?;
        check_group(&rows, &log)?;
        check_snap_file(place, &log)?;
        check_space(place, database.size(), &log)?;
        let position = Position { consistent_index: rows.consistent_index, term, conf_state: rows.conf_state() };
        Ok(Checked { database, database_path, log, position, _stale: stale })
    }
}

fn refused<T>(why: String) -> Result<T, TakeoverError> {
    Err(TakeoverError::Refused(why))
}

fn examine(place: &Place, rows: &Rows) -> Result<Examined, TakeoverError> {
    match wal::examine(&RealFileSystem, &place.wal, rows.consistent_index) {
        Err(wal::Error::Missing { dir }) if rows.consistent_index == 0 => refused(format!(
            "there is no log in {} and nothing in {}, as if it was stopped while it was made: remove both to begin anew",
            dir.display(),
            place.snap().display()
        )),
        Ok(log) if log.last_index == 0 => refused(format!(
            "there is nothing in the log in {} and nothing in {}, as if it was stopped while it was made: remove both to begin anew",
            place.wal.display(),
            place.snap().display()
        )),
        examined => Ok(examined?),
    }
}

/// Locked as bbolt locks it, for as long as it is open: whoever has the lock runs on it. Every page is looked at.
fn open(path: &Path) -> Result<Database<Prefix>, TakeoverError> {
    let damaged = |source| TakeoverError::Database { path: path.to_owned(), source };
    let file = File::options().read(true).write(true).open(path).map_err(|error| TakeoverError::io("open", path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(TakeoverError::InUse(path.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => return Err(TakeoverError::io("lock", path, error)),
    }
    let source = Prefix::whole(file).map_err(|error| TakeoverError::io("measure", path, error))?;
    let database = Database::open(source).map_err(damaged)?;
    let mut first = None;
    database
        .check(&mut |finding| {
            first.get_or_insert(finding);
        })
        .map_err(damaged)?;
    match first {
        Some(finding) => refused(format!("{}: {finding}", path.display())),
        None => Ok(database),
    }
}

/// The database that came with a snapshot of the log's, where a crash kept it from being put in place (SNP-5).
fn received(place: &Place, index: u64, has: u64) -> Result<PathBuf, TakeoverError> {
    let path = place.snap().join(format!("{index:016x}.snap.db"));
    if path.exists() {
        return Ok(path);
    }
    let db = place.go_db();
    refused(format!(
        "{} holds index {has}, but the log has a snapshot at {index}, and {} that would hold it is missing",
        db.display(),
        path.display()
    ))
}

/// The log and the database must speak of the same entry; answers its term.
fn check_term(rows: &Rows, log: &Examined) -> Result<u64, TakeoverError> {
    match (rows.consistent_index, rows.term, log.flushed_term) {
        (0, ..) => Ok(0),
        (index, 0, None) => refused(format!(
            "the database does not say in which term entry {index} was written, as a member before 3.5 leaves it: start it with etcd 3.5 once"
        )),
        (_, 0, Some(term)) | (_, term, None) => Ok(term),
        (index, ours, Some(theirs)) if ours != theirs => {
            refused(format!("entry {index} has term {theirs} in the log and {ours} in the database: they do not belong together"))
        }
        (_, term, Some(_)) => Ok(term),
    }
}

fn check_versions(rows: &Rows) -> Result<(), TakeoverError> {
    let newest = [("storage version", rows.storage_version), ("cluster version", rows.cluster_version)];
    for (what, version) in newest {
        check_version(what, version)?;
    }
    if rows.is_auth_enabled {
        return refused("authentication is enabled, which this release cannot enforce".into());
    }
    Ok(())
}

fn check_version(what: &str, version: Option<Version>) -> Result<(), TakeoverError> {
    match version {
        Some(version) if version.minor_only() > CLUSTER_VERSION => {
            refused(format!("its {what} is {version}, and this release knows {CLUSTER_VERSION} and older: use the release that wrote it"))
        }
        _ => Ok(()),
    }
}

/// The log is this member's, this member is all of its group, and every entry that will be applied can be.
fn check_group(rows: &Rows, log: &Examined) -> Result<(), TakeoverError> {
    let metadata = etcdserverpb::Metadata::decode(log.metadata.clone());
    let Ok(etcdserverpb::Metadata { node_id: Some(own), cluster_id: Some(cluster) }) = metadata else {
        return refused("the log does not say which member of which cluster it belongs to".into());
    };
    let mut members = rows.members.clone();
    check_alone(&members, own)?;
    for entry in &log.entries {
        check_entry(entry, &mut members)?;
        check_alone(&members, own)?;
    }
    if members.is_empty() {
        return refused(format!("the log is of member {}, but neither the database nor the log lists it", hex(own)));
    }
    // Quirk: the database does not say which cluster it is of. A group that nobody ever left was founded by who is in it (MEM-10).
    let founded = cluster_id(&[own]);
    if rows.removed.is_empty() && cluster != founded {
        return refused(format!("the log is of cluster {}, but member {} founded cluster {}", hex(cluster), hex(own), hex(founded)));
    }
    Ok(())
}

fn check_alone(members: &[Member], own: u64) -> Result<(), TakeoverError> {
    match members {
        [] => Ok(()),
        [only] if only.id == own && !only.is_learner => Ok(()),
        [only] if only.id == own => refused(format!("member {} is a learner: promote it first", hex(own))),
        all if all.iter().any(|member| member.id == own) => {
            refused(format!("it is one of {} members, and this release runs groups of one: remove the other members first", all.len()))
        }
        all => refused(format!("the log is of member {}, but the database lists {}: they do not belong together", hex(own), ids(all))),
    }
}

fn ids(members: &[Member]) -> String {
    members.iter().map(|member| hex(member.id)).collect::<Vec<_>>().join(", ")
}

/// An entry that the start will apply.
fn check_entry(entry: &LogEntry, members: &mut Vec<Member>) -> Result<(), TakeoverError> {
    let index = entry.index;
    let unknown = |why: String| TakeoverError::Refused(format!("entry {index} of the log: {why}"));
    match entry.kind {
        EntryKind::EntryNormal if entry.data.is_empty() => Ok(()),
        EntryKind::EntryNormal => match Command::decode(entry.data.clone()).map_err(|error| unknown(error.to_string()))?.action {
            Action::AuthEnable => Err(unknown("it enables authentication, which this release cannot enforce".into())),
            // The Go member applies what is left at its next start, and has it in its database when it stops.
            Action::AuthChange(change) if change.has_plain_password() => {
                Err(unknown("it sets a password as a member before 3.5 does: start and stop the Go member once".into()))
            }
            Action::ClusterVersionSet(set) => check_version("cluster version", set.ver.parse().ok()),
            _ => Ok(()),
        },
        EntryKind::EntryConfChange => {
            let change = raftpb::ConfChange::decode(entry.data.clone()).map_err(|error| unknown(error.to_string()))?;
            match Change::decode(&change).map_err(|error| unknown(error.to_string()))? {
                Change::Add(member) if members.iter().all(|other| other.id != member.id) => members.push(member),
                Change::Promote { id } => members.iter_mut().filter(|member| member.id == id).for_each(|member| member.is_learner = false),
                Change::Remove { id } if members.len() == 1 && members[0].id == id => {
                    return Err(unknown("it removes this member from its group".into()));
                }
                Change::Remove { id } => members.retain(|member| member.id != id),
                Change::Add(_) | Change::SetPeerUrls { .. } => {}
            }
            Ok(())
        }
        EntryKind::EntryConfChangeV2 => Err(unknown("it is a joint conf change".into())),
    }
}

/// Members up to 3.6 start from the file of the log's newest snapshot, where a later one only writes it. A file that the log does not
/// speak of is none: a crash may have cut it short.
fn check_snap_file(place: &Place, log: &Examined) -> Result<(), TakeoverError> {
    let Some(snapshot) = &log.snapshot else { return Ok(()) };
    let path = place.snap().join(format!("{:016x}-{:016x}.snap", snapshot.term, snapshot.index));
    match std::fs::read(&path) {
        Ok(bytes) => snap_file::check(&bytes).map_err(|why| TakeoverError::Refused(format!("{}: {why}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(TakeoverError::io("read", &path, error)),
    }
}

/// Rows take less space here than there, but for the index of them that is ours alone.
fn check_space(place: &Place, database_bytes: u64, log: &Examined) -> Result<(), TakeoverError> {
    let needed = database_bytes + database_bytes / 4 + keep::copied_bytes(place, log) + ENGINE_BYTES;
    let volume = Space::new(&place.member).volume().map_err(|error| TakeoverError::io("measure", &place.member, error))?;
    if volume.free < needed {
        return refused(format!(
            "its conversion may need {} MiB on the volume of {}, and {} MiB are free",
            needed.div_ceil(1 << 20),
            place.member.display(),
            volume.free >> 20
        ));
    }
    Ok(())
}
