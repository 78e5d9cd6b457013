//! Random histories, through a backup and back, equal in all that can be asked.

use std::path::{Path, PathBuf};

use etcd::bbolt::Format;
use etcd::state_machine::snapshot::Export;
use etcd::storage::memory::MemoryEngine;
use etcd::storage::{Engine, Keyspace};
use sha2::{Digest, Sha256};

use crate::harness::{self, Server, runner};
use crate::history::History;
use crate::oracle::{self, etcdutl, restored, run, status};
use crate::picture::{Picture, rows, users};
use crate::stream;

/// The seeds of this run.
fn seeds() -> std::ops::Range<u64> {
    let first = harness::seed("ETCD_BACKUP_SEED");
    first..first + harness::setting("ETCD_BACKUP_HISTORIES", 4)
}

/// Saves a snapshot with the etcdctl under test.
fn save(server: &Server, path: &Path) {
    let mut etcdctl = runner::command(runner::built("etcdctl", env!("CARGO_BIN_EXE_etcdctl")));
    let said = run(etcdctl.args(["--endpoints", &server.address(), "snapshot", "save"]).arg(path)).expect("it is saved");
    assert_eq!(said, format!("Snapshot saved at {}\nServer version 3.7.0\n", path.display()));
}

/// As a file with its digest.
fn exported(engine: &MemoryEngine, path: &Path) {
    let export = Export::plan(engine.view(), Format::default()).expect("it can be exported");
    let mut file = export.write(Vec::new()).expect("it can be written");
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    std::fs::write(path, file).expect("a file can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_ours_is_restored_by_etcds_tools_into_etcds_server() {
    let Some(etcdutl) = etcdutl() else { return };
    for seed in seeds() {
        println!("history of seed {seed}");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s.db");
        let server = Server::start(&harness::ours(), &[]).await;
        let mut clients = server.clients();
        History::perform(seed, &mut clients, false).await;
        let before = Picture::of(&mut clients, true).await;
        save(&server, &path);
        let status = status(&etcdutl, &path);
        let newest = if before.revision() == 1 { 0 } else { before.revision() };
        // Of an empty or wholly compacted bucket the tool cannot tell the revision.
        assert!(status["revision"] == newest || status["revision"].as_i64() < Some(newest), "seed {seed}: {status}");
        assert_eq!((&status["totalKey"], &status["version"]), (&before.key_count().into(), &"3.7.0".into()), "seed {seed}: {status}");
        let again = restored(&etcdutl, &path, &[]).await;
        assert_eq!(Picture::of(&mut again.clients(), true).await, before, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_etcds_server_is_read_by_ours_and_goes_back_unchanged() {
    let Some(etcdutl) = etcdutl() else { return };
    for seed in seeds() {
        println!("history of seed {seed}");
        let server = Server::start(&harness::reference(), &[]).await;
        let mut clients = server.clients();
        History::perform(seed, &mut clients, true).await;
        let (before, users_before) = (Picture::of(&mut clients, false).await, users(&clients).await);

        let (engine, _) = stream::imported(stream::database(&mut clients).await);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s.db");
        exported(&engine, &path);
        let all: Vec<_> = Keyspace::BUCKETS.iter().map(|keyspace| rows(&engine, *keyspace)).collect();
        let file = std::fs::read(&path).expect("the file is there");
        let (again, _) = stream::imported(file[..file.len() - 32].to_vec());
        let all_again: Vec<_> = Keyspace::BUCKETS.iter().map(|keyspace| rows(&again, *keyspace)).collect();
        assert_eq!(without_unswept(all_again), without_unswept(all), "seed {seed}");
        assert_eq!(Picture::of_engine(engine), before, "seed {seed}: as ours reads it");

        let back = restored(&etcdutl, &path, &[]).await;
        assert_eq!(Picture::of(&mut back.clients(), false).await, before, "seed {seed}: as etcd reads it again");
        assert_eq!(users(&back.clients()).await, users_before, "seed {seed}");
    }
}

/// Rows of every bucket but those that a sweep moves: a snapshot may come in the middle of one, and is exported as after it.
fn without_unswept(mut all: Vec<Vec<(Vec<u8>, Vec<u8>)>>) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    for (keyspace, rows) in Keyspace::BUCKETS.iter().zip(&mut all) {
        match keyspace {
            Keyspace::Key => rows.clear(),
            Keyspace::Meta => rows.retain(|(key, _)| key != b"finishedCompactRev"),
            _ => {}
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bumped_restore_of_etcds_tool_is_read_by_ours() {
    let Some(etcdutl) = oracle::etcdutl() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let path: PathBuf = dir.path().join("s.db");
    let server = Server::start(&harness::ours(), &[]).await;
    let mut clients = server.clients();
    stream::fill(&mut clients, 5, 100).await;
    save(&server, &path);
    let bumped = restored(&etcdutl, &path, &["--bump-revision", "1000", "--mark-compacted"]).await;
    let mut clients = bumped.clients();
    stream::fill(&mut clients, 2, 100).await;
    let picture = Picture::of(&mut clients, false).await;
    assert_eq!(picture.revision(), 6 + 1000 + 2);
    let (engine, imported) = stream::imported(stream::database(&mut clients).await);
    assert_eq!((imported.revision, imported.compact_revision), (1008, 1006));
    assert_eq!(Picture::of_engine(engine), picture);
}
