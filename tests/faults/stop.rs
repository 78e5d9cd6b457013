//! The orderly stop with everything open (GRP-11, LOG-12).

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use etcd::wire::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, WatchCreateRequest};
use tokio::sync::mpsc;
use tonic::{Code, Status};

use crate::{
    harness::{DEADLINE, ours, reference, watching::WatchStream},
    member::{Member, Told},
};

/// How the streams ended, and how long the end took.
struct End {
    watch: Status,
    keep_alive: Option<Status>,
    took: Duration,
    signal: Option<i32>,
}

async fn stop_under_load(program: &Path) -> End {
    let notes = tempfile::tempdir().expect("a directory");
    let mut member = Member::new(program, notes.path().join("data"), notes.path(), &[]);
    member.start().await;
    let mut clients = member.clients();

    let mut watch = WatchStream::open(&clients.watch);
    watch.create(WatchCreateRequest { key: "elsewhere".into(), ..Default::default() }).await;
    let lease = clients.lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await.expect("a lease").into_inner().id;
    let (requests, outgoing) = mpsc::channel(4);
    requests.send(LeaseKeepAliveRequest { id: lease }).await.expect("the stream takes it");
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut answers = clients.lease.lease_keep_alive(outgoing).await.expect("a stream").into_inner();
    assert_eq!(answers.message().await.expect("an answer").expect("an answer").id, lease);

    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let mut clients = member.clients();
        writers.spawn(async move {
            let mut told = Told::default();
            let ended = told.put_many(&mut clients, &format!("{writer}-"), usize::MAX, &Bytes::from_static(b"v")).await;
            let ended = ended.expect_err("the server ends");
            let is_end = matches!(ended.code(), Code::Unavailable | Code::Cancelled | Code::Unknown | Code::Internal);
            assert!(is_end, "a write under way ends with the connection: {ended:?}");
            told
        });
    }
    // Writes are under way once some were acknowledged.
    Told::default().put_many(&mut clients, "seen", 50, &Bytes::new()).await.expect("writes");

    let began = Instant::now();
    member.terminate();
    let watch = tokio::time::timeout(DEADLINE, watch.next()).await.expect("the watch ends").expect_err("the watch ends");
    let keep_alive = tokio::time::timeout(DEADLINE, answers.message()).await.expect("the keepalive ends").err();
    let status = member.end().await;
    let took = began.elapsed();

    let mut told = Told::default();
    while let Some(writer) = writers.join_next().await {
        told.extend(writer.expect("a writer ends with the server"));
    }
    assert!(told.len() > 0);
    member.start().await;
    told.check(&mut member.clients()).await;
    End { watch, keep_alive, took, signal: status.signal() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_with_open_streams_is_quick_and_ends_them_with_etcds_codes() {
    let ours = stop_under_load(&ours()).await;
    let theirs = stop_under_load(&reference()).await;
    println!("ours:   {:?} | {:?} | {:?}", ours.watch, ours.keep_alive, ours.took);
    println!("theirs: {:?} | {:?} | {:?}", theirs.watch, theirs.keep_alive, theirs.took);
    assert_eq!(ours.signal, Some(15));
    assert!(ours.took < Duration::from_millis(1500), "{:?}", ours.took);
    // Which of the two it is depends on how far the connection's end has come (GRP-11).
    let is_end = |status: &Status| matches!(status.code(), Code::Unavailable | Code::Cancelled);
    assert!(is_end(&ours.watch), "{:?}", ours.watch);
    assert!(ours.keep_alive.as_ref().is_some_and(is_end), "{:?}", ours.keep_alive);
}
