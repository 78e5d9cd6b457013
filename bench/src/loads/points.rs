//! Single keys: puts, gets, and a mix of both.

use std::rc::Rc;

use anyhow::Result;
use bytes::Bytes;
use etcd::wire::etcdserverpb::RangeRequest;

use super::{Bench, Operation, Turns, VALUE_LEN, fill, key, put_frame, putter};
use crate::client::{Connection, Method, frame};
use crate::drive::closed_loop;
use crate::report::Row;
use crate::server::Kind;

const KEYS: usize = 10_000;

/// Ten clients share a connection.
fn connections_for(clients: usize) -> usize {
    (clients / 10).max(1)
}

pub async fn put(bench: Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for clients in [1, 100, 1000] {
        let server = bench.start().await?;
        let connections = Connection::open_many(server.address, connections_for(clients)).await?;
        let name = format!("put, {clients} client{}", if clients == 1 { "" } else { "s" });
        rows.push(closed_loop(&name, &server, clients, bench.seconds, putter(connections, KEYS, VALUE_LEN)).await?);
    }
    Ok(rows)
}

fn getter(connections: Vec<Connection>, serializable: bool) -> impl Fn(usize) -> Operation {
    let request = |number| RangeRequest { key: key(number).into(), serializable, ..Default::default() };
    let frames: Rc<[Bytes]> = (0..KEYS).map(|number| frame(&request(number))).collect();
    let turns = Turns::new(KEYS);
    move |client| {
        let connection = connections[client % connections.len()].clone();
        let frame = frames[turns.next()].clone();
        Box::pin(async move { connection.call(Method::Range, frame).await.map(drop) })
    }
}

pub async fn get(bench: Bench) -> Result<Vec<Row>> {
    let server = bench.start().await?;
    if matches!(bench.kind, Kind::Etcd(_)) {
        fill(&server, KEYS, VALUE_LEN).await?;
    }
    let mut rows = Vec::new();
    for (word, serializable) in [("linearizable", false), ("serializable", true)] {
        for clients in [100, 1000] {
            let connections = Connection::open_many(server.address, connections_for(clients)).await?;
            let name = format!("get {word}, {clients} clients");
            rows.push(closed_loop(&name, &server, clients, bench.seconds, getter(connections, serializable)).await?);
        }
    }
    Ok(rows)
}

pub async fn mixed(bench: Bench) -> Result<Vec<Row>> {
    let server = bench.start().await?;
    fill(&server, KEYS, VALUE_LEN).await?;
    let connections = Connection::open_many(server.address, connections_for(100)).await?;
    let gets = getter(connections.clone(), false);
    let puts: Rc<[Bytes]> = (0..KEYS).map(|number| put_frame(number, VALUE_LEN)).collect();
    let turns = Turns::new(KEYS);
    let either = move |client: usize| -> Operation {
        let turn = turns.next();
        if !turn.is_multiple_of(10) {
            return gets(client);
        }
        let (connection, frame) = (connections[client % connections.len()].clone(), puts[turn].clone());
        Box::pin(async move { connection.call(Method::Put, frame).await.map(drop) })
    };
    Ok(vec![closed_loop("mixed 90/10, 100 clients", &server, 100, bench.seconds, either).await?])
}
