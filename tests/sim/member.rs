//! One life of the member: its stages and the queues between them, stepped by hand.
//!
//! ```text
//!   inbox --take--> driver --ready--> jobs --write, sync--> log        batches --stage--> applier
//!                     ^                  |       |             |           ^                |
//!                     +-- persisted -----|-------+             |           |     write, merge, offer, publish,
//!                                        +-- committed --------|-----------+     deadlines, replies
//!   flush: engine, then the log's record of it ----------------+
//! ```
//!
//! The stages are the product's. What is here is what `node::pipeline` does with threads, in the same order, cut into the
//! steps between which another thread could run.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use etcd::consensus::{Append, ConfChange, Driver, Entry, Input, LogError, LogStage, Role, Status};
use etcd::lease::{Deadlines, Leases};
use etcd::mvcc::Reader;
use etcd::node::{self, Applier, CompactionMode, Flushed, Opened, Outcome, StartError};
use etcd::state_machine::{LeaseEffect, Reply};
use etcd::storage::{self, Engine};
use etcd::wal;
use etcd::watch::EventBatch;

use crate::bug::Bug;
use crate::disk::Disk;
use crate::seam::Seam;

/// Bound: appends under way, as in the pipeline.
const APPENDS_MAX: usize = 2;
const HEARTBEAT: Duration = Duration::from_millis(100);
pub const ELECTION: Duration = Duration::from_secs(1);
/// A member that does not lead yet hears no tick beyond these: raft would draw a timeout by itself, which no seed repeats.
const TICKS_BEFORE_LEADING: u32 = 9;

/// Why a step did not go on.
#[derive(Debug)]
pub enum Stop {
    /// The process ends, as it must: its disk is gone or failed it.
    Dead,
    /// A check failed.
    Wrong(String),
}

pub fn wrong<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Wrong(what.into()))
}

struct LogJob {
    append: Option<Append>,
    committed: Vec<Entry>,
}

/// Where the front job of the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Not,
    /// It found no space and is tried again; the stage stays with it.
    Refused,
    Written,
}

/// Where the batch of the applier stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Idle,
    Staged,
    Written,
    Merged,
    Offered,
    Published,
    DeadlinesMoved,
}

/// What a member is told.
pub fn options() -> node::Options {
    node::Options {
        founding: Ok(()),
        warning_apply: Duration::from_millis(100),
        warning_unary: Duration::from_millis(300),
        name: "sim".into(),
        data_dir: PathBuf::from("/data"),
        wal_dir: PathBuf::from("/data/member/wal"),
        advertise_client_urls: vec!["http://sim:2379".into()],
        advertise_peer_urls: vec!["http://sim:2380".into()],
        cluster_token: "sim".into(),
        heartbeat: HEARTBEAT,
        election: ELECTION,
        request_timeout: Duration::from_secs(7),
        quota_bytes: -1,
        max_request_bytes: 1 << 20,
        max_txn_ops: 128,
        wals_max: 1,
        compaction: CompactionMode::Off,
        sweep_records: 2,
        sweep_pause: Duration::ZERO,
        lease_checkpoints: false,
        value_cache_bytes: 1 << 16,
    }
}

pub struct Member {
    bug: Bug,
    driver: Driver,
    log: LogStage,
    pub applier: Applier,
    pub engine: Arc<Seam>,
    pub reader: Reader,
    pub leases: Leases,
    pub deadlines: Arc<Deadlines>,
    pub status: Status,
    pub inbox: Vec<Bytes>,
    persisted: VecDeque<u64>,
    flushed: Option<u64>,
    /// Between a take and the last `ready` that answers nothing.
    is_driving: bool,
    jobs: VecDeque<LogJob>,
    writing: Writing,
    batches: VecDeque<Vec<Entry>>,
    pub phase: Phase,
    outcome: Outcome,
    is_sweeping: bool,
    is_flushed: bool,
    next_tick: Duration,
    ticks: u32,
    /// The last index that the log said is synced.
    pub synced: u64,
    /// As `Watermarks` holds them.
    applied: u64,
    offered: i64,
    wals_max: usize,
}

impl Member {
    /// Starts the member as `node::start` does.
    pub fn boot(
        bug: Bug,
        disk: &Disk,
        engine: &Arc<Seam>,
        deadlines: Arc<Deadlines>,
        log: wal::Options,
        now: Duration,
    ) -> Result<Member, StartError> {
        engine.is_booting.store(true, Ordering::Relaxed);
        let opened = node::open(&options(), Arc::clone(engine) as Arc<dyn Engine>, Arc::new(disk.clone()), log);
        engine.is_booting.store(false, Ordering::Relaxed);
        let Opened { log, machine, driver, .. } = opened?;
        let (reader, leases) = (machine.reader().clone(), machine.leases().clone());
        let applier = Applier::new(machine, Arc::clone(engine) as Arc<dyn Engine>);
        Ok(Member {
            bug,
            driver,
            synced: log.wal().last_index(),
            log,
            applied: applier.applied().0,
            offered: 0,
            applier,
            engine: Arc::clone(engine),
            reader,
            leases,
            deadlines,
            status: Status::default(),
            inbox: Vec::new(),
            persisted: VecDeque::new(),
            flushed: None,
            is_driving: true,
            jobs: VecDeque::new(),
            writing: Writing::Not,
            batches: VecDeque::new(),
            phase: Phase::Idle,
            outcome: Outcome::default(),
            is_sweeping: true,
            is_flushed: false,
            next_tick: now + HEARTBEAT,
            ticks: 0,
            wals_max: options().wals_max,
        })
    }

