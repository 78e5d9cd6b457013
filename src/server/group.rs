//! What the pages of peer listeners ask of the running node.

use axum::http::StatusCode;
use futures_util::future::BoxFuture;

use crate::api::lease::LeaseService;
use crate::api::maintenance::MaintenanceService;
use crate::http::peer::{Group, LeaseError};
use crate::node::Seat;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{HashKvRequest, HashKvResponse, LeaseTimeToLiveResponse, ResponseHeader};
use crate::wire::service::etcd::maintenance_server::Maintenance;

/// How long a question waits for what is committed to be applied.
const APPLY_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

pub struct Peers {
    seat: Seat,
}

impl Peers {
    pub fn new(seat: Seat) -> Peers {
        Peers { seat }
    }
}

impl Group for Peers {
    fn cluster_id(&self) -> u64 {
        self.seat.node.cluster_id()
    }

    fn members(&self) -> String {
        self.seat.node.cluster.members_json()
    }

    fn is_removed(&self, id: u64) -> bool {
        self.seat.node.cluster.is_removed(id)
    }

    fn is_downgrading(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(async {
            self.seat.linearize().await.map_err(|error| error.to_string())?;
            Ok(self.seat.node.cluster.downgrade().enabled)
        })
    }

    /// Without other members there is no learner, so all that is left is to say why not.
    fn promote(&self, id: u64) -> BoxFuture<'_, Result<(), (StatusCode, String)>> {
        let refusal = match self.seat.node.cluster.member(id) {
            None => (StatusCode::NOT_FOUND, "membership: ID not found"),
            Some(member) if !member.is_learner => (StatusCode::PRECONDITION_FAILED, "membership: can only promote a learner member"),
            Some(_) => (StatusCode::NOT_IMPLEMENTED, "changing the members of a cluster is not built yet"),
        };
        Box::pin(async move { Err((refusal.0, refusal.1.to_owned())) })
    }

    fn hash_kv(&self, revision: i64) -> BoxFuture<'_, Result<HashKvResponse, String>> {
        Box::pin(async move {
            let service = MaintenanceService { seat: self.seat.clone() };
            let answer = service.hash_kv(tonic::Request::new(HashKvRequest { revision })).await;
            // Between members errors go without the prefix that clients know them by.
            let answer = answer.map_err(|status| status.message().trim_start_matches("etcdserver: ").to_owned())?.into_inner();
            let revision = answer.header.as_ref().map_or(0, |header| header.revision);
            Ok(HashKvResponse { header: Some(ResponseHeader { revision, ..Default::default() }), ..answer })
        })
    }

    fn renew(&self, id: i64) -> BoxFuture<'_, Result<i64, LeaseError>> {
        Box::pin(async move {
            match (LeaseService { seat: self.seat.clone() }).keep_alive(id).await {
                Ok(answer) if answer.ttl > 0 => Ok(answer.ttl),
                Ok(_) => Err(LeaseError::NotFound),
                Err(status) if status.message() == Error::TimeoutWaitAppliedIndex.text() => Err(LeaseError::Late),
                Err(status) => Err(LeaseError::Other(status.message().to_owned())),
            }
        })
    }

    fn time_to_live(&self, id: i64, with_keys: bool) -> BoxFuture<'_, Result<LeaseTimeToLiveResponse, LeaseError>> {
        Box::pin(async move {
            self.seat.wait_applied(APPLY_WAIT).await.map_err(|_| LeaseError::Late)?;
            let node = &self.seat.node;
            let lease = node.leases.get(id).ok_or(LeaseError::NotFound)?;
            let ttl = node.remaining(id).ok_or_else(|| LeaseError::Other("not a primary lessor".to_owned()))?;
            let keys = if with_keys { node.leases.keys(id) } else { Vec::new() };
            // Quirk: a header that says nothing, as in etcd; the member that asked puts its own in.
            Ok(LeaseTimeToLiveResponse { header: Some(ResponseHeader::default()), id, ttl, granted_ttl: lease.ttl, keys })
        })
    }
}
