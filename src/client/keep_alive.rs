//! Keeping a lease alive: one renewal, or one at every third of its time to live (CLI-7).
//!
//!   next ---> pause ttl/3 ---> request on the stream ---> answer within the ttl ---> next
//!                                 | broken: another stream, while there is time
//!
//! Writes and reads: nothing. No task: whoever wants the lease alive awaits `next`.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::{Client, Connection, Error};
use crate::wire::{
    error::Error as Rejection,
    etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse},
};

const REOPEN_PAUSE: Duration = Duration::from_millis(500);

pub struct KeepAlive {
    client: Arc<Client>,
    id: i64,
    stream: Option<Stream>,
    /// Time to live in the last answer.
    ttl: Option<Duration>,
}

struct Stream {
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl KeepAlive {
    pub fn new(client: Arc<Client>, id: i64) -> KeepAlive {
        KeepAlive { client, id, stream: None, ttl: None }
    }

    /// The next answer that the lease lives on. None: it does not, or nobody could tell in time.
    pub async fn next(&mut self) -> Option<LeaseKeepAliveResponse> {
        let patience = match self.ttl {
            Some(ttl) => {
                tokio::time::sleep(ttl / 3).await;
                ttl * 2 / 3
            }
            None => self.client.options().dial_timeout + Duration::from_secs(1),
        };
        let answer = tokio::time::timeout(patience, self.renew()).await.ok()?.ok()?;
        self.ttl = u64::try_from(answer.ttl).ok().filter(|&ttl| ttl > 0).map(Duration::from_secs);
        self.ttl.map(|_| answer)
    }

    /// One renewal, for as long as it takes to find a member that answers.
    pub async fn once(client: Arc<Client>, id: i64) -> Result<LeaseKeepAliveResponse, Error> {
        let answer = KeepAlive::new(client, id).renew().await?;
        // A lease that is gone is answered like one that lives, with no time.
        if answer.ttl > 0 { Ok(answer) } else { Err(Error::Rejected(Rejection::LeaseNotFound)) }
    }

    async fn renew(&mut self) -> Result<LeaseKeepAliveResponse, Status> {
        let mut is_token_new = false;
        loop {
            let (connection, ended) = match self.stream.take() {
                Some(mut stream) => match stream.renew(self.id).await {
                    Ok(answer) => {
                        self.stream = Some(stream);
                        return Ok(answer);
                    }
                    Err(status) => (self.client.connection().await, status),
                },
                None => {
                    let connection = self.client.connection().await;
                    match self.open(&connection).await {
                        Ok(answer) => return Ok(answer),
                        Err(status) => (connection, status),
                    }
                }
            };
            if self.client.wants_new_token(&ended) && !is_token_new {
                is_token_new = true;
                self.client.authenticate(&connection).await?;
                continue;
            }
            if !matches!(ended.code(), Code::Unavailable | Code::Internal) {
                return Err(ended);
            }
            self.client.leave(&connection);
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }

    async fn open(&mut self, connection: &Connection) -> Result<LeaseKeepAliveResponse, Status> {
        let (requests, receiver) = mpsc::channel(1);
        requests.try_send(LeaseKeepAliveRequest { id: self.id }).expect("the queue is new");
        let answers = self.client.bidirectional(connection.channel.clone(), receiver, "/etcdserverpb.Lease/LeaseKeepAlive", true).await?;
        let mut stream = Stream { requests, answers };
        let answer = stream.answer().await?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

impl Stream {
    async fn renew(&mut self, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
        self.requests.send(LeaseKeepAliveRequest { id }).await.map_err(|_| Status::unavailable("the stream is gone"))?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<LeaseKeepAliveResponse, Status> {
        self.answers.message().await.map_err(super::error::normalise)?.ok_or_else(|| Status::unavailable("the member ended the stream"))
    }
}
