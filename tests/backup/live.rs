//! A snapshot while writes go on: it is of one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use etcd::storage::{Keyspace, Read};
use etcd::wire::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request};
use etcd::wire::mvccpb::KeyValue;
use prost::Message;

use crate::harness::{self, Clients, Server, eventually};
use crate::picture::rows;
use crate::stream;

/// Puts the same number under two keys in one transaction, over and over: revision 2 + n holds n, for n from 0.
async fn count_up(mut clients: Clients, first: i64, is_over: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    while !is_over.load(Ordering::Relaxed) {
        let number = count.load(Ordering::Relaxed).to_string();
        let put = |key: &'static str| RequestOp {
            request: Some(Request::RequestPut(PutRequest { key: key.into(), value: number.clone().into(), ..Default::default() })),
        };
        let txn = TxnRequest { success: vec![put("left"), put("right")], ..Default::default() };
        let header = clients.kv.txn(txn).await.expect("a transaction").into_inner().header.expect("a header");
        assert_eq!(header.revision, first + count.fetch_add(1, Ordering::Relaxed) as i64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_under_writes_is_of_one_moment() {
    const VALUES: usize = 30;
    let server = Server::start(&harness::ours(), &[]).await;
    let mut clients = server.clients();
    stream::fill(&mut clients, VALUES, 1 << 20).await;
    let first = 2 + VALUES as i64;
    let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = tokio::spawn(count_up(server.clients(), first, is_over.clone(), count.clone()));
    eventually("the first write", async || (count.load(Ordering::Relaxed) > 0).then_some(())).await;
    for _ in 0..3 {
        let before = count.load(Ordering::Relaxed);
        let database = stream::database(&mut clients).await;
        let after = count.load(Ordering::Relaxed);
        assert!(after > before, "no write came through meanwhile");

        let (engine, imported) = stream::imported(database);
        let records = rows(&engine, Keyspace::Key);
        let newest: Vec<KeyValue> =
            records.iter().rev().take(2).map(|(_, value)| KeyValue::decode(&value[..]).expect("a record")).collect();
        assert_eq!((&newest[0].key[..], &newest[1].key[..]), (&b"right"[..], &b"left"[..]), "whole transactions");
        assert_eq!(newest[0].value, newest[1].value);
        assert_eq!(imported.revision, newest[0].mod_revision);
        let number: u64 = std::str::from_utf8(&newest[0].value).expect("text").parse().expect("a number");
        assert_eq!(imported.revision, first + number as i64, "the revision in the file is that of its content");
        let writes = number + 1;
        assert!((before..=after + 1).contains(&writes), "{writes} writes are of another time than {before} to {after}");
        // Each write of this client is an entry, so the index moves with the revision.
        let index = engine.get(Keyspace::Meta, b"consistent_index").expect("a row").expect("an index");
        assert_eq!(index[..], imported.consistent_index.to_be_bytes());
        assert_eq!(records.len() as u64, VALUES as u64 + 2 * writes, "no record is missing");
    }
    is_over.store(true, Ordering::Relaxed);
    writer.await.expect("the writer ends");
}
