//! Ranges: pages, counts, whole lists, and what a restart over many keys costs.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use etcd::wire::etcdserverpb::{RangeRequest, RangeResponse};

use super::{Bench, Operation, PREFIX, PREFIX_END, Turns, VALUE_LEN, fill, key, putter};
use crate::client::{Connection, Method, frame};
use crate::drive::{Tally, closed_loop, spawn_clients, window};
use crate::report::Row;
use crate::server::Server;

const PAGE: usize = 500;
const CLIENTS: usize = 4;
/// A page should cost the same however many keys there are: it is measured with these few first.
const FEW_KEYS: usize = 10_000;
const LIST_KEYS: usize = 10_000;
const LIST_VALUE_LEN: usize = 1024;
/// Puts beside the pages at an older revision: this many clients, each pausing so long after a put.
const PUTTERS: usize = 4;
const PUTTER_PAUSE: Duration = Duration::from_millis(4);

fn everything() -> RangeRequest {
    RangeRequest { key: PREFIX.into(), range_end: PREFIX_END.into(), ..Default::default() }
}

fn ranger(connections: Vec<Connection>, requests: impl Iterator<Item = RangeRequest>) -> impl Fn(usize) -> Operation {
    let frames: Rc<[Bytes]> = requests.map(|request| frame(&request)).collect();
    let turns = Turns::new(frames.len());
    move |client| {
        let connection = connections[client % connections.len()].clone();
        let frame = frames[turns.next()].clone();
        Box::pin(async move { connection.call(Method::Range, frame).await.map(drop) })
    }
}

/// Each page of a walk over all keys, at one revision (0 = now).
fn pages_of(keys: usize, revision: i64) -> impl Iterator<Item = RangeRequest> {
    let page = move |first| RangeRequest { key: key(first).into(), limit: PAGE as i64, revision, ..everything() };
    (0..keys).step_by(PAGE).map(page)
}

pub async fn pages(bench: Bench, keys: usize, size: &str) -> Result<Vec<Row>> {
    let mut server = bench.start().await?;
    let connections = Connection::open_many(server.address, CLIENTS).await?;
    let seconds = bench.seconds;
    let mut rows = Vec::new();

    for (keys, of) in [(FEW_KEYS, format!("the first 10k of {size}")), (keys, size.to_owned())] {
        fill(&server, keys, VALUE_LEN).await?;
        let walk = ranger(connections.clone(), pages_of(keys, 0));
        rows.push(closed_loop(&format!("page of 500 of {of}"), &server, CLIENTS, seconds, walk).await?);
    }

    let counts = ranger(connections.clone(), std::iter::once(RangeRequest { count_only: true, ..everything() }));
    rows.push(closed_loop(&format!("count of {size}"), &server, CLIENTS, seconds, counts).await?);

    let revision = revision(&connections[0], keys).await?;
    let (pages, puts) = (Tally::new()?, Tally::new()?);
    spawn_clients(PUTTERS, PUTTER_PAUSE, &puts, putter(connections.clone(), LIST_KEYS.min(keys), VALUE_LEN));
    spawn_clients(CLIENTS, Duration::ZERO, &pages, ranger(connections, pages_of(keys, revision)));
    let row = window(&format!("page of 500 of {size}, older revision, puts"), &server, seconds, &pages).await;
    pages.end();
    puts.end();
    rows.push(row?);
    puts.check()?;

    rows.push(restart(&mut server, &format!("restart with {size}")).await?);
    Ok(rows)
}

/// The store's revision, with a check that the fill is whole.
async fn revision(connection: &Connection, keys: usize) -> Result<i64> {
    let answer: RangeResponse = connection.ask(Method::Range, &RangeRequest { count_only: true, ..everything() }).await?;
    ensure!(answer.count == keys as i64, "{} keys where {keys} were written", answer.count);
    Ok(answer.header.unwrap_or_default().revision)
}

async fn restart(server: &mut Server, load: &str) -> Result<Row> {
    let took = server.restart().await?;
    let usage = server.usage()?;
    let mut row = Row::new(load);
    row.set("first answer", took.as_secs_f64() * 1e3);
    row.set("start cpu", usage.cpu.as_secs_f64() * 1e3);
    row.set("rss", usage.rss_kib as f64 / 1024.0);
    row.set("rss anonymous", usage.rss_anonymous_kib as f64 / 1024.0);
    Ok(row)
}

pub async fn list(bench: Bench) -> Result<Vec<Row>> {
    let mut server = bench.start().await?;
    fill(&server, LIST_KEYS, LIST_VALUE_LEN).await?;
    let connections = Connection::open_many(server.address, CLIENTS).await?;
    let lists = ranger(connections, std::iter::once(everything()));
    let mut rows = vec![closed_loop("list of 10k x 1 KiB", &server, CLIENTS, bench.seconds, lists).await?];

    server.restart().await?;
    let connection = Connection::open(server.address).await?;
    let (start, before) = (std::time::Instant::now(), server.usage()?);
    let answer: RangeResponse = connection.ask(Method::Range, &everything()).await?;
    let took = start.elapsed();
    ensure!(answer.kvs.len() == LIST_KEYS, "{} objects where {LIST_KEYS} were written", answer.kvs.len());
    let mut cold = Row::new("list of 10k x 1 KiB, first after a restart");
    cold.set("first answer", took.as_secs_f64() * 1e3);
    cold.set("start cpu", (server.usage()?.cpu - before.cpu).as_secs_f64() * 1e3);
    rows.push(cold);
    Ok(rows)
}
