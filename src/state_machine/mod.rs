//! The replicated state of a member, and the one function that changes it.
//!
//! ```text
//!   Entry --decode--> Command --gates: corrupt, no space--> kv, txn, lease, alarm, cluster --> rows into the Batch
//!                                                                  |                       \-> Effects: reply, lease, ..
//!                                                                  v
//!                                  Writer (mvcc)   Lessor   Membership   AlarmStore        one owner each: StateMachine
//!                                    Reader        Leases     Cluster      Alarms          their read sides, any thread
//! ```
//!
//! Writes: every keyspace but `local`. Sole owner of StateMachine: the applier, which per batch calls `apply` for each entry,
//! then `finish`, writes the batch, merges and publishes through `writer`.
//! Holds: I3, I4 (the same entries leave the same rows on every member), DET-1: no clock, random number, environment or order of
//! hashing decides anything. What a member measures of itself (its size) changes a reply, never a row (QUO-4).
//! Crash: a batch carries the index of its last entry, so what is written is never applied again (DET-8, BAK-2).
//! Does not send, wait, or know who leads. Not built yet: auth; users and roles are rows that entries of the log change, every other
//! entry of it is refused as `Error::NotCapable` and changes nothing, and a store with auth enabled is refused at open.

pub mod alarm;
mod apply;
mod auth;
mod cluster;
pub mod command;
mod command_v2;
mod effects;
mod kv;
mod lease;
pub mod quota;
pub mod read;
pub mod snapshot;
mod txn;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::lease::{Leases, Lessor, NO_LEASE};
use crate::membership::{Cluster, Identity, Membership};
use crate::mvcc::{self, Writer};
use crate::storage::keyspace::meta;
use crate::storage::{self, Batch, Engine, Keyspace, Read};
use crate::wire::raftpb;
use crate::{lease as leases, membership};

use alarm::{AlarmStore, Alarms};
pub use auth::AuthChange;
use auth::AuthStore;
pub use cluster::decode_conf_state;
pub use command::{Action, Caller, Command, RequestIds};
pub use effects::{ConfChange, Effects, Fault, LeaseEffect, Reply, Response};
use quota::Quota;

#[derive(Clone, Debug)]
pub struct Options {
    pub mvcc: mvcc::Options,
    pub quota: Quota,
    /// The shortest TTL that is granted, in seconds: one and a half election timeouts, rounded up (LSE-2).
    pub lease_ttl_min: i64,
    pub learners_max: usize,
    pub identity: Identity,
}

/// Why a stored state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Mvcc(#[from] mvcc::OpenError),
    #[error(transparent)]
    Lease(#[from] leases::OpenError),
    #[error(transparent)]
    Membership(#[from] membership::OpenError),
    #[error("the row {key} does not decode: {why}")]
    Row { key: String, why: String },
    #[error("authentication is enabled in this store, which this version cannot enforce")]
    AuthEnabled,
}

/// What an entry of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Normal,
    ConfChange,
    ConfChangeV2,
}

/// An entry that raft has handed out.
#[derive(Clone, Debug)]
pub struct Entry {
    pub index: u64,
    pub term: u64,
    pub kind: EntryKind,
    pub data: Bytes,
}

/// See the module.
pub struct StateMachine {
    writer: Writer,
    lessor: Lessor,
    membership: Membership,
    alarms: AlarmStore,
    auth: AuthStore,
    conf_state: raftpb::ConfState,
    quota: Quota,
    /// Index and term of the last entry applied.
    applied: (u64, u64),
}

impl StateMachine {
    /// Brings everything back that is kept in memory (REV-14..REV-17). `progress` hears how far the key index is.
    pub fn open(engine: Arc<dyn Engine>, options: Options, progress: &mut dyn FnMut(mvcc::Rebuild)) -> Result<StateMachine, OpenError> {
        if engine.get(Keyspace::Auth, b"authEnabled")?.is_some_and(|flag| flag[..] == [1]) {
            return Err(OpenError::AuthEnabled);
        }
        let applied = (meta_number(&*engine, meta::CONSISTENT_INDEX)?, meta_number(&*engine, meta::TERM)?);
        let conf_state = cluster::read_conf_state(&*engine)?;
        let mut lessor = Lessor::open(&*engine, options.lease_ttl_min)?;
        let membership = Membership::open(&*engine, options.identity, options.learners_max)?;
        let (alarms, auth) = (AlarmStore::open(&*engine)?, AuthStore::open(&*engine)?);
        let (mut writer, _) = mvcc::open(engine.clone(), options.mvcc, progress)?;
        attach_keys(&*engine, &mut writer, &mut lessor)?;
        Ok(StateMachine { writer, lessor, membership, alarms, auth, conf_state, quota: options.quota, applied })
    }

    /// Index and term of the last entry applied.
    pub fn applied(&self) -> (u64, u64) {
        self.applied
    }

    pub fn conf_state(&self) -> raftpb::ConfState {
        self.conf_state.clone()
    }

    /// The owner of the revisions: the applier merges, publishes and sweeps through it.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    pub fn reader(&self) -> &mvcc::Reader {
        self.writer.reader()
    }

    pub fn leases(&self) -> &Leases {
        self.lessor.leases()
    }

    pub fn cluster(&self) -> &Cluster {
        self.membership.cluster()
    }

    pub fn alarms(&self) -> &Alarms {
        self.alarms.alarms()
    }

    /// Puts the index and term of the batch's last entry into the batch (BAK-2, DET-5).
    pub fn finish(&mut self, index: u64, term: u64, batch: &mut Batch) {
        self.applied = (index, term);
        batch.put(Keyspace::Meta, meta::CONSISTENT_INDEX, index.to_be_bytes().to_vec());
        batch.put(Keyspace::Meta, meta::TERM, term.to_be_bytes().to_vec());
    }
}

/// Which key is attached to which lease is told by the last record of each key alone (LSE-21, REV-17).
fn attach_keys(engine: &dyn Engine, writer: &mut Writer, lessor: &mut Lessor) -> Result<(), OpenError> {
    let mut batch = Batch::default();
    writer.begin(&mut batch).for_each(b"\0", b"\0", &mut |key, current| {
        if current.lease != NO_LEASE {
            lessor.move_key(&Bytes::copy_from_slice(key), NO_LEASE, current.lease);
        }
        ControlFlow::Continue(())
    });
    // What a first transaction puts into its batch, a fresh store's stamp, must not be lost with this one.
    if !batch.is_empty() {
        engine.write(&batch)?;
    }
    Ok(())
}

/// A row of `meta` that is one number; zero if it is not there (FMT-10).
fn meta_number(store: &dyn Read, key: &[u8]) -> Result<u64, OpenError> {
    let Some(row) = store.get(Keyspace::Meta, key)? else { return Ok(0) };
    let bytes: [u8; 8] = row[..].try_into().map_err(|_| OpenError::Row {
        key: String::from_utf8_lossy(key).into_owned(),
        why: format!("a number has 8 bytes, not {}", row.len()),
    })?;
    Ok(u64::from_be_bytes(bytes))
}
