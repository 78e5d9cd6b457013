//! The state of one member as etcd's database file, piece by piece.
//!
//! Writes and reads: nothing else. Not repeated once the stream is open: another one would be of another moment.

use tonic::Streaming;

use super::{Client, Error};
use crate::wire::etcdserverpb::{SnapshotRequest, SnapshotResponse};

/// Pieces in order; the last one is the SHA-256 of all before it (FMT-1).
pub struct Pieces(Streaming<SnapshotResponse>);

impl Client {
    /// Waits as long as no endpoint can be reached: the caller bounds it.
    pub async fn snapshot(&self) -> Result<Pieces, Error> {
        let mut is_token_new = false;
        loop {
            let connection = self.connection().await;
            let request = self.request(SnapshotRequest {});
            match self.server_streaming(connection.channel.clone(), request, "/etcdserverpb.Maintenance/Snapshot").await {
                Ok(pieces) => return Ok(Pieces(pieces)),
                Err(status) if self.wants_new_token(&status) && !is_token_new => {
                    is_token_new = true;
                    self.authenticate(&connection).await?;
                }
                Err(status) => return Err(status.into()),
            }
        }
    }
}

impl Pieces {
    /// None after the last.
    pub async fn next(&mut self) -> Result<Option<SnapshotResponse>, Error> {
        self.0.message().await.map_err(super::error::normalise).map_err(Error::from)
    }
}
