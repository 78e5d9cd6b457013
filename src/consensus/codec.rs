//! Between raft-rs's types and ours. The conf-change numbers of the two differ (D8), so each case is spelt out.

use raft::eraftpb;

use super::{ConfChange, Entry, EntryKind, HardState};
use crate::wire::raftpb;

pub fn entry_out(entry: eraftpb::Entry) -> Entry {
    let kind = match entry.entry_type {
        eraftpb::EntryType::EntryNormal => EntryKind::Normal,
        eraftpb::EntryType::EntryConfChange => EntryKind::ConfChange,
        eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    };
    Entry { index: entry.index, term: entry.term, kind, data: entry.data }
}

pub fn entry_in(entry: &Entry) -> eraftpb::Entry {
    eraftpb::Entry {
        entry_type: match entry.kind {
            EntryKind::Normal => eraftpb::EntryType::EntryNormal,
            EntryKind::ConfChange => eraftpb::EntryType::EntryConfChange,
            EntryKind::ConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
        },
        term: entry.term,
        index: entry.index,
        data: entry.data.clone(),
        ..Default::default()
    }
}

pub fn hard_state_out(state: &eraftpb::HardState) -> HardState {
    HardState { term: state.term, vote: state.vote, commit: state.commit }
}

pub fn hard_state_in(state: HardState) -> eraftpb::HardState {
    eraftpb::HardState { term: state.term, vote: state.vote, commit: state.commit, ..Default::default() }
}

pub fn conf_state_in(state: &raftpb::ConfState) -> eraftpb::ConfState {
    eraftpb::ConfState {
        voters: state.voters.clone(),
        learners: state.learners.clone(),
        voters_outgoing: state.voters_outgoing.clone(),
        learners_next: state.learners_next.clone(),
        auto_leave: state.auto_leave.unwrap_or_default(),
        ..Default::default()
    }
}

pub fn conf_state_out(state: &eraftpb::ConfState) -> raftpb::ConfState {
    raftpb::ConfState {
        voters: state.voters.clone(),
        learners: state.learners.clone(),
        voters_outgoing: state.voters_outgoing.clone(),
        learners_next: state.learners_next.clone(),
        auto_leave: Some(state.auto_leave),
    }
}

/// A change that the state machine accepted, as raft-rs wants it. An update changes no raft configuration: `None`.
pub fn conf_change_in(change: ConfChange) -> Option<eraftpb::ConfChangeV2> {
    let (kind, node) = match change {
        ConfChange::AddVoter(node) => (eraftpb::ConfChangeType::AddNode, node),
        ConfChange::AddLearner(node) => (eraftpb::ConfChangeType::AddLearnerNode, node),
        ConfChange::Remove(node) => (eraftpb::ConfChangeType::RemoveNode, node),
        ConfChange::Update(_) => return None,
    };
    let single = eraftpb::ConfChangeSingle { change_type: kind, node_id: node, ..Default::default() };
    Some(eraftpb::ConfChangeV2 { changes: vec![single].into(), ..Default::default() })
}
