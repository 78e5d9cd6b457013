//! The floor: a tonic server that answers every call with an empty message.
//!
//! One single-threaded runtime per core, accepted connections dealt to them in turn, like the product's own server: what is
//! measured here is what no server on these libraries can be below.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use anyhow::Result;
use etcd::wire::etcdserverpb::{PutRequest, PutResponse};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

pub fn serve(address: SocketAddr) -> Result<()> {
    let listener = std::net::TcpListener::bind(address)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut hands = Vec::new();
    for _ in 0..cores {
        // Bound: as many as there are connections.
        let (hand, dealt) = mpsc::unbounded_channel::<std::net::TcpStream>();
        hands.push(hand);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let incoming = UnboundedReceiverStream::new(dealt).map(TcpStream::from_std);
            runtime.block_on(tonic::transport::Server::builder().add_service(Empty).serve_with_incoming(incoming))?;
            anyhow::Ok(())
        });
    }
    for number in 0.. {
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        hands[number % cores].send(socket)?;
    }
    Ok(())
}

/// Every method of `etcdserverpb.KV`, each with an empty answer (all answers of it share that encoding).
#[derive(Clone)]
struct Empty;

impl NamedService for Empty {
    const NAME: &'static str = "etcdserverpb.KV";
}

impl Service<http::Request<Body>> for Empty {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<PutResponse, PutRequest>::default();
            Ok(Grpc::new(codec).unary(Empty, request).await)
        })
    }
}

impl UnaryService<PutRequest> for Empty {
    type Response = PutResponse;
    type Future = std::future::Ready<Result<Response<PutResponse>, Status>>;

    fn call(&mut self, _: Request<PutRequest>) -> Self::Future {
        std::future::ready(Ok(Response::new(PutResponse::default())))
    }
}
