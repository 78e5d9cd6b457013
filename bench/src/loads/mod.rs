//! The loads, one table, and what they share: a started server, keys of a Kubernetes shape, a store filled quickly.

mod kube;
mod leases;
mod points;
mod ranges;
mod upkeep;
mod watches;

use std::cell::Cell;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use etcd::wire::etcdserverpb::{PutRequest, RequestOp, TxnRequest, TxnResponse, request_op};

use crate::client::{Connection, Method, frame};
use crate::report::Row;
use crate::server::{Kind, Place, Server};

/// What a load is given.
pub struct Bench {
    pub kind: Kind,
    pub place: Place,
    /// Where `etcdctl` and `etcdutl` are, if they are there.
    pub tools: PathBuf,
    pub seconds: Duration,
}

impl Bench {
    async fn start(&self) -> Result<Server> {
        Server::start(&self.kind, &self.place).await
    }
}

type Rows = Pin<Box<dyn Future<Output = Result<Vec<Row>>>>>;

pub struct Load {
    pub name: &'static str,
    pub about: &'static str,
    pub is_large: bool,
    pub has_floor: bool,
    pub run: fn(Bench) -> Rows,
}

const fn load(name: &'static str, about: &'static str, run: fn(Bench) -> Rows) -> Load {
    Load { name, about, is_large: false, has_floor: false, run }
}

const fn with_floor(load: Load) -> Load {
    Load { has_floor: true, ..load }
}

const fn large(load: Load) -> Load {
    Load { is_large: true, ..load }
}

pub const LOADS: &[Load] = &[
    with_floor(load("put", "put of 256 B with 1, 100 and 1000 clients", |bench| Box::pin(points::put(bench)))),
    with_floor(load("get", "get of 256 B, linearizable and serializable, with 100 and 1000 clients", |bench| Box::pin(points::get(bench)))),
    load("mixed", "nine linearizable gets to one put, 100 clients", |bench| Box::pin(points::mixed(bench))),
    load("page", "pages of 500 and counts out of 200k keys; pages at an older revision under puts", |bench| {
        Box::pin(ranges::pages(bench, 200_000, "200k"))
    }),
    large(load("million", "the same out of a million keys, and a restart", |bench| Box::pin(ranges::pages(bench, 1_000_000, "1M")))),
    load("list", "list of 10k objects of 1 KiB, 4 clients, warm and after a restart", |bench| Box::pin(ranges::list(bench))),
    load("kube", "create, update and delete as Kubernetes does them, 1 KiB, 100 clients", |bench| Box::pin(kube::objects(bench))),
    load("watch", "1 key to 1000 watchers, one put and eight puts under way; 1000 keys to 10 watchers each", |bench| {
        Box::pin(watches::fan_out(bench))
    }),
    load("lease", "grants with 100 clients, keepalives on 100 streams", |bench| Box::pin(leases::traffic(bench))),
    load("expiry", "20k leases of one key each that end together, with puts going on", |bench| Box::pin(leases::expiry(bench))),
    load("compaction", "compaction of 450k records over 50k keys, then defragmentation, with puts going on", |bench| {
        Box::pin(upkeep::compaction(bench))
    }),
    load("snapshot", "a snapshot of 100 MB, with puts going on; then by etcdctl, and restored by etcdutl", |bench| {
        Box::pin(upkeep::snapshot(bench, 100))
    }),
    large(load("big-snapshot", "the same of 500 MB", |bench| Box::pin(upkeep::snapshot(bench, 500)))),
    load("idle", "an empty server with nothing to do", |bench| Box::pin(upkeep::idle(bench))),
];

/// Common to all keys of a load.
const PREFIX: &str = "/registry/pods/default/pod-";
/// Sorts directly behind every key of the prefix.
const PREFIX_END: &str = "/registry/pods/default/pod.";
const VALUE_LEN: usize = 256;
/// Puts in one transaction while a store is filled; servers accept 128.
const FILL_TXN: usize = 100;
const FILL_CLIENTS: usize = 16;

fn key(number: usize) -> String {
    format!("{PREFIX}{number:07}")
}

/// Bytes that do not compress to nothing and are the same in every run.
fn value(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn put_frame(number: usize, len: usize) -> Bytes {
    frame(&PutRequest { key: key(number).into(), value: value(len), ..Default::default() })
}

/// Writes keys 0..count, many in a transaction and many transactions at once.
async fn fill(server: &Server, count: usize, len: usize) -> Result<()> {
    let value = value(len);
    fill_with(server, count, FILL_TXN, move |_| value.clone()).await
}

/// The same with a value for each key, `batch` of them in a transaction.
async fn fill_with(server: &Server, count: usize, batch: usize, value: impl Fn(usize) -> Bytes + 'static) -> Result<()> {
    let connection = Connection::open(server.address).await?;
    let (next, value) = (Rc::new(Cell::new(0)), Rc::new(value));
    let mut fillers = Vec::new();
    for _ in 0..FILL_CLIENTS {
        let (connection, next, value) = (connection.clone(), next.clone(), value.clone());
        fillers.push(tokio::task::spawn_local(async move {
            while next.get() < count {
                let first = next.get();
                next.set((first + batch).min(count));
                let put = |number| PutRequest { key: key(number).into(), value: value(number), ..Default::default() };
                let success = (first..next.get()).map(|number| RequestOp { request: Some(request_op::Request::RequestPut(put(number))) });
                connection.ask::<TxnResponse>(Method::Txn, &TxnRequest { success: success.collect(), ..Default::default() }).await?;
            }
            anyhow::Ok(())
        }));
    }
    for filler in fillers {
        filler.await??;
    }
    Ok(())
}

/// Numbers 0..count, each client from its own starting point, round and round.
struct Turns {
    at: Cell<usize>,
    count: usize,
}

impl Turns {
    fn new(count: usize) -> Turns {
        Turns { at: Cell::new(0), count }
    }

    /// Steps by a number coprime to the counts in use, so that neighbours in time are not neighbours in the store.
    fn next(&self) -> usize {
        self.at.set((self.at.get() + 7919) % self.count);
        self.at.get()
    }
}

/// An operation that puts one of `count` keys.
fn putter(connections: Vec<Connection>, count: usize, len: usize) -> impl Fn(usize) -> Operation {
    let frames: Rc<[Bytes]> = (0..count).map(|number| put_frame(number, len)).collect();
    let turns = Turns::new(count);
    move |client| {
        let connection = connections[client % connections.len()].clone();
        let frame = frames[turns.next()].clone();
        Box::pin(async move { connection.call(Method::Put, frame).await.map(drop) })
    }
}

type Operation = Pin<Box<dyn Future<Output = Result<()>>>>;
