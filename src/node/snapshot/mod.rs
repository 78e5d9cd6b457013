//! A snapshot for a client: etcd's database file in pieces, then its digest (FMT-1).
//!
//! ```text
//!   thread `snapshot`         view --plan--> sizes --write--> blocks: 4 messages of 32 KiB --bounded queue--> the connection
//!                                                               |                              ^
//!   thread `snapshot-digest`                                    +--bounded queue--> SHA-256, the last message
//! ```
//!
//! Writes: nothing. Reads: one view of the engine, and no lock of the store is taken: writes go on meanwhile.
//! A client that reads slowly makes the thread wait; one that goes away ends it at its next block, one that takes nothing for long
//! is given up, and a stop of the member ends the stream. Threads of its own and not the blocking pool: clients that do not read would
//! starve what else waits there. A block holds messages as they go over the connection, made around the file's bytes as these are
//! written, and is handed over by reference: the digest is taken of the very bytes that are sent.

mod blocks;
mod digest;
mod hand_over;

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
/// Bound: blocks that wait for the connection, and as many again for the digest.
const BLOCKS_WAITING: usize = 6;
/// Bound: snapshots under way; a further client is told to come back.
pub(super) const SNAPSHOTS_MAX: usize = 16;

/// The messages of one snapshot as bytes for the connection; an error is the last item.
pub struct Messages {
    blocks: mpsc::Receiver<Result<Bytes, String>>,
    /// A block was just given: the other connections of the thread have a turn first, whose puts wait meanwhile.
    is_their_turn: bool,
}

impl Messages {
    fn new(blocks: mpsc::Receiver<Result<Bytes, String>>) -> Messages {
        Messages { blocks, is_their_turn: false }
    }

    /// Whole messages; none after the last. Nothing is lost where the wait is given up.
    pub async fn next(&mut self) -> Option<Result<Bytes, String>> {
        if std::mem::take(&mut self.is_their_turn) {
            tokio::task::yield_now().await;
        }
        let next = self.blocks.recv().await;
        self.is_their_turn = true;
        next
    }
}

impl Node {
    /// Starts to send a snapshot of this moment.
    pub fn snapshot(self: &Arc<Node>) -> Result<Messages, Error> {
        let permit = self.snapshots.clone().try_acquire_owned().map_err(|_| Error::RequestTooManyRequests)?;
        let (to, blocks) = mpsc::channel(BLOCKS_WAITING);
        let node = self.clone();
        let started = std::thread::Builder::new().name("snapshot".into()).spawn(move || node.send_snapshot(to, permit));
        match started {
            Ok(_) => Ok(Messages::new(blocks)),
            Err(error) => {
                tracing::error!(error = %error, "a thread for a snapshot could not be started");
                Err(Error::RequestTooManyRequests)
            }
        }
    }

    fn send_snapshot(&self, to: mpsc::Sender<Result<Bytes, String>>, _permit: OwnedSemaphorePermit) {
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
fn send(node: &Node, to: mpsc::Sender<Result<Bytes, String>>) -> Result<u64, String> {
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
