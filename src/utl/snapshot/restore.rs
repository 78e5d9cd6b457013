//! `snapshot restore`: a snapshot file becomes the data directory of a member of a new cluster (FMT-4, FMT-5).
//!
//! ```text
//!   file --rows--> import --> member.tmp/db             members, term and index of the new cluster in place of the old one's
//!   flags --Group--> founding entries --> member.tmp/wal     etcd's format: metadata, a conf change for each member, HardState, snapshot
//!                                         member.tmp --rename--> member
//! ```
//!
//! Writes: the data directory, and `--wal-dir` if given. Reads: the snapshot file, twice: its digest is taken on a thread of its own
//! while the rows go in, and nothing has its name before it is known to be right.

use std::{
    path::{Path, PathBuf},
    thread,
};

use super::{group::Group, progress::Progress, stage::Stage};
use crate::{
    cli::{Failure, number},
    go_words::go_words,
    state_machine::snapshot::{ImportChanges, Position, import},
    storage::{
        Engine,
        rocks::{self, RocksEngine},
    },
    utl::{Settings, database::DatabaseFile},
    wire::raftpb::ConfState,
};

#[derive(Debug, clap::Args)]
pub struct Restore {
    #[arg(value_name = "file", num_args = 0..)]
    args: Vec<PathBuf>,
    /// Where to make the data directory (default: the name with .etcd)
    #[arg(long, value_name = "dir")]
    data_dir: Option<PathBuf>,
    /// Where to make the log (default: in the data directory)
    #[arg(long, value_name = "dir")]
    wal_dir: Option<PathBuf>,
    /// This member's name
    #[arg(long, value_name = "string", default_value = "default")]
    name: String,
    /// The members of the new cluster
    #[arg(long, value_name = "name=url,..", default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// What makes the ids of the new cluster its own
    #[arg(long, value_name = "string", default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// This member's peer URLs, as the other members know them
    #[arg(long, value_name = "urls", default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// Accept a file with a wrong digest, or without one, as a database copied from a data directory is
    #[arg(long)]
    skip_hash_check: bool,
    /// Go on counting so many revisions later, so that no client sees a revision twice; needs --mark-compacted
    #[arg(long, value_name = "uint", default_value = "0", value_parser = number::parse_unsigned)]
    bump_revision: u64,
    /// Count all revisions up to the bumped one as compacted, so that watchers of old ones are told; needs --bump-revision
    #[arg(long)]
    mark_compacted: bool,
    /// Taken for the sake of scripts; no file is mapped into memory here
    #[arg(long, value_name = "uint", default_value = "10737418240", value_parser = number::parse_unsigned)]
    initial_memory_map_size: u64,
}

pub fn no_digest() -> Failure {
    Failure::general("snapshot missing hash but --skip-hash-check=false")
}

impl Restore {
    pub fn run(self, settings: &Settings) -> Result<(), Failure> {
        let [path] = &self.args[..] else { return Err(Failure::bad_args("snapshot restore requires exactly one argument")) };
        if self.mark_compacted != (self.bump_revision > 0) {
            return Err(Failure::bad_args("--mark-compacted required if --revision-bump > 0"));
        }
        let data_dir = self.data_dir.clone().unwrap_or_else(|| PathBuf::from(format!("{}.etcd", self.name)));
        let group = Group::found(&self.name, &self.initial_cluster, &self.initial_cluster_token, &self.initial_advertise_peer_urls)
            .map_err(Failure::general)?;
        Stage::check_vacant(&data_dir).map_err(Failure::general)?;
        if let Some(wal_dir) = self.wal_dir.as_deref().filter(|dir| dir.exists()) {
            return Err(Failure::general(format!("wal-dir {:?} exists", wal_dir.display().to_string())));
        }
        self.tell("restoring snapshot", path, &data_dir);
        let file = DatabaseFile::open(path, settings.timeout())?;
        if !self.skip_hash_check && !file.has_digest() {
            return Err(no_digest());
        }
        let stage = Stage::begin(&data_dir).map_err(Failure::general)?;
        let (checked, filled) = thread::scope(|scope| {
            let check = (!self.skip_hash_check).then(|| scope.spawn(|| file.check_digest(&mut |_| {})));
            let filled = self.fill(&stage, &file, &group);
            (
                check.map_or(Ok(()), |check| check.join().unwrap_or_else(|_| Err(Failure::general("the digest could not be checked")))),
                filled,
            )
        });
        // What is wrong with a file that is not the one that was saved says nothing.
        checked.and(filled)?;
        stage.finish(&group, self.wal_dir.as_deref()).map_err(Failure::general)?;
        self.tell("restored snapshot", path, &data_dir);
        Ok(())
    }

    fn tell(&self, what: &str, path: &Path, data_dir: &Path) {
        let wal_dir = self.wal_dir.clone().unwrap_or_else(|| data_dir.join("member/wal"));
        tracing::info!(
            path = %path.display(),
            wal_dir = %wal_dir.display(),
            data_dir = %data_dir.display(),
            initial_memory_map_size = self.initial_memory_map_size,
            "{what}"
        );
    }

    fn fill(&self, stage: &Stage, file: &DatabaseFile, group: &Group) -> Result<(), Failure> {
        let engine = RocksEngine::open(&stage.db(), rocks::Options::default()).map_err(Failure::general)?;
        let voters: Vec<u64> = group.members.iter().map(|member| member.id).collect();
        let changes = ImportChanges {
            position: Some(Position {
                consistent_index: voters.len() as u64,
                term: 1,
                conf_state: ConfState { voters, auto_leave: Some(false), ..ConfState::default() },
            }),
            members: Some(group.members.clone()),
            bump_revision: self.bump_revision,
        };
        let mut progress = Progress::new("restoring", file.database_bytes());
        let imported = import(&file.database()?, &*engine, &changes, &mut |at| progress.at(at.bytes));
        let imported = imported.map_err(|error| file.failed(error))?;
        // Crash: the files are whole, in a directory of a name that no server looks at.
        engine.flush().map_err(Failure::general)?;
        drop(progress);
        if self.bump_revision > 0 {
            tracing::info!(
                new_latest_revision = imported.revision,
                bump_amount = self.bump_revision,
                "bumped the latest revision, and marked it compacted"
            );
        }
        tracing::info!(
            revision = imported.revision,
            compact_revision = imported.compact_revision,
            keys = imported.keys,
            members = group.members.len(),
            "the state is restored"
        );
        Ok(())
    }
}

/// An error of the file system, with the path.
pub fn failed(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("{what} {}: {}", path.display(), go_words(error))
}
