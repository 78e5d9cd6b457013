//! The stream of a snapshot: its messages, message by message, and what comes of it.

use etcd::bbolt::Database;
use etcd::state_machine::snapshot::{ImportChanges, Imported, import};
use etcd::storage::memory::MemoryEngine;
use etcd::wire::etcdserverpb::{PutRequest, SnapshotRequest, SnapshotResponse};
use sha2::{Digest, Sha256};
use std::sync::Arc;

use crate::harness::{self, Clients, Server, eventually};

/// Every message of a snapshot.
pub async fn messages(clients: &mut Clients) -> Vec<SnapshotResponse> {
    let mut stream = clients.maintenance.snapshot(SnapshotRequest {}).await.expect("a snapshot").into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await.expect("a whole snapshot") {
        messages.push(message);
    }
    messages
}

/// The database file without its digest.
pub async fn database(clients: &mut Clients) -> Vec<u8> {
    let mut messages = messages(clients).await;
    messages.pop().expect("a digest");
    messages.iter().flat_map(|message| message.blob.iter().copied()).collect()
}

pub fn imported(database: Vec<u8>) -> (Arc<MemoryEngine>, Imported) {
    let database = Database::open(database).expect("a database");
    database.check(&mut |finding| panic!("{finding}")).expect("it can be read");
    let engine = MemoryEngine::new();
    let imported = import(&database, &*engine, &ImportChanges::default(), &mut |_| {}).expect("it can be imported");
    (engine, imported)
}

/// Fills a store with values that do not shrink.
pub async fn fill(clients: &mut Clients, values: usize, bytes: usize) {
    for number in 0..values {
        let value: Vec<u8> = (0..bytes).map(|_| rand::random::<u8>()).collect();
        clients.kv.put(PutRequest { key: format!("big-{number}").into(), value: value.into(), ..Default::default() }).await.expect("a put");
    }
}

/// What every snapshot looks like; answers with its storage version.
fn check(messages: &[SnapshotResponse]) -> String {
    let (digest, pieces) = messages.split_last().expect("messages");
    let total: u64 = pieces.iter().map(|piece| piece.blob.len() as u64).sum();
    assert_eq!(total % 4096, 0, "whole pages");
    let mut left = total;
    for (number, piece) in pieces.iter().enumerate() {
        let is_last = number + 1 == pieces.len();
        assert!(piece.blob.len() == 32 << 10 || is_last, "piece {number} of {} has {} bytes", pieces.len(), piece.blob.len());
        left -= piece.blob.len() as u64;
        assert_eq!(piece.remaining_bytes, left, "after piece {number}");
        assert_eq!((&piece.header, &piece.version), (&None, &digest.version));
    }
    let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.blob.iter().copied()).collect();
    assert_eq!(digest.blob[..], Sha256::digest(&all)[..]);
    assert_eq!((digest.remaining_bytes, &digest.header), (0, &None));
    digest.version.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_messages_of_a_snapshot_are_etcds() {
    for values in [0, 3, 40] {
        let mut versions = Vec::new();
        for program in [harness::ours(), harness::reference()] {
            let server = Server::start(&program, &[]).await;
            let mut clients = server.clients();
            fill(&mut clients, values, 100_000).await;
            versions.push(check(&messages(&mut clients).await));
        }
        assert_eq!(versions[0], versions[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_snapshot() {
    let mut server = Server::start(&harness::ours(), &[]).await;
    let mut clients = server.clients();
    fill(&mut clients, 12, 1 << 20).await;
    let mut stream = clients.maintenance.snapshot(SnapshotRequest {}).await.expect("a snapshot").into_inner();
    stream.message().await.expect("a message").expect("a piece");
    drop(stream);
    eventually("the server notices", async || server.log().contains("the client of a database snapshot went away").then_some(())).await;
    assert!(server.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_hold_up_nobody_and_are_bounded() {
    let server = Server::start(&harness::ours(), &[]).await;
    let mut clients = server.clients();
    fill(&mut clients, 12, 1 << 20).await;
    let mut unread = Vec::new();
    let refused = loop {
        // A connection each: they would share one window otherwise.
        match server.clients().maintenance.snapshot(SnapshotRequest {}).await {
            Ok(stream) => unread.push(stream),
            Err(status) => break status,
        }
        assert!(unread.len() < 100, "snapshots are not bounded");
    };
    assert_eq!((unread.len(), refused.message()), (16, "etcdserver: too many requests"));
    fill(&mut clients, 1, 10).await;
    unread.clear();
    let whole = eventually("there is room again", async || {
        let mut clients = server.clients();
        let mut stream = clients.maintenance.snapshot(SnapshotRequest {}).await.ok()?.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await.ok()? {
            messages.push(message);
        }
        Some(messages)
    });
    check(&whole.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_the_server_ends_a_snapshot_with_an_error() {
    let mut server = Server::start(&harness::ours(), &[]).await;
    let mut clients = server.clients();
    fill(&mut clients, 12, 1 << 20).await;
    let mut stream = clients.maintenance.snapshot(SnapshotRequest {}).await.expect("a snapshot").into_inner();
    stream.message().await.expect("a message").expect("a piece");
    let stopped = tokio::spawn(async move { server.stop().await });
    let error = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a cut snapshot passes for a whole one"),
            Err(status) => break status,
        }
        // Slower than the server stops, or it could send all of it before.
        tokio::task::yield_now().await;
        if stopped.is_finished() {
            continue;
        }
        eventually("the server stops", async || stopped.is_finished().then_some(())).await;
    };
    assert!(error.message().contains("etcdserver: server stopped") || error.code() != tonic::Code::Ok, "{error}");
}
