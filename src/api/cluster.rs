//! The Cluster service: the member list. Changing it comes with the cluster itself; what a group of one refuses is refused already,
//! in etcd's order (MEM-1, MEM-3, MEM-6, MEM-7, LRN-3).

use tonic::{Request, Response, Status};

use super::validate;
use crate::membership::Member;
use crate::node::Seat;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest, MemberPromoteResponse,
    MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse, ResponseHeader,
};
use crate::wire::service::etcd::cluster_server::Cluster;

#[derive(Clone)]
pub struct ClusterService {
    pub seat: Seat,
}

fn not_built() -> Status {
    Status::unimplemented("changing the members of a cluster is not built yet")
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        if request.into_inner().linearizable {
            self.seat.linearize().await?;
        }
        // Quirk: HDR-3, the Cluster service answers no revision; pinned by the differential test.
        let header = ResponseHeader { revision: 0, ..self.seat.node.header(0) };
        let members = self.seat.node.cluster.members().iter().map(Member::to_wire).collect();
        Ok(Response::new(MemberListResponse { header: Some(header), members }))
    }

    async fn member_add(&self, request: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        let urls = request.into_inner().peer_ur_ls;
        validate::peer_urls(&urls)?;
        if self.seat.node.cluster.members().iter().any(|member| member.peer_urls.iter().any(|url| urls.contains(url))) {
            return Err(Error::PeerURLExist.status());
        }
        Err(not_built())
    }

    async fn member_remove(&self, request: Request<MemberRemoveRequest>) -> Result<Response<MemberRemoveResponse>, Status> {
        let members = self.seat.node.cluster.members();
        let member = validate::member(&members, request.into_inner().id)?;
        if !member.is_learner && members.iter().filter(|member| !member.is_learner).count() == 1 {
            return Err(Error::MemberNotEnoughStarted.status());
        }
        Err(not_built())
    }

    async fn member_update(&self, request: Request<MemberUpdateRequest>) -> Result<Response<MemberUpdateResponse>, Status> {
        let MemberUpdateRequest { id, peer_ur_ls: urls } = request.into_inner();
        let members = self.seat.node.cluster.members();
        validate::member(&members, id)?;
        if members.iter().any(|member| member.id != id && member.peer_urls.iter().any(|url| urls.contains(url))) {
            return Err(Error::PeerURLExist.status());
        }
        Err(not_built())
    }

    async fn member_promote(&self, request: Request<MemberPromoteRequest>) -> Result<Response<MemberPromoteResponse>, Status> {
        let members = self.seat.node.cluster.members();
        if !validate::member(&members, request.into_inner().id)?.is_learner {
            return Err(Error::MemberNotLearner.status());
        }
        Err(not_built())
    }
}
