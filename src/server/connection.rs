//! One accepted connection: HTTP/2 with gRPC and HTTP/1 with the rest, told apart by the first bytes (GRP-2).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tonic::body::Body;
use tower::ServiceExt;

use super::grpc::Grpc;

/// h2 windows sized for large lists: one stream may fill a good part of a fast link before the peer acknowledges.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// A client that does not finish its request head in this time is let go.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes to and from clients, all connections together. Counted at the socket: a read or write costs one relaxed addition.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A socket that counts.
struct Metered<S> {
    stream: S,
    traffic: Arc<Traffic>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.traffic.received.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> Metered<S> {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.traffic.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

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
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
        // Without TLS the preface alone decides (GRP-2): HTTP/2 is gRPC, whatever its content type says.
        if request.version() == http::Version::HTTP_2
            && let Some(grpc) = &self.grpc
        {
            return grpc.call(request).await;
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
    pub async fn serve<S>(self: Arc<Self>, stream: S, mut stopping: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = self.builder();
        let stream = Metered { stream, traffic: self.traffic.clone() };
        let service = service_fn(move |request| self.clone().answer(request));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // The guard that `wait_for` answers with must not be held across an await.
        let stop = async { drop(stopping.wait_for(|&stop| stop).await) };
        let is_stopping = tokio::select! {
            // An error of one connection is the peer's business: reset, bad preface, time-out.
            _ = connection.as_mut() => false,
            () = stop => true,
        };
        if is_stopping {
            connection.as_mut().graceful_shutdown();
            // As above.
            let _ = connection.await;
        }
    }
}
