//! The health service that load balancers ask. Only the name "" is known.

use std::pin::Pin;

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};

use crate::node::Seat;
use crate::wire::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse, health_check_response::ServingStatus,
};
use crate::wire::service::health::health_server::Health;

#[derive(Clone)]
pub struct HealthService {
    pub seat: Seat,
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

impl HealthService {
    fn serving(&self) -> ServingStatus {
        if self.seat.node.is_stopping() { ServingStatus::NotServing } else { ServingStatus::Serving }
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !request.into_inner().service.is_empty() {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(answer(self.serving())))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Ok(Response::new(HealthListResponse { statuses: [(String::new(), answer(self.serving()))].into() }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The status now, and once more when the member stops.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !request.into_inner().service.is_empty() {
            let unknown = stream::once(async { Ok(answer(ServingStatus::ServiceUnknown)) });
            return Ok(Response::new(Box::pin(futures_util::StreamExt::chain(unknown, stream::pending()))));
        }
        let stopping = self.seat.node.stopping();
        let now = self.serving();
        Ok(Response::new(Box::pin(async_stream::stream! {
            yield Ok(answer(now));
            stopping.await;
            yield Ok(answer(ServingStatus::NotServing));
        })))
    }
}
