//! The host of raft-rs: what is proposed here comes out committed, in order, on every member.
//!
//! ```text
//!   Input --> Driver::step --> RawNode --> Output { append, committed, .. }
//!                 ^                            |         |
//!                 |                          log stage   +--> applier
//!                 +-- Persisted(number) -------+
//! ```
//!
//! Writes: the raft state and the tail of the log in memory. Reads: nothing outside; no clock, thread or file (D7).
//! Holds I1: entries are handed out only when they are committed and synced here, because raft-rs hands out no others.
//! raft-rs types stay inside this room; bytes are encoded by our own raftpb (D8).

mod codec;
mod driver;
mod log_stage;
mod log_store;

pub use driver::{Append, ConfChange, Driver, Input, Options, Output, Role, Status};
pub use log_stage::{Error as LogError, LogStage};
pub use log_store::LogStore;

pub use crate::wal::HardState;

use bytes::Bytes;

/// What an entry of the log holds; the numbers are raftpb's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Normal,
    ConfChange,
    ConfChangeV2,
}

/// One entry of the raft log. The data is shared, never copied, on its way from the log to the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub index: u64,
    pub term: u64,
    pub kind: EntryKind,
    pub data: Bytes,
}
