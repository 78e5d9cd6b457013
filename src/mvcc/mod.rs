//! Keys through time: every key at every revision since the last compaction.
//!
//! ```text
//!                  Txn --stages--> Writer --merge--> KeyIndex <--slices-- Scan, History, HashKv  <-- Reader (any thread)
//!                   |                |                  |  ^                      |
//!                   v                +--publish--> readable revision              v
//!     Batch: key <revision> -> record, index <revision> -> row ---------------> Engine
//!
//!   revision, record, index_row   the stored forms        tree, key_index, cache   what is in memory
//!   writer, txn, staged           changes                 reader, scan, range      answers
//!   compaction                    forgetting              history, hash            what reads the engine in order
//!   sizes                         how large etcd's file would be                   open: from the engine back to memory
//! ```
//!
//! Writes: the state machine on the applier, through the one `Writer`: keyspaces `key` and `index`, the compact revisions in
//! `meta`, sizes and the layout's stamp in `local`. Reads: anybody, through clones of `Reader`.
//! Holds: I3 (the revision moves by one per transaction that changed something), I5 (compact revision <= revision, both only
//! grow), I6 (nothing is readable before its batch is written), I8 (nobody reads above the published revision).
//! Does not know leases, permissions, quotas or clocks.

mod cache;
mod compaction;
mod hash;
mod history;
pub mod index_row;
mod interval;
mod key_index;
mod open;
mod range;
mod reader;
pub mod record;
pub mod revision;
mod scan;
mod sizes;
mod staged;
mod tally;
mod tree;
mod txn;
mod writer;

#[cfg(test)]
mod tests;

pub use compaction::Sweep;
pub use hash::{HashError, HashKv};
pub use history::{History, HistoryError};
pub use interval::Interval;
pub use open::{OpenError, Options, Rebuild, open};
pub use reader::{Counts, Reader};
pub use revision::Revision;
pub use scan::{Scan, Step};
pub use sizes::Sizes;
pub use tally::Tally;
pub use txn::{Current, Deleted, Put, PutValue, RangeError, Txn};
pub use writer::{Event, Previous, Writer};
