//! What applying an entry asks the rest of the member to do. Nothing here happens before the batch is written (I6).

use crate::membership::Member;
use crate::storage;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{
    AlarmResponse, CompactionResponse, LeaseCheckpointResponse, LeaseGrantResponse, LeaseRevokeResponse, ResponseHeader,
};
use crate::wire::{hot, raftpb};

/// The answer of an entry; its headers hold the revision alone, the server adds who it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    Range(hot::RangeResponse),
    Put(hot::PutResponse),
    DeleteRange(hot::DeleteRangeResponse),
    Txn(hot::TxnResponse),
    Compaction(CompactionResponse),
    LeaseGrant(LeaseGrantResponse),
    LeaseRevoke(LeaseRevokeResponse),
    LeaseCheckpoint(LeaseCheckpointResponse),
    Alarm(AlarmResponse),
    /// All members after a conf change, by id.
    Members(Vec<Member>),
    /// Of what only members ask each other.
    Empty,
}

pub type Reply = Result<Response, Error>;

/// For the leader's deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEffect {
    Granted { id: i64, ttl: i64 },
    Revoked { id: i64 },
    Checkpointed { id: i64, remaining: i64 },
}

/// A conf change that passed the rules: the applier hands it to raft and gives the conf state it gets back to
/// `StateMachine::set_conf_state`, in the same batch. One that did not pass makes no raft call at all (RMV-3).
#[derive(Clone, Debug, PartialEq)]
pub struct ConfChange {
    pub change: raftpb::ConfChange,
    /// This member was removed: it stops once others had time to hear of it (RMV-1).
    pub removes_self: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Whom the reply is for; zero where nobody can wait (an empty entry).
    pub request_id: u64,
    pub reply: Option<Reply>,
    pub lease: Vec<LeaseEffect>,
    /// The write found this member's quota exceeded: it is applied, its reply is the no-space error, and the node is to propose
    /// a NOSPACE alarm for itself before it lets the reply go (QUO-4).
    pub raise_nospace: bool,
    pub conf_change: Option<ConfChange>,
    /// A compaction was applied: reads below are refused from the next publish on; there is something to sweep.
    pub compacted: Option<i64>,
}

/// This member cannot go on: its state would no longer be that of the others.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error("entry {index} cannot be applied: {why}")]
    Entry { index: u64, why: String },
}

/// How a part of apply ends early.
#[derive(Debug)]
pub(super) enum Stop {
    /// With an answer, and no change.
    Rejected(Error),
    Storage(storage::Error),
    /// With what no client can bring about: a mistake of ours, or of the member that wrote the entry.
    Fault(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Rejected(error)
    }
}

impl From<storage::Error> for Stop {
    fn from(error: storage::Error) -> Stop {
        Stop::Storage(error)
    }
}

pub(super) type Outcome<T> = Result<T, Stop>;

pub(super) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}
