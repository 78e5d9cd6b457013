//! The whole state as etcd's database file: out of one view of the engine, and into an engine that is empty.
//!
//! ```text
//!   engine --view--> export: a sizing pass, then the rows in order --> bbolt file       `snapshot save`, peers, moving out
//!
//!   bbolt file --> import: rows, generations looked at --> batches --> engine           restore, moving in
//!                                                           + index rows, layout stamp (ours alone, derived)
//! ```
//!
//! Writes: export nothing; import the engine that it is given, which nobody else knows yet. Reads: a view; a file from anywhere.
//! Holds: what export writes is a function of the log alone (I4), however far the sweep is; what import accepts exports as the
//! same rows again.
//! Does not know the raft log, digests, or where files are.

mod export;
mod generations;
mod import;
mod rows;

pub use export::{Export, ExportError};
pub use import::{ImportChanges, ImportError, Imported, Position, Progress, import};
