//! Quota and alarms, section 13 of the rules.

use super::*;
use AlarmAction::{Activate, Deactivate, Get};
use AlarmType::{Corrupt, None as All, Nospace};

fn cramped() -> Bench {
    Bench::with(Options { quota: Quota::from_flag(53_248), ..options() })
}

/// Puts until one is answered with the no-space error, whose effects it returns.
fn fill(bench: &mut Bench) -> Effects {
    for turn in 0..1000 {
        let effects = bench.apply(Action::Put(put(&format!("fill{turn}"), &"v".repeat(1000))));
        if effects.raise_nospace {
            return effects;
        }
        assert!(effects.reply.unwrap().is_ok());
    }
    panic!("the quota was never reached");
}

#[test]
fn alarms_are_raised_listed_and_disarmed_by_member_and_type() {
    let mut bench = Bench::new();
    assert_eq!(bench.alarm(Activate, 7, Nospace), [(7, 1)]);
    assert_eq!(bench.alarm(Activate, 7, Nospace), [(7, 1)]);
    assert_eq!(bench.alarm(Activate, 5, Corrupt), [(5, 2)]);
    assert_eq!(bench.alarm(Get, 0, All), [(7, 1), (5, 2)]);
    assert_eq!(bench.alarm(Get, 0, Corrupt), [(5, 2)]);
    assert_eq!(bench.alarm(Deactivate, 6, Nospace), []);
    assert_eq!(bench.alarm(Deactivate, 7, Corrupt), []);
    assert_eq!(bench.alarm(Deactivate, 7, Nospace), [(7, 1)]);
    assert_eq!(bench.alarm(Activate, 7, All), []);
    assert_eq!(bench.alarm(Get, 0, All), [(5, 2)]);
    assert_eq!(bench.revision(), 1);
}

#[test]
fn an_alarm_survives_a_restart_under_etcds_key() {
    let mut bench = Bench::new();
    bench.alarm(Activate, 7, Nospace);
    assert_eq!(bench.row(Keyspace::Alarm, b"\x08\x07\x10\x01").unwrap(), "");
    let mut bench = bench.restart();
    assert!(bench.machine.alarms().is_active(Nospace));
    bench.alarm(Deactivate, 7, Nospace);
    assert!(!bench.restart().machine.alarms().is_active(Nospace));
}

#[test]
fn a_write_over_the_quota_is_applied_and_answered_with_no_space() {
    let mut bench = cramped();
    let effects = fill(&mut bench);
    assert_eq!(effects.reply, Some(Err(Error::NoSpace)));
    let count = bench.range(&range("fill", "fill~")).unwrap().count;
    assert_eq!(bench.revision(), 1 + count, "the last put counts");
    let txn = bench.apply(Action::Txn(then(vec![put_op("txn", "1")])));
    assert_eq!((txn.reply, txn.raise_nospace), (Some(Err(Error::NoSpace)), true));
    assert_eq!(bench.value("txn").unwrap(), "1");
    let grant = bench.apply(Action::LeaseGrant(LeaseGrantRequest { id: 5, ttl: 60 }));
    assert_eq!((grant.reply, grant.raise_nospace), (Some(Err(Error::NoSpace)), true));
    assert_eq!(grant.lease, [LeaseEffect::Granted { id: 5, ttl: 60 }]);
    assert!(bench.machine.leases().exists(5));
}

#[test]
fn the_rows_do_not_depend_on_the_quota() {
    let mut cramped = cramped();
    fill(&mut cramped);
    let mut roomy = Bench::new();
    for entry in &cramped.log {
        roomy.apply_entry(entry.clone()).unwrap();
    }
    assert_eq!(roomy.digest(), cramped.digest());
}

#[test]
fn a_refused_write_over_the_quota_raises_nothing() {
    let mut bench = cramped();
    fill(&mut bench);
    let effects = bench.apply(Action::Put(PutRequest { lease: 5, ..put("a", "1") }));
    assert_eq!((effects.reply, effects.raise_nospace), (Some(Err(Error::LeaseNotFound)), false));
}

#[test]
fn what_costs_nothing_passes_over_the_quota() {
    let mut bench = cramped();
    fill(&mut bench);
    bench.delete("fill0", "");
    bench.txn(then(vec![range_op("fill1"), delete_op("fill1")]));
    bench.reply(compaction(3)).unwrap();
}

#[test]
fn any_members_no_space_alarm_refuses_what_needs_room() {
    let mut bench = Bench::new();
    bench.grant(5, 60);
    bench.put("a", "1");
    bench.alarm(Activate, 0x99, Nospace);
    let revision = bench.revision();
    let inside = txn_op(TxnRequest { failure: vec![put_op("n", "1")], ..TxnRequest::default() });
    for refused in [
        Action::Put(put("n", "1")),
        Action::LeaseGrant(LeaseGrantRequest { id: 6, ttl: 60 }),
        Action::Txn(TxnRequest { failure: vec![put_op("n", "1")], ..TxnRequest::default() }),
        Action::Txn(then(vec![inside])),
    ] {
        let effects = bench.apply(refused.clone());
        assert_eq!(effects.reply, Some(Err(Error::NoSpace)), "{refused:?}");
        assert!(!effects.raise_nospace, "{refused:?}");
    }
    assert_eq!(bench.revision(), revision);
    for passed in [
        Action::Range(range("a", "")),
        Action::Txn(then(vec![range_op("a"), delete_op("a")])),
        Action::DeleteRange(delete("b", "")),
        compaction(2),
        revoke(5),
    ] {
        assert!(bench.reply(passed.clone()).is_ok(), "{passed:?}");
    }
    bench.alarm(Deactivate, 0x99, Nospace);
    bench.put("n", "1");
}

#[test]
fn a_corrupt_alarm_refuses_all_that_touches_the_store() {
    let mut bench = Bench::new();
    bench.grant(5, 60);
    bench.put("a", "1");
    bench.alarm(Activate, 0, Corrupt);
    bench.alarm(Activate, 0, Nospace);
    for refused in [
        Action::Put(put("n", "1")),
        Action::DeleteRange(delete("a", "")),
        Action::Txn(then(vec![range_op("a")])),
        compaction(2),
        Action::LeaseGrant(LeaseGrantRequest { id: 6, ttl: 60 }),
        revoke(5),
    ] {
        assert_eq!(bench.error(refused.clone()), Error::Corrupt, "{refused:?}");
    }
    assert_eq!(bench.range(&range("a", "")).unwrap().count, 1);
}
