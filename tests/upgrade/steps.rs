//! A takeover that is cut short after any of its steps leaves a directory that one side or the other starts on, and is then finished.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd::node::takeover::{Step, TakeoverError, take_over};
use etcd::storage::rocks::{self, RocksEngine};
use etcd::storage::{Keyspace, Read};

use crate::go_dir::{self, Tree, edit_row, log, tree};
use crate::refusals::place;

/// 2026-11-24 18:02:27 UTC.
const NOW: Duration = Duration::from_secs(1_795_543_347);
const KEPT: &str = "member/go-2026-11-24T180227Z";

/// Takes over, and stops at the n-th step; answers where, or None if it came to its end before.
fn stop_at(data: &Path, n: usize) -> Option<Step> {
    let mut seen = 0;
    let done = take_over(&place(data), NOW, &mut |_| {
        seen += 1;
        if seen > n { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match done {
        Ok(()) => None,
        Err(TakeoverError::Stopped(step)) => Some(step),
        Err(error) => panic!("stopped at {n} by itself: {error}"),
    }
}

fn finish(data: &Path) {
    assert_eq!(stop_at(data, usize::MAX), None);
}

/// All rows of all keyspaces.
fn state(data: &Path) -> Vec<(Keyspace, Vec<u8>, Vec<u8>)> {
    let engine = RocksEngine::open(&data.join("member/db"), rocks::Options::default()).unwrap();
    let mut rows = Vec::new();
    for keyspace in Keyspace::BUCKETS.into_iter().chain([Keyspace::Index]) {
        engine
            .scan(keyspace, b"", None, &mut |key, value| {
                rows.push((keyspace, key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    rows
}

/// The Go member's part of a directory.
fn theirs(data: &Path) -> Tree {
    tree(data).into_iter().filter(|(path, _)| path.starts_with("member/snap") || path.starts_with("member/wal")).collect()
}

fn kept(data: &Path) -> Tree {
    tree(&data.join(KEPT)).into_iter().map(|(path, bytes)| (Path::new("member").join(path), bytes)).collect()
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn whatever_step_a_takeover_is_cut_short_after_the_next_start_finishes_it() {
    let server = go_dir::small().await;
    let original = theirs(&server.data_dir());
    let mut steps = Vec::new();
    let mut whole = None;
    for n in 0.. {
        let home = tempfile::tempdir().unwrap();
        go_dir::copy(&server.data_dir(), home.path());
        let stopped = stop_at(home.path(), n);
        if !home.path().join("member/db").exists() {
            assert!(theirs(home.path()) == original, "stopped at {stopped:?}, which is before the switch");
        }
        finish(home.path());
        assert_eq!(names(&home.path().join("member")), ["db", &KEPT[7..], "wal"].map(PathBuf::from), "stopped at {stopped:?}");
        assert!(kept(home.path()) == original, "stopped at {stopped:?}: what is kept is not what there was");
        let state = state(home.path());
        assert!(state.len() > 100 && whole.get_or_insert_with(|| state.clone()) == &state, "stopped at {stopped:?}");
        let Some(step) = stopped else { break };
        steps.push(step);
    }
    let is_named = |wanted: fn(&Step) -> bool| steps.iter().any(wanted);
    assert!(is_named(|step| matches!(step, Step::Checked { .. })) && is_named(|step| matches!(step, Step::LogKept)));
    assert!(is_named(|step| matches!(step, Step::Converting { .. })) && is_named(|step| matches!(step, Step::Converted { .. })));
    assert!(is_named(|step| matches!(step, Step::Switched)) && is_named(|step| matches!(step, Step::Parted)));
    assert!(is_named(|step| matches!(step, Step::Kept)));
}

#[tokio::test]
async fn what_a_go_member_did_after_a_takeover_was_cut_short_is_taken_over_too() {
    let mut server = go_dir::small().await;
    let step = stop_at(&server.data_dir(), 3);
    assert!(matches!(step, Some(Step::Converting { .. } | Step::Converted { .. })), "{step:?}");
    server.start_again().await;
    go_dir::put(&mut server.clients(), "later", "x").await;
    server.kill();
    finish(&server.data_dir());
    server.switch_to(&crate::harness::ours());
    server.start_again().await;
    let read = etcd::wire::etcdserverpb::RangeRequest { key: "later".into(), ..Default::default() };
    assert_eq!(server.clients().kv.range(read).await.unwrap().into_inner().count, 1);
}

#[tokio::test]
async fn where_links_are_refused_the_log_is_copied_and_a_log_elsewhere_is_found() {
    let server = go_dir::small().await;
    let original = theirs(&server.data_dir());
    let home = tempfile::tempdir().unwrap();
    go_dir::copy(&server.data_dir(), home.path());
    // Another volume, where there is one.
    let elsewhere = tempfile::tempdir_in(if Path::new("/dev/shm").exists() { "/dev/shm" } else { "." }).unwrap();
    go_dir::copy(&log(home.path()), elsewhere.path());
    std::fs::remove_dir_all(log(home.path())).unwrap();
    let place = etcd::node::takeover::Place { member: home.path().join("member"), wal: elsewhere.path().to_owned() };
    take_over(&place, NOW, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(kept(home.path()) == original);
}

#[tokio::test]
async fn a_database_that_was_received_and_not_yet_put_in_place_counts() {
    let server = go_dir::small().await;
    let home = tempfile::tempdir().unwrap();
    go_dir::copy(&server.data_dir(), home.path());
    let index = go_dir::examined(home.path()).snapshot.unwrap().index;
    let db = go_dir::db(home.path());
    std::fs::copy(&db, db.with_file_name(format!("{index:016x}.snap.db"))).unwrap();
    edit_row(home.path(), "meta", "consistent_index", Some(&1u64.to_be_bytes()));
    edit_row(home.path(), "key", "a", None);
    finish(home.path());
    let whole = tempfile::tempdir().unwrap();
    go_dir::copy(&server.data_dir(), whole.path());
    finish(whole.path());
    assert!(state(home.path()) == state(whole.path()));
}

#[tokio::test]
async fn a_log_whose_beginning_was_purged_is_taken_over() {
    let server = go_dir::small().await;
    let home = tempfile::tempdir().unwrap();
    go_dir::copy(&server.data_dir(), home.path());
    let snapshot = go_dir::examined(home.path()).snapshot.unwrap().index;
    let segments = go_dir::segments(home.path());
    let needed = segments.iter().rposition(|segment| go_dir::begins_at(segment) <= snapshot).unwrap();
    assert!(needed > 2);
    segments[..needed].iter().for_each(|segment| std::fs::remove_file(segment).unwrap());
    finish(home.path());
    assert!(state(home.path()).len() > 100);
}
