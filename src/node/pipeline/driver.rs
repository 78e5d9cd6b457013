//! The driver's thread: what arrives in the inbox becomes input of raft, and what raft asks for is done or handed on.
//!
//! Writes: the log, inline, when nothing else waits. Reads: the inbox, how far was applied. Crash: as on the log's thread (`log`).

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{APPENDS_MAX, APPLY_QUEUE_MAX, LogJob, Pipeline, fail_stop};
use crate::consensus::{Driver, Input, LogError, LogStage, Output, Role, Status};
use crate::node::inbox::ConfRequest;

/// A sync that costs less than this is run by the driver itself even under load: handing it over would cost as much.
const CHEAP_SYNC: Duration = Duration::from_micros(60);

impl Pipeline {
    pub(super) fn run_driver(&self, mut driver: Driver) {
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
            arrived.conf.into_iter().for_each(|request| change_conf(&mut driver, request));
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
            self.inbox.take(false, self.options.tick).conf.into_iter().for_each(|request| change_conf(&mut driver, request));
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

    fn note_status(&self, status: Status) {
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
}

fn change_conf(driver: &mut Driver, request: ConfRequest) {
    match driver.apply_conf_change(request.change) {
        // The applier waits for this answer; if it is gone the process is ending.
        Ok(state) => drop(request.reply.send(state)),
        Err(error) => fail_stop("raft refused a conf change that the state machine accepted", &error),
    }
}
