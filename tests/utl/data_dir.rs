//! `defrag` and `migrate`: on a member that is stopped, on one that runs, and on a directory of the Go server.

use std::path::Path;

use etcd::wire::etcdserverpb::{HashKvRequest, PutRequest};

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
async fn a_directory_of_the_go_server_is_refused_with_what_does_the_work() {
    let mut server = Server::start(&reference(), &[]).await;
    server.stop().await;
    let dir = server.data_dir();
    let defragment = on(&dir, &["defrag"]);
    assert_eq!(defragment.code, Some(1));
    assert!(defragment.error().contains("is the database of the Go server, whose own etcdutl defragments it"), "{defragment:?}");
    let migrate = on(&dir, &["migrate", "--target-version=3.6"]);
    assert_eq!(migrate.code, Some(1));
    assert!(migrate.error().contains("is the database of the Go server, whose own etcdutl migrates it"), "{migrate:?}");
    // The plans that cannot be made are refused in the same words.
    if let Some(real) = real() {
        let path = dir.display().to_string();
        let theirs = |target: &str| run(real.clone(), &["migrate", "--data-dir", &path, "--target-version", target]);
        theirs("3.8").fails(1, "Error: cannot create migration plan: version \"3.8.0\" is not supported");
        theirs("4.0").fails(1, "Error: cannot create migration plan: changing major storage version is not supported");
    }
}
