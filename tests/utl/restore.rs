//! `snapshot restore`: what it makes, compared with what the real one makes, and how servers start on both.

use std::path::{Path, PathBuf};

use etcd::wal::{self, RealFileSystem, Record};
use etcd::wire::etcdserverpb::{HashKvRequest, MemberListRequest, RangeRequest};

use crate::harness::{Clients, Server, free_port, ours as our_server, reference, runner};
use crate::snapshot::{History, take};
use crate::tool::{Ran, ours, real, run};

fn restore(program: PathBuf, snapshot: &Path, data_dir: &Path, more: &[&str]) -> Ran {
    let (snapshot, data_dir) = (snapshot.display().to_string(), data_dir.display().to_string());
    run(program, &[&["snapshot", "restore", &snapshot, "--data-dir", &data_dir], more].concat())
}

/// What clients see of a store.
#[derive(Debug, PartialEq)]
struct Seen {
    revision: i64,
    pairs: Vec<(Vec<u8>, Vec<u8>, i64, i64)>,
    hash: u32,
    compact_revision: i64,
    cluster: u64,
    members: Vec<(u64, String, Vec<String>)>,
}

async fn see(clients: &mut Clients) -> Seen {
    let all = RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..Default::default() };
    let range = clients.kv.range(all).await.unwrap().into_inner();
    let header = range.header.unwrap();
    let hash = clients.maintenance.hash_kv(HashKvRequest { revision: header.revision }).await.unwrap().into_inner();
    let members = clients.cluster.member_list(MemberListRequest { linearizable: true }).await.unwrap().into_inner().members;
    Seen {
        revision: header.revision,
        pairs: range.kvs.into_iter().map(|kv| (kv.key.to_vec(), kv.value.to_vec(), kv.mod_revision, kv.lease)).collect(),
        hash: hash.hash,
        compact_revision: hash.compact_revision,
        cluster: header.cluster_id,
        members: members.into_iter().map(|member| (member.id, member.name, member.peer_ur_ls)).collect(),
    }
}

async fn started_on(server: &Path, tool: PathBuf, snapshot: &Path, more: &[&str]) -> Server {
    Server::start_on(server, &[], |data_dir, _| {
        restore(tool.clone(), snapshot, data_dir, more).done();
    })
    .await
}

#[tokio::test]
async fn a_server_on_a_restored_snapshot_shows_what_the_real_one_shows() {
    for history in History::ALL {
        let mut snapshot = take(history).await;
        // At a compacted revision etcd remembers until it ends what the compaction hashed by the way.
        snapshot.server.stop().await;
        snapshot.server.start_again().await;
        let peer = format!("http://127.0.0.1:{}", free_port());
        let cluster = format!("default={peer}");
        let flags = ["--initial-cluster-token=new", "--initial-cluster", &cluster, "--initial-advertise-peer-urls", &peer];
        let mut server = started_on(&our_server(), ours(), &snapshot.file, &flags).await;
        let found = see(&mut server.clients()).await;
        let before = see(&mut snapshot.server.clients()).await;
        assert_eq!((found.revision, &found.pairs, found.hash), (before.revision, &before.pairs, before.hash), "{history:?}");
        assert_ne!(found.cluster, before.cluster);
        if let Some(real) = real() {
            let expected = see(&mut started_on(&reference(), real, &snapshot.file, &flags).await.clients()).await;
            assert_eq!(found, expected, "{history:?}");
        }
        // What it replays and flushes is whole: it comes up a second time, and counts on.
        server.stop().await;
        server.start_again().await;
        assert_eq!(see(&mut server.clients()).await, found, "{history:?}");
    }
}

#[tokio::test]
async fn a_bumped_revision_is_where_clients_go_on_and_history_before_is_compacted() {
    let snapshot = take(History::Busy).await;
    let flags = ["--bump-revision=1000000", "--mark-compacted"];
    let server = started_on(&our_server(), ours(), &snapshot.file, &flags).await;
    let mut clients = server.clients();
    let found = see(&mut clients).await;
    assert_eq!((found.revision, found.compact_revision), (snapshot.revision + 1_000_000, snapshot.revision + 1_000_000));
    let old = RangeRequest { key: "key-1".into(), revision: snapshot.revision, ..Default::default() };
    let refused = clients.kv.range(old).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: mvcc: required revision has been compacted");
    if let Some(real) = real() {
        let expected = see(&mut started_on(&reference(), real, &snapshot.file, &flags).await.clients()).await;
        assert_eq!(found, expected);
    }
}

/// All records of a log, in order.
fn records(wal_dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    wal::visit(&RealFileSystem, wal_dir, &mut |record| records.push(record)).unwrap();
    records
}

#[tokio::test]
async fn the_log_of_a_restored_member_is_etcds_record_for_record() {
    let snapshot = take(History::Busy).await;
    let dir = tempfile::tempdir().unwrap();
    let several = "a=http://127.0.0.1:1,b=http://127.0.0.1:2,b=http://127.0.0.1:3,c=http://127.0.0.1:4";
    let cases =
        [vec![], vec!["--name=b", "--initial-cluster", several, "--initial-advertise-peer-urls=http://127.0.0.1:2,http://127.0.0.1:3"]];
    for (case, flags) in cases.iter().enumerate() {
        let (ours_at, real_at) = (dir.path().join(format!("ours-{case}")), dir.path().join(format!("real-{case}")));
        restore(ours(), &snapshot.file, &ours_at, flags).done();
        let mut found = records(&ours_at.join("member/wal"));
        // Ours says again that the snapshot is committed.
        assert!(matches!(found.pop(), Some(Record::HardState(_))));
        let founding = found.iter().filter(|record| matches!(record, Record::Entry(_))).count();
        assert_eq!(founding, [1, 3][case]);
        let Some(real) = real() else { continue };
        restore(real, &snapshot.file, &real_at, flags).done();
        let mut expected = records(&real_at.join("member/wal"));
        expected.iter_mut().for_each(plain);
        found.iter_mut().for_each(plain);
        assert_eq!(found, expected, "{flags:?}");
    }
}

