//! From a state engine and a log directory, empty or not, to the stages of a member, before any thread runs.
//!
//! ```text
//!   state engine --> log --> state machine --> driver
//!                     |
//!                     +-- none yet: made with the entry that founds the group (BST-5)
//! ```
//!
//! There is one way to start: a new member writes what a restarted one finds (the group's first entry, committed) and goes on
//! as that. Holds I1 and I2 at start: flushed <= applied <= last log index, else the damage is named and nothing starts.
//! Crash: before the log's directory has its name, nothing exists; after, the next start is a restart.
//! Knows neither which engine nor which file system it is given: the simulator starts its member through here as well.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::bootstrap::{Options, StartError};
use super::flushed::{Flushed, flushed};
use super::monitor::CLUSTER_VERSION;
use crate::consensus::{self, Driver, Entry, EntryKind, LogStage};
use crate::membership::{self, Identity, Member};
use crate::state_machine::quota::Quota;
use crate::state_machine::{self, StateMachine};
use crate::storage::Engine;
use crate::wal::{self, FileSystem, Wal};
use crate::wire::{etcdserverpb, raftpb};

/// The stages of a member that was read back, none of them running.
pub struct Opened {
    pub log: LogStage,
    pub machine: StateMachine,
    pub driver: Driver,
    pub identity: Identity,
}

/// Reads a member back, or founds it.
pub fn open(options: &Options, engine: Arc<dyn Engine>, fs: Arc<dyn FileSystem>, log: wal::Options) -> Result<Opened, StartError> {
    // What a crash right now would leave of the state: the log must reach at least that far (I1).
    let Flushed { index: applied, term: applied_term, .. } = flushed(&*engine)?;
    if !Wal::exists(&*fs, &options.wal_dir)? {
        if applied > 0 {
            return Err(StartError::LogMissing { dir: options.db_dir(), applied });
        }
        options.founding.clone().map_err(StartError::Founding)?;
        found(fs.clone(), options, log.clone())?;
    }
    let (wal, replay) = Wal::open(fs, &options.wal_dir, log, applied)?;
    if let Some(repair) = &replay.repaired {
        tracing::warn!(repair = ?repair, "the log ended in a torn record, which nobody was told of; it was cut off and a copy kept");
    }
    let last = wal.last_index();
    if applied > last {
        return Err(StartError::LogBehindState { dir: options.db_dir(), applied, last });
    }
    let metadata = etcdserverpb::Metadata::decode(replay.metadata.clone()).map_err(StartError::Metadata)?;
    let identity = Identity { cluster_id: metadata.cluster_id.unwrap_or_default(), member_id: metadata.node_id.unwrap_or_default() };
    tracing::info!(
        local_member_id = format_args!("{:x}", identity.member_id),
        cluster_id = format_args!("{:x}", identity.cluster_id),
        applied_index = applied,
        last_log_index = last,
        commit_index = replay.hard_state.commit,
        "opened the log"
    );
    let machine = open_state(options, engine, identity)?;
    // A restore may make the data directory of a member of several; that such a group cannot be run is said here.
    let voters = machine.conf_state().voters.len();
    if voters > 1 {
        return Err(StartError::SeveralVoters { dir: options.db_dir(), voters });
    }
    let driver = open_driver(options, identity.member_id, (applied, applied_term), &replay, &machine)?;
    Ok(Opened { log: LogStage::new(wal), machine, driver, identity })
}

/// The log of a new member: whose it is, and the one entry that makes this member the group (BST-5).
fn found(fs: Arc<dyn FileSystem>, options: &Options, log_options: wal::Options) -> Result<(), StartError> {
    let member = Member::founding(&options.name, &options.advertise_peer_urls, &options.cluster_token);
    let cluster_id = membership::cluster_id(&[member.id]);
    let metadata = etcdserverpb::Metadata { node_id: Some(member.id), cluster_id: Some(cluster_id) }.encode_to_vec();
    let change = member.founding_change();
    let entry = wal::LogEntry { kind: raftpb::EntryType::EntryConfChange, term: 1, index: 1, data: Bytes::from(change.encode_to_vec()) };
    // Crash: there is no log, or one that founds the group.
    Wal::create_with(fs, &options.wal_dir, &metadata, &[entry], wal::HardState { term: 1, vote: 0, commit: 1 }, log_options)?;
    Ok(())
}

fn open_state(options: &Options, engine: Arc<dyn Engine>, identity: Identity) -> Result<StateMachine, StartError> {
    let state = state_machine::Options {
        mvcc: crate::mvcc::Options { value_cache_bytes: options.value_cache_bytes, ..Default::default() },
        quota: Quota::from_flag(options.quota_bytes),
        lease_ttl_min: lease_ttl_min(options.election),
        learners_max: 1,
        identity,
    };
    let machine = StateMachine::open(engine, state, &mut |progress| tracing::info!(progress = ?progress, "rebuilding the key index"))?;
    if let Some(version) = machine.cluster().version().filter(|version| *version > CLUSTER_VERSION) {
        return Err(StartError::Downgrade(version.to_string()));
    }
    tracing::info!(
        revision = machine.reader().revision(),
        compact_revision = machine.reader().compact_revision(),
        keys = machine.reader().counts().keys,
        "opened the state"
    );
    Ok(machine)
}

/// The least TTL in seconds: one and a half elections, so that a change of leader does not end a lease (LSE-2).
fn lease_ttl_min(election: Duration) -> i64 {
    (election * 3 / 2).as_secs_f64().ceil() as i64
}

fn open_driver(
    options: &Options,
    id: u64,
    applied: (u64, u64),
    replay: &wal::Replay,
    machine: &StateMachine,
) -> Result<Driver, StartError> {
    let ticks = (options.election.as_millis() / options.heartbeat.as_millis()).max(2) as usize;
    let driver =
        consensus::Options { id, election_ticks: ticks, heartbeat_ticks: 1, committed_bytes_max: 4 << 20, waiting_bytes_max: 64 << 20 };
    let entries: Vec<Entry> = replay.entries.iter().filter(|e| e.index > applied.0).map(entry_in).collect();
    Driver::new(driver, applied, &entries, replay.hard_state, &machine.conf_state(), applied.0).map_err(|e| StartError::Raft(e.to_string()))
}

fn entry_in(entry: &wal::LogEntry) -> Entry {
    let kind = match entry.kind {
        raftpb::EntryType::EntryNormal => EntryKind::Normal,
        raftpb::EntryType::EntryConfChange => EntryKind::ConfChange,
        raftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    };
    Entry { index: entry.index, term: entry.term, kind, data: entry.data.clone() }
}
