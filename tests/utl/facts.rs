//! What is said of a snapshot file: `snapshot status`, `hashkv`, `snapshot verify`.

use crate::snapshot::{History, Snapshot, take};
use crate::tool::{Ran, ours, real, run};

/// Both tools end alike and print the same.
#[track_caller]
fn same(snapshot: &Snapshot, args: &[&str]) -> Option<Ran> {
    let path = snapshot.file.display().to_string();
    let args: Vec<&str> = args.iter().map(|arg| if *arg == "FILE" { &path } else { *arg }).collect();
    let found = run(ours(), &args);
    if let Some(real) = real() {
        // The real one opens the file for writing in some commands, and sweeps what a compaction left.
        let expected = run(real, &args);
        assert_eq!((found.code, &found.stdout, found.error()), (expected.code, &expected.stdout, expected.error()), "{args:?}");
    }
    Some(found)
}

#[tokio::test]
async fn the_status_of_a_snapshot_is_etcds() {
    for history in History::ALL {
        let snapshot = take(history).await;
        for format in ["simple", "json", "fields", "table"] {
            same(&snapshot, &["snapshot", "status", "FILE", "-w", format]);
        }
        let status = run(ours(), &["snapshot", "status", &snapshot.file.display().to_string()]).done();
        assert_eq!(status.stdout.split(", ").count(), 5, "{history:?}: {}", status.stdout);
    }
}

#[tokio::test]
async fn the_hash_of_a_snapshots_history_is_etcds() {
    for history in History::ALL {
        let snapshot = take(history).await;
        for format in ["simple", "json", "fields", "table"] {
            same(&snapshot, &["hashkv", "FILE", "-w", format]);
        }
        for revision in [0, -1, 1, 2, 100, 300, 301, 620, snapshot.revision - 1, snapshot.revision, snapshot.revision + 1, i64::MAX - 1] {
            same(&snapshot, &["hashkv", "FILE", &format!("--rev={revision}")]);
        }
    }
}

#[tokio::test]
async fn the_hash_of_a_file_is_the_one_that_the_member_answers() {
    let snapshot = take(History::Compacted).await;
    let request = etcd::wire::etcdserverpb::HashKvRequest { revision: 0 };
    let answer = snapshot.server.clients().maintenance.hash_kv(request).await.unwrap().into_inner();
    let hash = run(ours(), &["hashkv", &snapshot.file.display().to_string()]).done();
    assert_eq!(hash.stdout, format!("{}, {}, {}\n", answer.hash, answer.hash_revision, answer.compact_revision));
}

#[tokio::test]
async fn a_sound_file_is_verified_and_a_broken_one_is_not() {
    let snapshot = take(History::Busy).await;
    let verify = |more: &[&str]| {
        let path = snapshot.file.display().to_string();
        run(ours(), &[&["snapshot", "verify", &path, "-w=json"], more].concat())
    };
    let verified = verify(&[]).done();
    assert!(verified.stdout.starts_with(&format!("{{\"digest\":\"valid\",\"revision\":{},", snapshot.revision)), "{}", verified.stdout);

    let whole = std::fs::read(&snapshot.file).unwrap();
    let mut broken = whole.clone();
    broken[whole.len() - 1] ^= 1;
    std::fs::write(&snapshot.file, &broken).unwrap();
    let refused = verify(&[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.error().starts_with("Error: expected sha256 ["), "{refused:?}");
    assert!(verify(&["--skip-hash-check"]).done().stdout.starts_with("{\"digest\":\"not checked\""));

    std::fs::write(&snapshot.file, &whole[..whole.len() - 32]).unwrap();
    verify(&[]).fails(1, "Error: snapshot missing hash but --skip-hash-check=false");
    assert!(verify(&["--skip-hash-check"]).done().stdout.starts_with("{\"digest\":\"missing\""));

    // Somewhere in the middle of what is in use, so that the structure or a row is wrong.
    std::fs::write(&snapshot.file, &whole[..whole.len() / 2 / 4096 * 4096]).unwrap();
    let refused = verify(&["--skip-hash-check"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.error().contains("snapshot.db: "), "{refused:?}");
}
