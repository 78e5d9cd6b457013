//! Random histories, the store beside the model. A failure prints its steps and its seed.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::engine::{Store, decode, event, kvs};
use super::model::{Answer, Model};
use crate::mvcc::{HashError, HistoryError, Interval, Options, PutValue, Scan, Step, Sweep, Txn};
use crate::storage::Keyspace;
use crate::wire::etcdserverpb::RangeRequest;
use crate::wire::{error::Error, hot};

#[derive(Clone, Debug)]
enum Op {
    Put { key: Bytes, value: Option<Bytes>, lease: i64, want_prev: bool },
    Delete { key: Bytes, range_end: Bytes, want_prev: bool },
    Range(RangeRequest, f64),
}

#[derive(Clone, Debug)]
enum Move {
    /// Transactions that are written together.
    Batch(Vec<Vec<Op>>),
    /// At a share of the current revision.
    Compact(f64),
    Sweep(usize),
    Range(RangeRequest, f64, usize),
    Open(RangeRequest, f64),
    StepOpen(usize),
    History {
        from: f64,
        budget: usize,
    },
    Hash(f64),
    Restart,
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        (0u8..12).prop_map(|n| Bytes::from(format!("/pods/{n:02}"))),
        (0u8..3).prop_map(|n| Bytes::from(vec![b'a'; usize::from(n) + 1])),
        Just(Bytes::from_static(b"a\0")),
    ]
}

fn interval() -> impl Strategy<Value = (Bytes, Bytes)> {
    let end =
        prop_oneof![3 => Just(Bytes::new()), 2 => Just(Bytes::from_static(b"\0")), 4 => key(), 1 => Just(Bytes::from_static(b"/pods0"))];
    (prop_oneof![4 => key(), 1 => Just(Bytes::from_static(b"\0"))], end)
}

fn request() -> impl Strategy<Value = RangeRequest> {
    let filters = prop_oneof![3 => Just([0; 4]), 1 => proptest::array::uniform4(prop_oneof![Just(0i64), 1i64..40])];
    let flags = prop_oneof![4 => Just((false, false)), 1 => any::<(bool, bool)>()];
    let sort = prop_oneof![2 => Just((0, 0)), 3 => (0i32..3, 0i32..5)];
    (interval(), -1i64..6, sort, flags, filters).prop_map(|((key, range_end), limit, (order, target), (keys, count), filters)| {
        RangeRequest {
            key,
            range_end,
            limit,
            sort_order: order,
            sort_target: target,
            keys_only: keys,
            count_only: count,
            min_mod_revision: filters[0],
            max_mod_revision: filters[1],
            min_create_revision: filters[2],
            max_create_revision: filters[3],
            ..Default::default()
        }
    })
}

/// A share of the current revision: mostly recent ones, sometimes 0 ("the latest") and sometimes the future.
fn share() -> impl Strategy<Value = f64> {
    prop_oneof![2 => Just(0.0), 4 => 0.0..1.0, 1 => Just(1.0), 1 => 1.0..1.2]
}

fn op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![4 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(|v| Some(Bytes::from(v))), 1 => Just(None)];
    let lease = prop_oneof![3 => Just(0i64), 1 => 1i64..4];
    prop_oneof![
        5 => (key(), value, lease, any::<bool>()).prop_map(|(key, value, lease, want_prev)| Op::Put { key, value, lease, want_prev }),
        2 => (interval(), any::<bool>()).prop_map(|((key, range_end), want_prev)| Op::Delete { key, range_end, want_prev }),
        2 => (request(), share()).prop_map(|(request, share)| Op::Range(request, share)),
    ]
}

fn step() -> impl Strategy<Value = Move> {
    let txn = proptest::collection::vec(op(), 0..4);
    prop_oneof![
        10 => proptest::collection::vec(txn, 1..4).prop_map(Move::Batch),
        1 => share().prop_map(Move::Compact),
        2 => (1usize..9).prop_map(Move::Sweep),
        6 => (request(), share(), 1usize..20).prop_map(|(request, share, keys)| Move::Range(request, share, keys)),
        2 => (request(), share()).prop_map(|(request, share)| Move::Open(request, share)),
        3 => (1usize..4).prop_map(Move::StepOpen),
        2 => (share(), 0usize..400).prop_map(|(from, budget)| Move::History { from, budget }),
        2 => share().prop_map(Move::Hash),
        1 => Just(Move::Restart),
    ]
}

/// The store and its model.
struct Pair {
    store: Store,
    model: Model,
    open: Option<Scan>,
    /// Where the open scan may have started, and its request.
    opened: Option<RangeRequest>,
}

fn answer(response: &hot::RangeResponse) -> Answer {
    Answer { kvs: kvs(response), more: response.more, count: response.count }
}

