//! A snapshot for a client: etcd's database file in pieces, then its digest (FMT-1).
//!
//! ```text
//!   thread `snapshot`   view --plan--> sizes --write--> pieces of 32 KiB, SHA-256 --bounded queue--> stream of the connection
//! ```
//!
//! Writes: nothing. Reads: one view of the engine, and no lock of the store is taken: writes go on meanwhile.
//! A client that reads slowly makes the thread wait; one that goes away ends it at its next piece, one that takes nothing for long
//! is given up, and a stop of the member ends the stream. A thread of its own and not the blocking pool: clients that do not read would starve what else waits there.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Node;
use crate::bbolt::Format;
use crate::clock::Clock;
use crate::state_machine::snapshot::Export;
use crate::wire::error::Error;

/// Bytes of one piece, as etcd sends them.
const PIECE: usize = 32 << 10;
/// Bound: pieces that wait for the connection, a MiB: what a quick client takes while the thread pauses.
const PIECES_WAITING: usize = 32;
/// Bound: how long a client may take nothing. A view keeps on disk what is deleted meanwhile.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at a queue that is full.
const PAUSE: Duration = Duration::from_millis(1);
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
                // A queue that is full has nobody who reads it: the stream then ends without its digest.
                let _ = to.try_send(Err(error));
            }
        }
    }
}

/// The size of the file that was sent.
fn send(node: &Node, to: mpsc::Sender<Result<Piece, String>>) -> Result<u64, String> {
    let export = Export::plan(node.engine.view(), Format::default()).map_err(|error| error.to_string())?;
    let (total, version) = (export.size(), export.storage_version().unwrap_or_default().to_owned());
    tracing::info!("total-bytes" = total, revision = export.revision(), "storage-version" = version, "sending database snapshot to client");
    let cutter =
        Cutter { to, clock: node.clock.clone(), version: version.into(), piece: BytesMut::new(), remaining: total, digest: Sha256::new() };
    let cutter = export.write(cutter).map_err(|error| error.to_string())?;
    tracing::info!("total-bytes" = total, "checksum-size" = Sha256::output_size(), "sending database sha256 checksum to client");
    cutter.finish().map_err(|error| error.to_string())?;
    Ok(total)
}

/// Cuts what is written into pieces, and hands them on as there is room.
struct Cutter {
    to: mpsc::Sender<Result<Piece, String>>,
    clock: Arc<dyn Clock>,
    version: Arc<str>,
    piece: BytesMut,
    remaining: u64,
    digest: Sha256,
}

impl Cutter {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let mut piece = Ok(Piece { bytes, remaining: self.remaining, version: self.version.clone() });
        let mut full_since = None;
        loop {
            piece = match self.to.try_send(piece) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(TrySendError::Full(piece)) => piece,
            };
            let now = self.clock.now();
            if now.saturating_sub(*full_since.get_or_insert(now)) > PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("the client has taken nothing for {PATIENCE:?}")));
            }
            std::thread::park_timeout(PAUSE);
        }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A minute later at every look.
    #[derive(Default)]
    struct Minutes(AtomicU64);

    impl Clock for Minutes {
        fn now(&self) -> Duration {
            Duration::from_secs(60 * self.0.fetch_add(1, Ordering::Relaxed))
        }

        fn unix(&self) -> Duration {
            self.now()
        }
    }

    fn cutter(waiting: usize, remaining: u64) -> (Cutter, Pieces) {
        let (to, pieces) = mpsc::channel(waiting);
        let clock = Arc::new(Minutes::default());
        (Cutter { to, clock, version: "3.7.0".into(), piece: BytesMut::new(), remaining, digest: Sha256::new() }, pieces)
    }

    #[test]
    fn what_is_written_in_any_cuts_comes_out_in_equal_pieces_and_a_digest() {
        let file: Vec<u8> = (0..3 * PIECE + 4096).map(|at| (at % 251) as u8).collect();
        for cut in [1000, PIECE, PIECE + 1, file.len()] {
            let (mut cutter, mut pieces) = cutter(8, file.len() as u64);
            file.chunks(cut).for_each(|chunk| cutter.write_all(chunk).unwrap());
            cutter.finish().unwrap();
            let pieces: Vec<Piece> = std::iter::from_fn(|| pieces.blocking_recv()).map(Result::unwrap).collect();
            let told: Vec<(usize, u64)> = pieces.iter().map(|piece| (piece.bytes.len(), piece.remaining)).collect();
            let left = |pieces: usize| (file.len() - pieces * PIECE) as u64;
            assert_eq!(told, [(PIECE, left(1)), (PIECE, left(2)), (PIECE, left(3)), (4096, 0), (32, 0)], "cut at {cut}");
            assert_eq!(pieces[4].bytes[..], Sha256::digest(&file)[..]);
        }
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up_and_one_that_is_gone_at_once() {
        let (mut cutter, pieces) = cutter(1, 0);
        cutter.write_all(&[0; PIECE]).unwrap();
        let given_up = cutter.write_all(&[0; PIECE]).unwrap_err();
        assert_eq!((given_up.kind(), given_up.to_string()), (io::ErrorKind::TimedOut, "the client has taken nothing for 300s".into()));
        drop(pieces);
        assert_eq!(cutter.write_all(&[0; PIECE]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
