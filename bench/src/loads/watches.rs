//! Watch fan-out: the time from sending a put to each watcher's having its event.
//!
//! ```text
//!   putter --put(number in the value)--> server --event--> 10 connections x 10 streams x watchers
//!      started[number] <------------------------------------- number
//! ```

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use etcd::wire::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request};
use tokio::sync::Notify;

use super::{Bench, VALUE_LEN, key, value};
use crate::client::{Connection, Method, frame};
use crate::drive::{Tally, window};
use crate::report::Row;
use crate::server::Server;

const CONNECTIONS: usize = 10;
const STREAMS: usize = 100;
/// Events of one put that may take so long before the run is given up.
const EVENT_MAX: Duration = Duration::from_secs(20);

struct Shape {
    name: &'static str,
    keys: usize,
    watchers_per_key: usize,
    /// Puts under way; with one, the next put waits for the last event of the one before.
    putters: usize,
}

const SHAPES: [Shape; 3] = [
    Shape { name: "watch, 1 key x 1000 watchers", keys: 1, watchers_per_key: 1000, putters: 1 },
    Shape { name: "watch, 1 key x 1000 watchers, 8 puts", keys: 1, watchers_per_key: 1000, putters: 8 },
    Shape { name: "watch, 1000 keys x 10 watchers, 8 puts", keys: 1000, watchers_per_key: 10, putters: 8 },
];

/// What putters and watchers share.
struct Events {
    started: RefCell<Vec<Instant>>,
    /// Events still to come of all puts so far.
    awaited: Cell<usize>,
    created: Cell<usize>,
    moved: Notify,
    tally: Rc<Tally>,
}

pub async fn fan_out(bench: Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for shape in &SHAPES {
        let server = bench.start().await?;
        rows.push(measure(&server, shape, bench.seconds).await.with_context(|| shape.name)?);
    }
    Ok(rows)
}

async fn measure(server: &Server, shape: &'static Shape, seconds: Duration) -> Result<Row> {
    let tally = Tally::new()?;
    let events = Rc::new(Events {
        started: RefCell::default(),
        awaited: Cell::new(0),
        created: Cell::new(0),
        moved: Notify::new(),
        tally: tally.clone(),
    });
    let connections = Connection::open_many(server.address, CONNECTIONS).await?;
    let watchers = shape.keys * shape.watchers_per_key;
    for number in 0..STREAMS {
        let keys: Vec<usize> = (number..watchers).step_by(STREAMS).map(|watcher| watcher % shape.keys).collect();
        let (connection, events) = (connections[number % CONNECTIONS].clone(), events.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = watch(connection, keys, &events).await
                && !events.tally.is_over()
            {
                events.tally.failed(error);
                events.moved.notify_waiters();
            }
        });
    }
    until(&events, || events.created.get() == watchers).await.context("the watchers were not all created")?;
    for putter in 0..shape.putters {
        let (connection, events) = (Connection::open(server.address).await?, events.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = put(connection, shape, putter, &events).await {
                events.tally.failed(error);
            }
        });
    }
    let row = window(shape.name, server, seconds, &tally).await;
    tally.end();
    row
}

async fn watch(connection: Connection, keys: Vec<usize>, events: &Events) -> Result<()> {
    let create = |number: &usize| {
        let create = WatchCreateRequest { key: key(*number).into(), ..Default::default() };
        frame(&WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) })
    };
    let mut creates = keys.iter().map(create);
    let Some(first) = creates.next() else { return Ok(()) };
    let (mut requests, mut answers) = connection.stream(Method::Watch, first).await?;
    for create in creates {
        requests.send_data(create, false)?;
    }
    while !events.tally.is_over() {
        let answer: WatchResponse = answers.next().await?;
        ensure!(!answer.canceled, "a watcher was cancelled: {}", answer.cancel_reason);
        if answer.created {
            events.created.set(events.created.get() + 1);
            events.moved.notify_waiters();
        }
        for event in answer.events {
            let value = event.kv.unwrap_or_default().value;
            let number = u64::from_be_bytes(value.get(..8).context("an event without a number")?.try_into()?);
            let started = events.started.borrow()[usize::try_from(number)?];
            events.tally.took(started.elapsed());
            events.awaited.set(events.awaited.get().saturating_sub(1));
            if events.awaited.get() == 0 {
                events.moved.notify_waiters();
            }
        }
    }
    Ok(())
}

async fn put(connection: Connection, shape: &Shape, putter: usize, events: &Events) -> Result<()> {
    let filler = value(VALUE_LEN - 8);
    while !events.tally.is_over() {
        let number = events.started.borrow().len();
        let value: Bytes = [&(number as u64).to_be_bytes()[..], &filler].concat().into();
        let key = key((number * 7919 + putter) % shape.keys);
        let frame = frame(&PutRequest { key: key.into(), value, ..Default::default() });
        events.awaited.set(events.awaited.get() + shape.watchers_per_key);
        events.started.borrow_mut().push(Instant::now());
        connection.call(Method::Put, frame).await?;
        if shape.putters == 1 {
            until(events, || events.awaited.get() == 0).await.context("the events of a put did not all arrive")?;
        }
    }
    Ok(())
}

async fn until(events: &Events, is_so: impl Fn() -> bool) -> Result<()> {
    tokio::time::timeout(EVENT_MAX, async {
        // Registered before the look, so that a move between the two is not missed.
        loop {
            let moved = events.moved.notified();
            if is_so() || events.tally.is_over() {
                return;
            }
            moved.await;
        }
    })
    .await?;
    Ok(())
}
