//! Watchers that outlive their stream: when it breaks, they go on where they were, on another member.
//!
//!   watch ----Command----> task ----create, progress----> stream ----> member
//!   Update <----bounded----/   \<---events by watch id----/
//!
//! The task is the sole owner of the watchers and of the stream they share. A member numbers watchers in the order in which they were
//! created (CLI-2); a watcher resumes from the revision after the last it saw (CLI-4); progress for "all" goes to each (CLI-5).
//! Bound: 64 updates wait for one watcher; then the task, and through flow control the member, waits for it to be read.
//! Writes and reads: nothing else. Does not ask for fragments.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle};
use tonic::{Code, Status, Streaming};

use super::{Client, Error};
use crate::wire::{
    error::Error as Rejection,
    etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse, watch_request::RequestUnion},
};

const UPDATES_MAX: usize = 64;
const COMMANDS_MAX: usize = 16;
const RESUME_PAUSE: Duration = Duration::from_millis(100);
/// The watch id that stands for every watcher of a stream.
const EVERY_WATCHER: i64 = -1;

/// What a watcher is told.
#[derive(Clone, Debug)]
pub enum Update {
    /// Events, progress, or `canceled`, which is the last.
    Response(WatchResponse),
    /// The stream broke in a way that resuming does not mend; the last.
    Ended(Error),
}

/// Watchers that share one stream.
#[derive(Debug)]
pub struct Watches {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Command {
    Create(Watcher),
    Progress,
}

#[derive(Debug)]
struct Watcher {
    /// As it was asked for; `start_revision` moves on.
    create: WatchCreateRequest,
    updates: mpsc::Sender<Update>,
    /// None: the member has not yet answered.
    id: Option<i64>,
}

impl Watches {
    /// Starts the task; it ends with the value. The watchers end when the member loses its leader (WAT-23).
    pub fn open(client: Arc<Client>) -> Watches {
        Watches::start(client, true)
    }

    /// The same for watchers that wait for a leader to come back.
    pub fn patient(client: Arc<Client>) -> Watches {
        Watches::start(client, false)
    }

    fn start(client: Arc<Client>, require_leader: bool) -> Watches {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let task = tokio::spawn(Task { client, commands, watchers: Vec::new(), require_leader }.run());
        Watches { commands: sender, task }
    }

    pub async fn watch(&self, create: WatchCreateRequest) -> mpsc::Receiver<Update> {
        let (updates, receiver) = mpsc::channel(UPDATES_MAX);
        // The task lives as long as `self`: if it is gone it panicked, and the receiver ends at once.
        let _ = self.commands.send(Command::Create(Watcher { create, updates, id: None })).await;
        receiver
    }

    /// Asks the member how far it is; the answer comes to every watcher as an update without events.
    pub async fn request_progress(&self) {
        let _ = self.commands.send(Command::Progress).await;
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    client: Arc<Client>,
    commands: mpsc::Receiver<Command>,
    /// In the order of creation.
    watchers: Vec<Watcher>,
    require_leader: bool,
}

enum Input {
    Command(Option<Command>),
    Message(Result<Option<WatchResponse>, Status>),
}

impl Task {
    async fn run(mut self) {
        loop {
            if self.watchers.is_empty() {
                match self.commands.recv().await {
                    Some(Command::Create(watcher)) => self.watchers.push(watcher),
                    // No watcher would hear of it.
                    Some(Command::Progress) => {}
                    None => return,
                }
                continue;
            }
            let Err(status) = self.serve_stream().await else { return };
            if is_final(&status) {
                for watcher in self.watchers.drain(..) {
                    let _ = watcher.updates.send(Update::Ended(status.clone().into())).await;
                }
            } else {
                tokio::time::sleep(RESUME_PAUSE).await;
            }
        }
    }

    /// One stream from its creation to its end. Ok: nobody can ask for anything any more.
    async fn serve_stream(&mut self) -> Result<(), Status> {
        let connection = self.client.connection().await;
        let (requests, receiver) = mpsc::channel(self.watchers.len() + COMMANDS_MAX);
        for watcher in &mut self.watchers {
            watcher.id = None;
            requests.try_send(create(watcher)).expect("there is room for each watcher");
        }
        let stream =
            self.client.bidirectional(connection.channel.clone(), receiver, "/etcdserverpb.Watch/Watch", self.require_leader).await;
        let ended = match stream {
            Ok(stream) => self.serve_messages(stream, &requests).await,
            Err(status) => Err(status),
        };
        if let Err(status) = &ended {
            if self.client.wants_new_token(status) && self.client.authenticate(&connection).await.is_ok() {
                return Err(Status::unavailable("there is a new token"));
            }
            self.client.leave(&connection);
        }
        ended
    }

