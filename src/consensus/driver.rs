//! Sole owner of raft-rs's `RawNode`: inputs go in, one Ready at a time comes out (the order of D8 and raft-rs's own contract).
//!
//! ```text
//!   step(Input)*            may change raft
//!   ready() -> Output       append: write and sync, then step(Persisted(number))
//!                           committed: apply, then step(Applied(index))
//! ```
//!
//! Writes: raft's state, the log's tail in memory. Reads: its inputs.
//! Holds I1 (what is handed out is committed and synced) and: between a Ready and its hand-back nothing steps or proposes.
//! Does not write, send, wait or look at a clock.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::{self, EntryType, Message, MessageType};
use raft::{RawNode, StateRole};

use super::{Entry, HardState, LogStore, codec};
use crate::wire::raftpb;

/// How a group is run; times are in ticks.
#[derive(Clone, Debug)]
pub struct Options {
    pub id: u64,
    pub election_ticks: usize,
    pub heartbeat_ticks: usize,
    /// Bound: bytes of entries handed out at once.
    pub committed_bytes_max: u64,
    /// Bound: bytes of proposals waiting while there is no leader.
    pub waiting_bytes_max: usize,
}

/// What may happen to a driver.
#[derive(Debug)]
pub enum Input {
    /// Commands to propose, each the data of one entry. All of one input travel in one message.
    Propose(Vec<Bytes>),
    Tick,
    /// The append with this number, and all before it, survive a crash.
    Persisted(u64),
    /// The state machine holds everything up to this index.
    Applied(u64),
    /// The state engine holds everything up to this index on disk; the log below may go.
    Flushed(u64),
}

/// A configuration change that the state machine accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfChange {
    AddVoter(u64),
    AddLearner(u64),
    Remove(u64),
    Update(u64),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Follower,
    Candidate,
    Leader,
}

/// What others may know of the driver, renewed with every `ready`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub role: Role,
    pub term: u64,
    /// 0 when unknown.
    pub leader: u64,
    pub commit: u64,
    pub last: u64,
    /// This member is the only voter, leads, and has committed an entry of its term: what it has applied is the newest there is (RDX-4, RDX-5).
    pub reads_at_once: bool,
}

/// To be written to the log in one piece, and synced if `sync`; then `Input::Persisted(number)`.
#[derive(Debug, PartialEq, Eq)]
pub struct Append {
    pub number: u64,
    pub entries: Vec<Entry>,
    pub hard_state: Option<HardState>,
    pub sync: bool,
}

/// What one Ready asks for.
#[derive(Debug, Default)]
pub struct Output {
    pub append: Option<Append>,
    /// Committed and synced, in order, each exactly once. To be applied only after `append`, if there is one, was written
    /// (it holds the commit index that these entries rely on).
    pub committed: Vec<Entry>,
    pub status: Option<Status>,
}

/// Proposals refused before they entered the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dropped(pub Vec<Bytes>);

pub struct Driver {
    raw: RawNode<LogStore>,
    options: Options,
    status: Status,
    /// Bound: `waiting_bytes_max`; beyond it proposals are dropped.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Of the newest HardState that went into an append.
    logged: HardState,
    applied: u64,
    /// Appends handed out and not yet reported persisted.
    unsynced: usize,
    numbers: VecDeque<u64>,
    /// Of the newest Ready.
    last_number: u64,
}

impl Driver {
    /// A driver over a log that was read back. `applied` is what the state engine holds, `before` the (index, term) that the log starts after.
    pub fn new(
        options: Options,
        before: (u64, u64),
        entries: &[Entry],
        hard_state: HardState,
        conf_state: &raftpb::ConfState,
        applied: u64,
    ) -> Result<Driver, raft::Error> {
        let start = HardState { commit: hard_state.commit.max(applied), ..hard_state };
        let mut log = LogStore::new(before, codec::hard_state_in(start), codec::conf_state_in(conf_state));
        log.append(&entries.iter().map(codec::entry_in).collect::<Vec<_>>());
        assert!(applied <= log.last(), "Invariant I1: applied {applied} is beyond the last log index {}", log.last());
        let config = raft::Config {
            id: options.id,
            election_tick: options.election_ticks,
            heartbeat_tick: options.heartbeat_ticks,
            applied,
            max_size_per_msg: 512 * 1024,
            max_inflight_msgs: 512,
            check_quorum: true,
            pre_vote: true,
            max_committed_size_per_ready: options.committed_bytes_max,
            ..Default::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log, &logger)?;
        Ok(Driver {
            raw,
            options,
            status: Status::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            logged: start,
            applied,
            unsynced: 0,
            numbers: VecDeque::new(),
            last_number: 0,
        })
    }

