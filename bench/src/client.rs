//! A gRPC client with nothing in it that a load does not need: h2, frames encoded beforehand, one thread.
//!
//! ```text
//!   frame = 0 | length u32 BE | protobuf        made once, sent many times
//!   many calls share a Connection; each is one HTTP/2 stream
//! ```

use std::future::poll_fn;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method as Verb, Request};
use prost::Message;
use tokio::net::TcpStream;

/// The calls that loads make.
#[derive(Clone, Copy)]
pub enum Method {
    Put,
    Range,
    Txn,
    Compact,
    Watch,
    LeaseGrant,
    LeaseKeepAlive,
    Defragment,
    Snapshot,
}

const PATHS: [&str; 9] = [
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Compact",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Maintenance/Defragment",
    "/etcdserverpb.Maintenance/Snapshot",
];

/// Large enough that a list of ten thousand objects is not held up by the client.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    requests: std::rc::Rc<[Request<()>]>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Connection> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(socket)
            .await?;
        // It ends with the socket; what went wrong reaches every call that was under way.
        tokio::task::spawn_local(async move { connection.await.ok() });
        let request = |path: &&str| {
            Request::builder()
                .method(Verb::POST)
                .uri(format!("http://{address}{path}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())
        };
        let requests = PATHS.iter().map(request).collect::<Result<Vec<_>, _>>()?;
        Ok(Connection { sender, requests: requests.into() })
    }

    pub async fn open_many(address: SocketAddr, count: usize) -> Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::open(address).await?);
        }
        Ok(connections)
    }

    /// One unary call: the answer's protobuf bytes.
    pub async fn call(&self, method: Method, frame: Bytes) -> Result<Bytes> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(self.requests[method as usize].clone(), false)?;
        body.send_data(frame, true)?;
        let (head, mut stream) = response.await?.into_parts();
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        while let Some(chunk) = stream.data().await {
            let chunk = chunk?;
            stream.flow_control().release_capacity(chunk.len())?;
            match (first.is_empty(), rest.is_empty()) {
                (true, _) => first = chunk,
                (false, true) => {
                    rest.extend_from_slice(&first);
                    rest.extend_from_slice(&chunk);
                }
                (false, false) => rest.extend_from_slice(&chunk),
            }
        }
        let trailers = stream.trailers().await?;
        check(trailers.as_ref().unwrap_or(&head.headers))?;
        let mut whole = if rest.is_empty() { first } else { rest.freeze() };
        ensure!(whole.len() >= 5, "an answer without a message");
        whole.advance(5);
        Ok(whole)
    }

    pub async fn ask<A: Message + Default>(&self, method: Method, request: &impl Message) -> Result<A> {
        Ok(A::decode(self.call(method, frame(request)).await?)?)
    }

    /// One request and a stream of answers.
    pub async fn download(&self, method: Method, request: &impl Message) -> Result<Incoming> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(self.requests[method as usize].clone(), false)?;
        body.send_data(frame(request), true)?;
        let stream = response.await?.into_body();
        Ok(Incoming { stream, buffer: BytesMut::new() })
    }

    /// A stream in both directions.
    pub async fn stream(&self, method: Method, first: Bytes) -> Result<(SendStream<Bytes>, Incoming)> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(self.requests[method as usize].clone(), false)?;
        body.send_data(first, false)?;
        let stream = response.await?.into_body();
        Ok((body, Incoming { stream, buffer: BytesMut::new() }))
    }
}

/// The messages of a stream.
pub struct Incoming {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Incoming {
    pub async fn next<A: Message + Default>(&mut self) -> Result<A> {
        loop {
            if let Some(message) = self.whole() {
                return Ok(A::decode(message)?);
            }
            let Some(chunk) = poll_fn(|cx| self.stream.poll_data(cx)).await else {
                if let Some(trailers) = self.stream.trailers().await? {
                    check(&trailers)?;
                }
                bail!("the stream ended");
            };
            let chunk = chunk?;
            self.stream.flow_control().release_capacity(chunk.len())?;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    fn whole(&mut self) -> Option<Bytes> {
        let len = u32::from_be_bytes(self.buffer.get(1..5)?.try_into().ok()?) as usize;
        if self.buffer.len() < 5 + len {
            return None;
        }
        self.buffer.advance(5);
        Some(self.buffer.split_to(len).freeze())
    }
}

fn check(headers: &HeaderMap) -> Result<()> {
    let status = headers.get("grpc-status").context("an answer without a status")?;
    if status.as_bytes() != b"0" {
        let message = headers.get("grpc-message").map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        bail!("code {}: {}", String::from_utf8_lossy(status.as_bytes()), message.unwrap_or_default());
    }
    Ok(())
}

/// A message as it travels.
pub fn frame(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(5 + len);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use etcd::wire::etcdserverpb::PutRequest;

    use super::*;

    #[test]
    fn a_frame_is_a_flag_a_length_and_the_message() {
        let request = PutRequest { key: "k".into(), ..Default::default() };
        assert_eq!(frame(&request)[..], [0, 0, 0, 0, 3, 0x0a, 1, b'k']);
    }

    #[test]
    fn a_status_other_than_zero_is_an_error_with_its_message() {
        let mut headers = HeaderMap::new();
        assert!(check(&headers).is_err());
        headers.insert("grpc-status", "0".parse().unwrap());
        assert!(check(&headers).is_ok());
        headers.insert("grpc-status", "5".parse().unwrap());
        headers.insert("grpc-message", "gone".parse().unwrap());
        assert_eq!(check(&headers).unwrap_err().to_string(), "code 5: gone");
    }
}
