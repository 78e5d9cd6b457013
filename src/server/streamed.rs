//! The answer of a stream, counted message by message, and its end.
//!
//! ```text
//!   data: flag | length (4, big-endian) | message | flag | ..      any number of whole messages, or parts of one
//!   trailers: grpc-status                                          the end; none if the client left before
//! ```
//!
//! Writes: `grpc_server_msg_sent_total`, `grpc_server_handled_total`. Reads: the frames, which pass untouched.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tonic::Status;
use tonic::body::Body as Answer;

use super::calls::Call;

const HEAD: usize = 5;

pub struct Streamed {
    body: Answer,
    call: Arc<Call>,
    position: Position,
    is_ended: bool,
}

/// Where the next byte belongs.
#[derive(Default)]
struct Position {
    head: [u8; HEAD],
    read: usize,
    left: usize,
}

impl Position {
    /// How many messages begin in these bytes.
    fn pass(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
                continue;
            }
            let taken = (HEAD - self.read).min(bytes.len());
            self.head[self.read..self.read + taken].copy_from_slice(&bytes[..taken]);
            self.read += taken;
            bytes = &bytes[taken..];
            if self.read == HEAD {
                let [_, length @ ..] = self.head;
                (self.read, self.left) = (0, u32::from_be_bytes(length) as usize);
                count += 1;
            }
        }
        count
    }
}

impl Streamed {
    pub fn new(body: Answer, call: Arc<Call>) -> Streamed {
        Streamed { body, call, position: Position::default(), is_ended: false }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                let sent = self.position.pass(data);
                self.call.sent.inc_by(sent);
            } else if let Some(status) = frame.trailers_ref().and_then(|trailers| trailers.get("grpc-status")) {
                self.is_ended = true;
                self.call.note_end(Some(status.as_bytes()));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if !self.is_ended {
            self.call.note_end(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let bytes = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 0], &[1, 0, 0, 0, 1], b"x"].concat();
        for piece in 1..=bytes.len() {
            let mut position = Position::default();
            assert_eq!(bytes.chunks(piece).map(|part| position.pass(part)).sum::<u64>(), 3, "pieces of {piece}");
        }
    }
}
