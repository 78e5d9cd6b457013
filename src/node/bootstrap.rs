//! From a data directory, empty or not, to a running member.
//!
//! ```text
//!   lock --> state engine --> log --> state machine --> driver --> threads
//!                              |
//!                              +-- none yet: made with the entry that founds the group (BST-5)
//! ```
//!
//! There is one way to start: a new member writes what a restarted one finds (the group's first entry, committed) and goes on
//! as that. Holds I1 and I2 at start: flushed <= applied <= last log index, else the damage is named and nothing starts.
//! Crash: before the log's directory has its name, nothing exists; after, the next start is a restart.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;

use super::applier::Applier;
use super::flushed::{Flushed, flushed};
use super::metrics::Metrics;
use super::pipeline::{self, Pipeline};
use super::space::Space;
use super::waiters::{Mailbox, first_request_id};
use super::{CompactionMode, Node};
use crate::clock::Clock;
use crate::consensus::{self, Driver, Entry, EntryKind, HardState, LogStage};
use crate::lease::Deadlines;
use crate::membership::{self, Identity, Member};
use crate::state_machine::quota::Quota;
use crate::state_machine::{self, StateMachine};
use crate::storage::rocks::RocksEngine;
use crate::storage::{self, Engine};
use crate::wal::{self, FileSystem, Wal};
use crate::watch::Hubs;
use crate::wire::{etcdserverpb, raftpb};

/// How often the remaining time of a long lease is replicated (LSE-14).
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

/// What a node is told.
#[derive(Clone, Debug)]
pub struct Options {
    pub name: String,
    pub data_dir: PathBuf,
    pub wal_dir: PathBuf,
    pub advertise_client_urls: Vec<String>,
    pub advertise_peer_urls: Vec<String>,
    pub cluster_token: String,
    pub heartbeat: Duration,
    pub election: Duration,
    pub request_timeout: Duration,
    /// Bytes; 0 is etcd's default, negative is none (QUO-1).
    pub quota_bytes: i64,
    pub max_request_bytes: usize,
    pub max_txn_ops: usize,
    pub wals_max: usize,
    /// Applying a batch, or answering a unary call, that takes longer is told in the log.
    pub warning_apply: Duration,
    pub warning_unary: Duration,
    pub compaction: CompactionMode,
    pub sweep_records: usize,
    pub sweep_pause: Duration,
    pub lease_checkpoints: bool,
    /// Bytes of current values kept in memory (D4).
    pub value_cache_bytes: usize,
}

