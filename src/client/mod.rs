//! A client of the public API: it finds a member that answers, proves who it is, and repeats what may be repeated.
//!
//!   call ----> channel to one endpoint ----> member
//!    ^            |  none could be made: the next endpoint, any call
//!    |            v
//!    +---- Unavailable: the next endpoint, calls that may be repeated only (ERR-10)
//!    +---- token refused: authenticate, once more (CLI-8)
//!
//! `call` is one request with its answer, `watch` and `keep_alive` are the two streams that outlive a connection, `recipes` what is
//! made of these.
//! Writes: nothing on disk. Reads: certificate files, the table of errors. Sole owner of its connections.
//! Does not print; whoever opens it may pass a `Notice` to hear that no member can be reached.

mod auth;
pub mod call;
pub mod endpoint;
pub mod error;
pub mod keep_alive;
pub mod key_range;
pub mod recipes;
pub mod snapshot;
pub mod tls;
pub mod watch;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prost::Message;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::{AsciiMetadataValue, MetadataValue},
    transport::Channel,
};
use tonic_prost::ProstCodec;

pub use self::{auth::Auth, endpoint::Endpoint, error::Error};

/// Told the endpoint and the reason when no endpoint could be reached, or one that was did not serve; called once per client.
pub type Notice = fn(endpoint: &str, reason: &str);

/// The version of the API that is spoken; members may refuse clients by it.
pub const API_VERSION: &str = crate::release::API_VERSION;

/// What the Go client sends at most, unless told otherwise.
const SEND_BYTES_MAX: usize = 2 << 20;
/// Pings more often than this are taken for an attack by a member.
const KEEPALIVE_TIME_MIN: Duration = Duration::from_secs(10);
const ROUND_PAUSE_FIRST: Duration = Duration::from_millis(50);
const ROUND_PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct Options {
    pub endpoints: Vec<String>,
    pub dial_timeout: Duration,
    pub keepalive_time: Duration,
    pub keepalive_timeout: Duration,
    /// None: 2 MiB.
    pub send_bytes_max: Option<usize>,
    /// None: no limit.
    pub receive_bytes_max: Option<usize>,
    pub tls: tls::Options,
    pub auth: Option<Auth>,
    pub notice: Option<Notice>,
}

#[derive(Debug)]
pub struct Client {
    endpoints: Vec<Endpoint>,
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The endpoint to try next, or the one that `channel` leads to.
    at: usize,
    channel: Option<Channel>,
    token: Option<AsciiMetadataValue>,
    is_notice_given: bool,
}

/// A channel and the endpoint it leads to.
struct Connection {
    at: usize,
    channel: Channel,
}