    pub fn status(&self) -> Status {
        self.status
    }

    /// Takes one input. What it leads to comes out of `ready`.
    pub fn step(&mut self, input: Input) -> Dropped {
        match input {
            Input::Propose(commands) => return self.step_propose(commands),
            Input::Tick => self.step_tick(),
            Input::Persisted(number) => self.step_persisted(number),
            Input::Applied(index) => self.step_applied(index),
            Input::Flushed(index) => {
                let index = index.min(self.applied);
                self.raw.mut_store().truncate_to(index);
            }
        }
        Dropped::default()
    }

    fn step_propose(&mut self, commands: Vec<Bytes>) -> Dropped {
        if self.raw.raft.state != StateRole::Leader {
            // With no leader, proposals wait here until one is known or their callers' deadlines pass (PRP-5).
            let mut dropped = Vec::new();
            for command in commands {
                if self.waiting_bytes + command.len() > self.options.waiting_bytes_max {
                    dropped.push(command);
                } else {
                    self.waiting_bytes += command.len();
                    self.waiting.push_back(command);
                }
            }
            return Dropped(dropped);
        }
        self.propose(commands)
    }

    fn propose(&mut self, commands: Vec<Bytes>) -> Dropped {
        if commands.is_empty() {
            return Dropped::default();
        }
        let entries: Vec<eraftpb::Entry> =
            commands.iter().map(|data| eraftpb::Entry { data: data.clone(), ..Default::default() }).collect();
        let message = Message { msg_type: MessageType::MsgPropose, from: self.options.id, entries: entries.into(), ..Default::default() };
        match self.raw.step(message) {
            Ok(()) => Dropped::default(),
            Err(_) => Dropped(commands),
        }
    }

    fn step_tick(&mut self) {
        // raft-rs asserts that all is persisted when it becomes leader, so a non-leader does not tick while a write is under way (D6).
        if self.raw.raft.state == StateRole::Leader || self.unsynced == 0 {
            self.raw.tick();
        }
    }

    fn step_persisted(&mut self, number: u64) {
        while self.numbers.front().is_some_and(|&n| n <= number) {
            self.numbers.pop_front();
            self.unsynced -= 1;
        }
        self.raw.on_persist_ready(if self.unsynced == 0 { self.last_number } else { number });
    }

    fn step_applied(&mut self, index: u64) {
        if index > self.applied {
            self.applied = index;
            self.raw.advance_apply_to(index);
            if self.is_sole_voter() {
                // Nobody will ask for what is applied: the log on disk is all that a restart needs.
                self.raw.mut_store().truncate_to(index);
            }
        }
    }

    /// A sole voter has nobody to wait for: it campaigns as soon as nothing stands against it.
    fn campaign_if_alone(&mut self) {
        if self.is_sole_voter()
            && self.raw.raft.state == StateRole::Follower
            && self.unsynced == 0
            && self.applied == self.raw.raft.raft_log.committed
        {
            // The only error is a storage one, which this log never answers for entries that it holds.
            let _ = self.raw.campaign();
        }
    }

    fn is_sole_voter(&self) -> bool {
        let conf = self.raw.raft.prs().conf();
        let voters = conf.voters().ids();
        voters.len() == 1 && voters.contains(self.options.id)
    }

