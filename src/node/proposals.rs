//! The way of a command from a caller to the log, and of its reply back.
//!
//! Holds PRP-1..7: admission first (apply lag), then the size, then the inbox; a caller waits at most the request timeout, and
//! nothing is proposed twice.

use bytes::Bytes;
use prost::Message;
use prost::encoding::message;

use super::seat::Seat;
use crate::state_machine::Response;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{InternalRaftRequest, RequestHeader};

/// Committed minus applied beyond which nothing more is admitted (PRP-1).
const APPLY_LAG_MAX: u64 = 5000;
/// Field numbers of `InternalRaftRequest`.
const HEADER: u32 = 100;

/// The field of `InternalRaftRequest` that a frequent command travels in. It is encoded straight from the request: the union
/// itself has some forty fields, and filling it only to encode one of them costs more than the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Put = 4,
    DeleteRange = 5,
    Txn = 6,
    LeaseGrant = 8,
    LeaseRevoke = 9,
}

fn encode<M: Message>(field: Field, request: &M, id: u64) -> Vec<u8> {
    let header = RequestHeader { id, ..Default::default() };
    let size = message::encoded_len(field as u32, request) + message::encoded_len(HEADER, &header);
    let mut data = Vec::with_capacity(size);
    message::encode(field as u32, request, &mut data);
    message::encode(HEADER, &header, &mut data);
    data
}

impl Seat {
    /// Proposes a frequent command and waits until it is applied.
    pub async fn propose_field<M: Message>(&self, field: Field, request: M) -> Result<Response, Error> {
        self.admit()?;
        let id = self.mailbox.next_id();
        let data = encode(field, &request, id);
        // What the request holds on to, a frame of the network, is given back before the wait.
        drop(request);
        self.propose_encoded(id, data).await
    }

    /// Proposes any command and waits until it is applied.
    pub async fn propose(&self, mut command: InternalRaftRequest) -> Result<Response, Error> {
        self.admit()?;
        let id = self.mailbox.next_id();
        command.header = Some(RequestHeader { id, ..Default::default() });
        self.propose_encoded(id, command.encode_to_vec()).await
    }

    /// PRP-1, before anything else is looked at.
    fn admit(&self) -> Result<(), Error> {
        let marks = &self.node.pipeline.marks;
        if marks.commit() > marks.applied() + APPLY_LAG_MAX { Err(Error::RequestTooManyRequests) } else { Ok(()) }
    }

    async fn propose_encoded(&self, id: u64, data: Vec<u8>) -> Result<Response, Error> {
        if data.len() > self.node.options.max_request_bytes {
            return Err(Error::RequestTooLarge);
        }
        let reply = self.mailbox.park(id, self.node.clock.now() + self.node.options.request_timeout);
        if !self.node.pipeline.inbox.propose(Bytes::from(data)) {
            self.mailbox.forget(id);
            self.node.pipeline.metrics.proposals_failed.inc();
            return Err(if self.node.is_stopping() { Error::Stopped } else { Error::RequestTooManyRequests });
        }
        match reply.await {
            Ok(Err(late @ (Error::Timeout | Error::TimeoutDueToLeaderFail))) => {
                self.node.pipeline.metrics.proposals_failed.inc();
                Err(late)
            }
            Ok(reply) => reply,
            Err(_) => Err(Error::Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::etcdserverpb::{LeaseGrantRequest, PutRequest};

    #[test]
    fn a_command_encoded_by_its_field_is_the_union_with_that_field() {
        let put = PutRequest { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v"), lease: -3, ..Default::default() };
        let union = InternalRaftRequest {
            header: Some(RequestHeader { id: 99, ..Default::default() }),
            put: Some(put.clone()),
            ..Default::default()
        };
        assert_eq!(encode(Field::Put, &put, 99), union.encode_to_vec());
        let grant = LeaseGrantRequest { ttl: 5, id: 1 };
        let union = InternalRaftRequest {
            header: Some(RequestHeader { id: 7, ..Default::default() }),
            lease_grant: Some(grant),
            ..Default::default()
        };
        assert_eq!(encode(Field::LeaseGrant, &grant, 7), union.encode_to_vec());
    }
}
