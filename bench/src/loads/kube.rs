//! Objects as a Kubernetes API server keeps them: every write a transaction on the key's mod revision.

use std::cell::Cell;
use std::rc::Rc;

use anyhow::{Result, ensure};
use etcd::wire::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse, compare, request_op,
};

use super::{Bench, Operation, key, value};
use crate::client::{Connection, Method};
use crate::drive::closed_loop;
use crate::report::Row;

const CLIENTS: usize = 100;
const VALUE_LEN: usize = 1024;
/// An object is created, updated so often, and deleted.
const UPDATES: usize = 6;

/// Where a client is with its object: the step to do, and the mod revision it last saw.
#[derive(Default)]
struct Object {
    step: Cell<usize>,
    revision: Cell<i64>,
}

pub async fn objects(bench: Bench) -> Result<Vec<Row>> {
    let server = bench.start().await?;
    let connections = Connection::open_many(server.address, CLIENTS / 10).await?;
    let objects: Rc<Vec<Object>> = Rc::new((0..CLIENTS).map(|_| Object::default()).collect());
    let value = value(VALUE_LEN);
    let write = move |client: usize| -> Operation {
        let (connection, objects) = (connections[client % connections.len()].clone(), objects.clone());
        let key = bytes::Bytes::from(key(client));
        let put = PutRequest { key: key.clone(), value: value.clone(), ..Default::default() };
        let step = objects[client].step.get();
        let change = if step > UPDATES {
            request_op::Request::RequestDeleteRange(DeleteRangeRequest { key: key.clone(), ..Default::default() })
        } else {
            request_op::Request::RequestPut(put)
        };
        let request = guarded(key, objects[client].revision.get(), change);
        Box::pin(async move {
            let answer: TxnResponse = connection.ask(Method::Txn, &request).await?;
            ensure!(answer.succeeded, "step {step} of an object met a revision that only it could have changed");
            let is_gone = step > UPDATES;
            objects[client].step.set(if is_gone { 0 } else { step + 1 });
            objects[client].revision.set(if is_gone { 0 } else { answer.header.unwrap_or_default().revision });
            Ok(())
        })
    };
    Ok(vec![closed_loop("Kubernetes objects, 100 clients", &server, CLIENTS, bench.seconds, write).await?])
}

/// If the key's mod revision is still `revision`, the change; else what is there now.
fn guarded(key: bytes::Bytes, revision: i64, change: request_op::Request) -> TxnRequest {
    let compare = Compare {
        result: compare::CompareResult::Equal as i32,
        target: compare::CompareTarget::Mod as i32,
        key: key.clone(),
        target_union: Some(compare::TargetUnion::ModRevision(revision)),
        ..Default::default()
    };
    let look = request_op::Request::RequestRange(RangeRequest { key, ..Default::default() });
    let op = |request| RequestOp { request: Some(request) };
    TxnRequest { compare: vec![compare], success: vec![op(change)], failure: vec![op(look)] }
}
