//! Leases: granting, keeping alive, and twenty thousand that end together.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use etcd::wire::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, PutRequest, PutResponse, WatchCreateRequest,
    WatchRequest, WatchResponse, watch_request,
};
use tokio::sync::{Mutex, Notify};

use super::{Bench, Operation, VALUE_LEN, key, putter};
use crate::client::{Connection, Incoming, Method, frame};
use crate::drive::{Tally, closed_loop, measured, spawn_clients};
use crate::report::Row;

const CLIENTS: usize = 100;
const STREAMS: usize = 100;
const EXPIRING: usize = 20_000;
const EXPIRING_TTL: i64 = 6;
const EXPIRY_MAX: Duration = Duration::from_secs(90);
const EXPIRING_PREFIX: &str = "/leased/";
const EXPIRING_PREFIX_END: &str = "/leased0";

pub async fn traffic(bench: Bench) -> Result<Vec<Row>> {
    let server = bench.start().await?;
    let connections = Connection::open_many(server.address, CLIENTS / 10).await?;
    let grant = frame(&LeaseGrantRequest { ttl: 600, id: 0 });
    let granting = connections.clone();
    let grants = move |client: usize| -> Operation {
        let (connection, grant) = (granting[client % granting.len()].clone(), grant.clone());
        Box::pin(async move { connection.call(Method::LeaseGrant, grant).await.map(drop) })
    };
    let mut rows = vec![closed_loop("lease grant, 100 clients", &server, CLIENTS, bench.seconds, grants).await?];

    let mut streams = Vec::new();
    for number in 0..STREAMS {
        streams.push(Rc::new(Mutex::new(Keeping::open(&connections[number % connections.len()]).await?)));
    }
    let keepalives = move |client: usize| -> Operation {
        let stream = streams[client].clone();
        Box::pin(async move { stream.lock().await.keep_alive().await })
    };
    rows.push(closed_loop("lease keepalive, 100 streams", &server, STREAMS, bench.seconds, keepalives).await?);
    Ok(rows)
}

/// A lease and the stream that keeps it.
struct Keeping {
    requests: h2::SendStream<Bytes>,
    answers: Incoming,
    request: Bytes,
}

impl Keeping {
    async fn open(connection: &Connection) -> Result<Keeping> {
        let lease: LeaseGrantResponse = connection.ask(Method::LeaseGrant, &LeaseGrantRequest { ttl: 600, id: 0 }).await?;
        let request = frame(&LeaseKeepAliveRequest { id: lease.id });
        let (requests, answers) = connection.stream(Method::LeaseKeepAlive, request.clone()).await?;
        let mut keeping = Keeping { requests, answers, request };
        keeping.answer().await?;
        Ok(keeping)
    }

    async fn keep_alive(&mut self) -> Result<()> {
        self.requests.send_data(self.request.clone(), false)?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<()> {
        let answer: LeaseKeepAliveResponse = self.answers.next().await?;
        anyhow::ensure!(answer.ttl > 0, "the lease is gone");
        Ok(())
    }
}

/// When each key has to go, and how many went.
#[derive(Default)]
struct Expiry {
    due: RefCell<HashMap<Bytes, Instant>>,
    gone: Cell<usize>,
    lateness_max: Cell<Duration>,
    lateness_last: Cell<Duration>,
    done: Notify,
}

pub async fn expiry(bench: Bench) -> Result<Vec<Row>> {
    let server = bench.start().await?;
    let connections = Connection::open_many(server.address, CLIENTS / 10).await?;
    let expiry = Rc::new(Expiry::default());
    let tally = Tally::new()?;
    let (watching, watched, failed) = (connections[0].clone(), expiry.clone(), tally.clone());
    let watcher = tokio::task::spawn_local(async move {
        if let Err(error) = watch_deletes(&watching, &watched).await {
            failed.failed(error);
            watched.done.notify_one();
        }
    });
    grant_all(&connections, &expiry).await?;
    spawn_clients(CLIENTS / 10, Duration::from_millis(2), &tally, putter(connections, 10_000, VALUE_LEN));
    let row = measured("20k leases ending, puts", &server, &tally, tokio::time::timeout(EXPIRY_MAX, expiry.done.notified())).await;
    tally.end();
    watcher.abort();
    let mut row = row?;
    anyhow::ensure!(expiry.gone.get() == EXPIRING, "{} of {EXPIRING} keys were gone after {EXPIRY_MAX:?}", expiry.gone.get());
    row.set("late, last", expiry.lateness_last.get().as_secs_f64() * 1e3);
    row.set("late, most", expiry.lateness_max.get().as_secs_f64() * 1e3);
    // Puts here are paced, and most of the server's time is not theirs.
    row.unset("rate");
    row.unset("cpu");
    row.unset("client cpu");
    row.unset("switches");
    Ok(vec![row])
}

async fn watch_deletes(connection: &Connection, expiry: &Expiry) -> Result<()> {
    let create = WatchCreateRequest { key: EXPIRING_PREFIX.into(), range_end: EXPIRING_PREFIX_END.into(), ..Default::default() };
    let create = frame(&WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) });
    let (_requests, mut answers) = connection.stream(Method::Watch, create).await?;
    while expiry.gone.get() < EXPIRING {
        let answer: WatchResponse = answers.next().await?;
        let now = Instant::now();
        for event in answer.events.into_iter().filter(|event| event.r#type == etcd::wire::mvccpb::event::EventType::Delete as i32) {
            let key = event.kv.unwrap_or_default().key;
            let due = expiry.due.borrow_mut().remove(&key).context("a key went that was not leased, or went twice")?;
            let lateness = now.saturating_duration_since(due);
            expiry.lateness_last.set(lateness);
            expiry.lateness_max.set(expiry.lateness_max.get().max(lateness));
            expiry.gone.set(expiry.gone.get() + 1);
        }
    }
    expiry.done.notify_one();
    Ok(())
}

async fn grant_all(connections: &[Connection], expiry: &Rc<Expiry>) -> Result<()> {
    let next = Rc::new(Cell::new(0));
    let mut granters = Vec::new();
    for client in 0..CLIENTS {
        let (connection, expiry, next) = (connections[client % connections.len()].clone(), expiry.clone(), next.clone());
        granters.push(tokio::task::spawn_local(async move {
            while next.get() < EXPIRING {
                let number = next.replace(next.get() + 1);
                let leased = Bytes::from(format!("{EXPIRING_PREFIX}{}", key(number)));
                let lease: LeaseGrantResponse = connection.ask(Method::LeaseGrant, &LeaseGrantRequest { ttl: EXPIRING_TTL, id: 0 }).await?;
                let due = Instant::now() + Duration::from_secs(EXPIRING_TTL.unsigned_abs());
                expiry.due.borrow_mut().insert(leased.clone(), due);
                let put = PutRequest { key: leased, value: "v".into(), lease: lease.id, ..Default::default() };
                connection.ask::<PutResponse>(Method::Put, &put).await?;
            }
            anyhow::Ok(())
        }));
    }
    for granter in granters {
        granter.await??;
    }
    Ok(())
}
