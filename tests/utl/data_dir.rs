//! `defrag` and `migrate`: on a member that is stopped, on one that runs, and on a directory of the Go server.

use std::path::Path;

use etcd::wire::etcdserverpb::{CompactionRequest, HashKvRequest, PutRequest};

use crate::harness::{Server, ours as our_server, reference};
use crate::tool::{Ran, ours, real, run};

fn on(data_dir: &Path, args: &[&str]) -> Ran {
    let data_dir = data_dir.display().to_string();
    run(ours(), &[args, &["--data-dir", &data_dir, "--timeout=1ms"]].concat())
}

async fn written() -> Server {
    let server = Server::start(&our_server(), &[]).await;
    let mut kv = server.clients().kv;
    for round in 0..50 {
        let put = PutRequest { key: "k".into(), value: vec![b'a' + round % 20; 10_000].into(), ..Default::default() };
        kv.put(put).await.unwrap();
    }
    server
}

#[tokio::test]
async fn a_defragmentation_keeps_all_and_a_running_member_is_left_alone() {
    let mut server = written().await;
    let hash = async |server: &Server| {
        let answer = server.clients().maintenance.hash_kv(HashKvRequest { revision: 0 }).await.unwrap().into_inner();
        (answer.hash, answer.hash_revision)
    };
    let before = hash(&server).await;
    let dir = server.data_dir();
    let lock = dir.join("member/lock");
    let in_use = format!("timeout: {} is in use by another process, which was waited for (--timeout)", lock.display());
    on(&dir, &["defrag"]).fails(1, &format!("Error: Failed to defragment etcd data[{}] ({in_use})", dir.display()));
    server.stop().await;
    assert_eq!(on(&dir, &["defrag"]).done().stdout, "");
    server.start_again().await;
    assert_eq!(hash(&server).await, before);
}

#[tokio::test]
async fn the_storage_version_goes_down_and_up_and_a_server_goes_on() {
    let mut server = written().await;
    server.stop().await;
    let dir = server.data_dir();
    let migrate = |target: &str, more: &[&str]| on(&dir, &[&["migrate", "--target-version", target], more].concat());
    assert!(migrate("3.7", &[]).done().stderr.contains("storage version up-to-date"));
    let down = migrate("3.5", &[]).done().stderr;
    assert!(down.contains("\"new-storage-version\": \"3.6.0\"") && down.contains("\"new-storage-version\": \"3.5.0\""), "{down}");
    let up = migrate("3.6", &[]).done().stderr;
    assert!(up.contains("\"new-storage-version\": \"3.6.0\""), "{up}");
    migrate("3.8", &[]).fails(1, "Error: cannot create migration plan: version \"3.8.0\" is not supported");
    migrate("4.0", &[]).fails(1, "Error: cannot create migration plan: changing major storage version is not supported");
    assert!(migrate("3.7", &["--force"]).done().stderr.contains("updated storage version"));
    server.start_again().await;
}

#[tokio::test]
async fn a_directory_of_the_go_server_is_defragmented_and_migrated_and_its_server_goes_on() {
    let mut server = Server::start(&reference(), &[]).await;
    let mut kv = server.clients().kv;
    for number in 0..2000 {
        let put = PutRequest { key: format!("k{}", number % 1000).into(), value: vec![b'v'; 2000].into(), ..Default::default() };
        kv.put(put).await.unwrap();
    }
    let compaction = CompactionRequest { revision: 1900, physical: true };
    kv.compact(compaction).await.unwrap();
    let hash = async |server: &Server| {
        let answer = server.clients().maintenance.hash_kv(HashKvRequest { revision: 0 }).await.unwrap().into_inner();
        (answer.hash, answer.hash_revision, answer.compact_revision)
    };
    let before = hash(&server).await;
    let dir = server.data_dir();
    let db = dir.join("member/snap/db");
    let in_use = format!("timeout: {} is in use by another process, which was waited for (--timeout)", db.display());
    on(&dir, &["defrag"]).fails(1, &format!("Error: Failed to defragment etcd data[{}] ({in_use})", dir.display()));
    server.stop().await;
    let size = || std::fs::metadata(&db).unwrap().len();
    let large = size();
    let hashkv = || run(ours(), &["hashkv".into(), db.display().to_string()]).done().stdout;
    let hashed = hashkv();
    assert_eq!(on(&dir, &["defrag"]).done().stdout, "");
    assert!(size() < large * 3 / 4, "{} of {large} bytes", size());
    assert_eq!(hashkv(), hashed);
    server.start_again().await;
    assert_eq!(hash(&server).await, before);
    server.stop().await;

    let migrate = |target: &str, more: &[&str]| on(&dir, &[&["migrate", "--target-version", target], more].concat());
    let down = migrate("3.5", &[]).done().stderr;
    assert!(down.contains("\"new-storage-version\": \"3.6.0\"") && down.contains("\"new-storage-version\": \"3.5.0\""), "{down}");
    assert!(migrate("3.5", &[]).done().stderr.contains("storage version up-to-date"));
    migrate("3.8", &[]).fails(1, "Error: cannot create migration plan: version \"3.8.0\" is not supported");
    migrate("4.0", &[]).fails(1, "Error: cannot create migration plan: changing major storage version is not supported");
    let left: Vec<_> = std::fs::read_dir(dir.join("member/snap")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().contains("tmp")), "{left:?}");
    // The real tool takes it on from there, and finds nothing else to say.
    if let Some(real) = real() {
        let path = dir.display().to_string();
        let theirs = |args: &[&str]| run(real.clone(), &[args, &["--data-dir", &path]].concat());
        theirs(&["migrate", "--target-version", "3.8"]).fails(1, "Error: cannot create migration plan: version \"3.8.0\" is not supported");
        let up = theirs(&["migrate", "--target-version", "3.6"]).done().stderr;
        assert!(up.contains("\"new-storage-version\": \"3.6.0\""), "{up}");
        theirs(&["defrag"]).done();
    } else {
        migrate("3.6", &[]).done();
    }
    migrate("3.7", &[]).done();
    server.start_again().await;
    assert_eq!(hash(&server).await, before);
}
