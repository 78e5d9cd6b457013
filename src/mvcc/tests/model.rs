//! The store as a list of everything that ever happened, every question answered by looking through all of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::mvcc::{Interval, Revision};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::RangeRequest;
use crate::wire::mvccpb::{Event, KeyValue};

#[derive(Clone, Debug)]
pub struct Change {
    pub revision: Revision,
    pub key: Bytes,
    /// `None` for a tombstone.
    pub kv: Option<KeyValue>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub changes: Vec<Change>,
    pub revision: i64,
    pub compacted: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub kvs: Vec<KeyValue>,
    pub more: bool,
    pub count: i64,
}

impl Model {
    pub fn new() -> Model {
        Model { changes: Vec::new(), revision: 1, compacted: -1 }
    }

    /// Every key alive at a revision.
    pub fn at(&self, revision: i64) -> BTreeMap<Bytes, KeyValue> {
        let mut alive = BTreeMap::new();
        for change in self.changes.iter().filter(|change| change.revision.main <= revision) {
            match &change.kv {
                Some(kv) => alive.insert(change.key.clone(), kv.clone()),
                None => alive.remove(&change.key),
            };
        }
        alive
    }

    pub fn put(&mut self, main: i64, sub: i64, key: &Bytes, value: Option<Bytes>, lease: i64) {
        let before = self.at(i64::MAX).remove(key);
        let value = value.unwrap_or_else(|| before.as_ref().map(|kv| kv.value.clone()).unwrap_or_default());
        let (create, version) = before.map_or((main, 1), |kv| (kv.create_revision, kv.version + 1));
        let kv = KeyValue { key: key.clone(), create_revision: create, mod_revision: main, version, value, lease };
        self.changes.push(Change { revision: Revision::new(main, sub), key: key.clone(), kv: Some(kv) });
    }

    /// The keys that went.
    pub fn delete(&mut self, main: i64, mut sub: i64, interval: &Interval<'_>) -> Vec<KeyValue> {
        let doomed: Vec<KeyValue> = self.at(i64::MAX).into_values().filter(|kv| interval.contains(&kv.key)).collect();
        for kv in &doomed {
            self.changes.push(Change { revision: Revision::new(main, sub), key: kv.key.clone(), kv: None });
            sub += 1;
        }
        doomed
    }

    pub fn compact(&mut self, revision: i64) -> Result<(), Error> {
        match revision {
            _ if revision <= self.compacted => Err(Error::Compacted),
            _ if revision > self.revision => Err(Error::FutureRev),
            _ => {
                self.compacted = revision;
                Ok(())
            }
        }
    }