    /// The next thing to do, if there is one. Call again until there is none.
    pub fn ready(&mut self) -> Option<Output> {
        self.campaign_if_alone();
        if self.raw.raft.state == StateRole::Leader && !self.waiting.is_empty() {
            self.waiting_bytes = 0;
            let commands = std::mem::take(&mut self.waiting).into();
            self.propose(commands);
        }
        if !self.raw.has_ready() {
            return self.take_status().map(|status| Output { status: Some(status), ..Output::default() });
        }
        let mut ready = self.raw.ready();
        let number = ready.number();
        let entries = ready.take_entries();
        self.raw.mut_store().append(&entries);
        let hard_state = self.hard_state_to_log(&ready, entries.last().map(|e| e.index));
        let committed = ready.take_committed_entries();
        let append = Append { number, sync: ready.must_sync(), entries: entries.into_iter().map(codec::entry_out).collect(), hard_state };
        self.raw.advance_append_async(ready);
        self.last_number = number;
        let append = if append.entries.is_empty() && append.hard_state.is_none() {
            // To raft a number covers all before it, so one with nothing to write must not speak for appends under way.
            if self.unsynced == 0 {
                self.raw.on_persist_ready(number);
            }
            None
        } else {
            self.numbers.push_back(number);
            self.unsynced += 1;
            Some(append)
        };
        let committed = committed.into_iter().map(codec::entry_out).collect();
        Some(Output { append, committed, status: self.take_status() })
    }

    /// The hard state that belongs behind the entries of a Ready.
    ///
    /// A sole voter's entries are committed by being synced, so the commit index that covers them travels in the same write: a
    /// tear that loses them loses it too, and the later Ready that only moves the commit index needs no write of its own.
    fn hard_state_to_log(&mut self, ready: &raft::Ready, last: Option<u64>) -> Option<HardState> {
        let mut state = match ready.hs() {
            Some(state) => codec::hard_state_out(state),
            None => self.logged,
        };
        state.commit = state.commit.max(self.logged.commit);
        if let Some(last) = last
            && self.raw.raft.state == StateRole::Leader
            && self.is_sole_voter()
        {
            state.commit = state.commit.max(last);
        }
        if state == self.logged {
            return None;
        }
        self.logged = state;
        Some(state)
    }

    fn take_status(&mut self) -> Option<Status> {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        let role = match raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
        };
        let reads_at_once = role == Role::Leader && self.is_sole_voter() && raft.commit_to_current_term();
        let status = Status { role, term: raft.term, leader: raft.leader_id, commit: log.committed, last: log.last_index(), reads_at_once };
        (status != self.status).then(|| {
            self.status = status;
            status
        })
    }

    /// Changes the group as the applier was told to, and answers the conf state that belongs into the same batch.
    pub fn apply_conf_change(&mut self, change: ConfChange) -> Result<raftpb::ConfState, raft::Error> {
        match codec::conf_change_in(change) {
            Some(change) => self.raw.apply_conf_change(&change).map(|state| codec::conf_state_out(&state)),
            None => Ok(codec::conf_state_out(&self.raw.raft.prs().conf().to_conf_state())),
        }
    }
}

