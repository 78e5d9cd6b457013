//! An engine of sorted maps, and a store on top of it in the shape in which the applier uses it.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::mvcc::{Event, Options, PutValue, Reader, Step, Sweep, Txn, Writer, open};
use crate::storage::{Batch, Engine, Error, Keyspace, Op, Read, Usage, Visit};
use crate::wire::error::Error as Rejection;
use crate::wire::etcdserverpb::RangeRequest;
use crate::wire::mvccpb::KeyValue;
use crate::wire::{hot, mvccpb};

type Rows = BTreeMap<(Keyspace, Bytes), Bytes>;

#[derive(Default)]
pub struct MapEngine {
    rows: RwLock<Rows>,
}

struct View(Rows);

fn scan(rows: &Rows, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) {
    let from = (keyspace, Bytes::copy_from_slice(from));
    for ((space, key), value) in rows.range((Bound::Included(from), Bound::Unbounded)) {
        if *space != keyspace || to.is_some_and(|to| &key[..] >= to) || visit(key, value) == ControlFlow::Break(()) {
            return;
        }
    }
}

impl Read for View {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.0.get(&(keyspace, Bytes::copy_from_slice(key))).cloned())
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        keys.iter().map(|key| self.get(keyspace, key)).collect()
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), Error> {
        scan(&self.0, keyspace, from, to, visit);
        Ok(())
    }
}

impl Read for MapEngine {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.rows.read().get(&(keyspace, Bytes::copy_from_slice(key))).cloned())
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        keys.iter().map(|key| self.get(keyspace, key)).collect()
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), Error> {
        scan(&self.rows.read(), keyspace, from, to, visit);
        Ok(())
    }
}

impl Engine for MapEngine {
    fn write(&self, batch: &Batch) -> Result<(), Error> {
        let mut rows = self.rows.write();
        for op in batch.ops() {
            match op.clone() {
                Op::Put { keyspace, key, value } => rows.insert((keyspace, key), value),
                Op::Delete { keyspace, key } => rows.remove(&(keyspace, key)),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn get_persisted(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.get(keyspace, key)
    }

    fn view(&self) -> Arc<dyn Read> {
        Arc::new(View(self.rows.read().clone()))
    }

    fn defragment(&self) -> Result<(), Error> {
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// A store as the applier drives it, a batch per call.
pub struct Store {
    pub engine: Arc<MapEngine>,
    pub options: Options,
    pub writer: Writer,
    pub reader: Reader,
    /// Everything offered to watchers since the last restart.
    pub events: Vec<Event>,
}

impl Store {
    pub fn new() -> Store {
        Store::with(Options::default())
    }

    pub fn with(options: Options) -> Store {
        Store::on(Arc::new(MapEngine::default()), options)
    }

    pub fn on(engine: Arc<MapEngine>, options: Options) -> Store {
        let (writer, reader) = open(engine.clone(), options, &mut |_| {}).unwrap();
        Store { engine, options, writer, reader, events: Vec::new() }
    }

    /// What a new process would find.
    pub fn restart(self) -> Store {
        Store::on(self.engine, self.options)
    }

    pub fn batch<T>(&mut self, fill: impl FnOnce(&mut Writer, &mut Batch) -> T) -> T {
        let mut batch = Batch::default();
        let result = fill(&mut self.writer, &mut batch);
        self.engine.write(&batch).unwrap();
        self.writer.merge();
        self.events.extend(self.writer.take_events());
        self.writer.publish();
        result
    }

    pub fn txn<T>(&mut self, run: impl FnOnce(&mut Txn<'_>) -> T) -> (T, i64) {
        self.batch(|writer, batch| {
            let mut txn = writer.begin(batch);
            let result = run(&mut txn);
            (result, txn.end())
        })
    }

    pub fn put(&mut self, key: &str, value: &str) -> i64 {
        self.put_leased(key, value, 0)
    }

    pub fn put_leased(&mut self, key: &str, value: &str, lease: i64) -> i64 {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.txn(|txn| txn.put(Bytes::copy_from_slice(key.as_bytes()), PutValue::New(value), lease, false).unwrap()).1
    }

    pub fn delete(&mut self, key: &str, range_end: &str) -> (usize, i64) {
        let (deleted, revision) = self.txn(|txn| txn.delete_range(key.as_bytes(), range_end.as_bytes(), false).unwrap());
        (deleted.len(), revision)
    }

    pub fn compact(&mut self, revision: i64) -> Result<(), Rejection> {
        self.batch(|writer, batch| writer.compact(revision, batch))
    }

    pub fn sweep(&mut self) {
        while self.batch(|writer, batch| writer.sweep(batch, 7)) == Sweep::More {}
    }

    pub fn range(&self, request: &RangeRequest) -> Result<hot::RangeResponse, Rejection> {
        self.range_in_steps(request, usize::MAX)
    }

    pub fn range_in_steps(&self, request: &RangeRequest, keys: usize) -> Result<hot::RangeResponse, Rejection> {
        let mut scan = self.reader.scan(request)?;
        loop {
            match scan.step(keys)? {
                Step::Done(response) => return Ok(response),
                Step::More => {}
                Step::Read => {
                    assert!(scan.missing() > 0);
                    scan.read().unwrap();
                }
            }
        }
    }

    pub fn get(&self, key: &str, revision: i64) -> Result<Option<KeyValue>, Rejection> {
        let request = RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), revision, ..Default::default() };
        self.range(&request).map(|response| kvs(&response).pop())
    }

    pub fn rows(&self, keyspace: Keyspace) -> Vec<(Bytes, Bytes)> {
        let mut rows = Vec::new();
        self.engine
            .scan(keyspace, &[], None, &mut |key, value| {
                rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                ControlFlow::Continue(())
            })
            .unwrap();
        rows
    }
}

pub fn kvs(response: &hot::RangeResponse) -> Vec<KeyValue> {
    response.kvs.iter().map(decode).collect()
}

pub fn decode(record: &Bytes) -> KeyValue {
    prost::Message::decode(record.clone()).unwrap()
}

pub fn event(event: &Event) -> mvccpb::Event {
    prost::Message::decode(event.encoded.clone()).unwrap()
}
