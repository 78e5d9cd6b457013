//! Byte keyspaces with atomic batches: what the state of a member is kept in.
//!
//! ```text
//!   Batch --write--> Engine ---flush---> disk          (no log of its own: the raft log is the log, D2)
//!                      |  \
//!                      |   +--view--> View: consistent, never moves
//!                      +-----get / scan: the newest written
//! ```
//!
//! Writes: the applier alone (one `write` at a time). Reads: everybody.
//! Holds: a batch is written whole or not at all, in memory and after a crash; after a crash the engine is at some earlier
//! batch, with no gap before it (the keyspaces are flushed together).
//! Does not know what the bytes mean; `keyspace` draws the keys.

pub mod keyspace;
pub mod memory;
pub mod rocks;
mod tables;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use keyspace::Keyspace;

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put { keyspace: Keyspace, key: Bytes, value: Bytes },
    Delete { keyspace: Keyspace, key: Bytes },
}

/// Changes that become visible and durable together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    ops: Vec<Op>,
    bytes: usize,
}

impl Batch {
    pub fn put(&mut self, keyspace: Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.ops.push(Op::Put { keyspace, key, value });
    }

    pub fn delete(&mut self, keyspace: Keyspace, key: impl Into<Bytes>) {
        let key = key.into();
        self.bytes += key.len();
        self.ops.push(Op::Delete { keyspace, key });
    }

    /// In the order they were added; a later change of a key wins.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub fn clear(&mut self) {
        self.ops.clear();
        self.bytes = 0;
    }
}

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk is full: nothing was written, the same batch may be tried again (D2).
    #[error("no space for the state engine: {0}")]
    NoSpace(String),
    /// The engine would have to wait for its own flushes: nothing was written, the same batch may be tried again (D2).
    #[error("the state engine is behind with its flushes: {0}")]
    Stalled(String),
    /// Anything else: this member must stop.
    #[error("the state engine failed: {0}")]
    Fault(String),
}

/// What an engine holds outside the process and inside it, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub disk: u64,
    pub memory: u64,
}

/// Called with each key and value of a scan, in ascending order of keys; `Break` ends the scan.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// What can be read, from the newest state or from a view of it.
pub trait Read: Send + Sync {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// As many answers as keys, in their order.
    fn multi_get(&self, keyspace: Keyspace, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error>;

    /// Visits keys in [`from`, `to`), or to the end of the keyspace. Fills no cache.
    fn scan(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), Error>;
}

/// Takes rows one by one, of each keyspace in ascending order of keys.
pub trait Load {
    fn put(&mut self, keyspace: Keyspace, key: &[u8], value: &[u8]) -> Result<(), Error>;
}

/// Puts rows; `Break` says that they are not wanted after all.
pub type Fill<'a> = &'a mut dyn FnMut(&mut dyn Load) -> Result<ControlFlow<()>, Error>;

/// A state engine.
pub trait Engine: Read {
    /// Takes all that `fill` puts, into keyspaces that hold nothing yet: for a store that is filled from elsewhere, where batches would cost
    /// several times as much. Nobody else writes meanwhile. What is there after a break, an error or a crash is any part of it.
    fn load(&self, fill: Fill<'_>) -> Result<(), Error> {
        let mut load = BatchLoad { write: &|batch| self.write(batch), batch: Batch::default() };
        match fill(&mut load)? {
            ControlFlow::Continue(()) => load.write(),
            ControlFlow::Break(()) => Ok(()),
        }
    }

    /// Makes a batch visible. Crash: the batch may or may not be there afterwards, until a `flush` that began after it returned.
    fn write(&self, batch: &Batch) -> Result<(), Error>;

    /// Returns when everything written before the call survives a crash.
    fn flush(&self) -> Result<(), Error>;

    /// The value a crash right now would leave behind.
    fn get_persisted(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// A consistent picture of now.
    fn view(&self) -> Arc<dyn Read>;

    /// Rewrites the files without what was deleted. Readers and writers go on meanwhile.
    fn defragment(&self) -> Result<(), Error>;

    fn usage(&self) -> Usage;
}

/// Bound: bytes of rows that are held before they are written.
const LOAD_BYTES: usize = 1 << 20;
/// Bound: rows that are held before they are written.
const LOAD_ROWS: usize = 4096;
/// How long an engine that is behind with its flushes is left alone.
const RETRY_STALL: Duration = Duration::from_millis(5);

/// Rows that are written as batches.
struct BatchLoad<'a> {
    write: &'a dyn Fn(&Batch) -> Result<(), Error>,
    batch: Batch,
}

impl BatchLoad<'_> {
    fn write(&mut self) -> Result<(), Error> {
        loop {
            match (self.write)(&self.batch) {
                Err(Error::Stalled(_)) => std::thread::park_timeout(RETRY_STALL),
                done => break done?,
            }
        }
        self.batch.clear();
        Ok(())
    }
}

impl Load for BatchLoad<'_> {
    fn put(&mut self, keyspace: Keyspace, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.batch.put(keyspace, key.to_vec(), value.to_vec());
        if self.batch.bytes() >= LOAD_BYTES || self.batch.ops().len() >= LOAD_ROWS { self.write() } else { Ok(()) }
    }
}
