//! The Lease service. Grants and revokes go through the log; a keepalive is answered from the leader's deadlines (D6).

use std::pin::Pin;
use std::time::Duration;

use std::future::ready;

use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use crate::lease::Renewal;
use crate::node::{self, Field, Seat};
use crate::state_machine::{Response as Applied, quota};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{
    InternalRaftRequest, LeaseCheckpoint, LeaseCheckpointRequest, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest,
    LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use crate::wire::service::etcd::lease_server::Lease;

/// How long a keepalive waits for a lease that is being granted right now (LSE-8).
const APPLY_WAIT: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct LeaseService {
    pub seat: Seat,
}

fn unexpected() -> Status {
    Status::internal("the state machine answered with another kind of response")
}

impl LeaseService {
    /// One keepalive. The header's revision is the one before the renewal (LSE-5); an unknown lease answers TTL 0 (LSE-4).
    pub async fn keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
        let header = Some(self.seat.node.header(self.seat.node.reader.revision()));
        let mut waited = false;
        let ttl = loop {
            match self.seat.node.renew(id) {
                Renewal::Renewed { ttl, clears_checkpoint } => {
                    if clears_checkpoint {
                        self.clear_checkpoint(id).await?;
                    }
                    break ttl;
                }
                // Expired, its revoke is on the way: it never comes back to life (LSE-10).
                Renewal::Expired => break self.seat.wait_revoked(id).await?,
                Renewal::Unknown if waited => break 0,
                // Its grant may be committed and not applied yet (LSE-8).
                Renewal::Unknown => {
                    self.seat.wait_applied(APPLY_WAIT).await?;
                    waited = true;
                }
                Renewal::NotLeader => self.seat.wait_leading().await?,
            }
        };
        Ok(LeaseKeepAliveResponse { header, id, ttl })
    }
}

impl LeaseService {
    /// A renewal gives the full TTL again, so the replicated remainder must go before a new leader reads it (LSE-14).
    async fn clear_checkpoint(&self, id: i64) -> Result<(), Error> {
        let checkpoints = vec![LeaseCheckpoint { id, remaining_ttl: 0 }];
        let command = InternalRaftRequest { lease_checkpoint: Some(LeaseCheckpointRequest { checkpoints }), ..Default::default() };
        self.seat.propose(command).await.map(drop)
    }
}

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        let mut request = request.into_inner();
        if !self.seat.node.fits(quota::LEASE_COST) {
            node::raise_no_space(&self.seat).await;
            return Err(Error::NoSpace.status());
        }
        while request.id == 0 {
            // Chosen before proposing, so that every member grants the same (LSE-1).
            request.id = (self.seat.mailbox.next_id() & i64::MAX as u64) as i64;
        }
        let granted = self.seat.propose_field(Field::LeaseGrant, request).await;
        if matches!(granted, Err(Error::NoSpace)) {
            // Applied all the same; the caller hears of it after the alarm is raised (QUO-4).
            node::refused_for_space(&self.seat).await;
        }
        let Applied::LeaseGrant(mut response) = granted? else {
            return Err(unexpected());
        };
        self.seat.node.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn lease_revoke(&self, request: Request<LeaseRevokeRequest>) -> Result<Response<LeaseRevokeResponse>, Status> {
        let Applied::LeaseRevoke(mut response) = self.seat.propose_field(Field::LeaseRevoke, request.into_inner()).await? else {
            return Err(unexpected());
        };
        self.seat.node.fill(&mut response.header);
        Ok(Response::new(response))
    }

    type LeaseKeepAliveStream = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let service = self.clone();
        let answers = request.into_inner().then(move |request| {
            let service = service.clone();
            async move { service.keep_alive(request?.id).await }
        });
        let stopping = self.seat.node.stopping();
        // A stream that ended without a word would tell the client that all is well (GRP-11).
        let node = self.seat.node.clone();
        let end = stream::iter([()]).filter_map(move |()| ready(node.is_stopping().then(|| Err(Error::Stopped.status()))));
        Ok(Response::new(Box::pin(answers.take_until(stopping).chain(end))))
    }

    async fn lease_time_to_live(&self, request: Request<LeaseTimeToLiveRequest>) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let request = request.into_inner();
        self.seat.linearize().await?;
        let header = Some(self.seat.node.header(self.seat.node.reader.revision()));
        let mut response = LeaseTimeToLiveResponse { header, id: request.id, ttl: -1, ..Default::default() };
        if let Some(lease) = self.seat.node.leases.get(request.id) {
            response.granted_ttl = lease.ttl;
            response.ttl = self.seat.node.remaining(request.id).unwrap_or(lease.ttl);
            if request.keys {
                response.keys = self.seat.node.leases.keys(request.id);
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(&self, _request: Request<LeaseLeasesRequest>) -> Result<Response<LeaseLeasesResponse>, Status> {
        let header = Some(self.seat.node.header(self.seat.node.reader.revision()));
        let leases = self.seat.node.leases_by_deadline().into_iter().map(|id| LeaseStatus { id }).collect();
        Ok(Response::new(LeaseLeasesResponse { header, leases }))
    }
}
