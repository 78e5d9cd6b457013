//! What clients ask of the hub: watchers, their end, and progress, at once or from time to time.
//!
//! Writes: watchers, and replies into the queue of their stream.

use std::borrow::Cow;
use std::time::Duration;

use super::{Hub, StreamId};
use crate::watch::interval_map::Span;
use crate::watch::stream::{Body, Message, NO_WATCHER};
use crate::watch::watcher::{State, Watcher, wants};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::WatchCreateRequest;

/// etcd's texts for refused creates (WAT-4).
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";

impl Hub {
    /// Makes a watcher (WAT-2..WAT-9); `compact_revision` is the store's now.
    pub fn create(&mut self, id: StreamId, request: &WatchCreateRequest, compact_revision: i64) {
        if request.start_revision < 0 {
            return self.refuse(id, Error::Compacted.text().into());
        }
        let Some(span) = Span::from_request(&request.key, &request.range_end) else {
            return self.refuse(id, EMPTY_RANGE.into());
        };
        if self.streams[id.0].ids.len() + self.streams[id.0].compacted.len() >= self.options.stream_watchers {
            return self.refuse(id, Error::RequestTooManyRequests.text().into());
        }
        let Some(watch_id) = self.streams[id.0].assign(request.watch_id) else {
            return self.refuse(id, DUPLICATE_ID.into());
        };
        self.push(id, Message { watch_id, revision: self.level, body: Body::Created });
        if (1..compact_revision).contains(&request.start_revision) {
            return self.push_compacted(id, watch_id, compact_revision);
        }
        self.serial += 1;
        let (wants_puts, wants_deletes) = wants(request);
        let from = if request.start_revision == 0 { self.level + 1 } else { request.start_revision };
        let slot = self.watchers.insert(Watcher {
            stream: id,
            id: watch_id,
            span: span.clone(),
            serial: self.serial,
            asked: request.start_revision,
            from,
            state: State::Live,
            wants_puts,
            wants_deletes,
            with_prev: request.prev_kv,
            with_fragments: request.fragment,
            with_progress: request.progress_notify,
            is_quiet: true,
            served: 0,
        });
        self.map.insert(&span, slot);
        self.streams[id.0].ids.insert(watch_id, slot);
        if from <= self.level {
            if from <= compact_revision {
                // The ring's events know what was before them; the store, asked now, no longer does (EVT-3).
                self.ring.drop_through(compact_revision);
            }
            self.lag(slot, from);
            self.level_soon(id);
        }
    }

    /// Answers a create request that is not granted, in its turn (CLI-2).
    pub fn refuse(&mut self, id: StreamId, reason: Cow<'static, str>) {
        self.push(id, Message { watch_id: NO_WATCHER, revision: self.level, body: Body::Refused(reason) });
    }

    /// Ends a watcher; an id that is not in use gets no reply (WAT-10).
    pub fn cancel(&mut self, id: StreamId, watch_id: i64) {
        if let Some(&slot) = self.streams[id.0].ids.get(&watch_id) {
            self.drop_watcher(slot);
            self.push(id, Message { watch_id, revision: self.level, body: Body::Canceled });
            self.settle_progress(id);
        } else if self.streams[id.0].compacted.remove(&watch_id) {
            self.push(id, Message { watch_id, revision: self.level, body: Body::Canceled });
        }
    }

    /// Tells a stream that one of its watchers needs what is gone (WAT-8, WAT-11).
    pub(in crate::watch) fn push_compacted(&mut self, id: StreamId, watch_id: i64, revision: i64) {
        self.streams[id.0].compacted.insert(watch_id);
        self.push(id, Message { watch_id, revision: 0, body: Body::Compacted(revision) });
    }

    /// Asks for progress of the whole stream (PRG-2).
    ///
    /// Quirk: not kept. etcd drops the request while a watcher catches up, and Kubernetes' reads from its cache stall until
    /// they ask again (K8S-8); here the answer comes as soon as all are level, several requests getting one. Pinned by
    /// `a_progress_request_during_catch_up_is_answered_once_all_are_level`.
    pub fn progress(&mut self, id: StreamId) {
        self.streams[id.0].progress_wanted = true;
        self.settle_progress(id);
    }

    /// Answers a progress request if it is time to. Never below a start revision that was asked for (WAT-9), nor for a stream
    /// without watchers (PRG-3): there the request is dropped, as by etcd.
    pub(in crate::watch) fn settle_progress(&mut self, id: StreamId) {
        let (messages_max, bytes_max) = (self.options.stream_messages, self.options.stream_bytes);
        let stream = &mut self.streams[id.0];
        if !stream.progress_wanted || !stream.lagging.is_empty() || !stream.has_room(messages_max, bytes_max) {
            return;
        }
        stream.progress_wanted = false;
        let is_ahead = |&slot: &u32| self.watchers[slot].asked > self.level;
        if !stream.ids.is_empty() && !stream.ids.values().any(is_ahead) {
            self.push(id, Message { watch_id: NO_WATCHER, revision: self.level, body: Body::Progress });
        }
    }

    /// When `tick` has something to do next.
    pub fn next_tick(&self) -> Option<Duration> {
        self.due.first().map(|&(due, _)| due)
    }

    /// Sends the periodic progress that is due (PRG-1). A watcher that is not level, or whose stream is full, waits for its
    /// next turn.
    pub fn tick(&mut self, now: Duration) {
        while let Some(&(due, id)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, id));
            let stream = &mut self.streams[id.0];
            stream.progress_due = now + stream.progress_every;
            self.due.insert((stream.progress_due, id));
            let slots: Vec<u32> = stream.ids.values().copied().collect();
            for slot in slots {
                let watcher = &mut self.watchers[slot];
                let was_quiet = std::mem::replace(&mut watcher.is_quiet, true);
                let is_level = watcher.is_live() && watcher.asked <= self.level;
                if watcher.with_progress && was_quiet && is_level && self.accepts(id) {
                    let watch_id = self.watchers[slot].id;
                    self.push(id, Message { watch_id, revision: self.level, body: Body::Progress });
                }
            }
        }
    }
}
