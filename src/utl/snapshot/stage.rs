//! A data directory in the making.
//!
//! ```text
//!   <data-dir>/member.tmp/{lock,db,wal} --rename--> <data-dir>/member
//!   with a directory of its own for the log:   member first, then <wal-dir>.tmp --rename--> <wal-dir>
//! ```
//!
//! Writes: the data directory. Reads: whether there is one already.
//! Crash: before the rename there is no member, and the next restore clears away what is left; after it all is there. With a log
//! elsewhere there is a state without its log in between, which a server refuses to start on.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use prost::Message;

use super::{group::Group, restore::failed};
use crate::{
    utl::data_dir::{lock, member},
    wal::{FileSystem, HardState, LogEntry, Options, RealFileSystem, Wal},
    wire::{
        etcdserverpb::Metadata,
        raftpb::{ConfState, EntryType},
    },
};

const STAGE: &str = "member.tmp";

pub struct Stage {
    data_dir: PathBuf,
    dir: PathBuf,
    is_finished: bool,
    _lock: File,
}

impl Stage {
    /// Whether a data directory may be made here: there is none, or it holds nothing but what a restore left that was cut off.
    pub fn check_vacant(data_dir: &Path) -> Result<(), String> {
        let is_vacant = match RealFileSystem.list(data_dir) {
            Ok(names) => names.iter().all(|name| name == STAGE),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_vacant { Ok(()) } else { Err(format!("data-dir {:?} not empty or could not be read", data_dir.display().to_string())) }
    }

    pub fn begin(data_dir: &Path) -> Result<Stage, String> {
        let dir = data_dir.join(STAGE);
        let create = || RealFileSystem.create_dir(&dir).map_err(|error| failed("create", &dir, &error));
        create()?;
        // Another restore into the same place may be under way.
        let held = lock(&dir, Some(Duration::ZERO))?;
        let db = dir.join("db");
        for leftover in [db, dir.join("wal"), dir.join("wal.tmp")] {
            if leftover.exists() {
                RealFileSystem.remove_dir(&leftover).map_err(|error| failed("remove", &leftover, &error))?;
            }
        }
        Ok(Stage { data_dir: data_dir.to_owned(), dir, is_finished: false, _lock: held })
    }

    /// Where the state engine is built.
    pub fn db(&self) -> PathBuf {
        self.dir.join("db")
    }

    /// Gives the directory its name, with the log of the group inside or where it was asked for.
    pub fn finish(mut self, group: &Group, wal_dir: Option<&Path>) -> Result<(), String> {
        if wal_dir.is_none() {
            write_log(&self.dir.join("wal"), group)?;
        }
        let (to, synced) = (member(&self.data_dir), |dir: &Path| RealFileSystem.sync_dir(dir).map_err(|error| failed("sync", dir, &error)));
        synced(&self.dir)?;
        RealFileSystem.rename(&self.dir, &to).map_err(|error| failed("name", &to, &error))?;
        self.is_finished = true;
        synced(&self.data_dir)?;
        synced(self.data_dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        // Crash: a state without its log, if the log is to be elsewhere; a server says so and does not start.
        wal_dir.map_or(Ok(()), |dir| write_log(dir, group))
    }
}

impl Drop for Stage {
    /// A restore that failed leaves nothing but the directory itself; what cannot be removed is in no one's way.
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = RealFileSystem.remove_dir(&self.dir);
        }
    }
}

/// The log of a member of the new group, as if it had founded the group and applied that (FMT-4).
fn write_log(dir: &Path, group: &Group) -> Result<(), String> {
    let (members, last) = (&group.members, group.members.len() as u64);
    let metadata = Metadata { node_id: Some(group.identity.member_id), cluster_id: Some(group.identity.cluster_id) };
    let entry = |(member, index): (&crate::membership::Member, u64)| LogEntry {
        kind: EntryType::EntryConfChange,
        term: 1,
        index,
        data: Bytes::from(member.founding_change().encode_to_vec()),
    };
    let entries: Vec<LogEntry> = members.iter().zip(1..).map(entry).collect();
    let voters: Vec<u64> = members.iter().map(|member| member.id).collect();
    let hard_state = HardState { term: 1, vote: voters[0], commit: last };
    let write = || {
        let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
        let mut wal = Wal::create_with(fs, dir, &metadata.encode_to_vec(), &entries, hard_state, Options::default())?;
        // Crash: a log that founds the group, which is all that a start of ours needs.
        wal.save_snapshot(last, 1, &ConfState { voters: voters.clone(), auto_leave: Some(false), ..ConfState::default() })
    };
    write().map_err(|error: crate::wal::Error| error.to_string())
}