/// A flag that is not set is false.
fn plain(record: &mut Record) {
    if let Record::Snapshot(wal::SnapshotRecord { conf_state: Some(conf_state), .. }) = record {
        conf_state.auto_leave.get_or_insert(false);
    }
}

#[tokio::test]
async fn a_member_of_several_is_restored_and_a_server_says_that_it_cannot_run_it() {
    let snapshot = take(History::Empty).await;
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let cluster = "default=http://localhost:2380,b=http://localhost:2480";
    restore(ours(), &snapshot.file, &data_dir, &["--initial-cluster", cluster]).done();
    let started = runner::command(our_server())
        .args(["--data-dir", &data_dir.display().to_string()])
        .args(["--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:0"])
        .args(["--listen-peer-urls=http://127.0.0.1:0"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&started.stderr);
    assert!(!started.status.success() && log.contains("a cluster of 2: clusters of several members are not built yet"), "{log}");
}

#[tokio::test]
async fn the_log_may_be_elsewhere_and_a_state_without_it_is_no_new_member() {
    let snapshot = take(History::Busy).await;
    let dir = tempfile::tempdir().unwrap();
    let wal_dir = dir.path().join("log/wal");
    let flag = format!("--wal-dir={}", wal_dir.display());
    let restored = |data_dir: &Path, _: &str| {
        restore(ours(), &snapshot.file, data_dir, &[&flag]).done();
    };
    let mut server = Server::start_on(&our_server(), &[&flag], restored).await;
    assert_eq!(see(&mut server.clients()).await.revision, snapshot.revision);
    assert!(!server.data_dir().join("member/wal").exists());
    server.stop().await;
    // As a crash between the two renames of a restore leaves it.
    std::fs::rename(&wal_dir, dir.path().join("gone")).unwrap();
    let started = runner::command(our_server()).arg("--data-dir").arg(server.data_dir()).arg(&flag).output().unwrap();
    let log = String::from_utf8_lossy(&started.stderr);
    assert!(!started.status.success() && log.contains("there is no log beside it"), "{log}");
}

#[tokio::test]
async fn a_restore_that_was_cut_off_leaves_no_member_and_may_be_run_again() {
    let snapshot = take(History::Busy).await;
    let whole = std::fs::read(&snapshot.file).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    // Refused in the middle of its rows: the last pages are missing.
    std::fs::write(&snapshot.file, &whole[..whole.len() / 2 / 4096 * 4096]).unwrap();
    assert_eq!(restore(ours(), &snapshot.file, &data_dir, &["--skip-hash-check"]).code, Some(1));
    assert!(!data_dir.join("member").exists() && !data_dir.join("member.tmp").exists());
    // Killed in the middle: what is left has no name that a server looks at.
    std::fs::write(&snapshot.file, &whole).unwrap();
    std::fs::create_dir_all(data_dir.join("member.tmp/db")).unwrap();
    std::fs::write(data_dir.join("member.tmp/db/CURRENT"), "MANIFEST-000007\n").unwrap();
    std::fs::create_dir_all(data_dir.join("member.tmp/wal.tmp")).unwrap();
    restore(ours(), &snapshot.file, &data_dir, &[]).done();
    let names =
        |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>();
    assert_eq!(names(&data_dir), ["member"]);
    // What is there is never restored over.
    let refusal = format!("Error: data-dir {:?} not empty or could not be read", data_dir.display().to_string());
    restore(ours(), &snapshot.file, &data_dir, &[]).fails(1, &refusal);
}

#[tokio::test]
async fn a_file_that_was_changed_is_restored_only_if_its_digest_is_not_looked_at() {
    let snapshot = take(History::Busy).await;
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(&snapshot.file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&snapshot.file, &bytes).unwrap();
    let found = restore(ours(), &snapshot.file, &dir.path().join("a"), &[]);
    assert_eq!(found.code, Some(1));
    if let Some(real) = real() {
        assert_eq!(found.error(), restore(real, &snapshot.file, &dir.path().join("b"), &[]).error());
    }
    restore(ours(), &snapshot.file, &dir.path().join("c"), &["--skip-hash-check"]).done();
    // A database as it lies in a data directory has no digest.
    std::fs::write(&snapshot.file, &bytes[..bytes.len() - 32]).unwrap();
    restore(ours(), &snapshot.file, &dir.path().join("d"), &[]).fails(1, "Error: snapshot missing hash but --skip-hash-check=false");
    restore(ours(), &snapshot.file, &dir.path().join("d"), &["--skip-hash-check"]).done();
}

#[tokio::test]
async fn what_was_restored_can_be_handed_to_the_go_server() {
    let snapshot = take(History::Compacted).await;
    let mut server = started_on(&our_server(), ours(), &snapshot.file, &[]).await;
    let found = see(&mut server.clients()).await;
    server.stop().await;
    let from = server.data_dir().display().to_string();
    let go = Server::start_on(&reference(), &[], |to, _| {
        run(ours(), &["export", "--data-dir", &from, "--to", &to.display().to_string()]).done();
    })
    .await;
    assert_eq!(see(&mut go.clients()).await, found);
}
