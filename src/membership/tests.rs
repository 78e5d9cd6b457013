//! The member list as rows and as changes: what is read back, what is refused.

use super::*;
use crate::storage::Engine;
use crate::storage::memory::MemoryEngine;

const LOCAL: Identity = Identity { cluster_id: 9, member_id: 1 };

fn member(id: u64, url: &str) -> Member {
    Member { id, peer_urls: vec![url.into()], ..Member::default() }
}

fn learner(id: u64, url: &str) -> Member {
    Member { is_learner: true, ..member(id, url) }
}

/// Members 1 and 2 are voters, 3 is a learner, 4 was removed.
fn membership() -> (Membership, Batch) {
    let mut membership = Membership::open(&*MemoryEngine::new(), LOCAL, 1).unwrap();
    let mut batch = Batch::default();
    for change in [
        Change::Add(member(1, "u1")),
        Change::Add(member(2, "u2")),
        Change::Add(member(4, "u4")),
        Change::Add(learner(3, "u3")),
        Change::Remove { id: 4 },
    ] {
        membership.check(&change).unwrap();
        membership.apply(&change, &mut batch);
    }
    (membership, batch)
}

fn urls(url: &str) -> Vec<String> {
    vec![url.into()]
}

#[test]
fn a_member_that_is_there_cannot_be_added_again() {
    let (membership, _) = membership();
    assert_eq!(membership.check(&Change::Add(member(2, "u9"))), Err(Error::MemberExist));
    assert_eq!(membership.check(&Change::Add(member(9, "u2"))), Err(Error::PeerURLExist));
    assert_eq!(membership.check(&Change::Add(member(9, "u9"))), Ok(()));
}

#[test]
fn a_removed_id_never_comes_back() {
    let (membership, _) = membership();
    assert_eq!(membership.check(&Change::Add(member(4, "u4"))), Err(Error::MemberNotFound));
    assert_eq!(membership.check(&Change::Remove { id: 4 }), Err(Error::MemberNotFound));
    assert!(membership.cluster().is_removed(4));
    assert!(membership.cluster().member(4).is_none());
}

#[test]
fn a_second_learner_is_refused() {
    let (membership, _) = membership();
    assert_eq!(membership.check(&Change::Add(learner(9, "u9"))), Err(Error::TooManyLearners));
}

#[test]
fn only_a_learner_can_be_promoted() {
    let (mut membership, mut batch) = membership();
    assert_eq!(membership.check(&Change::Promote { id: 9 }), Err(Error::MemberNotFound));
    assert_eq!(membership.check(&Change::Promote { id: 1 }), Err(Error::MemberNotLearner));
    assert_eq!(membership.check(&Change::Promote { id: 3 }), Ok(()));
    membership.apply(&Change::Promote { id: 3 }, &mut batch);
    assert!(!membership.cluster().member(3).unwrap().is_learner);
}

#[test]
fn new_peer_urls_leave_a_learner_a_learner() {
    let (mut membership, mut batch) = membership();
    let change = |id, url| Change::SetPeerUrls { id, peer_urls: urls(url) };
    assert_eq!(membership.check(&change(9, "u9")), Err(Error::MemberNotFound));
    assert_eq!(membership.check(&change(3, "u1")), Err(Error::PeerURLExist));
    assert_eq!(membership.check(&change(3, "u3")), Ok(()));
    membership.apply(&change(3, "u33"), &mut batch);
    assert_eq!(membership.cluster().member(3), Some(learner(3, "u33")));
}

#[test]
fn a_member_is_started_once_it_has_published_itself() {
    let (mut membership, mut batch) = membership();
    assert!(!membership.cluster().member(1).unwrap().is_started());
    membership.set_attributes(1, "one", &urls("http://c"), &mut batch);
    membership.set_attributes(4, "gone", &urls("http://c"), &mut batch);
    let one = membership.cluster().member(1).unwrap();
    assert!(one.is_started());
    assert_eq!((one.name.as_str(), one.client_urls), ("one", urls("http://c")));
    assert!(membership.cluster().member(4).is_none());
}

