//! A state engine in memory, for simulation and tests: it loses what was not flushed, and fails when told to.
//!
//! ```text
//!   write --> current ---flush---> flushed
//!                ^                    |
//!                +------- crash ------+
//! ```
//!
//! Writes: one applier. Reads: everybody. The same calls give the same answers in every run: no thread, clock or hash order.
//! A keyspace is copied on the first write after a view or a flush of it, so this is for stores of a test's size.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Batch, Engine, Error, Keyspace, Op, Read, Usage, Visit};

/// What an injected failure looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    NoSpace,
    Fault,
}

impl Failure {
    fn error(self) -> Error {
        match self {
            Failure::NoSpace => Error::NoSpace("injected".into()),
            Failure::Fault => Error::Fault("injected".into()),
        }
    }
}

type Rows = BTreeMap<Keyspace, Arc<BTreeMap<Bytes, Bytes>>>;

#[derive(Default)]
struct State {
    current: Rows,
    flushed: Rows,
    failure: Option<Failure>,
}

/// See the module.
#[derive(Default)]
pub struct MemoryEngine {
    state: Mutex<State>,
}

impl MemoryEngine {
    pub fn new() -> Arc<MemoryEngine> {
        Arc::default()
    }

    /// Throws away everything written since the last flush, as a crash of the machine would.
    pub fn crash(&self) {
        let mut state = self.state.lock();
        state.current = state.flushed.clone();
    }

    /// From now on every write and flush fails like this and changes nothing, until called with `None`.
    pub fn fail_writes(&self, failure: Option<Failure>) {
        self.state.lock().failure = failure;
    }
}

impl Read for MemoryEngine {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(get(&self.state.lock().current, keyspace, key))
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        let state = self.state.lock();
        Ok(keys.iter().map(|key| get(&state.current, keyspace, key)).collect())
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), Error> {
        // The lock is not held while visiting: a visitor may read or write this engine.
        let rows = self.state.lock().current.get(&keyspace).cloned();
        scan(rows.as_deref(), from, to, visit);
        Ok(())
    }
}

impl Engine for MemoryEngine {
    fn write(&self, batch: &Batch) -> Result<(), Error> {
        let mut state = self.state.lock();
        if let Some(failure) = state.failure {
            return Err(failure.error());
        }
        for op in batch.ops() {
            match op {
                Op::Put { keyspace, key, value } => {
                    Arc::make_mut(state.current.entry(*keyspace).or_default()).insert(key.clone(), value.clone());
                }
                Op::Delete { keyspace, key } => {
                    Arc::make_mut(state.current.entry(*keyspace).or_default()).remove(key);
                }
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        if let Some(failure) = state.failure {
            return Err(failure.error());
        }
        state.flushed = state.current.clone();
        Ok(())
    }

    fn get_persisted(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(get(&self.state.lock().flushed, keyspace, key))
    }

    fn view(&self) -> Arc<dyn Read> {
        Arc::new(MemoryView { rows: self.state.lock().current.clone() })
    }

    fn defragment(&self) -> Result<(), Error> {
        Ok(())
    }

    fn usage(&self) -> Usage {
        let bytes = |rows: &Rows| rows.values().flat_map(|rows| rows.iter()).map(|(key, value)| (key.len() + value.len()) as u64).sum();
        let state = self.state.lock();
        Usage { disk: bytes(&state.flushed), memory: bytes(&state.current) }
    }
}

struct MemoryView {
    rows: Rows,
}

impl Read for MemoryView {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(get(&self.rows, keyspace, key))
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        Ok(keys.iter().map(|key| get(&self.rows, keyspace, key)).collect())
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), Error> {
        scan(self.rows.get(&keyspace).map(|rows| &**rows), from, to, visit);
        Ok(())
    }
}

fn get(rows: &Rows, keyspace: Keyspace, key: &[u8]) -> Option<Bytes> {
    rows.get(&keyspace)?.get(key).cloned()
}

fn scan(rows: Option<&BTreeMap<Bytes, Bytes>>, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) {
    let Some(rows) = rows else { return };
    for (key, value) in rows.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)) {
        // Not a bound of the range: a map panics where `to` lies before `from`, an engine finds nothing there.
        if to.is_some_and(|to| &key[..] >= to) || visit(key, value) == ControlFlow::Break(()) {
            return;
        }
    }
}
