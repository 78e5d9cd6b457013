//! The payload of a normal entry: etcd's `InternalRaftRequest`, and the ids by which a reply finds who waits for it.
//!
//! ```text
//!   request id    63        48 47              8 7        0
//!                 | member id | milliseconds    | counter |       counter and time count on as one number      RHT-0b
//! ```
//!
//! Writes: the node, before it proposes. Reads: `apply`, on every member, our kind or not.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use prost::Message;

use super::auth::AuthChange;
use super::command_v2;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, InternalRaftRequest, LeaseCheckpointRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, RequestHeader, RequestOp, TxnRequest, request_op::Request,
};
use crate::wire::membershippb::{ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest};

/// Bound: transactions inside transactions. The decoder follows messages 100 deep: one for the command, two to each transaction,
/// two for the innermost operation. An entry that some member could not decode would stop it.
pub const NESTING_MAX: usize = 48;

/// Who asks, as the member that proposed has found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub auth_revision: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub id: u64,
    pub caller: Caller,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compaction(CompactionRequest),
    LeaseGrant(LeaseGrantRequest),
    LeaseRevoke(LeaseRevokeRequest),
    LeaseCheckpoint(LeaseCheckpointRequest),
    Alarm(AlarmRequest),
    ClusterVersionSet(ClusterVersionSetRequest),
    ClusterMemberAttrSet(ClusterMemberAttrSetRequest),
    DowngradeInfoSet(DowngradeInfoSetRequest),
    /// etcd's own tests write these; they change nothing.
    DowngradeVersionTest,
    /// Comes from the log of a Go member alone: the Auth service is not built yet.
    AuthChange(AuthChange),
    AuthEnable,
    /// Any other of the auth commands; none changes a row while authentication is off.
    Auth,
}

/// Why an entry is no command.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("it does not decode: {0}")]
    Bytes(#[from] prost::DecodeError),
    #[error("it asks for nothing that this version knows")]
    Unknown,
}

impl Command {
    pub fn decode(data: Bytes) -> Result<Command, DecodeError> {
        let mut request = match InternalRaftRequest::decode(data.clone()) {
            Ok(request) => request,
            Err(error) => return Command::decode_old(&data).ok_or(error.into()),
        };
        let header = request.header.take().unwrap_or_default();
        // Members before 3.0 put the id outside of the header.
        let id = if request.id != 0 { request.id } else { header.id };
        let caller = Caller { name: header.username, auth_revision: header.auth_revision };
        match Action::of(request) {
            Some(action) => Ok(Command { id, caller, action }),
            None => Command::decode_old(&data).ok_or(DecodeError::Unknown),
        }
    }

    /// What members up to 3.5 have logged of themselves.
    fn decode_old(data: &Bytes) -> Option<Command> {
        command_v2::decode(data).map(|(id, action)| Command { id, caller: Caller::default(), action })
    }

    /// The bytes to propose. Refuses what other members might not be able to decode.
    pub fn encode(self) -> Result<Bytes, Error> {
        if let Action::Txn(txn) = &self.action {
            check_nesting(txn)?;
        }
        let Caller { name: username, auth_revision } = self.caller;
        let mut request =
            InternalRaftRequest { header: Some(RequestHeader { id: self.id, username, auth_revision }), ..InternalRaftRequest::default() };
        match self.action {
            Action::Range(range) => request.range = Some(range),
            Action::Put(put) => request.put = Some(put),
            Action::DeleteRange(delete) => request.delete_range = Some(delete),
            Action::Txn(txn) => request.txn = Some(txn),
            Action::Compaction(compaction) => request.compaction = Some(compaction),
            Action::LeaseGrant(grant) => request.lease_grant = Some(grant),
            Action::LeaseRevoke(revoke) => request.lease_revoke = Some(revoke),
            Action::LeaseCheckpoint(checkpoint) => request.lease_checkpoint = Some(checkpoint),
            Action::Alarm(alarm) => request.alarm = Some(alarm),
            Action::ClusterVersionSet(version) => request.cluster_version_set = Some(version),
            Action::ClusterMemberAttrSet(attributes) => request.cluster_member_attr_set = Some(attributes),
            Action::DowngradeInfoSet(downgrade) => request.downgrade_info_set = Some(downgrade),
            Action::DowngradeVersionTest => request.downgrade_version_test = Some(Default::default()),
            Action::AuthChange(change) => change.into_request(&mut request),
            Action::AuthEnable | Action::Auth => return Err(Error::NotCapable),
        }
        Ok(request.encode_to_vec().into())
    }
}

