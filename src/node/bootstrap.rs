//! From a data directory, empty or not, to a running member.
//!
//! ```text
//!   lock --> takeover, of a Go member's directory --> state engine --> open: log, state machine, driver --> threads
//! ```

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;

use super::applier::Applier;
use super::metrics::Metrics;
use super::open::{Opened, open};
use super::pipeline::{self, Pipeline};
use super::snapshot::SNAPSHOTS_MAX;
use super::space::Space;
use super::takeover::{self, TakeoverError};
use super::waiters::{Mailbox, first_request_id};
use super::{CompactionMode, Node};
use crate::clock::Clock;
use crate::lease::Deadlines;
use crate::membership::Identity;
use crate::state_machine;
use crate::storage::rocks::RocksEngine;
use crate::storage::{self, Engine};
use crate::wal::{self, FileSystem};
use crate::watch::Hubs;

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
    /// Whether a new group may be founded with these settings, or why not. Not asked where there is a log (BST-1).
    pub founding: Result<(), String>,
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

    pub fn db_dir(&self) -> PathBuf {
        self.member_dir().join("db")
    }
}

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot use the data directory {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Takeover(#[from] TakeoverError),
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
    #[error("{0}")]
    Founding(String),
    #[error("the cluster version {0} of this data is newer than this release; run the release that wrote it")]
    Downgrade(String),
    #[error("the state in {} is that of a member of a cluster of {voters}: clusters of several members are not built yet", dir.display())]
    SeveralVoters { dir: PathBuf, voters: usize },
    #[error("the log's first record cannot be read: {0}")]
    Metadata(prost::DecodeError),
    #[error("raft refused the log: {0}")]
    Raft(String),
    #[error("a thread could not be started: {0}")]
    Thread(io::Error),
}

fn private_dir(path: &Path) -> Result<(), StartError> {
    wal::RealFileSystem.create_dir(path).map_err(|source| StartError::Directory { path: path.to_owned(), source })
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
    takeover::take_over(&takeover::Place::new(&options), clock.unix(), &mut takeover::log_steps())?;
    let engine: Arc<dyn Engine> = open_engine(&options.db_dir(), &Space::new(&member_dir))?;
    let Opened { log, machine, driver, identity: Identity { cluster_id, member_id } } =
        open(&options, engine.clone(), Arc::new(wal::RealFileSystem), wal::Options::default())?;

    let mailboxes = Mailbox::all(seats, first_request_id(member_id, clock.unix()));
    let deadlines = Arc::new(Deadlines::new(options.lease_checkpoints.then_some(CHECKPOINT_EVERY)));
    let reader = machine.reader().clone();
    let (leases, cluster, alarms) = (machine.leases().clone(), machine.cluster().clone(), machine.alarms().clone());
    let hubs = hubs(&reader);
    let wal_dir = options.wal_dir.clone();
    let pipeline = Pipeline::new(
        pipeline_options(&options, member_id),
        log,
        Applier::new(machine, engine.clone()),
        hubs,
        mailboxes,
        deadlines.clone(),
        clock.clone(),
        // Bound: the inbox holds at most this many bytes of proposals.
        64 << 20,
        metrics,
        Space::new(&member_dir).with_log(&wal_dir),
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
        defragment_turn: Mutex::new(()),
        alarm_turn: tokio::sync::Mutex::new(()),
        snapshots: Arc::new(tokio::sync::Semaphore::new(SNAPSHOTS_MAX)),
        threads: Mutex::new(threads),
        _lock: lock,
    }))
}

/// The engine writes a little when it is opened. On a full disk the ballast pays for that, so that a member can start and be told to
/// delete and compact; one whose ballast was spent already says that it needs room.
fn open_engine(db: &Path, space: &Space) -> Result<Arc<dyn Engine>, StartError> {
    let options = storage::rocks::Options::for_volume(space.volume().map_or(u64::MAX, |volume| volume.total));
    match RocksEngine::open(db, options.clone()) {
        Err(storage::Error::NoSpace(why)) => {
            if !space.drop_ballast().map_err(|source| StartError::Directory { path: db.to_owned(), source })? {
                return Err(storage::Error::NoSpace(format!("{why} (there is no ballast to give up: make room on the volume)")).into());
            }
            tracing::warn!(error = why, "the disk is full; the ballast was given up so that this member can start");
            Ok(RocksEngine::open(db, options)?)
        }
        opened => Ok(opened?),
    }
}

/// What a restart may have to replay; less on a small volume, where the log must be given back early.
fn debt_bytes_max(options: &Options) -> u64 {
    let total = Space::new(&options.member_dir()).volume().map_or(u64::MAX, |volume| volume.total);
    (total / 16).clamp(1 << 20, 32 << 20)
}

fn pipeline_options(options: &Options, member_id: u64) -> pipeline::Options {
    pipeline::Options {
        member_id,
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
