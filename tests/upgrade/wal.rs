//! The raft log: what the real server writes we read and write again, and the other way round.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use etcd::wal::{EntryKind, HardState, LogEntry, Options, RealFileSystem, Record, Wal, visit};
use etcd::wire::etcdserverpb::{InternalRaftRequest, Metadata, PutRequest, RequestHeader};
use etcd::wire::raftpb;
use prost::Message;
use sha1::{Digest, Sha1};

use crate::real_server::{Addresses, RealServer};

const TOKEN: &str = "etcd-cluster";

fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("member/wal")
}

fn records(data_dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    visit(&RealFileSystem, &wal_dir(data_dir), &mut |record| records.push(record)).unwrap();
    records
}

fn first_segment(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("0000000000000000-0000000000000000.wal")).unwrap()
}

fn open(data_dir: &Path) -> (Wal, etcd::wal::Replay) {
    Wal::open(Arc::new(RealFileSystem), &wal_dir(data_dir), Options::default(), 0).unwrap()
}

/// The puts among the entries, in their order.
fn puts(entries: &[LogEntry]) -> Vec<(String, Bytes)> {
    let commands = entries.iter().filter(|entry| entry.kind == EntryKind::EntryNormal && !entry.data.is_empty());
    commands
        .filter_map(|entry| InternalRaftRequest::decode(entry.data.clone()).unwrap().put)
        .map(|put| (String::from_utf8(put.key.to_vec()).unwrap(), put.value))
        .collect()
}

fn put_entry(index: u64, term: u64, key: &str, value: impl Into<Bytes>) -> LogEntry {
    let command = InternalRaftRequest {
        header: Some(RequestHeader { id: 0x5eed_0000 + index, ..RequestHeader::default() }),
        put: Some(PutRequest { key: key.to_owned().into(), value: value.into(), ..PutRequest::default() }),
        ..InternalRaftRequest::default()
    };
    LogEntry { kind: EntryKind::EntryNormal, term, index, data: command.encode_to_vec().into() }
}

fn first_eight(digest: impl AsRef<[u8]>) -> u64 {
    u64::from_be_bytes(digest.as_ref()[..8].try_into().unwrap())
}

