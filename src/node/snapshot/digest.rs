//! The SHA-256 of what is sent, on a thread of its own: it costs as much as making the file.
//!
//! Reads: the blocks. Bound: the blocks that wait for it; a digest that is behind makes the file wait.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::BLOCKS_WAITING;

pub(super) const BYTES: usize = 32;

pub(super) struct Digest {
    blocks: SyncSender<Vec<Bytes>>,
    thread: JoinHandle<[u8; BYTES]>,
}

impl Digest {
    pub fn start() -> io::Result<Digest> {
        let (blocks, waiting) = sync_channel::<Vec<Bytes>>(BLOCKS_WAITING);
        let thread = Builder::new().name("snapshot-digest".into()).spawn(move || {
            let mut digest = Sha256::new();
            // It ends with the sender, whether that came to its end or was given up.
            waiting.iter().flatten().for_each(|piece| digest.update(&piece));
            digest.finalize().into()
        })?;
        Ok(Digest { blocks, thread })
    }

    /// The pieces of the file in one block.
    pub fn add(&self, pieces: Vec<Bytes>) -> io::Result<()> {
        self.blocks.send(pieces).map_err(|_| ended())
    }

    /// Of all pieces in their order.
    pub fn finish(self) -> io::Result<Bytes> {
        drop(self.blocks);
        self.thread.join().map(|digest| Bytes::copy_from_slice(&digest)).map_err(|_| ended())
    }
}

fn ended() -> io::Error {
    io::Error::other("the thread of the digest has ended")
}
