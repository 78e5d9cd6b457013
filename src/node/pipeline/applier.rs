//! The applier's thread: committed entries into the engine and out to those who wait, and a slice of the sweep between them.
//!
//! Writes: the engine, and then the key index, hubs, deadlines, marks and mailboxes. Crash: a batch is in the engine whole or not at all,
//! with the index of its last entry; the log has what is missing.

use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::{APPLY_QUEUE_MAX, Pipeline, RETRY_NO_SPACE, fail_stop};
use crate::consensus::{ConfChange, Entry, EntryKind, Role};
use crate::node::applier::{Applier, Outcome};
use crate::node::inbox::ConfRequest;
use crate::node::space::Refusals;
use crate::state_machine::{LeaseEffect, Reply};
use crate::storage;
use crate::wire::raftpb;

/// Bound: entries in one engine batch.
const BATCH_ENTRIES_MAX: usize = 1000;
const RETRY_STALL: Duration = Duration::from_millis(1);

impl Pipeline {
    /// Passes committed entries on. The caller holds the log stage.
    pub(super) fn hand_over(&self, committed: Vec<Entry>, inline: bool) {
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
    pub(in crate::node) fn settle(&self, applier: &mut Applier) {
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

    pub(super) fn run_applier(&self) {
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