#[test]
fn everything_comes_back_after_a_restart() {
    let engine = MemoryEngine::new();
    let (mut membership, mut batch) = membership();
    membership.set_attributes(1, "one", &urls("http://c"), &mut batch);
    membership.set_version(Version::new(3, 7), &mut batch);
    membership.set_downgrade(Downgrade { target: "3.6.0".into(), enabled: true }, &mut batch);
    engine.write(&batch).unwrap();
    let again = Membership::open(&*engine, LOCAL, 1).unwrap();
    assert_eq!(again.cluster().members(), membership.cluster().members());
    assert!(again.cluster().is_removed(4));
    assert_eq!(again.cluster().version(), Some(Version::new(3, 7)));
    assert_eq!(again.cluster().downgrade(), membership.cluster().downgrade());
    assert_eq!(engine.get(Keyspace::Cluster, b"clusterVersion").unwrap().unwrap(), "3.7.0");
    assert_eq!(engine.get(Keyspace::Cluster, b"downgrade").unwrap().unwrap(), r#"{"target-version":"3.6.0","enabled":true}"#);
    assert_eq!(engine.get(Keyspace::MembersRemoved, b"4").unwrap().unwrap(), "removed");
    assert_eq!(
        engine.get(Keyspace::Members, b"1").unwrap().unwrap(),
        r#"{"id":1,"peerURLs":["u1"],"name":"one","clientURLs":["http://c"]}"#
    );
}

#[test]
fn a_row_that_does_not_decode_is_named() {
    let engine = MemoryEngine::new();
    let mut batch = Batch::default();
    batch.put(Keyspace::Members, "5", "{");
    engine.write(&batch).unwrap();
    let refused = Membership::open(&*engine, LOCAL, 1).err().unwrap().to_string();
    assert!(refused.contains("\"5\" of Members"), "{refused}");
}

fn conf_change(kind: raftpb::ConfChangeType, id: u64, context: &'static str) -> raftpb::ConfChange {
    raftpb::ConfChange { id: Some(7), r#type: Some(kind as i32), node_id: Some(id), context: Some(context.into()) }
}

#[test]
fn conf_changes_have_etcds_numbers_and_contexts() {
    use raftpb::ConfChangeType::*;
    let decode = |kind, context| Change::decode(&conf_change(kind, 5, context)).unwrap();
    assert_eq!(decode(ConfChangeAddNode, r#"{"id":5,"peerURLs":["u5"]}"#), Change::Add(member(5, "u5")));
    assert_eq!(decode(ConfChangeAddLearnerNode, r#"{"id":5,"peerURLs":["u5"],"isLearner":true}"#), Change::Add(learner(5, "u5")));
    assert_eq!(decode(ConfChangeAddNode, r#"{"id":5,"peerURLs":["u5"],"isPromote":true}"#), Change::Promote { id: 5 });
    assert_eq!(decode(ConfChangeRemoveNode, ""), Change::Remove { id: 5 });
    assert_eq!(decode(ConfChangeUpdateNode, r#"{"id":5,"peerURLs":["v"]}"#), Change::SetPeerUrls { id: 5, peer_urls: urls("v") });
}

#[test]
fn a_conf_change_that_makes_no_sense_is_a_fault() {
    let decode = |id, context| Change::decode(&conf_change(raftpb::ConfChangeType::ConfChangeAddNode, id, context));
    assert!(decode(5, "").is_err());
    assert!(decode(6, r#"{"id":5,"peerURLs":["u5"]}"#).is_err());
    let unknown = raftpb::ConfChange { r#type: Some(9), ..conf_change(raftpb::ConfChangeType::ConfChangeRemoveNode, 5, "") };
    assert!(Change::decode(&unknown).is_err());
}
