//! The Cluster service: the member list. Changing it comes with the cluster itself.

use tonic::{Request, Response, Status};

use crate::membership::Member;
use crate::node::Seat;
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

    async fn member_add(&self, _: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        Err(not_built())
    }

    async fn member_remove(&self, _: Request<MemberRemoveRequest>) -> Result<Response<MemberRemoveResponse>, Status> {
        Err(not_built())
    }

    async fn member_update(&self, _: Request<MemberUpdateRequest>) -> Result<Response<MemberUpdateResponse>, Status> {
        Err(not_built())
    }

    async fn member_promote(&self, _: Request<MemberPromoteRequest>) -> Result<Response<MemberPromoteResponse>, Status> {
        Err(not_built())
    }
}
