//! One accepted connection: HTTP/2 with gRPC and HTTP/1 with the rest, told apart by the first bytes (GRP-2).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tonic::body::Body;
use tower::ServiceExt;

use super::gather::{Socket, Traffic, drive};
use super::grpc::Grpc;

/// h2 windows sized for large lists: one stream may fill a good part of a fast link before the peer acknowledges.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// A client that does not finish its request head in this time is let go.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a connection is served with.
#[derive(Clone)]
pub struct Services {
    /// `None` on a listener for HTTP alone (GRP-3).
    pub grpc: Option<Grpc>,
    /// `None` on a listener for gRPC alone.
    pub http: Option<Router>,
    pub traffic: Arc<Traffic>,
    pub concurrent_streams_max: u32,
    /// Ping a silent client after this long, and give it up after that; `None` never (GRP-4).
    pub keepalive: Option<(Duration, Duration)>,
}

impl Services {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, remote: Arc<str>) -> Result<Response<Body>, std::convert::Infallible> {
        // Without TLS the preface alone decides (GRP-2): HTTP/2 is gRPC, whatever its content type says.
        if request.version() == http::Version::HTTP_2
            && let Some(grpc) = &self.grpc
        {
            return grpc.call(request, &remote).await;
        }
        match &self.http {
            Some(http) => {
                let answer = http.clone().oneshot(request).await?;
                Ok(answer.map(Body::new))
            }
            None => Ok(Response::builder()
                .status(http::StatusCode::UNSUPPORTED_MEDIA_TYPE)
                .body(Body::empty())
                .expect("a constant response is valid")),
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        let mut http2 = builder.http2();
        http2
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(self.concurrent_streams_max)
            .max_send_buf_size(1 << 20);
        if let Some((interval, timeout)) = self.keepalive {
            http2.keep_alive_interval(interval).keep_alive_timeout(timeout);
        }
        builder
    }

    /// Serves until the peer leaves, or until `stopping` and what is under way has ended.
    pub async fn serve<S>(self: Arc<Self>, stream: S, remote: Arc<str>, mut stopping: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = self.builder();
        let (stream, socket) = Socket::pair(stream, self.traffic.clone());
        let service = service_fn(move |request| self.clone().answer(request, remote.clone()));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // The guard that `wait_for` answers with must not be held across an await.
        let stop = async { drop(stopping.wait_for(|&stop| stop).await) };
        let mut has_ended = false;
        let is_stopping = tokio::select! {
            () = drive(&mut connection, &socket, &mut has_ended) => false,
            () = stop => true,
        };
        if is_stopping {
            if !has_ended {
                connection.as_mut().graceful_shutdown();
            }
            drive(&mut connection, &socket, &mut has_ended).await;
        }
    }
}
