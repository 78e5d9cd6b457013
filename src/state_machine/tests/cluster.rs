//! Members, versions and the conf state as entries.

use super::*;
use crate::membership::{Downgrade, Version};
use crate::wire::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest};
use raftpb::ConfChangeType::{self, ConfChangeAddNode, ConfChangeRemoveNode};

fn change(kind: ConfChangeType, node_id: u64, context: &str) -> raftpb::ConfChange {
    raftpb::ConfChange { id: Some(88), r#type: Some(kind as i32), node_id: Some(node_id), context: Some(bytes(context)) }
}

fn apply_change(bench: &mut Bench, change: &raftpb::ConfChange) -> Result<Effects, Fault> {
    let entry = bench.entry(EntryKind::ConfChange, change.encode_to_vec().into());
    bench.apply_entry(entry)
}

fn founded() -> Bench {
    let mut bench = Bench::new();
    apply_change(&mut bench, &change(ConfChangeAddNode, LOCAL, r#"{"id":17,"peerURLs":["http://a:1"],"name":"a"}"#)).unwrap();
    bench
}

#[test]
fn a_conf_change_writes_the_member_and_goes_on_to_raft() {
    let mut bench = founded();
    let added = change(ConfChangeAddNode, 0x22, r#"{"id":34,"peerURLs":["http://b:1"]}"#);
    let effects = apply_change(&mut bench, &added).unwrap();
    assert_eq!(effects.request_id, 88);
    assert_eq!(effects.conf_change, Some(ConfChange { change: added, removes_self: false }));
    let Ok(Response::Members(members)) = effects.reply.unwrap() else { panic!("a conf change answers with the members") };
    assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [LOCAL, 0x22]);
    assert_eq!(bench.row(Keyspace::Members, b"22").unwrap(), r#"{"id":34,"peerURLs":["http://b:1"]}"#);
}

#[test]
fn a_conf_change_that_breaks_a_rule_makes_no_raft_call() {
    let mut bench = founded();
    let digest = bench.digest();
    let effects = apply_change(&mut bench, &change(ConfChangeAddNode, 0x22, r#"{"id":34,"peerURLs":["http://a:1"]}"#)).unwrap();
    assert_eq!((effects.reply, effects.conf_change), (Some(Err(Error::PeerURLExist)), None));
    assert_eq!(bench.row(Keyspace::Members, b"22"), None);
    assert_ne!(bench.digest(), digest, "the consistent index moves all the same (DET-5)");
}

#[test]
fn a_member_hears_of_its_own_removal() {
    let mut bench = founded();
    apply_change(&mut bench, &change(ConfChangeAddNode, 0x22, r#"{"id":34,"peerURLs":["http://b:1"]}"#)).unwrap();
    assert!(!apply_change(&mut bench, &change(ConfChangeRemoveNode, 0x22, "")).unwrap().conf_change.unwrap().removes_self);
    assert!(apply_change(&mut bench, &change(ConfChangeRemoveNode, LOCAL, "")).unwrap().conf_change.unwrap().removes_self);
    assert!(bench.machine.cluster().is_removed(LOCAL));
}

#[test]
fn the_conf_state_is_written_as_go_writes_it_and_comes_back() {
    let mut bench = founded();
    let mut batch = Batch::default();
    let conf_state = raftpb::ConfState { voters: vec![17, 34], learners: vec![51], auto_leave: Some(false), ..Default::default() };
    bench.machine.set_conf_state(&raftpb::ConfState { voters: vec![17], ..Default::default() }, &mut batch);
    bench.engine.write(&batch).unwrap();
    assert_eq!(bench.row(Keyspace::Meta, b"confState").unwrap(), r#"{"voters":[17],"auto_leave":false}"#);
    bench.machine.set_conf_state(&conf_state, &mut batch);
    bench.engine.write(&batch).unwrap();
    assert_eq!(bench.row(Keyspace::Meta, b"confState").unwrap(), r#"{"voters":[17,34],"learners":[51],"auto_leave":false}"#);
    assert_eq!(bench.restart().machine.conf_state(), conf_state);
}

#[test]
fn a_conf_change_without_sense_stops_the_member() {
    let mut bench = founded();
    assert!(matches!(apply_change(&mut bench, &change(ConfChangeAddNode, 0x22, "{")), Err(Fault::Entry { index: 2, .. })));
    let mut bench = founded();
    let joint = bench.entry(EntryKind::ConfChangeV2, Bytes::new());
    assert!(matches!(bench.apply_entry(joint), Err(Fault::Entry { .. })));
}

#[test]
fn the_storage_version_follows_the_cluster_version() {
    let mut bench = Bench::new();
    let mut set = |version: &str| {
        assert_eq!(bench.reply(Action::ClusterVersionSet(ClusterVersionSetRequest { ver: version.into() })), Ok(Response::Empty));
        (bench.row(Keyspace::Cluster, b"clusterVersion"), bench.row(Keyspace::Meta, b"storageVersion"))
    };
    assert_eq!(set("3.5.0"), (Some("3.5.0".into()), None));
    assert_eq!(set("3.7.0"), (Some("3.7.0".into()), Some("3.7.0".into())));
    assert_eq!(bench.restart().machine.cluster().version(), Some(Version::new(3, 7)));
}

#[test]
fn a_member_publishes_its_name_and_urls() {
    let mut bench = founded();
    let attributes = Attributes { name: "node".into(), client_urls: vec!["http://c:2".into()] };
    let request = ClusterMemberAttrSetRequest { member_id: LOCAL, member_attributes: Some(attributes) };
    assert_eq!(bench.reply(Action::ClusterMemberAttrSet(request)), Ok(Response::Empty));
    assert_eq!(
        bench.row(Keyspace::Members, b"11").unwrap(),
        r#"{"id":17,"peerURLs":["http://a:1"],"name":"node","clientURLs":["http://c:2"]}"#
    );
}

#[test]
fn a_downgrade_is_noted_and_taken_back() {
    let mut bench = Bench::new();
    bench.reply(Action::DowngradeInfoSet(DowngradeInfoSetRequest { enabled: true, ver: "3.6.0".into() })).unwrap();
    assert_eq!(bench.machine.cluster().downgrade(), Downgrade { target: "3.6.0".into(), enabled: true });
    bench.reply(Action::DowngradeInfoSet(DowngradeInfoSetRequest { enabled: false, ver: String::new() })).unwrap();
    assert_eq!(bench.restart().machine.cluster().downgrade(), Downgrade::default());
}
