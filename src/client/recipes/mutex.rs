//! A lock: the turn is the lock.
//!
//! Writes: the session's key below the lock's name. Reads: the keys beside it.

use bytes::Bytes;

use super::super::Error;
use super::{by_creation, created_at, get, key_of, prefix_of, put, read, session::Session, wait_turn};
use crate::wire::etcdserverpb::{DeleteRangeRequest, RangeResponse, TxnRequest, range_request::SortOrder, response_op::Response};

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(transparent)]
    Call(#[from] Error),
    #[error("mutex: session is expired")]
    SessionExpired,
}

pub struct Mutex<'a> {
    session: &'a Session,
    prefix: Vec<u8>,
    key: Bytes,
    /// When the key was created; none while it is not known to exist.
    created: Option<i64>,
}

impl<'a> Mutex<'a> {
    pub fn new(session: &'a Session, name: &[u8]) -> Mutex<'a> {
        let prefix = prefix_of(name);
        let key = key_of(&prefix, session.lease());
        Mutex { session, prefix, key, created: None }
    }

    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// Waits for the turn and returns the revision at which it came. Whoever gives up waiting calls `unlock`.
    pub async fn lock(&mut self) -> Result<i64, LockError> {
        let client = self.session.client();
        let owner = || read(by_creation(&self.prefix, SortOrder::Ascend));
        let answer = client
            .call(
                TxnRequest {
                    compare: vec![created_at(&self.key, 0)],
                    success: vec![put(&self.key, &Bytes::new(), self.session.lease()), owner()],
                    failure: vec![read(get(&self.key)), owner()],
                },
                None,
            )
            .await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        let mut ranges = answer.responses.into_iter().map(|op| match op.response {
            Some(Response::ResponseRange(range)) => range,
            _ => RangeResponse::default(),
        });
        let (mine, owner) = (ranges.next().unwrap_or_default(), ranges.next().unwrap_or_default());
        // A session that holds the lock already keeps it.
        let created = mine.kvs.first().map_or(revision, |kv| kv.create_revision);
        self.created = Some(created);
        if owner.kvs.first().is_none_or(|kv| kv.create_revision == created) {
            return Ok(revision);
        }
        wait_turn(client, &self.prefix, created).await?;
        // The key may have gone with its lease meanwhile.
        let answer = client.call(get(&self.key), None).await?;
        if answer.kvs.is_empty() {
            self.created = None;
            return Err(LockError::SessionExpired);
        }
        Ok(super::revision_of(&answer))
    }

    /// Gives the turn, or the place in front of it, away.
    pub async fn unlock(&mut self) -> Result<(), Error> {
        if self.created.take().is_some() {
            self.session.client().call(DeleteRangeRequest { key: self.key.clone(), ..Default::default() }, None).await?;
        }
        Ok(())
    }
}
