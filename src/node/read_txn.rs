//! A transaction that only reads, answered from the published state without an entry in the log (TXN-16).

use std::sync::Arc;

use super::seat::Seat;
use crate::mvcc::RangeError;
use crate::state_machine::read;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{TxnRequest, request_op::Request};
use crate::wire::hot;

impl Seat {
    /// The response's header holds the revision only.
    pub async fn read_txn(&self, request: &Arc<TxnRequest>) -> Result<hot::TxnResponse, Error> {
        let reader = self.node.reader.clone();
        let done = if is_small(request) {
            read::read(&reader, request)
        } else {
            let request = request.clone();
            match tokio::task::spawn_blocking(move || read::read(&reader, &request)).await {
                Ok(done) => done,
                Err(_) => return Err(Error::Stopped),
            }
        };
        done.map_err(|error| match error {
            RangeError::Rejected(error) => error,
            RangeError::Storage(error) => self.node.engine_failed(&error),
        })
    }
}

/// Looks at single keys only, so no connection waits long behind it.
fn is_small(request: &TxnRequest) -> bool {
    let ops = request.success.iter().chain(&request.failure);
    request.compare.iter().all(|c| c.range_end.is_empty())
        && ops.into_iter().all(|op| matches!(&op.request, Some(Request::RequestRange(r)) if r.range_end.is_empty()))
}
