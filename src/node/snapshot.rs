//! A snapshot for a client: etcd's database file in pieces, then its digest (FMT-1).
//!
//! ```text
//!   thread `snapshot`   view --plan--> sizes --write--> pieces of 32 KiB, SHA-256 --bounded queue--> stream of the connection
//! ```
//!
//! Writes: nothing. Reads: one view of the engine, and no lock of the store is taken: writes go on meanwhile.
//! A client that reads slowly makes the thread wait; one that goes away ends it at its next piece, and a stop of the member ends
//! the stream. A thread of its own and not the blocking pool: clients that do not read would starve what else waits there.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Node;
use crate::bbolt::Format;
use crate::state_machine::snapshot::Export;
use crate::wire::error::Error;

/// Bytes of one piece, as etcd sends them.
const PIECE: usize = 32 << 10;
/// Bound: pieces that wait for the connection.
const PIECES_WAITING: usize = 8;
/// Bound: snapshots under way; a further client is told to come back.
pub(super) const SNAPSHOTS_MAX: usize = 16;

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
pub type Pieces = mpsc::Receiver<Result<Piece, String>>;

impl Node {
    /// Starts to send a snapshot of this moment.
    pub fn snapshot(self: &Arc<Node>) -> Result<Pieces, Error> {
        let permit = self.snapshots.clone().try_acquire_owned().map_err(|_| Error::RequestTooManyRequests)?;
        let (to, pieces) = mpsc::channel(PIECES_WAITING);
        let node = self.clone();
        let started = std::thread::Builder::new().name("snapshot".into()).spawn(move || node.send_snapshot(to, permit));
        match started {
            Ok(_) => Ok(pieces),
            Err(error) => {
                tracing::error!(error = %error, "a thread for a snapshot could not be started");
                Err(Error::RequestTooManyRequests)
            }
        }
    }

    fn send_snapshot(&self, to: mpsc::Sender<Result<Piece, String>>, _permit: OwnedSemaphorePermit) {
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
                let _ = to.blocking_send(Err(error));
            }
        }
    }
}

/// The size of the file that was sent.
fn send(node: &Node, to: mpsc::Sender<Result<Piece, String>>) -> Result<u64, String> {
    let export = Export::plan(node.engine.view(), Format::default()).map_err(|error| error.to_string())?;
    let (total, version) = (export.size(), export.storage_version().unwrap_or_default().to_owned());
    tracing::info!("total-bytes" = total, revision = export.revision(), "storage-version" = version, "sending database snapshot to client");
    let cutter = Cutter { to, version: version.into(), piece: BytesMut::new(), remaining: total, digest: Sha256::new() };
    let cutter = export.write(cutter).map_err(|error| error.to_string())?;
    tracing::info!("total-bytes" = total, "checksum-size" = Sha256::output_size(), "sending database sha256 checksum to client");
    cutter.finish().map_err(|error| error.to_string())?;
    Ok(total)
}

/// Cuts what is written into pieces, and hands them on as there is room.
struct Cutter {
    to: mpsc::Sender<Result<Piece, String>>,
    version: Arc<str>,
    piece: BytesMut,
    remaining: u64,
    digest: Sha256,
}

impl Cutter {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let piece = Piece { bytes, remaining: self.remaining, version: self.version.clone() };
        self.to.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn cut(&mut self) -> io::Result<()> {
        let bytes = self.piece.split().freeze();
        self.digest.update(&bytes);
        self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
        self.send(bytes)
    }

    /// The rest, and the digest of it all.
    fn finish(mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.cut()?;
        }
        let digest = self.digest.finalize_reset();
        self.send(Bytes::copy_from_slice(&digest))
    }
}

impl Write for Cutter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve(PIECE);
        }
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.cut()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
