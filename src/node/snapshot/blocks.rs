//! What is written, in blocks: each goes to the connection and to the digest, which are one after the other in nobody's way.
//!
//! Writes: both queues. Bound: one block in the making.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::BytesMut;

use super::digest::Digest;
use super::hand_over::HandOver;
use super::{Block, PIECE};

/// Many pieces: to hand something over costs a wake of either thread. Few enough that what lies in the queues is no matter.
pub(super) const BLOCK: usize = 8 * PIECE;

pub(super) struct Blocks {
    to: HandOver,
    digest: Digest,
    remaining: u64,
    version: Arc<str>,
    block: BytesMut,
}

impl Blocks {
    /// `total` bytes will be written.
    pub fn new(to: HandOver, digest: Digest, total: u64, version: Arc<str>) -> Blocks {
        Blocks { to, digest, remaining: total, version, block: BytesMut::new() }
    }

    fn cut(&mut self) -> io::Result<()> {
        let bytes = self.block.split().freeze();
        self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
        self.digest.add(bytes.clone())?;
        self.to.give(Block { bytes, remaining: self.remaining, version: self.version.clone() })
    }

    /// The rest, and the digest of it all.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.cut()?;
        }
        let bytes = self.digest.finish()?;
        self.to.give(Block { bytes, remaining: self.remaining, version: self.version })
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.capacity() == 0 {
            self.block.reserve(BLOCK);
        }
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.cut()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};
    use tokio::sync::mpsc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::node::snapshot::{Piece, Pieces};

    #[test]
    fn what_is_written_in_any_cuts_comes_out_in_equal_pieces_and_a_digest() {
        let file: Vec<u8> = (0..BLOCK + 3 * PIECE + 4096).map(|at| (at % 251) as u8).collect();
        for cut in [1000, PIECE, PIECE + 1, BLOCK, file.len()] {
            let (to, blocks) = mpsc::channel(8);
            let to = HandOver { to, clock: Arc::new(SystemClock::default()) };
            let mut written = Blocks::new(to, Digest::start().unwrap(), file.len() as u64, "3.7.0".into());
            file.chunks(cut).for_each(|chunk| written.write_all(chunk).unwrap());
            written.finish().unwrap();
            let mut pieces = Pieces::new(blocks);
            let next = async || pieces.next().await.map(Result::unwrap);
            let pieces: Vec<Piece> = collected(next);
            let whole = file.len() / PIECE;
            assert_eq!(pieces.len(), whole + 2, "cut at {cut}");
            for (number, piece) in pieces[..whole].iter().enumerate() {
                let left = (file.len() - (number + 1) * PIECE) as u64;
                assert_eq!((piece.bytes.len(), piece.remaining, &piece.version[..]), (PIECE, left, "3.7.0"), "piece {number}");
            }
            let told: Vec<(usize, u64)> = pieces[whole..].iter().map(|piece| (piece.bytes.len(), piece.remaining)).collect();
            assert_eq!(told, [(4096, 0), (32, 0)]);
            let all: Vec<u8> = pieces[..=whole].iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
            assert!(all == file, "cut at {cut}");
            assert_eq!(pieces[whole + 1].bytes[..], Sha256::digest(&file)[..]);
        }
    }

    fn collected(mut next: impl AsyncFnMut() -> Option<Piece>) -> Vec<Piece> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut pieces = Vec::new();
            while let Some(piece) = next().await {
                pieces.push(piece);
            }
            pieces
        })
    }
}
