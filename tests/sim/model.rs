//! What a member must be after each entry of its log, worked out the naive way.
//!
//! ```text
//!   entry --Command::decode--> changes (the whole history, never compacted), keys alive, leases, what the reply must be
//! ```
//!
//! Shares nothing with the state machine but the decoding of commands.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use etcd::state_machine::{Action, Command};
use etcd::wire::error::Error;
use etcd::wire::etcdserverpb::compare::{CompareTarget, TargetUnion};
use etcd::wire::etcdserverpb::request_op::Request;
use etcd::wire::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, TxnRequest};
use etcd::wire::mvccpb::KeyValue;

/// The shortest lease of the simulated member, in seconds.
pub const TTL_MIN: i64 = 2;

/// One change of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub revision: i64,
    pub key: Bytes,
    /// `None` for a delete.
    pub after: Option<KeyValue>,
    pub before: Option<KeyValue>,
}

/// What the reply to a command must say.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Put { revision: i64, before: Option<KeyValue> },
    Delete { revision: i64, before: Vec<KeyValue> },
    Txn { revision: i64, succeeded: bool },
    Compaction { revision: i64 },
    Grant { revision: i64, id: i64, ttl: i64 },
    Revoke { revision: i64 },
    Other,
}

impl Answer {
    pub fn revision(&self) -> i64 {
        match self {
            Answer::Put { revision, .. }
            | Answer::Delete { revision, .. }
            | Answer::Txn { revision, .. }
            | Answer::Compaction { revision }
            | Answer::Grant { revision, .. }
            | Answer::Revoke { revision } => *revision,
            Answer::Other => 0,
        }
    }
}

/// A command as it came out of the log.
#[derive(Clone, Debug)]
pub struct Done {
    pub index: u64,
    pub answer: Result<Answer, Error>,
    /// It made a new revision.
    pub has_changed: bool,
    /// How often it is in the log.
    pub times: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Lease {
    pub ttl: i64,
    pub keys: BTreeSet<Bytes>,
}

#[derive(Debug, Default)]
pub struct Model {
    pub index: u64,
    pub revision: i64,
    pub compacted: i64,
    pub live: BTreeMap<Bytes, KeyValue>,
    pub changes: Vec<Change>,
    pub leases: BTreeMap<i64, Lease>,
    pub done: BTreeMap<u64, Done>,
    /// The revision after each index, from index 0 on.
    pub revisions: Vec<i64>,
}

/// Whether a key is in a range as requests name it.
pub fn is_in(key: &[u8], from: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == from,
        b"\0" => key >= from,
        _ => key >= from && key < end,
    }
}

impl Model {
    pub fn new() -> Model {
        Model { revision: 1, compacted: -1, revisions: vec![1], ..Model::default() }
    }

    /// The next entry; an empty one and a conf change move nothing but the index.
    pub fn apply(&mut self, index: u64, command: Option<&Bytes>) {
        assert_eq!(index, self.index + 1, "the model is given every entry once");
        self.index = index;
        if let Some(data) = command.filter(|data| !data.is_empty()) {
            let Command { id, action, .. } = Command::decode(data.clone()).expect("what was proposed decodes");
            let before = self.revision;
            let answer = self.run(action);
            let times = self.done.get(&id).map_or(0, |done| done.times) + 1;
            self.done.insert(id, Done { index, answer, has_changed: self.revision > before, times });
        }
        self.revisions.push(self.revision);
    }

