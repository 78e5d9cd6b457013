//! The threads that carry a command from the inbox to its reply: driver, log, applier, and the flusher behind them.
//!
//! ```text
//!   inbox --> driver --append--> log ----> disk
//!               ^                 | |
//!               +---persisted-----+ +--committed--> applier --> engine, index, hubs, waiters
//! ```
//!
//! A wake costs more than the work for a lone client, so a stage that is idle is run by its neighbour (D6): always when no
//! other proposal waits, and under load too while a sync costs less than a wake.
//! Writes: nothing of its own. Holds: whoever hands committed entries to the applier holds the log stage, so they stay in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use super::applier::{Applier, Outcome};
use super::inbox::{ConfRequest, Inbox};
use super::metrics::Metrics;
use super::shared::Watermarks;
use super::space::{Refusals, Space};
use super::stage::Stage;
use super::waiters::Mailbox;
use crate::clock::Clock;
use crate::consensus::{Append, ConfChange, Driver, Entry, EntryKind, Input, LogError, LogStage, Output, Role};
use crate::lease::Deadlines;
use crate::state_machine::{LeaseEffect, Reply};
use crate::storage;
use crate::watch::Hubs;
use crate::wire::raftpb;

/// A sync that costs less than this is run by the driver itself even under load: handing it over would cost as much.
const CHEAP_SYNC: Duration = Duration::from_micros(60);
/// Bound: appends under way. The driver leaves proposals in the inbox beyond it, where they gather for the next batch.
const APPENDS_MAX: usize = 2;
/// Bound: batches waiting for the applier.
const APPLY_QUEUE_MAX: usize = 64;
/// Bound: entries in one engine batch.
const BATCH_ENTRIES_MAX: usize = 1000;
const RETRY_STALL: Duration = Duration::from_millis(1);
/// A fast writer fills a small volume between two looks of the monitor, so the log looks too, after so many bytes.
const LOOK_EVERY_BYTES: u64 = 1 << 20;
const RETRY_NO_SPACE: Duration = Duration::from_millis(50);

pub struct Options {
    pub member_id: u64,
    pub tick: Duration,
    /// Records in a slice of the physical compaction, and the pause between slices.
    pub sweep_records: usize,
    pub sweep_pause: Duration,
    /// The engine is flushed when a restart would have to replay more than this.
    pub debt_bytes_max: u64,
    pub debt_entries_max: u64,
    /// .. or when nothing was written for this long.
    pub idle_flush: Duration,
    pub wals_max: usize,
    /// A batch that takes longer to apply is told.
    pub warning_apply: Duration,
}

pub(super) struct LogJob {
    append: Option<Append>,
    committed: Vec<Entry>,
}

pub struct Pipeline {
    pub inbox: Inbox,
    pub marks: Watermarks,
    pub mailboxes: Vec<Arc<Mailbox>>,
    pub deadlines: Arc<Deadlines>,
    pub(super) log: Stage<LogStage, LogJob>,
    pub(super) applier: Stage<Applier, Vec<Entry>>,
    pub hubs: Hubs,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Options,
    pub metrics: Metrics,
    pub space: Space,
    /// The log's volume is below the low-water mark, or was when it was last looked at.
    pub(super) low_space: AtomicBool,
    /// The monitor is to look at the disk before its time.
    pub look_at_space: Notify,
    pub(super) looked_at: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    pub(super) log_segments: AtomicUsize,
    pub(super) debt_bytes: AtomicU64,
    pub(super) debt_entries: AtomicU64,
    pub(super) sweeping: AtomicBool,
    pub(super) stopping: AtomicBool,
    /// The applier has applied the last of what was handed over.
    pub(super) applier_ended: AtomicBool,
    /// The log stage will hand over nothing more.
    pub(super) log_ended: AtomicBool,
    /// The member was told to end: nobody waits for a disk to have room any more.
    pub(super) ending: AtomicBool,
    /// A write met a full disk; the monitor makes room.
    pub no_space: AtomicBool,
}

/// Ends the process: the state in memory and on disk may no longer agree, and a restart replays the log (I1).
pub(super) fn fail_stop(what: &str, error: &dyn std::fmt::Display) -> ! {
    tracing::error!(error = %error, "{what}; this member stops, its log is replayed at the next start");
    // At once, with no destructor of a library that other threads are still in.
    #[cfg(unix)]
    signal_hook::low_level::exit(1);
    #[cfg(not(unix))]
    std::process::abort()
}

