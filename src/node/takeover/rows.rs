//! The few rows of a Go member's database that decide whether it can be taken over.
//!
//! Writes: nothing. Reads: `meta`, `members`, `members_removed`, `cluster` and the switch of `auth` (FMT-10, FMT-13, FMT-14). A bucket
//! that a young database does not have yet is an empty one; whatever else there is, the import looks at.

use std::ops::ControlFlow;
use std::path::Path;

use super::TakeoverError;
use crate::bbolt::{Database, ReadAt};
use crate::membership::{Member, Version};
use crate::storage::Keyspace;
use crate::storage::keyspace::meta;
use crate::wire::raftpb::ConfState;

#[derive(Debug, Default)]
pub(super) struct Rows {
    pub consistent_index: u64,
    /// Of the entry at that index; 0 before 3.5.
    pub term: u64,
    pub storage_version: Option<Version>,
    pub cluster_version: Option<Version>,
    pub is_auth_enabled: bool,
    pub members: Vec<Member>,
    pub removed: Vec<u64>,
}

impl Rows {
    pub fn read<S: ReadAt>(database: &Database<S>, path: &Path) -> Result<Rows, TakeoverError> {
        let mut rows = Rows::default();
        for keyspace in [Keyspace::Meta, Keyspace::Members, Keyspace::MembersRemoved, Keyspace::Cluster, Keyspace::Auth] {
            each_row(database, path, keyspace, |key, value| rows.take(keyspace, key, value))?;
        }
        Ok(rows)
    }

    /// Quirk: as in etcd (server/etcdserver/bootstrap.go), the member list decides, not the row that is meant for it: after a
    /// restore that row is still the old group's.
    pub fn conf_state(&self) -> ConfState {
        let ids = |is_learner| self.members.iter().filter(|member| member.is_learner == is_learner).map(|member| member.id).collect();
        ConfState { voters: ids(false), learners: ids(true), auto_leave: Some(false), ..ConfState::default() }
    }

    fn take(&mut self, keyspace: Keyspace, key: &[u8], value: &[u8]) -> Result<(), String> {
        match (keyspace, key) {
            (Keyspace::Meta, meta::CONSISTENT_INDEX) => self.consistent_index = number(value)?,
            (Keyspace::Meta, meta::TERM) => self.term = number(value)?,
            (Keyspace::Meta, meta::STORAGE_VERSION) => self.storage_version = Some(version(value)?),
            (Keyspace::Cluster, b"clusterVersion") => self.cluster_version = Some(version(value)?),
            (Keyspace::Auth, b"authEnabled") => self.is_auth_enabled = value == [1],
            (Keyspace::Members, _) => self.members.push(serde_json::from_slice(value).map_err(|error| error.to_string())?),
            (Keyspace::MembersRemoved, _) => {
                let id = std::str::from_utf8(key).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
                self.removed.push(id.ok_or("it is no id")?);
            }
            _ => {}
        }
        Ok(())
    }
}

fn number(value: &[u8]) -> Result<u64, String> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| format!("a number has 8 bytes, not {}", value.len()))
}

fn version(value: &[u8]) -> Result<Version, String> {
    String::from_utf8_lossy(value).parse().map_err(|error: crate::membership::version::ParseError| error.to_string())
}

fn each_row<S: ReadAt>(
    database: &Database<S>,
    path: &Path,
    keyspace: Keyspace,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
) -> Result<(), TakeoverError> {
    let damaged = |source| TakeoverError::Database { path: path.to_owned(), source };
    let Some(bucket) = database.bucket(keyspace.name().as_bytes()).map_err(damaged)? else { return Ok(()) };
    let mut failed = None;
    let mut visit = |key: &[u8], value: &[u8]| match take(key, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(why) => {
            failed = Some(format!("{}: bucket {}, key {}: {why}", path.display(), keyspace.name(), key.escape_ascii()));
            ControlFlow::Break(())
        }
    };
    bucket.scan(b"", &mut visit).map_err(damaged)?;
    failed.map_or(Ok(()), |why| Err(TakeoverError::Refused(why)))
}