fn at(share: f64, revision: i64) -> i64 {
    (share * revision as f64) as i64
}

impl Pair {
    fn new(cache: usize) -> Pair {
        let options = Options { value_cache_bytes: cache, value_cache_record_max: 70 };
        Pair { store: Store::with(options), model: Model::new(), open: None, opened: None }
    }

    fn step(mut self, step: &Move) -> Pair {
        match step {
            Move::Batch(txns) => {
                let model = &mut self.model;
                self.store.batch(|writer, batch| {
                    for ops in txns {
                        run(&mut writer.begin(batch), model, ops);
                    }
                });
            }
            Move::Compact(share) => {
                let revision = at(*share, self.model.revision);
                assert_eq!(self.store.compact(revision), self.model.compact(revision));
            }
            Move::Sweep(records) => self.sweep(*records),
            Move::Range(request, share, keys) => {
                let request = RangeRequest { revision: at(*share, self.model.revision), ..request.clone() };
                let expected = self.model.range(&request, self.model.revision);
                let got = self.store.range_in_steps(&request, *keys);
                assert_eq!(got.as_ref().map(answer).map_err(|e| *e), expected, "{request:?}");
                assert!(got.is_ok_and(|got| got.header.unwrap().revision == self.model.revision) || expected.is_err());
            }
            Move::Open(request, share) => {
                let request = RangeRequest { revision: at(*share, self.model.revision), ..request.clone() };
                self.open = self.store.reader.scan(&request).ok();
                self.opened = Some(request);
            }
            Move::StepOpen(keys) => self.step_open(*keys),
            Move::History { from, budget } => self.check_history(at(*from, self.model.revision), *budget),
            Move::Hash(share) => self.check_hash(at(*share, self.model.revision)),
            Move::Restart => {
                self.open = None;
                self.store = self.store.restart();
            }
        }
        assert_eq!(self.store.reader.revision(), self.model.revision);
        assert_eq!(self.store.reader.compact_revision(), self.model.compacted);
        assert_eq!(self.store.reader.counts().keys, self.model.at(i64::MAX).len() as u64);
        self.check_events();
        self
    }

