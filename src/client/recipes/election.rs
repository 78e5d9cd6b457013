//! An election: the turn is the office, the value of the key what its holder says.
//!
//! Writes: the session's key below the election's name. Reads: the keys beside it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::{Client, Error, key_range};
use super::{by_creation, created_at, get, key_of, prefix_of, put, read, revision_of, session::Session, wait_turn};
use crate::client::watch::{Update, Watches};
use crate::wire::etcdserverpb::{
    DeleteRangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest, WatchCreateRequest, range_request::SortOrder,
    request_op::Request, response_op::Response,
};
use crate::wire::mvccpb::{KeyValue, event::EventType};

/// Why a candidate was not elected.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    #[error(transparent)]
    Call(#[from] Error),
    #[error("election: not leader")]
    NotLeader,
}

/// One who stands for election.
pub struct Candidate<'a> {
    session: &'a Session,
    prefix: Vec<u8>,
    key: Bytes,
    /// When the key was created; none while it is not known to exist.
    created: Option<i64>,
}

impl<'a> Candidate<'a> {
    pub fn new(session: &'a Session, name: &[u8]) -> Candidate<'a> {
        let prefix = prefix_of(name);
        let key = key_of(&prefix, session.lease());
        Candidate { session, prefix, key, created: None }
    }

    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// Waits to be elected. Whoever gives up waiting calls `resign`.
    pub async fn campaign(&mut self, proposal: &Bytes) -> Result<(), CampaignError> {
        let client = self.session.client();
        let stand = TxnRequest {
            compare: vec![created_at(&self.key, 0)],
            success: vec![put(&self.key, proposal, self.session.lease())],
            failure: vec![read(get(&self.key))],
        };
        let answer = client.call(stand, None).await?;
        let earlier = answer.responses.into_iter().find_map(|op| match op.response {
            Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
            _ => None,
        });
        let created = earlier.as_ref().map_or(answer.header.map_or(0, |header| header.revision), |kv| kv.create_revision);
        self.created = Some(created);
        if earlier.is_some_and(|kv| kv.value != *proposal) {
            self.proclaim(created, proposal).await?;
        }
        Ok(wait_turn(client, &self.prefix, created).await?)
    }

    async fn proclaim(&mut self, created: i64, proposal: &Bytes) -> Result<(), CampaignError> {
        let say = put(&self.key, proposal, self.session.lease());
        let txn = TxnRequest { compare: vec![created_at(&self.key, created)], success: vec![say], failure: Vec::new() };
        if self.session.client().call(txn, None).await?.succeeded { Ok(()) } else { Err(CampaignError::NotLeader) }
    }

    /// Leaves the office, or the place in front of it.
    pub async fn resign(&mut self) -> Result<(), Error> {
        let Some(created) = self.created.take() else { return Ok(()) };
        let leave = DeleteRangeRequest { key: self.key.clone(), ..Default::default() };
        let leave = RequestOp { request: Some(Request::RequestDeleteRange(leave)) };
        let txn = TxnRequest { compare: vec![created_at(&self.key, created)], success: vec![leave], failure: Vec::new() };
        self.session.client().call(txn, None).await.map(drop)
    }
}

/// Tells each leader, and each thing a leader says, in order; the newest always, older ones perhaps not. Ends with an error.
pub async fn observe(client: &Arc<Client>, name: &[u8], told: &mpsc::Sender<RangeResponse>) -> Result<(), Error> {
    let prefix = prefix_of(name);
    loop {
        let answer = client.call(by_creation(&prefix, SortOrder::Ascend), None).await?;
        let (mut header, kv) = match answer.kvs.first() {
            Some(kv) => (answer.header.unwrap_or_default(), kv.clone()),
            None => first_put(client, &prefix, revision_of(&answer)).await?,
        };
        let (key, from) = (kv.key.clone(), header.revision + 1);
        if tell(told, header, kv).await.is_err() {
            return Ok(());
        }
        let watches = Watches::patient(client.clone());
        let mut updates = watches.watch(WatchCreateRequest { key, start_revision: from, ..Default::default() }).await;
        'leads: loop {
            let response = next(&mut updates).await?;
            header = response.header.unwrap_or_default();
            for event in response.events {
                if event.r#type() == EventType::Delete {
                    break 'leads;
                }
                if tell(told, header, event.kv.unwrap_or_default()).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Nobody leads: the first who will. The header's revision is that of the key, as the answer may tell of later ones too.
async fn first_put(client: &Arc<Client>, prefix: &[u8], from: i64) -> Result<(ResponseHeader, KeyValue), Error> {
    let create = WatchCreateRequest {
        key: prefix.to_vec().into(),
        range_end: key_range::prefix_end(prefix).into(),
        start_revision: from,
        ..Default::default()
    };
    let watches = Watches::patient(client.clone());
    let mut updates = watches.watch(create).await;
    loop {
        let response = next(&mut updates).await?;
        if let Some(kv) = response.events.into_iter().find(|event| event.r#type() == EventType::Put).and_then(|event| event.kv) {
            return Ok((ResponseHeader { revision: kv.mod_revision, ..response.header.unwrap_or_default() }, kv));
        }
    }
}

async fn next(updates: &mut mpsc::Receiver<Update>) -> Result<crate::wire::etcdserverpb::WatchResponse, Error> {
    match updates.recv().await {
        Some(Update::Response(response)) if response.canceled => Err(crate::client::watch::cancel_error(&response)),
        Some(Update::Response(response)) => Ok(response),
        Some(Update::Ended(error)) => Err(error),
        None => Err(Error::Status(tonic::Code::Unavailable, "the watch ended".into())),
    }
}

async fn tell(
    told: &mpsc::Sender<RangeResponse>,
    header: ResponseHeader,
    kv: KeyValue,
) -> Result<(), mpsc::error::SendError<RangeResponse>> {
    told.send(RangeResponse { header: Some(header), kvs: vec![kv], ..Default::default() }).await
}
