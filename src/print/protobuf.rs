//! The protobuf format: the bytes of the message and nothing after them.
//!
//! Writes: the stream it is given. Reads: messages.

use std::io::{self, Write};

use prost::Message;

use super::{Answer, Shown};
use crate::wire::etcdserverpb::WatchResponse;

pub fn show(out: &mut dyn Write, answer: Answer<'_>) -> io::Result<Shown> {
    let bytes = match answer {
        Answer::Range(r) => r.encode_to_vec(),
        Answer::Put(r) => r.encode_to_vec(),
        Answer::DeleteRange(r) => r.encode_to_vec(),
        Answer::Txn(r) => r.encode_to_vec(),
        Answer::Watch(r) => watch(r).encode_to_vec(),
        Answer::Alarm(r) => r.encode_to_vec(),
        Answer::Downgrade { response, .. } => response.encode_to_vec(),
        Answer::MemberList(r) => r.encode_to_vec(),
        // Quirk: of most lease answers etcd prints the header only (etcdctl/ctlv3/command/printer_protobuf.go), as its client has types of its
        // own there in which the header is embedded. Pinned by `a_lease_in_protobuf_is_its_header_only`.
        Answer::LeaseGrant(r) => r.header.unwrap_or_default().encode_to_vec(),
        Answer::LeaseKeepAlive(r) => r.header.unwrap_or_default().encode_to_vec(),
        Answer::LeaseTimeToLive { response, .. } => response.header.unwrap_or_default().encode_to_vec(),
        Answer::LeaseLeases(r) => r.header.unwrap_or_default().encode_to_vec(),
        Answer::LeaseRevoke { .. }
        | Answer::MoveLeader { .. }
        | Answer::Health(_)
        | Answer::Status(_)
        | Answer::HashKv(_)
        | Answer::Row(_) => return Ok(Shown::Unsupported),
    };
    out.write_all(&bytes)?;
    Ok(Shown::Yes)
}

/// What the Go client lets through of a watch answer: neither the watcher's number nor the reason.
fn watch(r: &WatchResponse) -> WatchResponse {
    WatchResponse { watch_id: 0, cancel_reason: String::new(), fragment: false, ..r.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::etcdserverpb::{LeaseGrantResponse, ResponseHeader};

    #[test]
    fn a_lease_in_protobuf_is_its_header_only() {
        let header = ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 };
        let mut out = Vec::new();
        let response = LeaseGrantResponse { header: Some(header), id: 7, ttl: 60, ..Default::default() };
        assert_eq!(show(&mut out, Answer::LeaseGrant(&response)).unwrap(), Shown::Yes);
        assert_eq!(out, [8, 1, 16, 2, 24, 3, 32, 4]);
    }

    #[test]
    fn endpoints_have_no_protobuf_form() {
        let mut out = Vec::new();
        assert_eq!(show(&mut out, Answer::Health(&[])).unwrap(), Shown::Unsupported);
        assert!(out.is_empty());
    }
}