impl Options {
    pub fn member_dir(&self) -> PathBuf {
        self.data_dir.join("member")
    }
}

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot use the data directory {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Log(#[from] wal::Error),
    #[error(transparent)]
    Engine(#[from] storage::Error),
    #[error(transparent)]
    State(#[from] state_machine::OpenError),
    #[error("the state engine in {} holds index {applied}, but the log ends at {last}: the log is incomplete; restore this member's data directory or remove it and add the member anew", dir.display())]
    LogBehindState { dir: PathBuf, applied: u64, last: u64 },
    #[error("the state engine in {} holds index {applied}, but there is no log beside it; restore member/wal or start with an empty data directory", dir.display())]
    LogMissing { dir: PathBuf, applied: u64 },
    #[error("the log's first record cannot be read: {0}")]
    Metadata(prost::DecodeError),
    #[error("raft refused the log: {0}")]
    Raft(String),
    #[error("a thread could not be started: {0}")]
    Thread(io::Error),
}

fn private_dir(path: &Path) -> Result<(), StartError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| StartError::Directory { path: path.to_owned(), source })
}

/// Takes the data directory for this process; waits while another one has it (BST-6).
fn lock(member_dir: &Path) -> Result<File, StartError> {
    let path = member_dir.join("lock");
    let failed = |source| StartError::Directory { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
        Err(std::fs::TryLockError::WouldBlock) => {}
    }
    tracing::warn!(path = %path.display(), "another etcd process is using this data directory, waiting for it to end");
    file.lock().map_err(failed)?;
    Ok(file)
}

/// The log of a new member: whose it is, and the one entry that makes this member the group (BST-5).
fn found(fs: Arc<dyn FileSystem>, options: &Options) -> Result<(), StartError> {
    let member = Member::founding(&options.name, &options.advertise_peer_urls, &options.cluster_token);
    let cluster_id = membership::cluster_id(&[member.id]);
    let metadata = etcdserverpb::Metadata { node_id: Some(member.id), cluster_id: Some(cluster_id) }.encode_to_vec();
    let context = membership::go_json(&member).map_err(|error| StartError::Raft(error.to_string()))?;
    let change = raftpb::ConfChange {
        id: None,
        r#type: Some(raftpb::ConfChangeType::ConfChangeAddNode.into()),
        node_id: Some(member.id),
        context: Some(context.into()),
    };
    let entry = wal::LogEntry { kind: raftpb::EntryType::EntryConfChange, term: 1, index: 1, data: Bytes::from(change.encode_to_vec()) };
    let mut log = Wal::create(fs, &options.wal_dir, &metadata, wal::Options::default())?;
    // Crash: a log without an entry, which `open_log` makes anew.
    log.append(&[entry], Some(wal::HardState { term: 1, vote: 0, commit: 1 }))?;
    log.sync()?;
    Ok(())
}

/// The log, made with the entry that founds the group if there is none. One that holds no entry was left by a start that ended
/// between its two steps: nobody was told of it, so it is made anew rather than waited for.
fn open_log(options: &Options, applied: u64) -> Result<(Wal, wal::Replay), StartError> {
    let fs: Arc<dyn FileSystem> = Arc::new(wal::RealFileSystem);
    if Wal::exists(&*fs, &options.wal_dir)? {
        let (wal, replay) = Wal::open(fs.clone(), &options.wal_dir, wal::Options::default(), applied)?;
        if applied > 0 || wal.last_index() > 0 || replay.hard_state != wal::HardState::default() {
            return Ok((wal, replay));
        }
        drop(wal);
        tracing::info!("the log holds no entry; it is made anew");
        fs.remove_dir(&options.wal_dir).map_err(|source| StartError::Directory { path: options.wal_dir.clone(), source })?;
    } else if applied > 0 {
        return Err(StartError::LogMissing { dir: options.member_dir().join("db"), applied });
    }
    found(fs.clone(), options)?;
    Ok(Wal::open(fs, &options.wal_dir, wal::Options::default(), applied)?)
}

/// Opens everything and starts the threads. `seats` is the number of runtime threads that will hold a seat.
pub fn start(
    options: Options,
    clock: Arc<dyn Clock>,
    hubs: impl FnOnce(&crate::mvcc::Reader) -> Hubs,
    seats: usize,
    metrics: Metrics,
) -> Result<Arc<Node>, StartError> {
    private_dir(&options.data_dir)?;
    let member_dir = options.member_dir();
    private_dir(&member_dir)?;
    let lock = lock(&member_dir)?;
    let db = member_dir.join("db");
    let engine = open_engine(&db, &Space::new(&member_dir))?;
    // What a crash right now would leave of the state: the log must reach at least that far (I1).
    let Flushed { index: applied, term: applied_term, .. } = flushed(&*engine)?;
    let (wal, replay) = open_log(&options, applied)?;
    if let Some(repair) = &replay.repaired {
        tracing::warn!(repair = ?repair, "the log ended in a torn record, which nobody was told of; it was cut off and a copy kept");
    }
    let last = wal.last_index();
    if applied > last {
        return Err(StartError::LogBehindState { dir: db, applied, last });
    }
    let metadata = etcdserverpb::Metadata::decode(replay.metadata.clone()).map_err(StartError::Metadata)?;
    let (member_id, cluster_id) = (metadata.node_id.unwrap_or_default(), metadata.cluster_id.unwrap_or_default());
    tracing::info!(
        local_member_id = format_args!("{member_id:x}"),
        cluster_id = format_args!("{cluster_id:x}"),
        applied_index = applied,
        last_log_index = last,
        commit_index = replay.hard_state.commit,
        "opened the log"
    );
    let machine = open_state(&options, engine.clone(), Identity { cluster_id, member_id })?;
    let driver = open_driver(&options, member_id, (applied, applied_term), &replay, &machine)?;

    let mailboxes = Mailbox::all(seats, first_request_id(member_id, clock.unix()));
    let deadlines = Arc::new(Deadlines::new(options.lease_checkpoints.then_some(CHECKPOINT_EVERY)));
    let reader = machine.reader().clone();
    let (leases, cluster, alarms) = (machine.leases().clone(), machine.cluster().clone(), machine.alarms().clone());
    let hubs = hubs(&reader);
    let pipeline = Pipeline::new(
        pipeline_options(&options),
        LogStage::new(wal),
        Applier::new(machine, engine.clone()),
        hubs,
        mailboxes,
        deadlines.clone(),
        clock.clone(),
        // Bound: the inbox holds at most this many bytes of proposals.
        64 << 20,
        metrics,
        Space::new(&member_dir),
    );
    if let Err(error) = pipeline.space.lay_ballast() {
        tracing::warn!(error = %error, "the ballast could not be laid");
    }
    let threads = pipeline.spawn(driver).map_err(StartError::Thread)?;
    Ok(Arc::new(Node {
        options,
        pipeline,
        reader,
        engine,
        leases,
        cluster,
        alarms,
        deadlines,
        clock,
        member_id,
        cluster_id,
        stop: tokio::sync::watch::Sender::new(false),
        leadership: tokio::sync::watch::Sender::default(),
        defragmenting: AtomicBool::new(false),
        threads: Mutex::new(threads),
        _lock: lock,
    }))
}

/// The engine writes a little when it is opened. On a full disk the ballast pays for that, so that a member can always start
/// and be told to delete and compact.
fn open_engine(db: &Path, space: &Space) -> Result<Arc<dyn Engine>, StartError> {
    let options = storage::rocks::Options::for_volume(space.volume().map_or(u64::MAX, |volume| volume.total));
    match RocksEngine::open(db, options.clone()) {
        Err(storage::Error::NoSpace(why)) => {
            tracing::warn!(error = why, "the disk is full; the ballast is given up so that this member can start");
            space.drop_ballast().map_err(|source| StartError::Directory { path: db.to_owned(), source })?;
            Ok(RocksEngine::open(db, options)?)
        }
        opened => Ok(opened?),
    }
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
    let hard_state = HardState { term: replay.hard_state.term, vote: replay.hard_state.vote, commit: replay.hard_state.commit };
    let entries: Vec<Entry> = replay.entries.iter().filter(|e| e.index > applied.0).map(entry_in).collect();
    Driver::new(driver, applied, &entries, hard_state, &machine.conf_state(), applied.0).map_err(|e| StartError::Raft(e.to_string()))
}

fn entry_in(entry: &wal::LogEntry) -> Entry {
    let kind = match entry.kind {
        raftpb::EntryType::EntryNormal => EntryKind::Normal,
        raftpb::EntryType::EntryConfChange => EntryKind::ConfChange,
        raftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    };
    Entry { index: entry.index, term: entry.term, kind, data: entry.data.clone() }
}

/// What a restart may have to replay; less on a small volume, where the log must be given back early.
fn debt_bytes_max(options: &Options) -> u64 {
    let total = Space::new(&options.member_dir()).volume().map_or(u64::MAX, |volume| volume.total);
    (total / 16).clamp(1 << 20, 32 << 20)
}

fn pipeline_options(options: &Options) -> pipeline::Options {
    pipeline::Options {
        tick: options.heartbeat,
        sweep_records: options.sweep_records,
        sweep_pause: options.sweep_pause,
        debt_bytes_max: debt_bytes_max(options),
        debt_entries_max: 50_000,
        idle_flush: Duration::from_secs(30),
        wals_max: options.wals_max,
        warning_apply: options.warning_apply,
    }
}
