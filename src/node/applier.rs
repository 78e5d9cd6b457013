//! Applies committed entries to the state machine, in order, a batch at a time.
//!
//! ```text
//!   stage(entries) --> Batch --write()--> state engine
//!        |                                     |
//!        +-- effects, held until --------------+--> merge() -> Outcome: events for the hubs, then
//!                                                   publish(), then replies to waiters
//! ```
//!
//! Writes: the state engine and, through the state machine, everything replicated. Reads: the entries handed out.
//! Sole owner of StateMachine. Holds I1, I3, I6: an Outcome exists only after its batch was written.
//! Does not send messages, wait for clients, or look at a clock.

use std::sync::Arc;

use crate::consensus::{ConfChange, Entry, EntryKind};
use crate::mvcc::Sweep;
use crate::state_machine::{self, Effects, Fault, LeaseEffect, Reply, StateMachine};
use crate::storage::{self, Batch, Engine};
use crate::watch::EventBatch;
use crate::wire::raftpb;

/// What applying a batch brought about. Nothing of it may be seen by anybody before its batch was written (I6).
#[derive(Default)]
pub struct Outcome {
    /// To be offered to the hubs before `publish` (REV-19).
    pub events: Option<Arc<EventBatch>>,
    /// To be given to the waiters after `publish`.
    pub replies: Vec<(u64, Reply)>,
    pub lease: Vec<LeaseEffect>,
    pub compaction_scheduled: bool,
    /// The physical compaction has reached this revision.
    pub swept: Option<i64>,
}

/// What would have to be replayed if the process ended now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debt {
    pub entries: u64,
    pub bytes: u64,
}

pub struct Applier {
    machine: StateMachine,
    engine: Arc<dyn Engine>,
    batch: Batch,
    outcome: Outcome,
    applied: (u64, u64),
    debt: Debt,
}

impl Applier {
    pub fn new(machine: StateMachine, engine: Arc<dyn Engine>) -> Applier {
        let applied = machine.applied();
        Applier { machine, engine, batch: Batch::default(), outcome: Outcome::default(), applied, debt: Debt::default() }
    }

    /// Index and term of the newest entry that was applied and written.
    pub fn applied(&self) -> (u64, u64) {
        self.applied
    }

    pub fn machine(&self) -> &StateMachine {
        &self.machine
    }

    pub fn debt(&self) -> Debt {
        self.debt
    }

    /// A flush that began when the debt was `paid` has succeeded.
    pub fn pay_debt(&mut self, paid: Debt) {
        self.debt.entries = self.debt.entries.saturating_sub(paid.entries);
        self.debt.bytes = self.debt.bytes.saturating_sub(paid.bytes);
    }

    /// Applies entries to the batch. `conf` tells the driver of a change to the group and answers the new conf state: the one
    /// place where the applier waits for the driver.
    pub fn stage(&mut self, entries: &[Entry], conf: &mut dyn FnMut(ConfChange) -> raftpb::ConfState) -> Result<(), Fault> {
        for entry in entries {
            assert!(entry.index == self.applied.0 + 1, "Invariant I1: entry {} applied after {}", entry.index, self.applied.0);
            let effects = self.machine.apply(&for_state_machine(entry), &mut self.batch)?;
            self.applied = (entry.index, entry.term);
            self.debt.entries += 1;
            self.debt.bytes += entry.data.len() as u64;
            self.take_effects(effects, conf);
        }
        self.machine.finish(self.applied.0, self.applied.1, &mut self.batch);
        Ok(())
    }

    fn take_effects(&mut self, effects: Effects, conf: &mut dyn FnMut(ConfChange) -> raftpb::ConfState) {
        if let Some(accepted) = effects.conf_change
            && let Some(change) = for_raft(&accepted.change)
        {
            let state = conf(change);
            self.machine.set_conf_state(&state, &mut self.batch);
        }
        self.outcome.lease.extend(effects.lease);
        self.outcome.compaction_scheduled |= effects.compacted.is_some();
        if let Some(reply) = effects.reply
            && effects.request_id != 0
        {
            self.outcome.replies.push((effects.request_id, reply));
        }
    }

    /// Adds a slice of the physical compaction to the batch. Answers whether there is more to sweep.
    pub fn stage_sweep(&mut self, records: usize) -> bool {
        let sweep = self.machine.writer().sweep(&mut self.batch, records);
        if let Sweep::Finished(revision) = sweep {
            self.outcome.swept = Some(revision);
        }
        sweep == Sweep::More
    }

    /// Writes what was staged. On `NoSpace` nothing has moved and the same call may be made again (D2).
    ///
    /// Crash: before, the log replays these entries; after, the engine may or may not hold the batch, whole, until the next flush.
    pub fn write(&mut self) -> Result<(), storage::Error> {
        if !self.batch.is_empty() {
            self.engine.write(&self.batch)?;
        }
        Ok(())
    }

    /// Takes what was written into the key index.
    pub fn merge(&mut self) -> Outcome {
        self.batch.clear();
        let writer = self.machine.writer();
        writer.merge();
        let events = writer.take_events();
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            let (first, last) = (first.revision.main, last.revision.main);
            self.outcome.events = Some(Arc::new(EventBatch::new(events, first, last)));
        }
        std::mem::take(&mut self.outcome)
    }

    /// Makes the new revision readable.
    pub fn publish(&mut self) {
        self.machine.writer().publish();
    }

    /// The database shrinks to what is in use (BAK-6); staged like an entry, written with the next `write`.
    pub fn stage_defragmented(&mut self) {
        self.machine.writer().defragmented(&mut self.batch);
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }
}

/// The same entry in the state machine's words; the data is shared.
fn for_state_machine(entry: &Entry) -> state_machine::Entry {
    let kind = match entry.kind {
        EntryKind::Normal => state_machine::EntryKind::Normal,
        EntryKind::ConfChange => state_machine::EntryKind::ConfChange,
        EntryKind::ConfChangeV2 => state_machine::EntryKind::ConfChangeV2,
    };
    state_machine::Entry { index: entry.index, term: entry.term, kind, data: entry.data.clone() }
}

/// The same change in raft's words.
fn for_raft(change: &raftpb::ConfChange) -> Option<ConfChange> {
    let node = change.node_id();
    let kind = raftpb::ConfChangeType::try_from(change.r#type.unwrap_or_default()).ok()?;
    Some(match kind {
        raftpb::ConfChangeType::ConfChangeAddNode => ConfChange::AddVoter(node),
        raftpb::ConfChangeType::ConfChangeRemoveNode => ConfChange::Remove(node),
        raftpb::ConfChangeType::ConfChangeUpdateNode => ConfChange::Update(node),
        raftpb::ConfChangeType::ConfChangeAddLearnerNode => ConfChange::AddLearner(node),
    })
}