impl Action {
    fn of(mut request: InternalRaftRequest) -> Option<Action> {
        // Nearly all are one of these: the other forty fields are not looked at for them.
        if let Some(put) = request.put.take() {
            return Some(Action::Put(put));
        }
        if let Some(txn) = request.txn.take() {
            return Some(Action::Txn(txn));
        }
        let (auth_change, is_auth) = (AuthChange::of(&mut request), request.is_auth());
        None.or(request.range.map(Action::Range))
            .or(request.delete_range.map(Action::DeleteRange))
            .or(request.compaction.map(Action::Compaction))
            .or(request.lease_grant.map(Action::LeaseGrant))
            .or(request.lease_revoke.map(Action::LeaseRevoke))
            .or(request.lease_checkpoint.map(Action::LeaseCheckpoint))
            .or(request.alarm.map(Action::Alarm))
            .or(request.cluster_version_set.map(Action::ClusterVersionSet))
            .or(request.cluster_member_attr_set.map(Action::ClusterMemberAttrSet))
            .or(request.downgrade_info_set.map(Action::DowngradeInfoSet))
            .or(request.downgrade_version_test.map(|_| Action::DowngradeVersionTest))
            .or(auth_change.map(Action::AuthChange))
            .or(request.auth_enable.map(|_| Action::AuthEnable))
            .or(is_auth.then_some(Action::Auth))
    }
}

impl InternalRaftRequest {
    /// But for the changes of users and roles.
    fn is_auth(&self) -> bool {
        self.auth_disable.is_some()
            || self.authenticate.is_some()
            || self.auth_status.is_some()
            || self.auth_user_get.is_some()
            || self.auth_user_list.is_some()
            || self.auth_role_list.is_some()
            || self.auth_role_get.is_some()
    }
}

/// Whether a transaction may be proposed: for whoever encodes it without `Command`. A request can be shallow enough to be received
/// and yet, one level deeper in its entry, too deep to be applied.
pub fn check_nesting(txn: &TxnRequest) -> Result<(), Error> {
    if nests_at_most(txn, NESTING_MAX) { Ok(()) } else { Err(Error::TooManyOps) }
}

fn nests_at_most(txn: &TxnRequest, levels: usize) -> bool {
    let fits = |op: &RequestOp| match &op.request {
        Some(Request::RequestTxn(inside)) => levels > 0 && nests_at_most(inside, levels - 1),
        _ => true,
    };
    txn.success.iter().all(fits) && txn.failure.iter().all(fits)
}

/// Makes ids that no other member makes, nor this one in another life: see the picture.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u64,
    suffix: AtomicU64,
}

impl RequestIds {
    /// The time is that of the start.
    pub fn new(member_id: u64, unix_ms: u64) -> RequestIds {
        RequestIds { prefix: member_id << 48, suffix: AtomicU64::new(low(unix_ms, 40) << 8) }
    }

    pub fn next(&self) -> u64 {
        let suffix = self.suffix.fetch_add(1, Ordering::Relaxed) + 1;
        self.prefix | low(suffix, 48)
    }

    /// An id for a lease whose client did not choose one: never negative, and never zero (LSE-1).
    pub fn next_lease(&self) -> i64 {
        loop {
            let id = low(self.next(), 63) as i64;
            if id != 0 {
                return id;
            }
        }
    }
}

