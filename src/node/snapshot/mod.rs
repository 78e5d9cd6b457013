//! A snapshot for a client: etcd's database file in pieces, then its digest (FMT-1).
//!
//! ```text
//!   thread `snapshot`         view --plan--> sizes --write--> blocks of 256 KiB --bounded queue--> pieces of 32 KiB, to the connection
//!                                                               |                     ^
//!   thread `snapshot-digest`                                    +--bounded queue--> SHA-256, the last block
//! ```
//!
//! Writes: nothing. Reads: one view of the engine, and no lock of the store is taken: writes go on meanwhile.
//! A client that reads slowly makes the thread wait; one that goes away ends it at its next block, one that takes nothing for long
//! is given up, and a stop of the member ends the stream. Threads of its own and not the blocking pool: clients that do not read would
//! starve what else waits there. A block is handed over by reference: the digest is taken of the very bytes that are sent.

mod blocks;
mod digest;
mod hand_over;
mod priority;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use self::blocks::Blocks;
use self::digest::Digest;
use self::hand_over::HandOver;
use super::Node;
use crate::bbolt::Format;
use crate::state_machine::snapshot::Export;
use crate::wire::error::Error;

/// Bytes of one piece, as etcd sends them.
const PIECE: usize = 32 << 10;
/// Bound: pieces that go to the connection in a row; then the other connections of its thread have a turn, whose puts wait meanwhile.
const PIECES_IN_A_ROW: usize = 4;
/// Bound: blocks that wait for the connection, and as many again for the digest.
const BLOCKS_WAITING: usize = 3;
/// Bound: snapshots under way; a further client is told to come back.
pub(super) const SNAPSHOTS_MAX: usize = 16;

/// A stretch of the file, or its digest at the end.
#[derive(Debug)]
struct Block {
    bytes: Bytes,
    /// Of the file, after this block.
    remaining: u64,
    version: Arc<str>,
}

/// A part of the file, or its digest at the end.
#[derive(Debug)]
pub struct Piece {
    pub bytes: Bytes,
    /// Of the file, after this piece.
    pub remaining: u64,
    /// Of the stored data, the same in every piece; empty below 3.6.
    pub version: Arc<str>,
}

/// Pieces in order; an error is the last item.
pub struct Pieces {
    blocks: mpsc::Receiver<Result<Block, String>>,
    /// What is left of the block received last.
    block: Option<Block>,
    in_a_row: usize,
}

impl Pieces {
    fn new(blocks: mpsc::Receiver<Result<Block, String>>) -> Pieces {
        Pieces { blocks, block: None, in_a_row: 0 }
    }

    /// None after the last. Nothing is lost where the wait is given up.
    pub async fn next(&mut self) -> Option<Result<Piece, String>> {
        if self.in_a_row == PIECES_IN_A_ROW {
            self.in_a_row = 0;
            tokio::task::yield_now().await;
        }
        self.in_a_row += 1;
        loop {
            if let Some(piece) = self.block.as_mut().and_then(Block::cut) {
                return Some(Ok(piece));
            }
            match self.blocks.recv().await? {
                Ok(block) => self.block = Some(block),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Block {
    fn cut(&mut self) -> Option<Piece> {
        if self.bytes.is_empty() {
            return None;
        }
        let bytes = self.bytes.split_to(self.bytes.len().min(PIECE));
        Some(Piece { bytes, remaining: self.remaining + self.bytes.len() as u64, version: self.version.clone() })
    }
}

impl Node {
    /// Starts to send a snapshot of this moment.
    pub fn snapshot(self: &Arc<Node>) -> Result<Pieces, Error> {
        let permit = self.snapshots.clone().try_acquire_owned().map_err(|_| Error::RequestTooManyRequests)?;
        let (to, blocks) = mpsc::channel(BLOCKS_WAITING);
        let node = self.clone();
        let started = std::thread::Builder::new().name("snapshot".into()).spawn(move || node.send_snapshot(to, permit));
        match started {
            Ok(_) => Ok(Pieces::new(blocks)),
            Err(error) => {
                tracing::error!(error = %error, "a thread for a snapshot could not be started");
                Err(Error::RequestTooManyRequests)
            }
        }
    }

    fn send_snapshot(&self, to: mpsc::Sender<Result<Block, String>>, _permit: OwnedSemaphorePermit) {
        priority::lower();
        let began = self.clock.now();
        let sent = send(self, to.clone());
        let took = self.clock.now().saturating_sub(began);
        self.pipeline.metrics.snapshot.observe(took.as_secs_f64());
        match sent {
            Ok(bytes) => tracing::info!("total-bytes" = bytes, took = ?took, "successfully sent database snapshot to client"),
            // Who waited for it is gone.
            Err(error) if to.is_closed() => tracing::info!(error, "the client of a database snapshot went away"),
            Err(error) => {
                tracing::error!(error, "failed to send a database snapshot");
                // A queue that is full has nobody who reads it: the stream then ends without its digest.
                let _ = to.try_send(Err(error));
            }
        }
    }
}

/// The size of the file that was sent.
fn send(node: &Node, to: mpsc::Sender<Result<Block, String>>) -> Result<u64, String> {
    let export = Export::plan(node.engine.view(), Format::default()).map_err(|error| error.to_string())?;
    let (total, version) = (export.size(), export.storage_version().unwrap_or_default().to_owned());
    tracing::info!("total-bytes" = total, revision = export.revision(), "storage-version" = version, "sending database snapshot to client");
    let digest = Digest::start().map_err(|error| format!("a thread for its digest could not be started: {error}"))?;
    let blocks = Blocks::new(HandOver { to, clock: node.clock.clone() }, digest, total, version.into());
    let blocks = export.write(blocks).map_err(|error| error.to_string())?;
    tracing::info!("total-bytes" = total, "checksum-size" = digest::BYTES, "sending database sha256 checksum to client");
    blocks.finish().map_err(|error| error.to_string())?;
    Ok(total)
}
