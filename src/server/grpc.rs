//! Every gRPC service behind one match on the path, and the one place where a transport's error text becomes etcd's.
//!
//! A router would do the same by a table; the match costs nothing on the hot path.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::codegen::Service;

use super::calls::Calls;
use crate::api;
use crate::clock::Clock;
use crate::node::Seat;
use crate::watch::Station;
use crate::wire::service::{election, etcd, health, lock};

type Answer = Result<Response<Body>, Infallible>;

/// The services of one runtime thread.
#[derive(Clone)]
pub struct Grpc {
    kv: etcd::kv_server::KvServer<api::kv::KvService>,
    watch: etcd::watch_server::WatchServer<api::watch::WatchService>,
    lease: etcd::lease_server::LeaseServer<api::lease::LeaseService>,
    cluster: etcd::cluster_server::ClusterServer<api::cluster::ClusterService>,
    maintenance: etcd::maintenance_server::MaintenanceServer<api::maintenance::MaintenanceService>,
    auth: etcd::auth_server::AuthServer<api::auth::AuthService>,
    health: health::health_server::HealthServer<api::health::HealthService>,
    lock: lock::lock_server::LockServer<api::recipes::LockService>,
    election: election::election_server::ElectionServer<api::recipes::ElectionService>,
    receive_max: usize,
    calls: Arc<Calls>,
    clock: Arc<dyn Clock>,
    warning_unary: Duration,
}

impl Grpc {
    /// `receive_max`: the largest message taken, in bytes (GRP-6).
    pub fn new(seat: Seat, station: Arc<Station>, receive_max: usize, calls: Arc<Calls>) -> Grpc {
        let (clock, warning_unary) = (seat.node.clock.clone(), seat.node.options.warning_unary);
        use api::{auth, cluster, health as health_api, kv, lease, maintenance, recipes};
        macro_rules! server {
            ($server:path, $service:expr) => {{
                use $server as Server;
                Server::new($service)
                    .max_decoding_message_size(receive_max)
                    .max_encoding_message_size(i32::MAX as usize)
                    .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
            }};
        }
        Grpc {
            kv: server!(etcd::kv_server::KvServer, kv::KvService { seat: seat.clone() }),
            watch: server!(etcd::watch_server::WatchServer, watch_service(&seat, station)),
            lease: server!(etcd::lease_server::LeaseServer, lease::LeaseService { seat: seat.clone() }),
            cluster: server!(etcd::cluster_server::ClusterServer, cluster::ClusterService { seat: seat.clone() }),
            maintenance: server!(etcd::maintenance_server::MaintenanceServer, maintenance::MaintenanceService { seat: seat.clone() }),
            auth: server!(etcd::auth_server::AuthServer, auth::AuthService),
            health: server!(health::health_server::HealthServer, health_api::HealthService { seat }),
            lock: server!(lock::lock_server::LockServer, recipes::LockService),
            election: server!(election::election_server::ElectionServer, recipes::ElectionService),
            receive_max,
            calls,
            clock,
            warning_unary,
        }
    }

    /// Answers one call, counted and timed.
    pub fn call(&self, request: Request<Incoming>) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let Some(call) = self.calls.find(request.uri().path()).cloned() else { return self.route(request) };
        call.started.inc();
        let answer = self.route(request);
        let (began, warning, clock, receive_max) = (self.clock.now(), self.warning_unary, self.clock.clone(), self.receive_max);
        Box::pin(async move {
            let mut response = answer.await?;
            // Gives an oversized message the code and text of grpc-go, which clients know (PUT-7).
            translate_too_large(response.headers_mut(), receive_max);
            let took = clock.now().saturating_sub(began);
            call.note_answer(response.headers(), took, warning);
            Ok(response)
        })
    }

    fn route(&self, request: Request<Incoming>) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let path = request.uri().path();
        let service = path.get(1..).and_then(|rest| rest.split_once('/')).map_or("", |(service, _)| service);
        match service {
            "etcdserverpb.KV" => self.kv.clone().call(request),
            "etcdserverpb.Watch" => self.watch.clone().call(request),
            "etcdserverpb.Lease" => self.lease.clone().call(request),
            "etcdserverpb.Cluster" => self.cluster.clone().call(request),
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request),
            "etcdserverpb.Auth" => self.auth.clone().call(request),
            "grpc.health.v1.Health" => self.health.clone().call(request),
            "v3lockpb.Lock" => self.lock.clone().call(request),
            "v3electionpb.Election" => self.election.clone().call(request),
            unknown => {
                // grpc-go's own words for a service that is not registered.
                let status = tonic::Status::unimplemented(format!("unknown service {unknown}"));
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}

fn watch_service(seat: &Seat, station: Arc<Station>) -> api::watch::WatchService {
    let node = seat.node.clone();
    let header: api::watch::Header = Arc::new(move || node.header(0));
    // Everybody may watch everything until there are users (WAT-25).
    let permit: api::watch::Permit = Arc::new(|_, _, _| Ok(()));
    api::watch::WatchService::new(station, permit, header, seat.node.leadership())
}

/// tonic's text for a message over the limit names both sizes; the same two numbers go into grpc-go's text.
fn translate_too_large(headers: &mut http::HeaderMap, receive_max: usize) {
    let Some(status) = headers.get("grpc-status") else { return };
    if status != "11" {
        return;
    }
    let Some(message) = headers.get("grpc-message").and_then(|m| m.to_str().ok()) else { return };
    if !message.contains("decoded%20message%20length%20too%20large") && !message.contains("decoded message length too large") {
        return;
    }
    let sizes: Vec<&str> = message.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() > 2).collect();
    let found = sizes.first().copied().unwrap_or("?");
    let text = format!("grpc: received message larger than max ({found} vs. {receive_max})");
    headers.insert("grpc-status", HeaderValue::from_static("8"));
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert("grpc-message", value);
    }
}