    /// RNG-5..RNG-12 by the letter. `latest` is what revision 0 means.
    pub fn range(&self, request: &RangeRequest, latest: i64) -> Result<Answer, Error> {
        if request.revision > latest {
            return Err(Error::FutureRev);
        }
        let at = if request.revision > 0 { request.revision } else { latest };
        if at < self.compacted {
            return Err(Error::Compacted);
        }
        let interval = Interval::new(&request.key, &request.range_end);
        let mut kvs: Vec<KeyValue> = self.at(at).into_values().filter(|kv| interval.contains(&kv.key)).collect();
        let count = kvs.len() as i64;
        if request.count_only {
            return Ok(Answer { kvs: Vec::new(), more: false, count });
        }
        let (order, target) = (request.sort_order, request.sort_target);
        let is_filtered = [request.min_mod_revision, request.max_mod_revision, request.min_create_revision, request.max_create_revision]
            .iter()
            .any(|revision| *revision != 0);
        let is_plain = order == 0 || (order == 1 && target == 0);
        if request.limit > 0 && is_plain && !is_filtered {
            kvs.truncate(request.limit as usize + 1);
        }
        kvs.retain(|kv| {
            (request.max_mod_revision == 0 || kv.mod_revision <= request.max_mod_revision)
                && (request.min_mod_revision == 0 || kv.mod_revision >= request.min_mod_revision)
                && (request.max_create_revision == 0 || kv.create_revision <= request.max_create_revision)
                && (request.min_create_revision == 0 || kv.create_revision >= request.min_create_revision)
        });
        // RNG-10 leaves the order of equal targets open; ours is that of the keys.
        let target_of = |kv: &KeyValue| match target {
            0 => (0, kv.key.clone()),
            1 => (kv.version, Bytes::new()),
            2 => (kv.create_revision, Bytes::new()),
            3 => (kv.mod_revision, Bytes::new()),
            _ => (0, kv.value.clone()),
        };
        if order == 2 {
            kvs.sort_by_key(|kv| std::cmp::Reverse(target_of(kv)));
        } else {
            kvs.sort_by_key(target_of);
        }
        let more = request.limit > 0 && kvs.len() as i64 > request.limit;
        if more {
            kvs.truncate(request.limit as usize);
        }
        if request.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::new();
                if target != 4 {
                    kv.lease = 0;
                }
            }
        }
        Ok(Answer { kvs, more, count })
    }

    /// Events of the revisions `from..=last`, with the key's state before each revision.
    pub fn events(&self, from: i64, last: i64) -> Vec<(Event, Option<KeyValue>)> {
        let wanted = self.changes.iter().filter(|change| (from..=last).contains(&change.revision.main));
        wanted.map(|change| self.event(change)).collect()
    }

    pub fn event(&self, change: &Change) -> (Event, Option<KeyValue>) {
        let before = change.revision.main - 1;
        let is_create = change.kv.as_ref().is_some_and(|kv| kv.create_revision == kv.mod_revision);
        let prev = if before < self.compacted || is_create { None } else { self.at(before).remove(&change.key) };
        let event = match &change.kv {
            Some(kv) => Event { r#type: 0, kv: Some(kv.clone()), prev_kv: None },
            None => {
                let kv = KeyValue { key: change.key.clone(), mod_revision: change.revision.main, ..Default::default() };
                Event { r#type: 1, kv: Some(kv), prev_kv: None }
            }
        };
        (event, prev)
    }

    /// Records that a finished sweep leaves: key of the `key` keyspace and value.
    pub fn kept(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut kept = Vec::new();
        for (at, change) in self.changes.iter().enumerate() {
            let replaced = self.changes[at + 1..].iter().find(|newer| newer.key == change.key).map(|newer| newer.revision.main);
            let is_kept = match &change.kv {
                Some(_) => replaced.is_none_or(|main| main > self.compacted),
                None => change.revision.main >= self.compacted,
            };
            if is_kept {
                kept.push(change.stored());
            }
        }
        kept
    }

    /// HSH-2 as etcd computes it once its sweep is through.
    pub fn hash(&self, revision: i64) -> u32 {
        let alive = self.at(revision);
        let mut hash = crc32c::crc32c(b"key");
        for (key, value) in self.kept() {
            let (at, is_tombstone) = Revision::decode(&key).unwrap();
            let is_newest = || {
                let kv = KeyValue::decode(&value[..]).unwrap();
                let changes = self.changes.iter().filter(|change| change.key == kv.key && change.revision.main <= revision);
                changes.last().is_some_and(|change| change.revision == at)
            };
            if at.main > revision
                || (is_tombstone && at.main == self.compacted)
                || (at.main <= self.compacted && !alive.is_empty() && !is_newest())
            {
                continue;
            }
            hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, &key), &value);
        }
        hash
    }
}

impl Change {
    fn stored(&self) -> (Vec<u8>, Vec<u8>) {
        match &self.kv {
            Some(kv) => (self.revision.encode().to_vec(), kv.encode_to_vec()),
            None => {
                let kv = KeyValue { key: self.key.clone(), ..Default::default() };
                (self.revision.encode_tombstone().to_vec(), kv.encode_to_vec())
            }
        }
    }
}