    fn sweep(&mut self, records: usize) {
        if self.store.batch(|writer, batch| writer.sweep(batch, records)) != Sweep::More {
            let kept: Vec<_> = self.model.kept().into_iter().map(|(k, v)| (Bytes::from(k), Bytes::from(v))).collect();
            assert_eq!(self.store.rows(Keyspace::Key), kept);
            let mut indexed: Vec<_> = kept.iter().map(|(key, _)| key.slice(..17)).collect();
            indexed.sort();
            assert_eq!(self.store.rows(Keyspace::Index).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), indexed);
            assert_eq!(self.store.reader.counts().revisions, kept.len() as u64);
        }
    }

    fn step_open(&mut self, keys: usize) {
        let (Some(mut scan), Some(request)) = (self.open.take(), self.opened.as_ref()) else { return };
        match scan.step(keys) {
            Ok(Step::Done(response)) => {
                let revision = scan.revision();
                assert_eq!(response.header.as_ref().unwrap().revision, revision);
                let mut then = self.model.clone();
                then.compacted = -1;
                assert_eq!(Ok(answer(&response)), then.range(request, revision));
            }
            Ok(Step::More) => self.open = Some(scan),
            Ok(Step::Read) => {
                scan.read().unwrap();
                self.open = Some(scan);
            }
            Err(error) => {
                assert_eq!(error, Error::Compacted);
                assert!(request.revision > 0 && request.revision < self.model.compacted);
            }
        }
    }

    fn check_history(&self, from: i64, budget: usize) {
        let last = self.model.revision;
        let mut next = from;
        let mut got = Vec::new();
        while next <= last {
            match self.store.reader.history(next, last, budget, &|key| key != b"a") {
                Ok(history) => {
                    assert!(history.next > next);
                    next = history.next;
                    got.extend(history.events);
                }
                Err(HistoryError::Compacted(revision)) => {
                    assert!(revision == self.model.compacted && next < revision);
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
        // What was replaced within the compact revision itself may have been swept.
        let certain = |main: i64| main > self.model.compacted;
        let expected = self.model.events(from, last).into_iter().filter(|(event, _)| event.kv.as_ref().unwrap().key != "a");
        let expected: Vec<_> = expected.filter(|(event, _)| certain(event.kv.as_ref().unwrap().mod_revision)).collect();
        let got: Vec<_> = got
            .iter()
            .filter(|e| certain(e.revision.main))
            .map(|e| (event(e), self.store.reader.previous(e).unwrap().as_ref().map(decode)))
            .collect();
        assert_eq!(got, expected);
    }

    fn check_hash(&self, revision: i64) {
        let at = if revision == 0 { self.model.revision } else { revision };
        match self.store.reader.hash_kv(revision) {
            Ok(hash) => {
                assert_eq!((hash.revision, hash.compact_revision), (at, self.model.compacted));
                assert_eq!(hash.hash, self.model.hash(at));
            }
            Err(HashError::Compacted) => assert!(at < self.model.compacted),
            Err(HashError::FutureRev) => assert!(at > self.model.revision),
            Err(error) => panic!("{error}"),
        }
    }

    /// All that was offered since the last look, against the newest changes of the model.
    fn check_events(&mut self) {
        let events = std::mem::take(&mut self.store.events);
        let changes = &self.model.changes[self.model.changes.len() - events.len()..];
        for (got, change) in events.iter().zip(changes) {
            let (expected, prev) = self.model.event(change);
            assert_eq!((got.revision, &got.key), (change.revision, &change.key));
            assert_eq!(event(got), expected);
            assert_eq!(got.is_delete, change.kv.is_none());
            assert_eq!(self.store.reader.previous(got).unwrap().as_ref().map(decode), prev);
        }
    }
}

fn run(txn: &mut Txn<'_>, model: &mut Model, ops: &[Op]) {
    let begin = model.revision;
    let main = begin + 1;
    let mut sub = 0;
    for op in ops {
        let now = if sub > 0 { main } else { begin };
        assert_eq!(txn.revision(), now);
        match op {
            Op::Put { key, value, lease, want_prev } => {
                let before = model.at(i64::MAX).remove(key);
                assert_eq!(txn.value(key).unwrap().as_ref().map(decode), before);
                let value = value.clone().or_else(|| before.is_none().then(Bytes::new));
                let put = txn.put(key.clone(), value.clone().map_or(PutValue::Keep, PutValue::New), *lease, *want_prev).unwrap();
                assert_eq!(put.prev_kv.as_ref().map(decode), before.clone().filter(|_| *want_prev));
                assert_eq!(
                    put.previous.map(|p| (p.create, p.modified.main, p.version, p.lease)),
                    before.map(|kv| (kv.create_revision, kv.mod_revision, kv.version, kv.lease))
                );
                model.put(main, sub, key, value, *lease);
                sub += 1;
            }
            Op::Delete { key, range_end, want_prev } => {
                let doomed = model.delete(main, sub, &Interval::new(key, range_end));
                let deleted = txn.delete_range(key, range_end, *want_prev).unwrap();
                let keys: Vec<_> = deleted.iter().map(|d| (d.key.clone(), d.lease)).collect();
                assert_eq!(keys, doomed.iter().map(|kv| (kv.key.clone(), kv.lease)).collect::<Vec<_>>());
                assert!(deleted.iter().zip(&doomed).all(|(d, kv)| d.prev_kv.as_ref().map(decode) == want_prev.then(|| kv.clone())));
                sub += doomed.len() as i64;
            }
            Op::Range(request, share) => {
                let request = RangeRequest { revision: at(*share, begin), ..request.clone() };
                let expected = if request.revision > begin { Err(Error::FutureRev) } else { model.range(&request, now) };
                assert_eq!(txn.range(&request).map(|r| answer(&r)).map_err(|e| e.to_string()), expected.map_err(|e| e.to_string()));
                let alive: BTreeMap<_, _> = model
                    .at(i64::MAX)
                    .into_iter()
                    .filter(|(key, _)| Interval::new(&request.key, &request.range_end).contains(key))
                    .collect();
                let mut visited = BTreeMap::new();
                txn.for_each(&request.key, &request.range_end, &mut |key, current| {
                    visited.insert(Bytes::copy_from_slice(key), (current.modified.main, current.version, current.lease));
                    std::ops::ControlFlow::Continue(())
                });
                assert_eq!(visited, alive.into_iter().map(|(k, kv)| (k, (kv.mod_revision, kv.version, kv.lease))).collect());
            }
        }
    }
    model.revision = if sub > 0 { main } else { begin };
}

/// `PROPTEST_RNG_SEED` brings a run back, `PROPTEST_CASES` makes it longer. The seed is shown where the test fails.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig { max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() };
    config.cases = config.cases.max(400);
    if !matches!(config.rng_seed, RngSeed::Fixed(_)) {
        config.rng_seed = RngSeed::Fixed(rand::random());
    }
    println!("seed {:?}", config.rng_seed);
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_history_reads_as_the_model_says(
        steps in proptest::collection::vec(step(), 1..60), cache in prop_oneof![Just(0usize), Just(700), Just(1 << 20)]
    ) {
        let mut pair = Pair::new(cache);
        for step in &steps {
            pair = pair.step(step);
        }
        pair.sweep(usize::MAX);
        pair = pair.step(&Move::Restart);
        pair.check_history(1, usize::MAX);
        pair.check_hash(0);
    }
}
