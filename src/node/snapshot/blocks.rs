//! What is written, in blocks of messages: each goes to the connection and to the digest, which are one after the other in nobody's way.
//!
//! ```text
//!   bytes of the file:   ....piece of 32 KiB....piece of 32 KiB....
//!   block:          head|piece|tail head|piece|tail head|piece|tail head|piece|tail
//! ```
//!
//! Writes: both queues. Bound: one block in the making.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use bytes::BytesMut;

use super::PIECE;
use super::digest::Digest;
use super::hand_over::HandOver;
use crate::wire::snapshot_message;

/// Several, since to hand something over costs a wake of either thread. Few enough that what lies in the queues is no matter.
const PIECES_IN_A_BLOCK: usize = 4;

pub(super) struct Blocks {
    to: HandOver,
    digest: Digest,
    version: Arc<str>,
    /// Bytes of the file that are not written yet.
    remaining: u64,
    block: BytesMut,
    /// Where the pieces of the file are in it.
    pieces: Vec<Range<usize>>,
    /// Bytes that the last piece still waits for.
    awaited: usize,
}

impl Blocks {
    /// `total` bytes will be written.
    pub fn new(to: HandOver, digest: Digest, total: u64, version: Arc<str>) -> Blocks {
        let pieces = Vec::with_capacity(PIECES_IN_A_BLOCK);
        Blocks { to, digest, version, remaining: total, block: BytesMut::new(), pieces, awaited: 0 }
    }

    /// The next piece; the last one is shorter.
    fn begin(&mut self) -> io::Result<()> {
        let len = self.remaining.min(PIECE as u64) as usize;
        if len == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the file is longer than was announced"));
        }
        if self.pieces.is_empty() {
            // All of it at once: a block that grew would be copied.
            self.block = BytesMut::with_capacity(PIECES_IN_A_BLOCK * (PIECE + snapshot_message::around_max(&self.version)));
        }
        snapshot_message::begin(self.remaining - len as u64, len, &self.version, &mut self.block);
        self.pieces.push(self.block.len()..self.block.len() + len);
        self.awaited = len;
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        snapshot_message::end(&self.version, &mut self.block);
        if self.pieces.len() == PIECES_IN_A_BLOCK || self.remaining == 0 { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block).freeze();
        self.digest.add(self.pieces.drain(..).map(|piece| block.slice(piece)).collect())?;
        self.to.give(block)
    }

    /// The digest of it all.
    pub fn finish(mut self) -> io::Result<()> {
        if self.remaining > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file is {} bytes short", self.remaining)));
        }
        let digest = self.digest.finish()?;
        snapshot_message::begin(0, digest.len(), &self.version, &mut self.block);
        self.block.extend_from_slice(&digest);
        snapshot_message::end(&self.version, &mut self.block);
        self.to.give(self.block.freeze())
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.awaited == 0 {
            self.begin()?;
        }
        let taken = bytes.len().min(self.awaited);
        self.block.extend_from_slice(&bytes[..taken]);
        self.awaited -= taken;
        self.remaining -= taken as u64;
        if self.awaited == 0 {
            self.end()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use prost::Message;
    use sha2::{Digest as _, Sha256};
    use tokio::sync::mpsc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::node::snapshot::Messages;
    use crate::wire::etcdserverpb::SnapshotResponse;

    const BLOCK: usize = PIECES_IN_A_BLOCK * PIECE;

    fn blocks(total: u64) -> (Blocks, Messages) {
        let (to, blocks) = mpsc::channel(8);
        let to = HandOver { to, clock: Arc::new(SystemClock::default()) };
        (Blocks::new(to, Digest::start().unwrap(), total, "3.7.0".into()), Messages::new(blocks))
    }

    #[test]
    fn what_is_written_in_any_cuts_comes_out_in_equal_pieces_and_a_digest() {
        let file: Vec<u8> = (0..BLOCK + 3 * PIECE + 4096).map(|at| (at % 251) as u8).collect();
        for cut in [1000, PIECE, PIECE + 1, BLOCK, file.len()] {
            let (mut written, messages) = blocks(file.len() as u64);
            file.chunks(cut).for_each(|chunk| written.write_all(chunk).unwrap());
            written.finish().unwrap();
            let pieces = decoded(messages);
            let whole = file.len() / PIECE;
            assert_eq!(pieces.len(), whole + 2, "cut at {cut}");
            for (number, piece) in pieces[..whole].iter().enumerate() {
                let left = (file.len() - (number + 1) * PIECE) as u64;
                assert_eq!((piece.blob.len(), piece.remaining_bytes, &piece.version[..]), (PIECE, left, "3.7.0"), "piece {number}");
            }
            let told: Vec<(usize, u64)> = pieces[whole..].iter().map(|piece| (piece.blob.len(), piece.remaining_bytes)).collect();
            assert_eq!(told, [(4096, 0), (32, 0)]);
            let all: Vec<u8> = pieces[..=whole].iter().flat_map(|piece| piece.blob.iter().copied()).collect();
            assert!(all == file, "cut at {cut}");
            assert_eq!(pieces[whole + 1].blob[..], Sha256::digest(&file)[..]);
        }
    }

    #[test]
    fn a_file_of_another_length_than_announced_is_an_error() {
        let (mut written, _messages) = blocks(5000);
        written.write_all(&[0; 4999]).unwrap();
        assert_eq!(written.finish().unwrap_err().to_string(), "the file is 1 bytes short");
        let (mut written, _messages) = blocks(5000);
        assert_eq!(written.write_all(&[0; 5001]).unwrap_err().to_string(), "the file is longer than was announced");
    }

    fn decoded(mut messages: Messages) -> Vec<SnapshotResponse> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut decoded = Vec::new();
            while let Some(block) = messages.next().await {
                let mut block = block.unwrap();
                while block.has_remaining() {
                    assert_eq!(block.get_u8(), 0, "it is not compressed");
                    let length = block.get_u32() as usize;
                    decoded.push(SnapshotResponse::decode(block.split_to(length)).unwrap());
                }
            }
            decoded
        })
    }
}
