//! A watch stream as a client sees it: requests go in, responses are checked against the promises of a stream and kept.
//!
//! ```text
//!   create / cancel / progress ──► gRPC stream ──► receive task ──► absorb: checks ──► per watcher: Seen, Seen, ...
//! ```
//!
//! Checked on every response, whoever the server is: events come in order and once (WAT-13), one revision is not split
//! (WAT-14), progress never overtakes an event (PRG-4), nothing follows a cancel (WAT-10), parts of a fragment are contiguous (WAT-16).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use etcd::wire::{
    etcdserverpb::{
        WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse, watch_client::WatchClient,
        watch_request::RequestUnion,
    },
    mvccpb::Event,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, transport::Channel};

use super::DEADLINE;

/// The id of an answer that belongs to no watcher.
pub const NO_WATCHER: i64 = -1;

/// What a watcher saw, in order. How events were batched into responses is the server's choice and left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Created { revision: i64 },
    Refused { revision: i64, reason: String },
    Canceled { revision: i64, compact_revision: i64, reason: String },
    Event(Event),
}

#[derive(Debug, Default)]
struct Watcher {
    last_event: i64,
    progress: i64,
    is_live: bool,
    is_compacted: bool,
    /// The start revision that was asked for.
    start: i64,
    /// Revision of the store when it was created.
    created: i64,
}

pub struct WatchStream {
    /// None once the client's half is closed.
    requests: Option<mpsc::Sender<WatchRequest>>,
    responses: mpsc::UnboundedReceiver<Result<WatchResponse, Status>>,
    watchers: BTreeMap<i64, Watcher>,
    seen: BTreeMap<i64, Vec<Seen>>,
    /// Start revision of the create that is being answered.
    asked: i64,
    /// The highest revision of a progress answer for the whole stream.
    progress: i64,
    /// The watcher whose response is not whole yet.
    fragment_of: Option<i64>,
    /// Responses as they came, while a test asked for them.
    pub raw: Option<Vec<WatchResponse>>,
}

impl WatchStream {
    pub fn open(client: &WatchClient<Channel>) -> WatchStream {
        Self::open_with(client, |_| {})
    }

    /// Opens a stream whose request carries metadata of the caller's choice.
    ///
    /// A server may answer nothing, not even headers, before the first request of the stream: so the call itself is left to the task.
    pub fn open_with(client: &WatchClient<Channel>, prepare: impl FnOnce(&mut Request<ReceiverStream<WatchRequest>>)) -> WatchStream {
        let (requests, outgoing) = mpsc::channel(64);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        prepare(&mut request);
        let (sender, responses) = mpsc::unbounded_channel();
        tokio::spawn(receive_all(client.clone(), request, sender));
        let (watchers, seen) = (BTreeMap::new(), BTreeMap::new());
        WatchStream { requests: Some(requests), responses, watchers, seen, asked: 0, progress: 0, fragment_of: None, raw: None }
    }

    pub async fn send(&mut self, request: RequestUnion) {
        self.send_request(WatchRequest { request_union: Some(request) }).await;
    }

    /// Sends a request without a kind, which a server ignores (WAT-1).
    pub async fn send_nothing(&mut self) {
        self.send_request(WatchRequest { request_union: None }).await;
    }

    async fn send_request(&mut self, request: WatchRequest) {
        let requests = self.requests.as_ref().expect("our half is open");
        // A stream that has failed says so by its responses.
        let _ = requests.send(request).await;
    }

    /// Ends our half of the stream.
    pub fn half_close(&mut self) {
        self.requests = None;
    }

    /// Creates a watcher and waits for the first answer: its id, or `NO_WATCHER` if it was refused.
    pub async fn create(&mut self, request: WatchCreateRequest) -> i64 {
        self.send_create(request).await;
        loop {
            let response = self.receive("the answer to a create").await;
            if response.created {
                return response.watch_id;
            }
        }
    }

    pub async fn send_create(&mut self, request: WatchCreateRequest) {
        self.asked = request.start_revision;
        self.send(RequestUnion::CreateRequest(request)).await;
    }

    /// Cancels a live watcher and waits for the answer.
    pub async fn cancel(&mut self, id: i64) {
        self.send_cancel(id).await;
        while self.is_live(id) {
            self.receive("the answer to a cancel").await;
        }
    }