    async fn serve_messages(&mut self, mut stream: Streaming<WatchResponse>, requests: &mpsc::Sender<WatchRequest>) -> Result<(), Status> {
        while !self.watchers.is_empty() {
            let input = tokio::select! {
                command = self.commands.recv() => Input::Command(command),
                message = stream.message() => Input::Message(message),
            };
            let request = match input {
                Input::Command(None) => return Ok(()),
                Input::Command(Some(Command::Create(watcher))) => {
                    let request = create(&watcher);
                    self.watchers.push(watcher);
                    request
                }
                Input::Command(Some(Command::Progress)) => {
                    WatchRequest { request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})) }
                }
                Input::Message(Ok(Some(response))) => {
                    self.deliver(response).await;
                    continue;
                }
                Input::Message(Ok(None)) => return Err(Status::unavailable("the member ended the stream")),
                Input::Message(Err(status)) => return Err(super::error::normalise(status)),
            };
            if requests.send(request).await.is_err() {
                return Err(Status::unavailable("the stream is gone"));
            }
        }
        // The last watcher has ended; the next one opens a new stream.
        Err(Status::unavailable("there is no watcher"))
    }

    async fn deliver(&mut self, response: WatchResponse) {
        if response.created {
            return self.created(response).await;
        }
        let addressed = |watcher: &Watcher| response.watch_id == EVERY_WATCHER || watcher.id == Some(response.watch_id);
        let mut gone = Vec::new();
        for (i, watcher) in self.watchers.iter_mut().enumerate().filter(|(_, w)| w.id.is_some() && addressed(w)) {
            watcher.create.start_revision = next_revision(&response).unwrap_or(watcher.create.start_revision);
            let is_closed = watcher.updates.send(Update::Response(response.clone())).await.is_err();
            if is_closed || response.canceled {
                gone.push(i);
            }
        }
        gone.into_iter().rev().for_each(|i| drop(self.watchers.remove(i)));
    }

    /// The member answers creations in their order, by whatever id.
    async fn created(&mut self, response: WatchResponse) {
        let Some(i) = self.watchers.iter().position(|watcher| watcher.id.is_none()) else { return };
        if response.canceled {
            let watcher = self.watchers.remove(i);
            let _ = watcher.updates.send(Update::Response(response)).await;
            return;
        }
        let watcher = &mut self.watchers[i];
        watcher.id = Some(response.watch_id);
        if watcher.create.start_revision == 0 {
            watcher.create.start_revision = revision(&response) + 1;
        }
    }
}

fn create(watcher: &Watcher) -> WatchRequest {
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(watcher.create.clone())) }
}

fn revision(response: &WatchResponse) -> i64 {
    response.header.as_ref().map_or(0, |header| header.revision)
}

/// Where a watcher that got this response goes on after a break.
fn next_revision(response: &WatchResponse) -> Option<i64> {
    match response.events.last() {
        Some(event) => event.kv.as_ref().map(|kv| kv.mod_revision + 1),
        None => is_progress(response).then(|| revision(response) + 1),
    }
}

/// Whether the response only says how far the member is.
pub fn is_progress(response: &WatchResponse) -> bool {
    response.events.is_empty() && !response.canceled && !response.created && response.compact_revision == 0 && revision(response) != 0
}

/// Which ends of a stream end its watchers too (CLI-1).
fn is_final(status: &Status) -> bool {
    Rejection::from_text(status.message()) == Some(Rejection::NoLeader) || !matches!(status.code(), Code::Unavailable | Code::Internal)
}

/// Why a response with `canceled` was sent (CLI-3).
pub fn cancel_error(response: &WatchResponse) -> Error {
    let reason = &response.cancel_reason;
    if response.compact_revision != 0 {
        Error::Rejected(Rejection::Compacted)
    } else if reason.is_empty() {
        Error::Rejected(Rejection::FutureRev)
    } else if let Some(rejection) = Rejection::from_text(reason) {
        Error::Rejected(rejection)
    } else if response.created {
        // A refused creation gives its reason as it is, often a whole status in words (ERR-12).
        Error::Options(reason.clone())
    } else {
        Error::Status(Code::FailedPrecondition, reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        etcdserverpb::ResponseHeader,
        mvccpb::{Event, KeyValue},
    };

    fn at(revision: i64) -> WatchResponse {
        WatchResponse { header: Some(ResponseHeader { revision, ..Default::default() }), ..Default::default() }
    }

    #[test]
    fn a_watcher_resumes_after_the_last_event_it_saw() {
        let event = |mod_revision| Event { kv: Some(KeyValue { mod_revision, ..Default::default() }), ..Default::default() };
        // The header may be ahead of the events: what lies between has not been sent.
        assert_eq!(next_revision(&WatchResponse { events: vec![event(5), event(7)], ..at(20) }), Some(8));
        assert_eq!(next_revision(&at(20)), Some(21));
        assert_eq!(next_revision(&WatchResponse { canceled: true, ..at(20) }), None);
    }

    #[test]
    fn only_a_member_that_went_away_is_worth_a_new_stream() {
        assert!(!is_final(&Status::unavailable("gone")));
        assert!(!is_final(&Status::internal("reset")));
        assert!(is_final(&Status::unknown("x")));
        assert!(is_final(&Rejection::NoLeader.status()));
    }

    #[test]
    fn a_cancelled_watch_says_why() {
        let cancelled = |reason: &str| WatchResponse { canceled: true, cancel_reason: reason.into(), ..at(0) };
        assert_eq!(cancel_error(&WatchResponse { compact_revision: 7, ..cancelled("") }).to_string(), Rejection::Compacted.text());
        assert_eq!(cancel_error(&cancelled("")).to_string(), Rejection::FutureRev.text());
        assert_eq!(cancel_error(&cancelled("why")).to_string(), "rpc error: code = FailedPrecondition desc = why");
        let refused = WatchResponse { created: true, ..cancelled("mvcc: watcher range is empty") };
        assert_eq!(cancel_error(&refused).to_string(), "mvcc: watcher range is empty");
    }
}