impl Pipeline {
    #[expect(clippy::too_many_arguments, reason = "assembled once, at start")]
    pub fn new(
        options: Options,
        log: LogStage,
        applier: Applier,
        hubs: Hubs,
        mailboxes: Vec<Arc<Mailbox>>,
        deadlines: Arc<Deadlines>,
        clock: Arc<dyn Clock>,
        inbox_bytes_max: usize,
        metrics: Metrics,
        space: Space,
    ) -> Arc<Pipeline> {
        Arc::new(Pipeline {
            inbox: Inbox::new(inbox_bytes_max),
            marks: Watermarks::new(applier.applied()),
            mailboxes,
            deadlines,
            log: Stage::new(log),
            applier: Stage::new(applier),
            hubs,
            clock,
            options,
            metrics,
            space,
            low_space: AtomicBool::new(false),
            look_at_space: Notify::new(),
            looked_at: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            log_segments: AtomicUsize::new(0),
            debt_bytes: AtomicU64::new(0),
            debt_entries: AtomicU64::new(0),
            // A compaction that was scheduled before a restart is resumed (REV-15).
            sweeping: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            applier_ended: AtomicBool::new(false),
            log_ended: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            no_space: AtomicBool::new(false),
        })
    }

    /// Starts the threads. They end after `stop`, in the order driver, log, applier, flusher.
    pub fn spawn(self: &Arc<Pipeline>, driver: Driver) -> std::io::Result<Vec<JoinHandle<()>>> {
        let thread = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(move || {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
                    fail_stop("a thread of the pipeline panicked", &"see the panic above");
                }
            })
        };
        let this = [(); 4].map(|()| self.clone());
        let [a, b, c, d] = this;
        Ok(vec![
            thread("driver", Box::new(move || a.run_driver(driver)))?,
            thread("log", Box::new(move || b.run_log()))?,
            thread("applier", Box::new(move || c.run_applier()))?,
            thread("flusher", Box::new(move || d.run_flusher()))?,
        ])
    }

    /// Commands whose callers wait.
    pub fn waiting(&self) -> usize {
        self.mailboxes.iter().map(|mailbox| mailbox.waiting()).sum()
    }

    /// Whether puts are to be refused for want of space, before they meet it. Before it refuses it looks again, so that the
    /// first put after the way out of a full disk is not refused for what was.
    pub fn is_low_on_space(&self) -> bool {
        self.low_space.load(Ordering::Acquire) && self.note_space()
    }

    /// Looks at the volume. Answers whether it is low.
    pub fn note_space(&self) -> bool {
        match self.space.tightest() {
            Ok(volume) => {
                self.low_space.store(volume.is_low(), Ordering::Release);
                if volume.is_getting_low() && self.has_spare_segments() {
                    self.look_at_space.notify_one();
                }
                volume.is_low()
            }
            Err(error) => {
                tracing::debug!(error = %error, "free space could not be read");
                false
            }
        }
    }

    /// Bytes written to the log since the start. Never waits for the log, which holds its own cell while the disk is full.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn note_log(&self, log: &LogStage) {
        let written = log.wal().bytes_written();
        self.log_bytes.store(written, Ordering::Relaxed);
        if written - self.looked_at.load(Ordering::Relaxed) >= LOOK_EVERY_BYTES {
            self.looked_at.store(written, Ordering::Relaxed);
            self.note_space();
        }
        self.log_segments.store(log.wal().segments(), Ordering::Relaxed);
    }

    /// Asks the threads to end: what is in the log is applied, what is in the inbox is not proposed.
    pub fn stop(&self) {
        self.ending.store(true, Ordering::Release);
        self.inbox.close();
        self.inbox.stop();
    }

    // === driver ===

    fn run_driver(&self, mut driver: Driver) {
        self.inbox.adopt();
        let mut next_tick = self.clock.now() + self.options.tick;
        loop {
            let hungry = self.log.len() < APPENDS_MAX && self.applier.len() < APPLY_QUEUE_MAX;
            let arrived = self.inbox.take(hungry, next_tick.saturating_sub(self.clock.now()));
            let now = self.clock.now();
            if now >= next_tick {
                driver.step(Input::Tick);
                next_tick = now + self.options.tick;
            }
            driver.step(Input::Applied(self.marks.applied()));
            if let Some(number) = arrived.persisted {
                driver.step(Input::Persisted(number));
            }
            if let Some(index) = arrived.flushed {
                driver.step(Input::Flushed(index));
            }
            for request in arrived.conf {
                match driver.apply_conf_change(request.change) {
                    // The applier waits for this answer; if it is gone the process is ending.
                    Ok(state) => drop(request.reply.send(state)),
                    Err(error) => fail_stop("raft refused a conf change that the state machine accepted", &error),
                }
            }
            if !arrived.proposals.is_empty() {
                let dropped = driver.step(Input::Propose(arrived.proposals));
                if !dropped.0.is_empty() {
                    tracing::warn!(proposals = dropped.0.len(), "raft dropped proposals; their callers time out");
                }
            }
            while let Some(output) = driver.ready() {
                self.perform(&mut driver, output);
            }
            if arrived.stop {
                break;
            }
        }
        self.stopping.store(true, Ordering::Release);
        self.log.wake();
        // The applier may still meet conf changes in what was handed over, and waits for the answers.
        while !self.applier_ended.load(Ordering::Acquire) {
            for request in self.inbox.take(false, self.options.tick).conf {
                match driver.apply_conf_change(request.change) {
                    // As above.
                    Ok(state) => drop(request.reply.send(state)),
                    Err(error) => fail_stop("raft refused a conf change that the state machine accepted", &error),
                }
            }
        }
    }

    /// Nothing else waits, or waiting for another thread would cost more than the work.
    fn may_inline(&self, log: &LogStage) -> bool {
        // On a full disk a step may wait for room, and the driver must not wait with it.
        let roomy = !self.low_space.load(Ordering::Relaxed) && !self.no_space.load(Ordering::Relaxed);
        self.marks.reads_at_once() && roomy && (log.sync_cost() < CHEAP_SYNC || !self.inbox.has_proposals())
    }

    fn perform(&self, driver: &mut Driver, output: Output) {
        if let Some(status) = output.status {
            self.note_status(status);
        }
        if let Some(mut log) = self.log.try_enter()
            && (self.may_inline(&log) || output.append.is_none())
        {
            let inline = self.may_inline(&log);
            let Some(append) = output.append else {
                return self.hand_over(output.committed, inline);
            };
            match self.append(&mut log, &append) {
                Ok(()) => {
                    self.hand_over(output.committed, inline);
                    self.sync(&mut log, append.sync);
                    drop(log);
                    driver.step(Input::Persisted(append.number));
                }
                Err(LogError::NoSpace) => {
                    drop(log);
                    self.log.push(LogJob { append: Some(append), committed: output.committed });
                }
                Err(LogError::Fault(error)) => fail_stop("the write-ahead log could not be written", &error),
            }
            return;
        }
        self.log.push(LogJob { append: output.append, committed: output.committed });
    }

    fn note_status(&self, status: crate::consensus::Status) {
        let old = self.marks.status();
        if status.leader != old.leader && status.leader != 0 {
            self.metrics.leader_changes.inc();
            self.marks.set_elected(self.clock.now());
            tracing::info!("raft.node: {:x} elected leader {:x} at term {}", self.options.member_id, status.leader, status.term);
        }
        if status.role != old.role {
            tracing::info!(role = ?status.role, term = status.term, "raft role changed");
        }
        if old.role == Role::Leader && status.role != Role::Leader {
            // Invariant I7: deadlines exist only on a leader.
            self.deadlines.demote();
        }
        self.marks.set_status(status);
    }

    // === log ===

    fn append(&self, log: &mut LogStage, append: &Append) -> Result<(), LogError> {
        let began = self.clock.now();
        let done = log.append(append);
        self.metrics.log_write.observe(self.clock.now().saturating_sub(began).as_secs_f64());
        if matches!(done, Err(LogError::NoSpace)) {
            self.no_space.store(true, Ordering::Release);
            // Segments kept only for the curious are the first to go. An error of it is met again by the next try.
            let _ = log.give_back();
        }
        self.note_log(log);
        done
    }

    fn sync(&self, log: &mut LogStage, wanted: bool) {
        if !wanted {
            return;
        }
        let began = self.clock.now();
        if let Err(error) = log.sync() {
            fail_stop("the write-ahead log could not be synced", &error);
        }
        let took = self.clock.now().saturating_sub(began);
        self.metrics.log_sync.observe(took.as_secs_f64());
        log.note_sync(took);
    }

    fn run_log(&self) {
        self.write_log();
        self.log_ended.store(true, Ordering::Release);
        self.applier.wake();
    }

    /// Until the driver has ended and nothing waits; or, at the end, until the disk is full.
    fn write_log(&self) {
        self.log.adopt();
        loop {
            let Some((mut log, job)) = self.log.next(Duration::from_secs(1)) else {
                if self.stopping.load(Ordering::Acquire) && self.log.len() == 0 {
                    break;
                }
                continue;
            };
            let Some(append) = job.append else {
                self.hand_over(job.committed, false);
                drop(log);
                if self.log.len() + 1 == APPENDS_MAX {
                    // The driver stopped feeding when the queue was long.
                    self.inbox.nudge();
                }
                continue;
            };
            loop {
                match self.append(&mut log, &append) {
                    Ok(()) => break,
                    // The append is held; nothing of it was acknowledged (D2).
                    Err(LogError::NoSpace) => std::thread::park_timeout(RETRY_NO_SPACE),
                    Err(LogError::Fault(error)) => fail_stop("the write-ahead log could not be written", &error),
                }
                if self.stopping.load(Ordering::Acquire) {
                    // What still waits was not acknowledged.
                    return;
                }
            }
            self.hand_over(job.committed, false);
            self.sync(&mut log, append.sync);
            drop(log);
            self.inbox.persisted(append.number);
        }
    }

    // === applier ===

    /// Passes committed entries on. The caller holds the log stage.
    fn hand_over(&self, committed: Vec<Entry>, inline: bool) {
        if committed.is_empty() {
            return;
        }
        // A conf change asks the driver, so it must not run on the driver's own thread.
        let plain = committed.iter().all(|e| e.kind == EntryKind::Normal);
        if inline
            && plain
            && let Some(mut applier) = self.applier.try_enter()
        {
            return self.apply(&mut applier, &committed);
        }
        self.applier.push(committed);
    }

    fn apply(&self, applier: &mut Applier, entries: &[Entry]) {
        for chunk in entries.chunks(BATCH_ENTRIES_MAX) {
            let began = self.clock.now();
            let mut conf = |change| self.ask_driver(change);
            if let Err(fault) = applier.stage(chunk, &mut conf) {
                fail_stop("an entry could not be applied", &fault);
            }
            self.settle(applier);
            let took = self.clock.now().saturating_sub(began);
            if took > self.options.warning_apply {
                self.metrics.warn_slow_apply(took, self.options.warning_apply, chunk);
            }
        }
    }

    fn ask_driver(&self, change: ConfChange) -> raftpb::ConfState {
        let (reply, answer) = sync_channel(1);
        self.inbox.conf_change(ConfRequest { change, reply });
        match answer.recv() {
            Ok(state) => state,
            Err(error) => fail_stop("the driver ended during a conf change", &error),
        }
    }

    /// Writes what is staged and lets it be seen, in the order that REV-19 and I6 ask for.
    pub(super) fn settle(&self, applier: &mut Applier) {
        let began = self.clock.now();
        let mut refusals = Refusals::default();
        while let Err(error) = applier.write() {
            match error {
                // The same batch is held and tried again; nothing has moved (D2).
                storage::Error::NoSpace(_) => {
                    self.no_space.store(true, Ordering::Release);
                    if self.ending.load(Ordering::Acquire) {
                        // Nobody was told of the batch; the log has what was acknowledged, and the next start replays it.
                        return;
                    }
                    let has_room = self.space.volume().is_ok_and(|volume| !volume.is_low());
                    if refusals.is_stuck(self.clock.now(), has_room) {
                        fail_stop("the state engine takes no writes, though the disk has room again", &error);
                    }
                    std::thread::park_timeout(RETRY_NO_SPACE);
                }
                storage::Error::Stalled(_) => std::thread::park_timeout(RETRY_STALL),
                storage::Error::Fault(_) => fail_stop("the state engine failed", &error),
            }
        }
        self.metrics.engine_write.observe(self.clock.now().saturating_sub(began).as_secs_f64());
        let mut outcome = applier.merge();
        if let Some(events) = outcome.events.take() {
            self.marks.set_offered(events.last);
            self.hubs.offer(&events);
        }
        applier.publish();
        if !outcome.lease.is_empty() {
            // Before `applied` moves: a keepalive that waited for it must find the deadline of the lease just granted (LSE-8).
            self.metrics.note_leases(&outcome.lease);
            self.move_deadlines(&outcome.lease);
        }
        self.marks.set_applied(applier.applied());
        let debt = applier.debt();
        self.debt_bytes.store(debt.bytes, Ordering::Release);
        self.debt_entries.store(debt.entries, Ordering::Release);
        self.deliver(outcome);
    }

    fn deliver(&self, mut outcome: Outcome) {
        let count = self.mailboxes.len() as u64;
        if let [mailbox] = &self.mailboxes[..] {
            mailbox.deliver(&mut outcome.replies);
        } else {
            let mut sorted: Vec<Vec<(u64, Reply)>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
            for (id, reply) in outcome.replies {
                sorted[(id % count) as usize].push((id, reply));
            }
            for (mailbox, replies) in self.mailboxes.iter().zip(&mut sorted) {
                mailbox.deliver(replies);
            }
        }
        if let Some(revision) = outcome.swept {
            self.marks.set_swept(revision);
        }
        if outcome.compaction_scheduled {
            self.sweeping.store(true, Ordering::Release);
            self.applier.wake();
        }
        if !self.marks.reads_at_once() {
            // A sole voter campaigns once it has applied what is committed.
            self.inbox.nudge();
        }
    }

    fn move_deadlines(&self, effects: &[LeaseEffect]) {
        if self.marks.status().role != Role::Leader {
            return;
        }
        let now = self.clock.now();
        for effect in effects {
            match *effect {
                LeaseEffect::Granted { id, ttl } => self.deadlines.grant(id, ttl, now),
                LeaseEffect::Revoked { id } => self.deadlines.revoke(id),
                LeaseEffect::Checkpointed { id, remaining } => self.deadlines.checkpoint(id, remaining, now),
            }
        }
    }

    fn run_applier(&self) {
        self.apply_all();
        self.applier_ended.store(true, Ordering::Release);
        self.inbox.nudge();
    }

    fn apply_all(&self) {
        self.applier.adopt();
        let mut sweep_began = None;
        let mut next_slice = self.clock.now();
        loop {
            let sweeping = self.sweeping.load(Ordering::Acquire);
            let patience = if sweeping { next_slice.saturating_sub(self.clock.now()) } else { Duration::from_secs(1) };
            match self.applier.next(patience) {
                Some((mut applier, entries)) => {
                    self.apply(&mut applier, &entries);
                    if self.applier.len() == APPLY_QUEUE_MAX / 2 {
                        // The driver stopped feeding when the queue was long.
                        self.inbox.nudge();
                    }
                }
                None if self.log_ended.load(Ordering::Acquire) && self.applier.len() == 0 => break,
                None => {}
            }
            // By the clock, not when nothing else waits: a member that is never idle must be swept too.
            if sweeping && self.clock.now() >= next_slice {
                self.sweep_slice(&mut sweep_began);
                next_slice = self.clock.now() + self.options.sweep_pause;
            }
        }
    }

    /// One paced slice of the physical compaction (CMP-4).
    fn sweep_slice(&self, sweep_began: &mut Option<Duration>) {
        let mut applier = self.applier.enter();
        let slice_began = self.clock.now();
        let began = *sweep_began.get_or_insert(slice_began);
        let more = applier.stage_sweep(self.options.sweep_records);
        self.settle(&mut applier);
        let now = self.clock.now();
        self.metrics.sweep_slice.observe(now.saturating_sub(slice_began).as_secs_f64() * 1000.0);
        if !more {
            *sweep_began = None;
            self.metrics.sweep.observe(now.saturating_sub(began).as_secs_f64() * 1000.0);
            self.metrics.sweep_ended.set(self.clock.unix().as_secs() as i64);
            // While the cell is held, so that a compaction applied meanwhile is not forgotten.
            self.sweeping.store(false, Ordering::Release);
        }
    }
}
