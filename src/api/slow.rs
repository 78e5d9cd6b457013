//! What is told of a read that took long: the line about it, and the details that the line about its call has (LOG-5).
//!
//! Writes: the log, the extensions of a response. Reads: the clock, twice for a read.
//! Does not describe writes: by the time one has taken long, its request is gone.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tonic::Response;

use crate::node::Node;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{RangeRequest, TxnRequest};
use crate::wire::hot::{self, response_op};
use crate::wire::loggable;

/// Runs from the start of a read.
pub struct Stopwatch<'a> {
    node: &'a Node,
    began: Duration,
}

/// What the line about a slow call says of its messages; beside a response, among its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    pub request_count: i64,
    pub request_size: i64,
    pub response_count: i64,
    pub response_size: i64,
    pub content: Arc<str>,
}

impl Default for Details {
    /// Of a call of which nothing is known, in etcd's numbers.
    fn default() -> Details {
        Details { request_count: -1, request_size: -1, response_count: -1, response_size: -1, content: "".into() }
    }
}

impl<'a> Stopwatch<'a> {
    pub fn start(node: &'a Node) -> Stopwatch<'a> {
        Stopwatch { node, began: node.clock.now() }
    }

    fn tell(&self, kind: &str, request: impl FnOnce() -> String, done: impl FnOnce() -> Result<String, Error>) -> Duration {
        let (took, expected) = (self.node.clock.now().saturating_sub(self.began), self.node.options.warning_apply);
        if took > expected {
            self.node.pipeline.metrics.warn_slow_read(took, expected, kind, &request(), done());
        }
        took
    }

    /// To be called before the header is filled: etcd counts the response without. Answers the time that the read took.
    pub fn range(&self, request: &RangeRequest, done: &Result<hot::RangeResponse, Error>) -> Duration {
        let response = || match done {
            Ok(response) => Ok(format!("range_response_count:{} size:{}", response.kvs.len(), response.encoded_len())),
            Err(error) => Err(*error),
        };
        self.tell("read-only range ", || loggable::range(request), response)
    }

    /// The same of a transaction.
    pub fn txn(&self, request: &TxnRequest, done: &Result<hot::TxnResponse, Error>) {
        let response = || match done {
            Ok(response) => {
                let ranges = response.responses.iter().filter_map(|op| match &op.response {
                    Some(response_op::Response::Range(range)) => Some(format!("range_response_count:{}", range.kvs.len())),
                    _ => None,
                });
                Ok(format!("responses:<{}> size:{}", ranges.collect::<Vec<_>>().join(" "), response.encoded_len()))
            }
            Err(error) => Err(*error),
        };
        self.tell("read-only txn ", || loggable::txn(request), response);
    }

    /// The response, with its details if its call will be told.
    pub fn describe(&self, took: Duration, request: &RangeRequest, response: hot::RangeResponse) -> Response<hot::RangeResponse> {
        let details = (took > self.node.options.warning_unary || tracing::enabled!(tracing::Level::DEBUG)).then(|| Details {
            request_count: 0,
            request_size: request.encoded_len() as i64,
            response_count: response.count,
            response_size: response.encoded_len() as i64,
            content: loggable::range(request).into(),
        });
        let mut response = Response::new(response);
        if let Some(details) = details {
            response.extensions_mut().insert(details);
        }
        response
    }
}
