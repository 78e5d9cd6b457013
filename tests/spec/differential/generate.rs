//! Draws operations from a seed, with just enough memory of the past that most of them do something.
//!
//! Few keys, few values and a mixture of right and wrong numbers: overlaps, ties, duplicates and refusals come by themselves.

use bytes::Bytes;
use etcd::wire::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    WatchCreateRequest, alarm_request::AlarmAction, compare::TargetUnion, request_op::Request, watch_create_request::FilterType,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::pair::op::{LeaseRef, Op};

/// Streams that carry several watchers, and after them those for one watcher of the future each: a stream answers progress only
/// when none of its watchers waits for a future revision (PRG-2), so those would keep the others from being compared.
pub const SHARED_STREAMS: usize = 4;
pub const FUTURE_STREAMS: usize = 2;

/// Long enough that no lease of a run ends by itself.
const TTLS: std::ops::Range<i64> = 3_600..100_000;

/// A member that there is not.
const STRANGER: u64 = 5;

/// Numbers at the ends of what there are.
const EXTREMES: [i64; 4] = [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX];

pub struct World {
    pub revision: i64,
    pub compacted: i64,
    /// Every revision that was compacted at.
    pub compactions: Vec<i64>,
    /// Revisions that may have deleted a key and put it again (TXN-6b). A compaction at exactly such a one makes the reference lose
    /// the put: its key index keeps the tombstone alone. Ours keeps the put, so none is compacted at.
    pub replaced: Vec<i64>,
    pub chosen_leases: Vec<i64>,
    pub generated_leases: Vec<usize>,
    pub generated_count: usize,
    /// The alarm that is active, if one is.
    pub alarm: Option<AlarmType>,
    /// Open streams, each with the ids of its live watchers.
    pub streams: Vec<Option<Vec<i64>>>,
    rng: StdRng,
    keys: Vec<Bytes>,
    values: Vec<Bytes>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut keys: Vec<Bytes> = (0..24).map(|n| Bytes::from(format!("k/{n:02}"))).collect();
        keys.extend((0..8).map(|n| Bytes::from(format!("k/0{n}/child"))));
        keys.extend(["a", "b", "k", "k/", "k0", "long/", "z", "é"].map(Bytes::from));
        keys.extend(
            [&b"\0"[..], b"\0\0", b"\x01", b"k/\0", b"k/\xff", b"k\xff", b"\xff", b"\xff\xff", b"\xff\xff\0"].map(Bytes::from_static),
        );
        keys.push(Bytes::from("long/".repeat(60)));
        let mut values: Vec<Bytes> = ["", "0", "1", "2", "x", "same", "same", "other"].map(Bytes::from).to_vec();
        values.push(Bytes::from_static(b"\0\xff\n"));
        World {
            revision: 1,
            compacted: -1,
            compactions: Vec::new(),
            replaced: Vec::new(),
            chosen_leases: Vec::new(),
            generated_leases: Vec::new(),
            generated_count: 0,
            alarm: None,
            streams: vec![None; SHARED_STREAMS + FUTURE_STREAMS],
            rng: StdRng::seed_from_u64(seed),
            keys,
            values,
        }
    }

    /// Draws the next operation. An alarm refuses most of them, so it does not stand long.
    pub fn next(&mut self) -> Op {
        if self.alarm.is_some() && self.chance(10) {
            return self.disarm();
        }
        match self.rng.random_range(0..1000) {
            0..220 => Op::Range(self.range(false)),
            220..270 => Op::RangeStream(self.stream_range()),
            270..510 => Op::Put(self.put()),
            510..580 => Op::DeleteRange(self.delete_range()),
            580..750 => Op::Txn(self.txn(0)),
            750..785 => self.a_revision_to_hash().map_or(Op::Leases, Op::HashKv),
            785..795 => self.compact(),
            795..825 => self.grant(),
            825..845 => Op::Revoke(self.a_lease()),
            845..865 => Op::TimeToLive(self.a_lease(), self.rng.random()),
            865..885 => Op::KeepAlive((0..self.rng.random_range(1..4)).map(|_| self.a_lease()).collect()),
            885..890 => Op::Leases,
            890..894 => Op::Members { linearizable: self.rng.random() },
            894..898 => Op::Status,
            898..900 => self.an_alarm(),
            900..980 => self.watch(),
            _ => Op::Sync,
        }
    }

    /// Asks for alarms, raises one, or takes back what perhaps nobody raised. Of a member that there is not: so it is the same for both.
    fn an_alarm(&mut self) -> Op {
        let alarm = self.rng.random_range(0..4);
        match self.rng.random_range(0..4) {
            0 | 1 => Op::Alarm(AlarmRequest { alarm, ..Default::default() }),
            2 if self.alarm.is_none() && matches!(alarm, 1 | 2) => {
                self.alarm = AlarmType::try_from(alarm).ok();
                Op::Alarm(AlarmRequest { action: AlarmAction::Activate.into(), member_id: STRANGER, alarm })
            }
            _ if self.alarm.is_some() => self.disarm(),
            _ => Op::Alarm(AlarmRequest { action: AlarmAction::Deactivate.into(), member_id: STRANGER, alarm }),
        }
    }

    /// Takes back the alarm that is active.
    pub fn disarm(&mut self) -> Op {
        let alarm = self.alarm.take().expect("an alarm is active").into();
        Op::Alarm(AlarmRequest { action: AlarmAction::Deactivate.into(), member_id: STRANGER, alarm })
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn key(&mut self) -> Bytes {
        match self.rng.random_range(0..100) {
            0 => Bytes::new(),
            1..50 => self.keys[..10].choose(&mut self.rng).expect("keys").clone(),
            _ => self.keys.choose(&mut self.rng).expect("keys").clone(),
        }
    }

    fn value(&mut self) -> Bytes {
        match self.rng.random_range(0..400) {
            0 => Bytes::from(vec![b'v'; self.rng.random_range(10_000..100_000)]),
            1..100 => (0..self.rng.random_range(0..64)).map(|_| self.rng.random::<u8>()).collect(),
            _ => self.values.choose(&mut self.rng).expect("values").clone(),
        }
    }

    /// A key and a range_end: one key, a prefix, all from a key on, everything, or two keys in any order.
    fn interval(&mut self) -> (Bytes, Bytes) {
        let key = self.key();
        match self.rng.random_range(0..10) {
            0..4 => (key, Bytes::new()),
            4..6 => {
                let end = prefix_end(&key);
                (key, end)
            }
            6 => (key, Bytes::from_static(b"\0")),
            7 => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            _ => {
                let end = self.key();
                (key, end)
            }
        }
    }

    /// Mostly readable, sometimes just outside of what is.
    fn a_revision(&mut self) -> i64 {
        let first = self.compacted.max(1);
        match self.rng.random_range(0..20) {
            0 if self.chance(20) => self.an_extreme(),
            0 => self.compacted - 1,
            1 => self.compacted,
            2 => self.revision + self.rng.random_range(1..3),
            3 => -self.rng.random_range(1..10),
            4..8 => 0,
            8..12 => self.revision,
            _ => self.rng.random_range(first..=self.revision.max(first)),
        }
    }

    fn an_extreme(&mut self) -> i64 {
        *EXTREMES.choose(&mut self.rng).expect("numbers")
    }

    /// None that was compacted at. Quirk not kept: HSH-2, there the reference answers what its compaction had hashed by the way,
    /// with another compact_revision, until it restarts.
    /// Nor one that deleted a key and put it again: the reference counts that key as gone there, which decides what it hashes.
    fn a_revision_to_hash(&mut self) -> Option<i64> {
        let revision = self.a_revision();
        let hashed = if revision <= 0 { self.revision } else { revision };
        let is_odd = [revision, hashed].iter().any(|at| self.compactions.contains(at)) || self.replaced.contains(&hashed);
        (!is_odd).then_some(revision)
    }

    fn filter_revision(&mut self) -> i64 {
        match self.rng.random_range(0..400) {
            0 => self.an_extreme(),
            1..24 => self.rng.random_range(-1..=self.revision + 1),
            _ => 0,
        }
    }

    fn limit(&mut self) -> i64 {
        match self.rng.random_range(0..40) {
            0 => -self.rng.random_range(1..5),
            1 => self.an_extreme(),
            2..20 => self.rng.random_range(1..12),
            _ => 0,
        }
    }

    fn range(&mut self, is_in_txn: bool) -> RangeRequest {
        let (key, range_end) = self.interval();
        let is_sorted = self.chance(40);
        let unknown = i32::from(self.chance(1)) * 7;
        RangeRequest {
            key,
            range_end,
            limit: self.limit(),
            revision: if self.chance(if is_in_txn { 85 } else { 50 }) { 0 } else { self.a_revision() },
            sort_order: if is_sorted { self.rng.random_range(0..3) + unknown } else { 0 },
            sort_target: if self.chance(1) { 9 } else { i32::from(is_sorted) * self.rng.random_range(0..5) },
            serializable: self.rng.random(),
            keys_only: self.chance(15),
            count_only: self.chance(10),
            min_mod_revision: self.filter_revision(),
            max_mod_revision: self.filter_revision(),
            min_create_revision: self.filter_revision(),
            max_create_revision: self.filter_revision(),
        }
    }

    /// Seldom with what a stream refuses (RST-6). Never with a target and no order: the reference sorts each chunk for itself then, and
    /// goes on after a key that need not be the greatest, so that keys come twice or not at all; ours keeps the order of keys.
    fn stream_range(&mut self) -> RangeRequest {
        let mut request = self.range(false);
        if self.chance(90) {
            (request.sort_order, request.sort_target) = (0, 0);
            (request.min_mod_revision, request.max_mod_revision) = (0, 0);
            (request.min_create_revision, request.max_create_revision) = (0, 0);
        }
        if request.sort_order == 0 {
            request.sort_target = 0;
        }
        request
    }

    fn put(&mut self) -> PutRequest {
        let (ignore_value, ignore_lease) = (self.chance(6), self.chance(6));
        PutRequest {
            key: self.key(),
            value: if ignore_value && self.chance(80) { Bytes::new() } else { self.value() },
            lease: if ignore_lease && self.chance(80) { 0 } else { self.a_lease_for_a_put() },
            prev_kv: self.rng.random(),
            ignore_value,
            ignore_lease,
        }
    }

    fn a_lease_for_a_put(&mut self) -> i64 {
        match self.rng.random_range(0..20) {
            0 => 424_242,
            1..6 => self.chosen_leases.choose(&mut self.rng).copied().unwrap_or(0),
            _ => 0,
        }
    }

    fn delete_range(&mut self) -> DeleteRangeRequest {
        // Everything at once only seldom, or there would be little to read.
        let (key, mut range_end) = self.interval();
        if range_end == b"\0"[..] && self.chance(80) {
            range_end = Bytes::new();
        }
        DeleteRangeRequest { key, range_end, prev_kv: self.rng.random() }
    }

    fn txn(&mut self, depth: usize) -> TxnRequest {
        // Seldom with about as many as there may be, which those inside count against (TXN-2).
        let mut count = |few: usize| if self.chance(1) { self.rng.random_range(120..132) } else { self.rng.random_range(0..few) };
        let (compares, successes, failures) = (count(3), count(5), count(3));
        let mut txn = TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: self.request_ops(successes, depth),
            failure: self.request_ops(failures, depth),
        };
        if depth == 0 && deletes_from_a_key_on(&txn) {
            // The duplicate check overlooks such a delete (TXN-6b), and the reference dies of a put that then looks for the old value.
            without_ignored(&mut txn);
        }
        txn
    }

    /// Many would certainly put a key twice, so many are reads, with one of any kind.
    fn request_ops(&mut self, count: usize, depth: usize) -> Vec<RequestOp> {
        let is_many = count > 100;
        let read = || RequestOp { request: Some(Request::RequestRange(RangeRequest { key: "a".into(), ..Default::default() })) };
        (0..count).map(|at| if is_many && at != 7 { read() } else { self.request_op(depth) }).collect()
    }

    fn request_op(&mut self, depth: usize) -> RequestOp {
        let request = match self.rng.random_range(0..100) {
            0 => None,
            1..25 => Some(Request::RequestRange(self.range(true))),
            25..70 => Some(Request::RequestPut(self.put())),
            70..85 => Some(Request::RequestDeleteRange(self.delete_range())),
            _ if depth < 3 => Some(Request::RequestTxn(self.txn(depth + 1))),
            _ => Some(Request::RequestRange(self.range(true))),
        };
        RequestOp { request }
    }

    fn compare(&mut self) -> Compare {
        let (key, mut range_end) = self.interval();
        if self.chance(70) {
            range_end = Bytes::new();
        }
        let number = match self.rng.random_range(0..4) {
            0 => 0,
            1 => self.rng.random_range(0..4),
            _ => self.rng.random_range(0..=self.revision),
        };
        let (target, target_union) = match self.rng.random_range(0..5) {
            0 => (0, TargetUnion::Version(number.min(5))),
            1 => (1, TargetUnion::CreateRevision(number)),
            2 => (2, TargetUnion::ModRevision(number)),
            3 => (3, TargetUnion::Value(self.value())),
            _ => (4, TargetUnion::Lease(self.a_lease_for_a_put())),
        };
        // A union that is missing or of another target acts as 0 or empty (TXN-9).
        let target_union = if self.chance(4) { None } else { Some(target_union) };
        let target = if self.chance(3) { self.rng.random_range(0..5) } else { target };
        let (result, target) = match self.rng.random_range(0..100) {
            0 => (9, target),
            1 => (0, 9),
            _ => (self.rng.random_range(0..4), target),
        };
        Compare { result, target, key, target_union, range_end }
    }

    fn compact(&mut self) -> Op {
        let revision = match self.rng.random_range(0..10) {
            0 => self.compacted,
            1 if self.chance(20) => self.an_extreme(),
            1 => self.revision + 1,
            2 => self.rng.random_range(-2..2),
            3 => self.revision,
            _ => self.rng.random_range(self.compacted.max(0)..=self.revision),
        };
        // Quirk not kept: HSH-2, a compaction at 0 makes the reference answer its hash to every question for the newest revision.
        let mut revision = if revision == 0 { 1 } else { revision };
        while self.replaced.contains(&revision) {
            revision += 1;
        }
        Op::Compact(CompactionRequest { revision, physical: self.rng.random() })
    }

    fn grant(&mut self) -> Op {
        let ttl = match self.rng.random_range(0..20) {
            0 if self.chance(50) => i64::MAX,
            0 => 9_000_000_001,
            1 => 9_000_000_000,
            _ => self.rng.random_range(TTLS),
        };
        if self.chance(30) {
            return Op::Grant(LeaseRef::Generated(self.generated_count), ttl);
        }
        let id = match self.rng.random_range(0..10) {
            0 => self.chosen_leases.choose(&mut self.rng).copied().unwrap_or(1),
            1 => -self.rng.random_range(1..1000),
            2 => i64::MAX - self.rng.random_range(0..3),
            3 => i64::MIN + self.rng.random_range(0..3),
            _ => self.rng.random_range(1..1000),
        };
        Op::Grant(LeaseRef::Chosen(id), ttl)
    }

    fn a_lease(&mut self) -> LeaseRef {
        let generated = self.generated_leases.choose(&mut self.rng).copied();
        let chosen = self.chosen_leases.choose(&mut self.rng).copied();
        match (self.rng.random_range(0..10), generated, chosen) {
            (0, ..) => LeaseRef::Chosen(self.rng.random_range(-3..3)),
            (1..4, Some(number), _) => LeaseRef::Generated(number),
            (_, _, Some(id)) => LeaseRef::Chosen(id),
            _ => LeaseRef::Chosen(77),
        }
    }

    fn watch(&mut self) -> Op {
        let stream = self.rng.random_range(0..SHARED_STREAMS + FUTURE_STREAMS);
        let is_future = stream >= SHARED_STREAMS;
        let Some(live) = &self.streams[stream] else { return Op::OpenStream(stream) };
        let live = live.clone();
        if self.chance(3) {
            return Op::CloseStream(stream);
        }
        let is_full = live.len() >= if is_future { 1 } else { 12 };
        if is_full || (self.chance(30) && !is_future) {
            return Op::Cancel(stream, live.choose(&mut self.rng).copied().unwrap_or(999));
        }
        let (key, range_end) = self.interval();
        let start_revision = match self.rng.random_range(0..10) {
            _ if is_future && self.chance(5) => i64::MAX,
            _ if is_future => self.revision + self.rng.random_range(1..40),
            1 if self.chance(20) => i64::MIN,
            0 => self.compacted - 1,
            1 => -self.rng.random_range(1..3),
            2 => self.compacted.max(1),
            3..6 => self.rng.random_range(self.compacted.max(1)..=self.revision.max(self.compacted)),
            _ => 0,
        };
        let filters = match self.rng.random_range(0..10) {
            0 => vec![FilterType::Noput.into()],
            1 => vec![FilterType::Nodelete.into()],
            2 => vec![FilterType::Noput.into(), FilterType::Nodelete.into()],
            // The same twice, and one that there is not.
            3 => vec![FilterType::Noput.into(), FilterType::Noput.into(), 7],
            _ => Vec::new(),
        };
        let watch_id = match self.rng.random_range(0..10) {
            0 => self.rng.random_range(1..20),
            1 => live.choose(&mut self.rng).copied().unwrap_or(0),
            // But not -1, which stands for no watcher.
            2 => -self.rng.random_range(2..5),
            3 if self.chance(20) => self.an_extreme(),
            _ => 0,
        };
        let (prev_kv, fragment) = (self.rng.random(), self.chance(30));
        Op::Watch(
            stream,
            WatchCreateRequest { key, range_end, start_revision, progress_notify: self.rng.random(), filters, prev_kv, watch_id, fragment },
        )
    }
}

/// The end of the interval of all keys with this prefix, as clients compute it (RNG-2).
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte < 0xff);
    match kept {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        }
        None => Bytes::from_static(b"\0"),
    }
}

pub fn deletes_from_a_key_on(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Request::RequestDeleteRange(request)) => request.range_end == b"\0"[..],
        Some(Request::RequestTxn(nested)) => deletes_from_a_key_on(nested),
        _ => false,
    })
}

fn without_ignored(txn: &mut TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Request::RequestPut(request)) => (request.ignore_value, request.ignore_lease) = (false, false),
            Some(Request::RequestTxn(nested)) => without_ignored(nested),
            _ => {}
        }
    }
}