const _: () = assert!(EntryType::EntryNormal as i32 == 0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::EntryKind;

    fn options() -> Options {
        Options { id: 7, election_ticks: 10, heartbeat_ticks: 1, committed_bytes_max: 1 << 20, waiting_bytes_max: 1000 }
    }

    fn founding_entry() -> Entry {
        Entry { index: 1, term: 1, kind: EntryKind::ConfChange, data: Bytes::from_static(b"add 7") }
    }

    /// A new member, as bootstrap leaves it: one committed conf change in the log, nothing applied.
    fn founded() -> Driver {
        let hard_state = HardState { term: 1, vote: 0, commit: 1 };
        Driver::new(options(), (0, 0), &[founding_entry()], hard_state, &raftpb::ConfState::default(), 0).unwrap()
    }

    /// Persists and applies everything at once, and answers what was committed and what was appended.
    fn settle(driver: &mut Driver) -> (Vec<Entry>, Vec<Append>) {
        let (mut committed, mut appends) = (Vec::new(), Vec::new());
        while let Some(output) = driver.ready() {
            if let Some(append) = output.append {
                driver.step(Input::Persisted(append.number));
                appends.push(append);
            }
            for entry in output.committed {
                if entry.kind == EntryKind::ConfChange {
                    driver.apply_conf_change(ConfChange::AddVoter(7)).unwrap();
                }
                driver.step(Input::Applied(entry.index));
                committed.push(entry);
            }
        }
        (committed, appends)
    }

    #[test]
    fn a_new_member_applies_its_founding_entry_and_then_leads() {
        let mut driver = founded();
        let (committed, _) = settle(&mut driver);
        assert_eq!(committed[0], founding_entry());
        assert_eq!(committed.iter().map(|e| e.index).collect::<Vec<_>>(), [1, 2], "the founding entry and the leader's empty one");
        let status = driver.status();
        assert_eq!((status.role, status.term, status.leader, status.commit), (Role::Leader, 2, 7, 2));
        assert!(status.reads_at_once);
    }

    #[test]
    fn nothing_is_handed_out_before_it_is_persisted() {
        let mut driver = founded();
        settle(&mut driver);
        driver.step(Input::Propose(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")]));
        let output = driver.ready().expect("an append");
        let append = output.append.expect("both commands in one append");
        assert_eq!(append.entries.len(), 2);
        assert!(append.sync && output.committed.is_empty());
        assert!(driver.ready().is_none_or(|o| o.committed.is_empty()), "Invariant I1");
        driver.step(Input::Persisted(append.number));
        let committed = driver.ready().expect("they are committed now").committed;
        assert_eq!(committed.iter().map(|e| e.data.as_ref()).collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn a_ready_with_nothing_to_write_does_not_speak_for_an_append_under_way() {
        let mut driver = founded();
        settle(&mut driver);
        let propose = |driver: &mut Driver, command: &'static [u8]| {
            driver.step(Input::Propose(vec![Bytes::from_static(command)]));
            driver.ready().and_then(|output| output.append).expect("an append")
        };
        let first = propose(&mut driver, b"a");
        let second = propose(&mut driver, b"b");
        driver.step(Input::Persisted(first.number));
        let (committed, appends) = settle_without_persisting(&mut driver);
        assert_eq!((committed.len(), appends), (1, 0), "Invariant I1: the second is not synced yet");
        driver.step(Input::Persisted(second.number));
        assert_eq!(settle_without_persisting(&mut driver).0.len(), 1);
    }

    /// What is handed out, and how many appends, while no sync is reported.
    fn settle_without_persisting(driver: &mut Driver) -> (Vec<Entry>, usize) {
        let outputs: Vec<Output> = std::iter::from_fn(|| driver.ready()).collect();
        let appends = outputs.iter().filter(|output| output.append.is_some()).count();
        (outputs.into_iter().flat_map(|output| output.committed).collect(), appends)
    }

    #[test]
    fn a_sole_voter_logs_the_commit_index_with_the_entries_that_it_covers() {
        let mut driver = founded();
        settle(&mut driver);
        driver.step(Input::Propose(vec![Bytes::from_static(b"a")]));
        let (committed, appends) = settle(&mut driver);
        assert_eq!(committed.len(), 1);
        assert_eq!(appends.len(), 1, "the commit index needs no write of its own");
        assert_eq!(appends[0].hard_state.map(|h| h.commit), Some(committed[0].index));
    }

    #[test]
    fn proposals_before_there_is_a_leader_wait_within_a_bound() {
        let mut driver = founded();
        assert_eq!(driver.step(Input::Propose(vec![Bytes::from(vec![1; 900])])), Dropped::default());
        assert_eq!(driver.step(Input::Propose(vec![Bytes::from(vec![2; 900])])).0.len(), 1);
        let (committed, _) = settle(&mut driver);
        assert!(committed.iter().any(|e| e.data.len() == 900), "it is proposed once this member leads");
    }

    #[test]
    fn a_restarted_member_applies_only_what_the_state_engine_lacks() {
        let conf = raftpb::ConfState { voters: vec![7], ..Default::default() };
        let entries: Vec<Entry> =
            (4..=6).map(|index| Entry { index, term: 2, kind: EntryKind::Normal, data: Bytes::from(vec![index as u8]) }).collect();
        let mut driver = Driver::new(options(), (3, 2), &entries, HardState { term: 2, vote: 7, commit: 5 }, &conf, 3).unwrap();
        let (committed, _) = settle(&mut driver);
        assert_eq!(committed.iter().map(|e| (e.index, e.term)).collect::<Vec<_>>(), [(4, 2), (5, 2), (6, 2), (7, 3)]);
    }

    #[test]
    #[should_panic(expected = "Invariant I1")]
    fn a_state_ahead_of_its_log_is_refused() {
        let _ = Driver::new(options(), (0, 0), &[], HardState { term: 2, vote: 7, commit: 5 }, &raftpb::ConfState::default(), 9);
    }
}