fn low(number: u64, bits: u32) -> u64 {
    number & ((1 << bits) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(id: u64) -> Command {
        let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
        Command { id, caller: Caller { name: "alice".into(), auth_revision: 4 }, action: Action::Put(put) }
    }

    #[test]
    fn a_command_has_etcds_bytes_and_comes_back() {
        let data = put(7).encode().unwrap();
        assert_eq!(&data[..], b"\x22\x06\x0a\x01k\x12\x01v\xa2\x06\x0b\x08\x07\x12\x05alice\x18\x04");
        assert_eq!(Command::decode(data).unwrap(), put(7));
    }

    #[test]
    fn an_auth_command_is_known_but_not_built() {
        let data = InternalRaftRequest {
            header: Some(RequestHeader { id: 3, ..RequestHeader::default() }),
            auth_enable: Some(Default::default()),
            ..InternalRaftRequest::default()
        }
        .encode_to_vec();
        let command = Command::decode(data.into()).unwrap();
        assert_eq!((command.id, command.action), (3, Action::AuthEnable));
    }

    #[test]
    fn an_entry_that_asks_for_nothing_known_is_refused() {
        let data = InternalRaftRequest { header: Some(RequestHeader::default()), ..InternalRaftRequest::default() }.encode_to_vec();
        assert!(matches!(Command::decode(data.into()), Err(DecodeError::Unknown)));
        assert!(matches!(Command::decode(Bytes::from_static(b"\xff")), Err(DecodeError::Bytes(_))));
    }

    #[test]
    fn every_transaction_that_may_be_proposed_can_be_decoded() {
        let nested = |levels: usize| {
            let mut txn = TxnRequest::default();
            for _ in 0..levels {
                txn = TxnRequest { success: vec![RequestOp { request: Some(Request::RequestTxn(txn)) }], ..TxnRequest::default() };
            }
            Command { id: 1, caller: Caller::default(), action: Action::Txn(txn) }
        };
        let deepest = nested(NESTING_MAX);
        assert_eq!(Command::decode(deepest.clone().encode().unwrap()).unwrap(), deepest);
        assert_eq!(nested(NESTING_MAX + 1).encode(), Err(Error::TooManyOps));
    }

    #[test]
    fn a_transaction_that_can_be_received_but_not_applied_is_refused() {
        let nested = |levels: usize| {
            (0..levels).fold(TxnRequest::default(), |txn, _| TxnRequest {
                success: vec![RequestOp { request: Some(Request::RequestTxn(txn)) }],
                ..TxnRequest::default()
            })
        };
        let is_received = |txn: &TxnRequest| TxnRequest::decode(&txn.encode_to_vec()[..]).is_ok();
        let deepest = (NESTING_MAX..200).map(nested).take_while(is_received).last().unwrap();
        let entry = InternalRaftRequest { txn: Some(deepest.clone()), ..InternalRaftRequest::default() }.encode_to_vec();
        assert!(Command::decode(entry.into()).is_err(), "the hole that the bound closes");
        assert_eq!(check_nesting(&deepest), Err(Error::TooManyOps));
    }

    #[test]
    fn an_id_is_made_of_member_time_and_counter() {
        let ids = RequestIds::new(0x12_3456, 0x0011_2233_4455);
        assert_eq!(ids.next(), 0x3456_1122_3344_5501);
        assert_eq!(ids.next(), 0x3456_1122_3344_5502);
        assert_eq!(ids.next_lease(), 0x3456_1122_3344_5503);
    }

    #[test]
    fn the_id_of_a_lease_is_never_negative() {
        assert!(RequestIds::new(0xffff, u64::MAX).next_lease() > 0);
        assert!(RequestIds::new(0, u64::MAX << 8).next_lease() > 0);
    }
}
