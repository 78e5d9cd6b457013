//! What a client could bring into the log if the API let it pass, and what no client would write: apply answers, and never stops.

use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::wire::etcdserverpb::compare::TargetUnion;
use crate::wire::etcdserverpb::{Compare, InternalRaftRequest, LeaseCheckpoint, LeaseCheckpointRequest, RequestHeader};
use crate::wire::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest};

/// Draws requests whose every number and enum may be wrong.
struct Draw(StdRng);

impl Draw {
    fn number(&mut self) -> i64 {
        match self.0.random_range(0..8) {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => self.0.random(),
            _ => self.0.random_range(-2..12),
        }
    }

    fn small(&mut self) -> i32 {
        if self.0.random_range(0..10) == 0 { self.0.random() } else { self.0.random_range(-1..6) }
    }

    fn key(&mut self) -> Bytes {
        match self.0.random_range(0..8) {
            0 => Bytes::new(),
            1 => bytes("\0"),
            2 => Bytes::from_static(b"\xff\xff"),
            _ => bytes(&self.0.random_range(0..6).to_string()),
        }
    }

    fn text(&mut self) -> String {
        ["", "3", "3.7", "3.7.0", "4.0.0", "x", "3.6.0-x", "99999999999999999999.1.1"][self.0.random_range(0..8)].to_owned()
    }

    fn range(&mut self) -> RangeRequest {
        RangeRequest {
            key: self.key(),
            range_end: self.key(),
            limit: self.number(),
            revision: self.number(),
            sort_order: self.small(),
            sort_target: self.small(),
            serializable: self.0.random(),
            keys_only: self.0.random(),
            count_only: self.0.random(),
            min_mod_revision: self.number(),
            max_mod_revision: self.number(),
            min_create_revision: self.number(),
            max_create_revision: self.number(),
        }
    }

    fn put(&mut self) -> PutRequest {
        let (ignore_value, ignore_lease) = (self.0.random(), self.0.random());
        PutRequest { key: self.key(), value: self.key(), lease: self.number(), prev_kv: self.0.random(), ignore_value, ignore_lease }
    }

    fn compare(&mut self) -> Compare {
        let target_union = match self.0.random_range(0..5) {
            0 => None,
            1 => Some(TargetUnion::Value(self.key())),
            2 => Some(TargetUnion::Lease(self.number())),
            3 => Some(TargetUnion::Version(self.number())),
            _ => Some(TargetUnion::ModRevision(self.number())),
        };
        Compare { result: self.small(), target: self.small(), key: self.key(), range_end: self.key(), target_union }
    }

    fn op(&mut self, levels: usize) -> RequestOp {
        let request = match self.0.random_range(0..10) {
            0 => None,
            1..4 => Some(request_op::Request::RequestRange(self.range())),
            4..=7 => Some(request_op::Request::RequestPut(self.put())),
            8 if levels > 0 => Some(request_op::Request::RequestTxn(self.txn(levels - 1))),
            _ => Some(request_op::Request::RequestDeleteRange(DeleteRangeRequest {
                key: self.key(),
                range_end: self.key(),
                prev_kv: self.0.random(),
            })),
        };
        RequestOp { request }
    }

    fn txn(&mut self, levels: usize) -> TxnRequest {
        TxnRequest {
            compare: (0..self.0.random_range(0..3)).map(|_| self.compare()).collect(),
            success: (0..self.0.random_range(0..5)).map(|_| self.op(levels)).collect(),
            failure: (0..self.0.random_range(0..5)).map(|_| self.op(levels)).collect(),
        }
    }

    fn action(&mut self) -> Action {
        match self.0.random_range(0..14) {
            0 => Action::Range(self.range()),
            1..4 => Action::Put(self.put()),
            4 => Action::DeleteRange(DeleteRangeRequest { key: self.key(), range_end: self.key(), prev_kv: self.0.random() }),
            5..8 => Action::Txn(self.txn(3)),
            8 => Action::Compaction(CompactionRequest { revision: self.number(), physical: self.0.random() }),
            9 => Action::LeaseGrant(LeaseGrantRequest { id: self.number(), ttl: self.number() }),
            10 => revoke(self.number()),
            11 => {
                let checkpoints = vec![LeaseCheckpoint { id: self.number(), remaining_ttl: self.number() }];
                Action::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints })
            }
            12 => Action::Alarm(AlarmRequest {
                // Mostly not armed: an alarm would refuse the rest of the run.
                action: [0, 2, 3, -1, i32::MAX][self.0.random_range(0..5)],
                member_id: self.number() as u64,
                alarm: self.small(),
            }),
            _ => match self.0.random_range(0..3) {
                0 => Action::ClusterVersionSet(ClusterVersionSetRequest { ver: self.text() }),
                1 => Action::DowngradeInfoSet(DowngradeInfoSetRequest { enabled: self.0.random(), ver: self.text() }),
                _ => Action::ClusterMemberAttrSet(ClusterMemberAttrSetRequest {
                    member_id: self.number() as u64,
                    member_attributes: self.0.random::<bool>().then(|| Attributes { name: self.text(), client_urls: vec![self.text()] }),
                }),
            },
        }
    }
}

#[test]
fn commands_that_make_no_sense_are_answered() {
    for seed in 0..20 {
        let mut draw = Draw(StdRng::seed_from_u64(seed));
        let mut bench = Bench::new();
        for step in 0..400 {
            let action = draw.action();
            let shown = format!("{action:?}");
            let command = Command { id: 77, caller: Caller::default(), action };
            let entry = bench.entry(EntryKind::Normal, command.encode().unwrap());
            let effects = bench.apply_entry(entry).unwrap_or_else(|fault| panic!("seed {seed} step {step}: {fault}: {shown}"));
            assert!(effects.reply.is_some(), "{shown}");
        }
        // What was stored can be opened.
        let revision = bench.revision();
        assert_eq!(bench.restart().revision(), revision, "seed {seed}");
    }
}

proptest! {
    /// Bytes that do not decode are the one reason to stop; others are answered, whatever is in them.
    #[test]
    fn broken_commands_are_answered_or_do_not_decode(seed in any::<u64>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let action = Draw(StdRng::seed_from_u64(seed)).action();
        let mut data = Command { id: 77, caller: Caller::default(), action }.encode().unwrap().to_vec();
        let at = at.index(data.len());
        data[at] = byte;
        let mut bench = Bench::new();
        let entry = bench.entry(EntryKind::Normal, Bytes::from(data.clone()));
        if let Err(fault) = bench.apply_entry(entry) {
            prop_assert!(Command::decode(data.into()).is_err(), "{fault}");
        }
    }
}

#[test]
fn an_alarm_with_an_unknown_action_is_refused() {
    let mut bench = Bench::new();
    for action in [-1, 3, i32::MAX] {
        assert_eq!(bench.error(Action::Alarm(AlarmRequest { action, ..AlarmRequest::default() })), Error::NotCapable);
    }
    let both = InternalRaftRequest {
        header: Some(RequestHeader { id: 1, ..RequestHeader::default() }),
        put: Some(put("a", "1")),
        delete_range: Some(delete("a", "")),
        ..InternalRaftRequest::default()
    };
    let entry = bench.entry(EntryKind::Normal, both.encode_to_vec().into());
    assert!(bench.apply_entry(entry).unwrap().reply.is_some_and(|reply| reply.is_ok()));
}