    pub async fn send_cancel(&mut self, id: i64) {
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id })).await;
    }

    /// Asks for progress until the stream says that it has reached `revision`. Answers may be dropped (PRG-2), so it asks again, and
    /// the revision should be later than the last create: else the answer to an earlier asking may be taken for this one's.
    /// Returns early when no watcher is left, since then nothing will be answered (PRG-3).
    pub async fn reach(&mut self, revision: i64) {
        let deadline = Instant::now() + DEADLINE;
        while self.progress < revision && self.watchers.values().any(|watcher| watcher.is_live) {
            assert!(Instant::now() < deadline, "no progress to {revision}: {:?}", self.watchers);
            self.release_compacted().await;
            self.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
            let _ = tokio::time::timeout(Duration::from_millis(30), async {
                while self.progress < revision {
                    self.receive("progress").await;
                }
            })
            .await;
        }
    }

    /// Cancels what the server has canceled for a compaction. Quirk: etcd counts such a watcher as one that is not level until its client
    /// cancels it too, and answers no progress on the stream as long as there is one.
    pub async fn release_compacted(&mut self) {
        let compacted: Vec<i64> = self.watchers.iter().filter(|(_, watcher)| watcher.is_compacted).map(|(id, _)| *id).collect();
        for id in compacted {
            self.send_cancel(id).await;
        }
    }

    /// Waits until `enough` holds for what the watcher has seen so far.
    pub async fn until(&mut self, id: i64, enough: impl Fn(&[Seen]) -> bool) {
        while !enough(self.seen.get(&id).map_or(&[], Vec::as_slice)) {
            self.receive("more for a watcher").await;
        }
    }

    /// Waits for the next periodic progress answer of one watcher.
    pub async fn next_progress_of(&mut self, id: i64) -> i64 {
        loop {
            let response = self.receive("a watcher's progress").await;
            if is_progress(&response) && response.watch_id == id {
                return response.header.map_or(0, |header| header.revision);
            }
        }
    }

    /// Takes in what has arrived by now, without waiting.
    pub fn drain(&mut self) {
        while let Ok(message) = self.responses.try_recv() {
            self.absorb(message.expect("the stream stays open"));
        }
    }

    /// Everything seen since the last call, by watcher.
    pub fn take_seen(&mut self) -> BTreeMap<i64, Vec<Seen>> {
        std::mem::take(&mut self.seen)
    }

    pub fn is_live(&self, id: i64) -> bool {
        self.watchers.get(&id).is_some_and(|watcher| watcher.is_live)
    }

    pub fn live(&self) -> Vec<i64> {
        self.watchers.iter().filter(|(_, watcher)| watcher.is_live).map(|(id, _)| *id).collect()
    }

    /// Start revisions of the live watchers, as they were asked for.
    pub fn starts(&self) -> impl Iterator<Item = i64> {
        self.watchers.values().filter(|watcher| watcher.is_live).map(|watcher| watcher.start)
    }

    /// Next response, or the error that ended the stream.
    pub async fn next(&mut self) -> Result<WatchResponse, Status> {
        let message = tokio::time::timeout(DEADLINE, self.responses.recv()).await.expect("the stream is silent");
        let response = message.unwrap_or_else(|| Err(Status::ok("the stream ended")))?;
        Ok(self.absorb(response))
    }

    async fn receive(&mut self, what: &str) -> WatchResponse {
        let message = tokio::time::timeout(DEADLINE, self.responses.recv()).await;
        let message = message.unwrap_or_else(|_| panic!("waited in vain for {what}: {:?}", self.watchers));
        let response = message.unwrap_or_else(|| panic!("the stream ended before {what}"));
        self.absorb(response.unwrap_or_else(|status| panic!("the stream failed before {what}: {status:?}")))
    }

    fn absorb(&mut self, response: WatchResponse) -> WatchResponse {
        if let Some(raw) = &mut self.raw {
            raw.push(response.clone());
        }
        let id = response.watch_id;
        let revision = response.header.as_ref().expect("every response has a header").revision;
        if let Some(waiting) = self.fragment_of {
            assert_eq!(waiting, id, "something came between two parts of a response: {response:?}");
        }
        if response.created {
            self.absorb_created(&response, revision);
        } else if response.canceled {
            self.absorb_canceled(&response, revision);
        } else if response.events.is_empty() {
            self.absorb_progress(id, revision);
        } else {
            self.absorb_events(&response, revision);
        }
        response
    }

    fn absorb_created(&mut self, response: &WatchResponse, revision: i64) {
        assert!(response.events.is_empty(), "a created response carries no events: {response:?}");
        let id = response.watch_id;
        if response.canceled {
            assert_eq!(id, NO_WATCHER, "a refused watcher has no id: {response:?}");
            self.note(id, Seen::Refused { revision, reason: response.cancel_reason.clone() });
        } else {
            assert!(!self.is_live(id), "the id is in use: {response:?}");
            self.watchers.insert(id, Watcher { is_live: true, start: self.asked, created: revision, ..Watcher::default() });
            self.note(id, Seen::Created { revision });
        }
    }

    fn absorb_canceled(&mut self, response: &WatchResponse, revision: i64) {
        assert!(response.events.is_empty(), "a canceled response carries no events: {response:?}");
        let watcher = self.watchers.get_mut(&response.watch_id).expect("only a known watcher is canceled");
        if watcher.is_compacted {
            // The client's own cancel after the server's.
            return;
        }
        assert!(watcher.is_live, "canceled twice: {response:?}");
        watcher.is_live = false;
        watcher.is_compacted = response.compact_revision != 0;
        let (compact_revision, reason) = (response.compact_revision, response.cancel_reason.clone());
        self.note(response.watch_id, Seen::Canceled { revision, compact_revision, reason });
    }

    fn absorb_progress(&mut self, id: i64, revision: i64) {
        if id == NO_WATCHER {
            assert!(revision >= self.progress, "progress went back from {} to {revision}", self.progress);
            self.progress = revision;
            // It speaks for the watchers that were there when it was asked for. An answer at or below the revision at which a watcher
            // was created may have been under way already, while that watcher still reads its past.
            for watcher in self.watchers.values_mut().filter(|watcher| watcher.is_live && watcher.created < revision) {
                assert!(revision >= watcher.last_event, "progress {revision} below an event: {watcher:?}");
                watcher.progress = watcher.progress.max(revision);
            }
        } else {
            let watcher = self.watchers.get_mut(&id).expect("progress of a known watcher");
            assert!(watcher.is_live, "progress after the cancel of {id}");
            assert!(revision >= watcher.progress.max(watcher.last_event), "progress {revision} went back: {watcher:?}");
            watcher.progress = revision;
        }
    }

    fn absorb_events(&mut self, response: &WatchResponse, revision: i64) {
        let id = response.watch_id;
        let is_continued = self.fragment_of.is_some();
        let watcher = self.watchers.get_mut(&id).expect("events of a known watcher");
        assert!(watcher.is_live, "events after the cancel of {id}");
        let mut last = watcher.last_event;
        for (at, event) in response.events.iter().enumerate() {
            let modified = event.kv.as_ref().expect("an event has a key").mod_revision;
            // A revision may go on from the response before only as the next part of the same response.
            let may_equal = at > 0 || is_continued;
            assert!(modified > last || (may_equal && modified == last), "watcher {id}: {modified} after {last}");
            assert!(modified > watcher.progress, "watcher {id}: event {modified} after progress");
            assert!(modified <= revision, "watcher {id}: event {modified} above the header's {revision}");
            last = modified;
        }
        watcher.last_event = last;
        self.fragment_of = response.fragment.then_some(id);
        for event in &response.events {
            self.note(id, Seen::Event(event.clone()));
        }
    }

    fn note(&mut self, id: i64, seen: Seen) {
        self.seen.entry(id).or_default().push(seen);
    }
}

/// What clients take for progress (PRG-7).
fn is_progress(response: &WatchResponse) -> bool {
    !response.created && !response.canceled && response.events.is_empty()
}

async fn receive_all(
    mut client: WatchClient<Channel>,
    request: Request<ReceiverStream<WatchRequest>>,
    sender: mpsc::UnboundedSender<Result<WatchResponse, Status>>,
) {
    let mut incoming = match client.watch(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return drop(sender.send(Err(status))),
    };
    while let Some(message) = incoming.message().await.transpose() {
        let is_last = message.is_err();
        if sender.send(message).is_err() || is_last {
            break;
        }
    }
}