    pub fn last_index(&self) -> u64 {
        self.log.wal().last_index()
    }

    pub fn segments(&self) -> usize {
        self.log.wal().segments()
    }

    // === driver ===

    fn is_hungry(&self) -> bool {
        self.jobs.len() < APPENDS_MAX
    }

    pub fn can_take(&self, now: Duration) -> bool {
        let has_news = (self.is_hungry() && !self.inbox.is_empty()) || !self.persisted.is_empty() || self.flushed.is_some();
        !self.is_driving && (has_news || self.may_tick(now) || (self.applied > 0 && !self.status.reads_at_once))
    }

    /// Only where it is of use, so that a settled member comes to rest.
    pub fn can_take_settling(&self) -> bool {
        let has_news = (self.is_hungry() && !self.inbox.is_empty()) || !self.persisted.is_empty() || self.flushed.is_some();
        !self.is_driving && (has_news || !self.status.reads_at_once)
    }

    fn may_tick(&self, now: Duration) -> bool {
        now >= self.next_tick && (self.status.role == Role::Leader || self.ticks < TICKS_BEFORE_LEADING)
    }

    pub fn take(&mut self, now: Duration) -> Result<(), Stop> {
        if self.may_tick(now) {
            self.driver.step(Input::Tick);
            self.next_tick = now + HEARTBEAT;
            self.ticks += 1;
        }
        self.driver.step(Input::Applied(self.applied));
        self.take_persisted();
        if let Some(index) = self.flushed.take() {
            self.driver.step(Input::Flushed(index));
        }
        if self.is_hungry() && !self.inbox.is_empty() {
            let dropped = self.driver.step(Input::Propose(std::mem::take(&mut self.inbox)));
            if !dropped.0.is_empty() {
                return wrong("the driver dropped a proposal");
            }
        }
        self.is_driving = true;
        Ok(())
    }

    /// A neighbour that ran the log stage by itself reports at once, between two `ready`s.
    pub fn can_persist_inline(&self) -> bool {
        self.is_driving && !self.persisted.is_empty()
    }

    pub fn take_persisted(&mut self) {
        while let Some(number) = self.persisted.pop_front() {
            self.driver.step(Input::Persisted(number));
        }
    }

    pub fn can_ready(&self) -> bool {
        self.is_driving
    }

    /// One `ready`; answers the entries that it hands out.
    pub fn ready(&mut self) -> Vec<Entry> {
        let Some(output) = self.driver.ready() else {
            self.is_driving = false;
            return Vec::new();
        };
        if let Some(status) = output.status {
            if self.status.role == Role::Leader && status.role != Role::Leader {
                self.deadlines.demote();
            }
            self.status = status;
        }
        let committed = output.committed.clone();
        if output.append.is_some() || !output.committed.is_empty() {
            self.jobs.push_back(LogJob { append: output.append, committed: output.committed });
        }
        committed
    }

    // === log ===

    pub fn can_write_log(&self) -> bool {
        self.writing != Writing::Written && !self.jobs.is_empty()
    }