    fn run(&mut self, action: Action) -> Result<Answer, Error> {
        let next = self.revision + 1;
        match action {
            Action::Put(put) => {
                if put.lease != 0 && !self.leases.contains_key(&put.lease) {
                    return Err(Error::LeaseNotFound);
                }
                let before = self.put(&put, next);
                self.revision = next;
                Ok(Answer::Put { revision: next, before: before.filter(|_| put.prev_kv) })
            }
            Action::DeleteRange(delete) => {
                let before = self.delete(&delete, next);
                self.revision += i64::from(!before.is_empty());
                Ok(Answer::Delete { revision: self.revision, before })
            }
            Action::Txn(txn) => Ok(self.txn(&txn, next)),
            Action::Compaction(compaction) if compaction.revision <= self.compacted => Err(Error::Compacted),
            Action::Compaction(compaction) if compaction.revision > self.revision => Err(Error::FutureRev),
            Action::Compaction(compaction) => {
                self.compacted = compaction.revision;
                Ok(Answer::Compaction { revision: self.revision })
            }
            Action::LeaseGrant(grant) if self.leases.contains_key(&grant.id) => Err(Error::LeaseExist),
            Action::LeaseGrant(grant) => {
                let ttl = grant.ttl.max(TTL_MIN);
                self.leases.insert(grant.id, Lease { ttl, keys: BTreeSet::new() });
                Ok(Answer::Grant { revision: self.revision, id: grant.id, ttl })
            }
            Action::LeaseRevoke(revoke) => {
                let Some(lease) = self.leases.get(&revoke.id).cloned() else { return Err(Error::LeaseNotFound) };
                for key in &lease.keys {
                    self.remove(key, next);
                    self.revision = next;
                }
                self.leases.remove(&revoke.id);
                Ok(Answer::Revoke { revision: self.revision })
            }
            _ => Ok(Answer::Other),
        }
    }

    fn txn(&mut self, txn: &TxnRequest, next: i64) -> Answer {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        for op in if succeeded { &txn.success } else { &txn.failure } {
            match &op.request {
                Some(Request::RequestPut(put)) => {
                    self.put(put, next);
                    self.revision = next;
                }
                Some(Request::RequestDeleteRange(delete)) if self.delete(delete, next).is_empty() => {}
                Some(Request::RequestDeleteRange(_)) => self.revision = next,
                _ => {}
            }
        }
        Answer::Txn { revision: self.revision, succeeded }
    }

    /// The clients compare mod revisions and versions for equality, nothing else.
    fn holds(&self, compare: &Compare) -> bool {
        let kv = self.live.get(&compare.key);
        match (compare.target == CompareTarget::Mod as i32, &compare.target_union) {
            (true, Some(TargetUnion::ModRevision(wanted))) => kv.map_or(0, |kv| kv.mod_revision) == *wanted,
            (false, Some(TargetUnion::Version(wanted))) => kv.map_or(0, |kv| kv.version) == *wanted,
            other => panic!("the clients do not compare like that: {other:?}"),
        }
    }

    fn put(&mut self, put: &PutRequest, revision: i64) -> Option<KeyValue> {
        let before = self.live.get(&put.key).cloned();
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: before.as_ref().map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: before.as_ref().map_or(0, |kv| kv.version) + 1,
            value: put.value.clone(),
            lease: put.lease,
        };
        self.detach(&put.key);
        if let Some(lease) = self.leases.get_mut(&put.lease) {
            lease.keys.insert(put.key.clone());
        }
        self.live.insert(put.key.clone(), kv.clone());
        self.changes.push(Change { revision, key: put.key.clone(), after: Some(kv), before: before.clone() });
        before
    }

    fn delete(&mut self, delete: &DeleteRangeRequest, revision: i64) -> Vec<KeyValue> {
        let keys: Vec<Bytes> = self.live.keys().filter(|key| is_in(key, &delete.key, &delete.range_end)).cloned().collect();
        keys.iter().filter_map(|key| self.remove(key, revision)).collect()
    }

    fn remove(&mut self, key: &Bytes, revision: i64) -> Option<KeyValue> {
        self.detach(key);
        let before = self.live.remove(key);
        self.changes.push(Change { revision, key: key.clone(), after: None, before: before.clone() });
        before
    }

    fn detach(&mut self, key: &Bytes) {
        for lease in self.leases.values_mut() {
            lease.keys.remove(key);
        }
    }

    /// The keys alive at a revision.
    pub fn at(&self, revision: i64) -> BTreeMap<Bytes, KeyValue> {
        let mut live = BTreeMap::new();
        for change in self.changes.iter().take_while(|change| change.revision <= revision) {
            match &change.after {
                Some(kv) => live.insert(change.key.clone(), kv.clone()),
                None => live.remove(&change.key),
            };
        }
        live
    }

    /// The changes of revisions `from..=last`.
    pub fn between(&self, from: i64, last: i64) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| (from..=last).contains(&change.revision))
    }

    /// The revision after the entry at this index.
    pub fn revision_at(&self, index: u64) -> i64 {
        self.revisions[index as usize]
    }
}
