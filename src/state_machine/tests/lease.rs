//! Leases as entries, section 9 of the rules.

use super::*;
use crate::lease::Granted;
use crate::wire::etcdserverpb::{LeaseCheckpoint, LeaseCheckpointRequest};
use crate::wire::membershippb::ClusterVersionSetRequest;

fn checkpoint(id: i64, remaining_ttl: i64) -> Action {
    Action::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints: vec![LeaseCheckpoint { id, remaining_ttl }] })
}

#[test]
fn a_grant_answers_with_what_it_really_grants() {
    let mut bench = Bench::new();
    let effects = bench.apply(Action::LeaseGrant(LeaseGrantRequest { id: 5, ttl: 1 }));
    assert_eq!(effects.lease, [LeaseEffect::Granted { id: 5, ttl: 2 }]);
    let Ok(Response::LeaseGrant(response)) = effects.reply.unwrap() else { panic!("a grant answers as such") };
    assert_eq!((response.id, response.ttl, response.header.unwrap().revision), (5, 2, 1));
    let refused = bench.apply(Action::LeaseGrant(LeaseGrantRequest { id: 5, ttl: 1 }));
    assert_eq!((refused.reply.unwrap(), refused.lease), (Err(Error::LeaseExist), vec![]));
}

#[test]
fn a_put_on_an_unknown_lease_is_refused() {
    let mut bench = Bench::new();
    assert_eq!(bench.error(Action::Put(PutRequest { lease: 5, ..put("a", "1") })), Error::LeaseNotFound);
    assert_eq!(bench.value("a"), None);
}

#[test]
fn revoking_deletes_the_keys_in_one_revision() {
    let mut bench = Bench::new();
    bench.grant(5, 60);
    bench.put_leased("b", 5);
    bench.put_leased("a", 5);
    bench.put("c", "1");
    let effects = bench.apply(revoke(5));
    assert_eq!(effects.lease, [LeaseEffect::Revoked { id: 5 }]);
    let Ok(Response::LeaseRevoke(response)) = effects.reply.unwrap() else { panic!("a revoke answers as such") };
    assert_eq!(response.header.unwrap().revision, 5);
    assert_eq!((bench.value("a"), bench.value("b"), bench.value("c").as_deref()), (None, None, Some("1")));
    assert!(!bench.machine.leases().exists(5));
    assert_eq!(bench.error(revoke(5)), Error::LeaseNotFound);
    assert_eq!(bench.revision(), 5);
}

#[test]
fn revoking_a_lease_without_keys_makes_no_revision() {
    let mut bench = Bench::new();
    bench.grant(5, 60);
    bench.reply(revoke(5)).unwrap();
    assert_eq!(bench.revision(), 1);
}

#[test]
fn the_last_put_decides_which_lease_a_key_has() {
    let mut bench = Bench::new();
    bench.grant(5, 60);
    bench.grant(6, 60);
    bench.put_leased("a", 5);
    bench.put_leased("a", 6);
    assert_eq!((bench.machine.leases().keys(5), bench.machine.leases().keys(6)), (vec![], vec![bytes("a")]));
    bench.put_request(PutRequest { ignore_lease: true, ..put("a", "2") });
    assert_eq!((bench.get("a").unwrap().lease, bench.machine.leases().keys(6)), (6, vec![bytes("a")]));
    bench.put("a", "3");
    assert!(bench.machine.leases().keys(6).is_empty());
    bench.put_leased("a", 6);
    bench.delete("a", "");
    assert!(bench.machine.leases().keys(6).is_empty());
}

#[test]
fn a_restart_attaches_keys_by_their_last_record() {
    let mut bench = Bench::new();
    bench.grant(5, 60);
    bench.grant(6, 60);
    for key in ["kept", "moved", "detached", "deleted"] {
        bench.put_leased(key, 5);
    }
    bench.put_leased("moved", 6);
    bench.put("detached", "1");
    bench.delete("deleted", "");
    let mut bench = bench.restart();
    assert_eq!(bench.machine.leases().keys(5), ["kept"]);
    assert_eq!(bench.machine.leases().keys(6), ["moved"]);
    bench.reply(revoke(5)).unwrap();
    assert_eq!((bench.value("kept"), bench.value("detached").as_deref()), (None, Some("1")));
}

#[test]
fn a_checkpoint_is_stored_from_the_cluster_version_on_that_knows_it() {
    let mut bench = Bench::new();
    bench.grant(5, 600);
    let effects = bench.apply(checkpoint(5, 100));
    assert_eq!(effects.lease, [LeaseEffect::Checkpointed { id: 5, remaining: 100 }]);
    assert_eq!(bench.machine.leases().get(5), Some(Granted { id: 5, ttl: 600, remaining: 100 }));
    let mut bench = bench.restart();
    assert_eq!(bench.machine.leases().get(5).unwrap().remaining, 0);
    bench.reply(Action::ClusterVersionSet(ClusterVersionSetRequest { ver: "3.6.0".into() })).unwrap();
    bench.reply(checkpoint(5, 100)).unwrap();
    assert!(bench.apply(checkpoint(4, 100)).lease.is_empty());
    let bench = bench.restart();
    assert_eq!(bench.machine.leases().get(5).unwrap().remaining, 100);
}