    /// Writes the front job and passes its committed entries on.
    pub fn write_log(&mut self) -> Result<&'static str, Stop> {
        let Some(append) = self.jobs.front().and_then(|job| job.append.as_ref()) else {
            self.hand_over();
            self.jobs.pop_front();
            return Ok("nothing to append");
        };
        match self.log.append(append) {
            Ok(()) => {}
            Err(LogError::NoSpace) if self.bug == Bug::FullLogLosesAppend => {}
            Err(LogError::NoSpace) => {
                self.writing = Writing::Refused;
                return Ok("no space");
            }
            Err(LogError::Fault(_)) => return Err(Stop::Dead),
        }
        if self.bug == Bug::AcknowledgeBeforeSync {
            self.synced = append.entries.last().map_or(self.synced, |entry| entry.index);
            self.persisted.push_back(append.number);
        }
        self.writing = Writing::Written;
        self.hand_over();
        Ok("written")
    }

    fn hand_over(&mut self) {
        let committed = self.jobs.front_mut().map(|job| std::mem::take(&mut job.committed)).unwrap_or_default();
        if !committed.is_empty() {
            self.batches.push_back(committed);
        }
    }

    pub fn can_sync_log(&self) -> bool {
        self.writing == Writing::Written
    }

    pub fn sync_log(&mut self) -> Result<u64, Stop> {
        let job = self.jobs.front().expect("it was written");
        let append = job.append.as_ref().expect("it was written");
        let (number, last, is_synced) = (append.number, append.entries.last().map(|entry| entry.index), append.sync);
        if is_synced && self.log.sync().is_err() {
            return Err(Stop::Dead);
        }
        if let Some(last) = last.filter(|_| is_synced) {
            self.synced = last;
        }
        if self.bug != Bug::AcknowledgeBeforeSync {
            self.persisted.push_back(number);
        }
        self.jobs.pop_front();
        self.writing = Writing::Not;
        Ok(number)
    }

    // === applier ===

    pub fn can_stage(&self) -> bool {
        self.phase == Phase::Idle && !self.batches.is_empty()
    }

    /// Stages up to `count` of the entries that wait longest; answers them.
    pub fn stage(&mut self, count: usize) -> Result<Vec<Entry>, Stop> {
        let front = self.batches.front_mut().expect("a batch waits");
        let rest = front.split_off(count.min(front.len()));
        let chunk = std::mem::replace(front, rest);
        if front.is_empty() {
            self.batches.pop_front();
        }
        let driver = &mut self.driver;
        let mut conf = |change: ConfChange| driver.apply_conf_change(change).expect("raft takes what the state machine accepted");
        if let Err(fault) = self.applier.stage(&chunk, &mut conf) {
            return wrong(format!("an entry could not be applied: {fault}"));
        }
        self.phase = Phase::Staged;
        if self.bug == Bug::PublishBeforeWrite {
            self.applier.publish();
        }
        Ok(chunk)
    }

    pub fn can_sweep(&self) -> bool {
        self.phase == Phase::Idle && self.batches.is_empty() && self.is_sweeping
    }

    pub fn sweep(&mut self) -> bool {
        let has_more = self.applier.stage_sweep(options().sweep_records);
        self.is_sweeping = has_more;
        self.phase = Phase::Staged;
        has_more
    }

    pub fn write(&mut self) -> Result<&'static str, Stop> {
        match self.applier.write() {
            Ok(()) => {}
            Err(storage::Error::NoSpace(_) | storage::Error::Stalled(_)) if self.bug == Bug::FullEngineLosesBatch => {}
            Err(storage::Error::NoSpace(_) | storage::Error::Stalled(_)) => return Ok("no space"),
            Err(storage::Error::Fault(why)) => return wrong(format!("the state engine failed: {why}")),
        }
        self.phase = Phase::Written;
        Ok("written")
    }

    pub fn merge(&mut self) {
        self.outcome = self.applier.merge();
        self.phase = Phase::Merged;
    }

    pub fn publish(&mut self) {
        self.applier.publish();
        self.applied = self.applier.applied().0;
    }

    pub fn take_events(&mut self) -> Option<Arc<EventBatch>> {
        let batch = self.outcome.events.take();
        self.offered = batch.as_ref().map_or(self.offered, |batch| batch.last);
        batch
    }

    /// Whether a linearizable read that waits may begin, as `Seat::linearize` has it.
    pub fn may_read(&self) -> bool {
        self.status.reads_at_once && self.reader.revision() >= self.offered
    }

    pub fn move_deadlines(&mut self, now: Duration) {
        for effect in std::mem::take(&mut self.outcome.lease) {
            if self.status.role != Role::Leader {
                continue;
            }
            match effect {
                LeaseEffect::Granted { id, ttl } => self.deadlines.grant(id, ttl, now),
                LeaseEffect::Revoked { id } => self.deadlines.revoke(id),
                LeaseEffect::Checkpointed { id, remaining } => self.deadlines.checkpoint(id, remaining, now),
            }
        }
        self.phase = Phase::DeadlinesMoved;
    }

    pub fn take_replies(&mut self) -> Vec<(u64, Reply)> {
        self.is_sweeping |= self.outcome.compaction_scheduled;
        std::mem::take(&mut self.outcome).replies
    }

    // === flusher ===

    pub fn flush_engine(&mut self) -> bool {
        self.is_flushed = self.bug == Bug::FlushIsClaimed || self.engine.flush().is_ok();
        self.is_flushed
    }

    /// The log stage is free, and there is a flush to tell it of.
    pub fn can_tell_flushed(&self) -> bool {
        self.is_flushed && self.writing == Writing::Not
    }

    pub fn tell_flushed(&mut self) -> Result<u64, Stop> {
        self.is_flushed = false;
        let Flushed { mut index, mut term, mut conf_state } = match node::flushed(&*self.engine) {
            Ok(flushed) => flushed,
            Err(error) => return wrong(format!("the flushed index could not be read: {error}")),
        };
        if matches!(self.bug, Bug::PurgeByApplied | Bug::FlushIsClaimed) {
            (index, term) = self.applier.applied();
            conf_state = self.applier.machine().conf_state();
        }
        if index == 0 {
            return Ok(0);
        }
        match self.log.flushed(index, term, &conf_state, self.wals_max) {
            Ok(_) => self.flushed = Some(index),
            Err(LogError::NoSpace) => {}
            Err(LogError::Fault(_)) => return Err(Stop::Dead),
        }
        Ok(index)
    }
}
