//! The Lock and Election services: not built yet. The official clients bring their own recipes over keys and leases, which work.

use std::pin::Pin;

use futures_util::Stream;
use tonic::{Request, Response, Status};

use crate::wire::service::election::election_server::Election;
use crate::wire::service::lock::lock_server::Lock;
use crate::wire::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse, ResignRequest, ResignResponse,
};
use crate::wire::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

#[derive(Clone, Default)]
pub struct LockService;

#[derive(Clone, Default)]
pub struct ElectionService;

fn not_built() -> Status {
    Status::unimplemented("the lock and election services are not built yet")
}

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, _: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        Err(not_built())
    }

    async fn unlock(&self, _: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        Err(not_built())
    }
}

#[tonic::async_trait]
impl Election for ElectionService {
    async fn campaign(&self, _: Request<CampaignRequest>) -> Result<Response<CampaignResponse>, Status> {
        Err(not_built())
    }

    async fn proclaim(&self, _: Request<ProclaimRequest>) -> Result<Response<ProclaimResponse>, Status> {
        Err(not_built())
    }

    async fn leader(&self, _: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        Err(not_built())
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn observe(&self, _: Request<LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        Err(not_built())
    }

    async fn resign(&self, _: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        Err(not_built())
    }
}
