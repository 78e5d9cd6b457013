//! Every gRPC service behind one match on the path.
//!
//! ```text
//!   request -> checks (headers, path) -> Framed (length, flags) -> service (decode, handle) -> translate -> response
//!                  \-- terms (deadline, leader) end the call at any point behind it
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::codegen::Service;

use super::calls::{Calls, Limits};
use super::checks::{self, Call};
use super::framing::Framed;
use super::streamed::Streamed;
use super::terms::Terms;
use crate::api;
use crate::clock::Clock;
use crate::node::Seat;
use crate::watch::{Leadership, Station};
use crate::wire::service::{Kind, Method, Service as Name, election, etcd, health, lock};

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
    leadership: tokio::sync::watch::Receiver<Leadership>,
    warning_unary: Duration,
}

impl Grpc {
    /// `receive_max`: the largest message taken, in bytes (GRP-6).
    pub fn new(seat: Seat, station: Arc<Station>, receive_max: usize, calls: Arc<Calls>) -> Grpc {
        let (clock, warning_unary) = (seat.node.clock.clone(), seat.node.options.warning_unary);
        let leadership = seat.node.leadership();
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
            leadership,
            warning_unary,
        }
    }

    /// Answers one call of the client at `remote`, counted and timed.
    pub async fn call(&self, request: Request<Incoming>, remote: &str) -> Result<Response<Body>, Infallible> {
        let began = self.clock.now();
        let Call { method: Method { service, kind }, is_encoded, terms } = match checks::check(&request, began, || self.clock.now()) {
            Ok(call) => call,
            Err(refusal) => return Ok(*refusal),
        };
        let counted = self.calls.find(request.uri().path());
        if let Some(counted) = counted {
            self.calls.note_call(counted, request.headers());
        }
        let received = counted.filter(|counted| counted.is_stream()).map(|counted| counted.received.clone());
        let request = request.map(|body| Framed::new(body, kind, is_encoded, self.receive_max).counting(received));
        let answer = match service {
            Name::KV => self.kv.clone().call(request),
            Name::Watch => self.watch.clone().call(request),
            Name::Lease => self.lease.clone().call(request),
            Name::Cluster => self.cluster.clone().call(request),
            Name::Maintenance => self.maintenance.clone().call(request),
            Name::Auth => self.auth.clone().call(request),
            Name::Health => self.health.clone().call(request),
            Name::Lock => self.lock.clone().call(request),
            Name::Election => self.election.clone().call(request),
        };
        let answer = match terms.admit(&self.leadership) {
            Ok(()) => terms.hold(began, answer).await,
            Err(refusal) => Err(refusal),
        };
        let mut response = match answer {
            Ok(response) => checks::translate(response?, self.receive_max),
            Err(status) => status.into_http(),
        };
        if let Some(counted) = counted {
            let limits = Limits { warning: self.warning_unary, clock: &*self.clock, remote };
            counted.note_answer(&response, self.clock.now().saturating_sub(began), &limits);
        }
        if kind != Kind::Unary {
            if let Some(body) = response.extensions_mut().remove().and_then(|encoded: api::maintenance::Encoded| encoded.take()) {
                *response.body_mut() = body;
            }
            // A watch stream asks for its leader itself, since what is queued for it goes first.
            let terms = Terms { requires_leader: terms.requires_leader && service != Name::Watch, ..terms };
            response = response.map(|body| terms.bound(self.clock.now(), body, &self.leadership));
            // One that was refused has said so in its head.
            if let Some(counted) = counted
                && !response.headers().contains_key("grpc-status")
            {
                response = response.map(|body| Body::new(Streamed::new(body, counted.clone())));
            }
        }
        Ok(response)
    }
}

fn watch_service(seat: &Seat, station: Arc<Station>) -> api::watch::WatchService {
    let node = seat.node.clone();
    let header: api::watch::Header = Arc::new(move || node.header(0));
    // Everybody may watch everything until there are users (WAT-25).
    let permit: api::watch::Permit = Arc::new(|_, _, _| Ok(()));
    api::watch::WatchService::new(station, permit, header, seat.node.leadership())
}
