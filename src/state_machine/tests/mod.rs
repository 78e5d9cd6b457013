//! The state machine as a small language: entries in, answers and rows out. The engine is the one in memory.

mod alarm;
mod auth;
mod cluster;
mod kv;
mod lease;
mod log;
mod nonsense;
mod snapshot;
mod txn;

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::*;
use crate::mvcc::Step;
use crate::storage::memory::MemoryEngine;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    RequestOp, TxnRequest, alarm_request::AlarmAction, request_op,
};
use crate::wire::hot;
use crate::wire::mvccpb::KeyValue;

const LOCAL: u64 = 0x11;

fn options() -> Options {
    Options {
        mvcc: mvcc::Options::default(),
        quota: Quota::from_flag(-1),
        lease_ttl_min: 2,
        learners_max: 1,
        identity: Identity { cluster_id: 0xc1, member_id: LOCAL },
    }
}

/// One member's state, and the log that led to it.
struct Bench {
    engine: Arc<MemoryEngine>,
    options: Options,
    machine: StateMachine,
    log: Vec<Entry>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(options())
    }

    fn with(options: Options) -> Bench {
        Bench::on(MemoryEngine::new(), options)
    }

    fn on(engine: Arc<MemoryEngine>, options: Options) -> Bench {
        let machine = StateMachine::open(engine.clone(), options.clone(), &mut |_| {}).unwrap();
        Bench { engine, options, machine, log: Vec::new() }
    }

    /// Another start on what the engine has.
    fn restart(self) -> Bench {
        Bench { log: self.log, ..Bench::on(self.engine, self.options) }
    }

    fn entry(&self, kind: EntryKind, data: Bytes) -> Entry {
        Entry { index: self.machine.applied().0 + 1, term: 3, kind, data }
    }

    fn apply(&mut self, action: Action) -> Effects {
        let command = Command { id: 77, caller: Caller::default(), action };
        let entry = self.entry(EntryKind::Normal, command.encode().unwrap());
        self.apply_entry(entry).unwrap()
    }

    fn apply_entry(&mut self, entry: Entry) -> Result<Effects, Fault> {
        self.log.push(entry.clone());
        self.apply_batch(&[entry]).map(|mut effects| effects.remove(0))
    }

    /// As the applier does it.
    fn apply_batch(&mut self, entries: &[Entry]) -> Result<Vec<Effects>, Fault> {
        let mut batch = Batch::default();
        let effects = entries.iter().map(|entry| self.machine.apply(entry, &mut batch)).collect::<Result<_, _>>()?;
        let last = entries.last().expect("a batch has entries");
        self.machine.finish(last.index, last.term, &mut batch);
        self.engine.write(&batch)?;
        self.machine.writer().merge();
        self.machine.writer().publish();
        Ok(effects)
    }

    fn reply(&mut self, action: Action) -> Reply {
        self.apply(action).reply.expect("a command has a reply")
    }

    fn error(&mut self, action: Action) -> Error {
        self.reply(action).expect_err("the command is to be refused")
    }

    fn put(&mut self, key: &str, value: &str) -> hot::PutResponse {
        self.put_request(put(key, value))
    }

    fn put_request(&mut self, request: PutRequest) -> hot::PutResponse {
        match self.reply(Action::Put(request)).unwrap() {
            Response::Put(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn delete(&mut self, key: &str, range_end: &str) -> hot::DeleteRangeResponse {
        match self.reply(Action::DeleteRange(delete(key, range_end))).unwrap() {
            Response::DeleteRange(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn txn(&mut self, request: TxnRequest) -> hot::TxnResponse {
        match self.reply(Action::Txn(request)).unwrap() {
            Response::Txn(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the TTL granted.
    fn grant(&mut self, id: i64, ttl: i64) -> i64 {
        match self.reply(Action::LeaseGrant(LeaseGrantRequest { id, ttl })).unwrap() {
            Response::LeaseGrant(response) => response.ttl,
            other => panic!("{other:?}"),
        }
    }

    fn put_leased(&mut self, key: &str, lease: i64) {
        self.put_request(PutRequest { lease, ..put(key, "v") });
    }

    fn alarm(&mut self, action: AlarmAction, member_id: u64, alarm: AlarmType) -> Vec<(u64, i32)> {
        let request = AlarmRequest { action: action as i32, member_id, alarm: alarm as i32 };
        match self.reply(Action::Alarm(request)).unwrap() {
            Response::Alarm(response) => response.alarms.iter().map(|alarm| (alarm.member_id, alarm.alarm)).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// What a reader sees now.
    fn range(&self, request: &RangeRequest) -> Result<hot::RangeResponse, Error> {
        let mut scan = self.machine.reader().scan(request)?;
        loop {
            match scan.step(100)? {
                Step::Done(response) => return Ok(response),
                Step::More => {}
                Step::Read => scan.read().unwrap(),
            }
        }
    }

    fn get(&self, key: &str) -> Option<KeyValue> {
        let response = self.range(&range(key, "")).unwrap();
        response.kvs.first().map(kv_of)
    }

    fn value(&self, key: &str) -> Option<String> {
        self.get(key).map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
    }

    fn revision(&self) -> i64 {
        self.machine.reader().revision()
    }

    fn row(&self, keyspace: Keyspace, key: &[u8]) -> Option<String> {
        self.engine.get(keyspace, key).unwrap().map(|row| String::from_utf8(row.to_vec()).unwrap())
    }

    /// Over every row that members have in common.
    fn digest(&self) -> u32 {
        let mut digest = 0;
        for keyspace in Keyspace::BUCKETS.into_iter().chain([Keyspace::Index]) {
            let mut add = |key: &[u8], value: &[u8]| {
                for part in [keyspace.name().as_bytes(), &(key.len() as u32).to_be_bytes(), key, &(value.len() as u32).to_be_bytes(), value]
                {
                    digest = crc32c::crc32c_append(digest, part);
                }
                ControlFlow::Continue(())
            };
            self.engine.scan(keyspace, b"", None, &mut add).unwrap();
        }
        digest
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn kv_of(record: &Bytes) -> KeyValue {
    KeyValue::decode(record.clone()).unwrap()
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() }
}

fn delete(key: &str, range_end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: bytes(key), range_end: bytes(range_end), prev_kv: false }
}

fn range(key: &str, range_end: &str) -> RangeRequest {
    RangeRequest { key: bytes(key), range_end: bytes(range_end), ..RangeRequest::default() }
}

fn range_at(key: &str, revision: i64) -> RangeRequest {
    RangeRequest { revision, ..range(key, "") }
}

fn compaction(revision: i64) -> Action {
    Action::Compaction(CompactionRequest { revision, physical: false })
}

fn revoke(id: i64) -> Action {
    Action::LeaseRevoke(LeaseRevokeRequest { id })
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn put_op(key: &str, value: &str) -> RequestOp {
    op(request_op::Request::RequestPut(put(key, value)))
}

fn range_op(key: &str) -> RequestOp {
    op(request_op::Request::RequestRange(range(key, "")))
}

fn delete_op(key: &str) -> RequestOp {
    op(request_op::Request::RequestDeleteRange(delete(key, "")))
}

fn txn_op(request: TxnRequest) -> RequestOp {
    op(request_op::Request::RequestTxn(request))
}

fn then(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success, ..TxnRequest::default() }
}