impl Client {
    /// Checks the options and, where there is a user, authenticates; connects no earlier than that.
    pub async fn open(options: Options) -> Result<Arc<Client>, Error> {
        if options.endpoints.is_empty() || options.endpoints.iter().all(|e| e.is_empty()) {
            return Err(Error::NoEndpoints);
        }
        let tls = options.tls.load().map_err(Error::Options)?;
        let endpoints = options.endpoints.iter().map(|text| Endpoint::new(text, &tls, &options)).collect::<Result<_, _>>()?;
        let client = Client { endpoints, options, state: Mutex::default() };
        client.authenticate_first().await?;
        Ok(Arc::new(client))
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A channel to the first endpoint that accepts one. Waits as long as none does: the caller bounds it.
    async fn connection(&self) -> Connection {
        let mut pause = ROUND_PAUSE_FIRST;
        loop {
            for _ in &self.endpoints {
                let (at, channel) = {
                    let state = self.state();
                    (state.at, state.channel.clone())
                };
                if let Some(channel) = channel {
                    return Connection { at, channel };
                }
                match self.endpoints[at].connect().await {
                    Ok(channel) => {
                        self.state().channel = Some(channel.clone());
                        return Connection { at, channel };
                    }
                    Err(reason) => self.connect_failed(at, &reason),
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ROUND_PAUSE_MAX);
        }
    }

    fn connect_failed(&self, at: usize, reason: &str) {
        self.state().at = (at + 1) % self.endpoints.len();
        if at + 1 == self.endpoints.len() {
            self.give_notice(at, reason);
        }
    }

    /// Whoever waits should know for what.
    fn give_notice(&self, at: usize, reason: &str) {
        if !std::mem::replace(&mut self.state().is_notice_given, true)
            && let Some(notice) = self.options.notice
        {
            notice(self.endpoints[at].text(), reason);
        }
    }

    /// Leaves an endpoint that did not serve; the next call goes to the next one.
    fn leave(&self, connection: &Connection) {
        let mut state = self.state();
        if state.at == connection.at {
            state.channel = None;
            state.at = (connection.at + 1) % self.endpoints.len();
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("client-api-version", MetadataValue::from_static(API_VERSION));
        if let Some(token) = &self.state().token {
            metadata.insert("token", token.clone());
        }
        request
    }

    fn grpc(&self, channel: Channel) -> Grpc<Channel> {
        Grpc::new(channel)
            .max_encoding_message_size(usize::MAX)
            .max_decoding_message_size(self.options.receive_bytes_max.unwrap_or(usize::MAX))
    }

    fn check_size(&self, message: &impl Message) -> Result<(), Status> {
        let (size, max) = (message.encoded_len(), self.options.send_bytes_max.unwrap_or(SEND_BYTES_MAX));
        if size > max {
            return Err(Status::resource_exhausted(format!("trying to send message larger than max ({size} vs. {max})")));
        }
        Ok(())
    }

    /// One request and one answer on one channel.
    async fn unary<M, R>(&self, channel: Channel, request: Request<M>, path: &'static str) -> Result<R, Status>
    where
        M: Message + 'static,
        R: Message + Default + 'static,
    {
        self.check_size(request.get_ref())?;
        let mut grpc = self.grpc(channel);
        grpc.ready().await.map_err(|e| Status::unavailable(error::chain(&e)))?;
        let answer = grpc.unary(request, PathAndQuery::from_static(path), ProstCodec::<M, R>::default()).await;
        answer.map(tonic::Response::into_inner).map_err(error::normalise)
    }

    /// One request and a stream of answers on one channel.
    async fn server_streaming<M, R>(&self, channel: Channel, request: Request<M>, path: &'static str) -> Result<Streaming<R>, Status>
    where
        M: Message + 'static,
        R: Message + Default + 'static,
    {
        self.check_size(request.get_ref())?;
        let mut grpc = self.grpc(channel);
        grpc.ready().await.map_err(|e| Status::unavailable(error::chain(&e)))?;
        let answer = grpc.server_streaming(request, PathAndQuery::from_static(path), ProstCodec::<M, R>::default()).await;
        answer.map(tonic::Response::into_inner).map_err(error::normalise)
    }

    /// Two streams on one channel. A member answers only after the first request: it must be in `requests` already.
    async fn bidirectional<M, R>(
        &self,
        channel: Channel,
        requests: tokio::sync::mpsc::Receiver<M>,
        path: &'static str,
        require_leader: bool,
    ) -> Result<Streaming<R>, Status>
    where
        M: Message + 'static,
        R: Message + Default + 'static,
    {
        let requests = futures_util::stream::unfold(requests, |mut requests| async move { requests.recv().await.map(|m| (m, requests)) });
        let mut request = self.request(requests);
        if require_leader {
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        }
        let mut grpc = self.grpc(channel);
        grpc.ready().await.map_err(|e| Status::unavailable(error::chain(&e)))?;
        let answer = grpc.streaming(request, PathAndQuery::from_static(path), ProstCodec::<M, R>::default()).await;
        answer.map(tonic::Response::into_inner).map_err(error::normalise)
    }
}