/// The log of a cluster of one that was just founded (FMT-4, MEM-10): its metadata, and the entry that adds the member.
fn founding(addresses: &Addresses) -> (u64, Vec<u8>, LogEntry) {
    let Addresses { name, peer, .. } = addresses;
    let node = first_eight(Sha1::new().chain_update(peer).chain_update(TOKEN).finalize());
    let cluster = first_eight(Sha1::digest(node.to_be_bytes()));
    let metadata = Metadata { node_id: Some(node), cluster_id: Some(cluster) }.encode_to_vec();
    let change = raftpb::ConfChange {
        r#type: Some(raftpb::ConfChangeType::ConfChangeAddNode as i32),
        node_id: Some(node),
        context: Some(format!(r#"{{"id":{node},"peerURLs":["{peer}"],"name":"{name}"}}"#).into()),
        ..raftpb::ConfChange::default()
    };
    let entry = LogEntry { kind: EntryKind::EntryConfChange, term: 1, index: 1, data: change.encode_to_vec().into() };
    (node, metadata, entry)
}

#[tokio::test]
async fn a_log_of_the_real_server_decodes_and_is_written_again_bit_for_bit() {
    let home = tempfile::tempdir().unwrap();
    let addresses = Addresses::free("m1");
    let server = RealServer::start(home.path(), &addresses, &[]);
    let wanted: Vec<(String, Bytes)> =
        [0, 1, 100, 511, 512, 4096, 100_000, 1_000_000].map(|size| (format!("key {size}"), Bytes::from(vec![size as u8; size]))).into();
    for (key, value) in &wanted {
        server.put(key, value.to_vec()).await;
    }
    server.stop().await;

    let (wal, replay) = open(home.path());
    drop(wal);
    assert_eq!(puts(&replay.entries), wanted);
    assert_eq!((replay.repaired, replay.snapshot), (None, None));
    let (node, metadata, founded) = founding(&addresses);
    assert_eq!((&replay.metadata[..], &replay.entries[0]), (&metadata[..], &founded));
    assert_eq!((replay.hard_state.vote, replay.hard_state.commit), (node, replay.entries.last().unwrap().index));

    let copy = home.path().join("copy");
    let mut wal = Wal::create(Arc::new(RealFileSystem), &copy, &replay.metadata, Options::default()).unwrap();
    for record in records(home.path()) {
        match record {
            Record::Entry(entry) => wal.append(&[entry], None).unwrap(),
            Record::HardState(state) => wal.append(&[], Some(state)).unwrap(),
            _ => {}
        }
    }
    wal.sync().unwrap();
    drop(wal);
    assert!(first_segment(&copy) == first_segment(&wal_dir(home.path())), "the segments differ");
}

#[tokio::test]
async fn the_real_server_starts_on_a_log_that_we_wrote() {
    let home = tempfile::tempdir().unwrap();
    let addresses = Addresses::free("m1");
    let (node, metadata, founded) = founding(&addresses);
    // Small segments, so that the server has to read through several of ours.
    let options = Options { segment_bytes: 64 << 10 };
    let mut wal = Wal::create(Arc::new(RealFileSystem), &wal_dir(home.path()), &metadata, options).unwrap();
    wal.append(&[founded], Some(HardState { term: 1, vote: 0, commit: 1 })).unwrap();
    for index in 2..=40 {
        let entry = put_entry(index, 2, &format!("key {index}"), vec![index as u8; index as usize * 200]);
        wal.append(&[entry], Some(HardState { term: 2, vote: node, commit: index })).unwrap();
        wal.sync().unwrap();
    }
    // A leader that was deposed left an entry that the next one overwrote.
    wal.append(&[put_entry(41, 2, "lost", "x")], None).unwrap();
    wal.append(&[put_entry(41, 3, "won", "y")], Some(HardState { term: 3, vote: node, commit: 41 })).unwrap();
    wal.sync().unwrap();
    assert!(wal.segments() > 2, "{}", wal.segments());
    drop(wal);

    let server = RealServer::start(home.path(), &addresses, &[]);
    for index in 2..=40 {
        assert_eq!(server.get(&format!("key {index}")).await, Some(vec![index as u8; index as usize * 200]));
    }
    assert_eq!((server.get("lost").await, server.get("won").await), (None, Some(b"y".to_vec())));
    server.put("theirs", "z").await;
    server.stop().await;

    let (wal, replay) = open(home.path());
    drop(wal);
    assert_eq!(puts(&replay.entries).last().unwrap(), &("theirs".to_owned(), Bytes::from("z")));
}

#[tokio::test]
async fn a_log_goes_back_and_forth_and_each_side_reads_what_the_other_appended() {
    let home = tempfile::tempdir().unwrap();
    let addresses = Addresses::free("m1");
    // Snapshot records of theirs lie between.
    let more = ["--snapshot-count", "3"];
    for round in 0..3u64 {
        let server = RealServer::start(home.path(), &addresses, &more);
        if round > 0 {
            assert_eq!(server.get(&format!("ours {}", round - 1)).await, Some(b"ours".to_vec()));
        }
        for at in 0..4 {
            server.put(&format!("theirs {round} {at}"), "theirs").await;
        }
        server.stop().await;

        let (mut wal, replay) = open(home.path());
        assert_eq!(replay.repaired, None);
        assert!(puts(&replay.entries).contains(&(format!("theirs {round} 3"), Bytes::from("theirs"))));
        assert!(replay.snapshot.is_some());
        let (next, term) = (wal.last_index() + 1, replay.hard_state.term);
        let entry = put_entry(next, term, &format!("ours {round}"), "ours");
        wal.append(&[entry], Some(HardState { commit: next, ..replay.hard_state })).unwrap();
        wal.sync().unwrap();
    }
}

#[tokio::test]
async fn a_torn_tail_that_we_mended_is_whole_for_the_real_server() {
    let home = tempfile::tempdir().unwrap();
    let addresses = Addresses::free("m1");
    let server = RealServer::start(home.path(), &addresses, &[]);
    server.put("kept", "x").await;
    server.stop().await;
    let (mut wal, replay) = open(home.path());
    let last = wal.last_index();
    let torn = put_entry(last + 1, replay.hard_state.term, "torn", vec![7; 3000]);
    wal.append(&[torn], None).unwrap();
    drop(wal);
    let path = wal_dir(home.path()).join("0000000000000000-0000000000000000.wal");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 1000..].fill(0);
    std::fs::write(&path, &bytes).unwrap();

    let (wal, replay) = open(home.path());
    let repair = replay.repaired.unwrap();
    assert!(std::fs::read(repair.backup).unwrap() == bytes);
    assert_eq!(wal.last_index(), last);
    drop(wal);
    let server = RealServer::start(home.path(), &addresses, &[]);
    assert_eq!((server.get("kept").await, server.get("torn").await), (Some(b"x".to_vec()), None));
    server.stop().await;
}

#[tokio::test]
async fn a_real_server_cannot_open_a_log_that_we_hold() {
    let home = tempfile::tempdir().unwrap();
    let addresses = Addresses::free("m1");
    let (_, metadata, founded) = founding(&addresses);
    let mut wal = Wal::create(Arc::new(RealFileSystem), &wal_dir(home.path()), &metadata, Options::default()).unwrap();
    wal.append(&[founded], Some(HardState { term: 1, vote: 0, commit: 1 })).unwrap();
    wal.sync().unwrap();

    let (status, log) = RealServer::spawn(home.path(), &addresses, &[]).wait();
    assert!(!status.success() && log.contains("locked"), "{status}\n{log}");
    drop(wal);
    RealServer::start(home.path(), &addresses, &[]).stop().await;
}

#[tokio::test]
async fn a_log_that_a_real_server_holds_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let server = RealServer::start(home.path(), &Addresses::free("m1"), &[]);
    let refused = Wal::open(Arc::new(RealFileSystem), &wal_dir(home.path()), Options::default(), 0);
    assert!(matches!(refused, Err(etcd::wal::Error::Locked { .. })));
    server.stop().await;
}
