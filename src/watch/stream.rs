//! One watch stream: its watchers' ids and the queue of messages that its consumer takes.
//!
//! Created and cancelled replies, progress and events go through this one queue, so none overtakes another (PRG-4).
//! Bound: events are queued only while there `has_room`; what does not fit stays in history and costs nothing here. A reply
//! to a request always fits: the consumer reads no request while its queue is full.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::wire::error::Error;

/// What a consumer sends as one response; the header's other fields are the sender's.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub watch_id: i64,
    /// The header's revision.
    pub revision: i64,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Created,
    /// Created and cancelled in one (WAT-4).
    Refused(Cow<'static, str>),
    Canceled,
    /// Cancelled because history below this revision is gone (WAT-8, WAT-11).
    Compacted(i64),
    Progress,
    /// Events as `WatchResponse::events` carries them; `more` fragments of the same response follow.
    Events {
        events: Bytes,
        more: bool,
    },
}

/// The watch id of replies that concern no watcher, or all of them.
pub const NO_WATCHER: i64 = -1;

#[derive(Debug, Default)]
pub struct Stream {
    /// Watch id to slot.
    pub ids: BTreeMap<i64, u32>,
    /// Ids of watchers that compaction ended. Quirk: they stay in use, and are answered, until their client cancels them too
    /// (etcd's `server/storage/mvcc/watcher.go`); pinned by `an_id_that_compaction_ended_is_in_use_until_it_is_cancelled`.
    pub compacted: BTreeSet<i64>,
    /// Where the search for a free id begins (WAT-3).
    pub next_id: i64,
    pub queue: VecDeque<Message>,
    pub queued_bytes: usize,
    /// The consumer was told that there is something to take.
    pub is_ready: bool,
    /// Slots of its watchers that are catching up.
    pub lagging: BTreeSet<u32>,
    /// It waits for a slice of levelling.
    pub is_queued: bool,
    /// A progress request waits until every watcher is level.
    pub progress_wanted: bool,
    pub progress_due: Duration,
    pub progress_every: Duration,
    pub requires_leader: bool,
    /// It ends with this once its queue is empty.
    pub end: Option<Error>,
}

/// Memory of a message beside its events.
const MESSAGE_OVERHEAD: usize = std::mem::size_of::<Message>();

impl Stream {
    /// Whether another response may be queued. A stream of many watchers may hold a few responses for each.
    pub fn has_room(&self, messages_max: usize, bytes_max: usize) -> bool {
        self.queue.len() < messages_max.max(4 * self.ids.len()) && self.queued_bytes < bytes_max && self.end.is_none()
    }

    /// Queues a message; events shared with the message before are counted once.
    pub fn push(&mut self, message: Message) {
        self.queued_bytes += MESSAGE_OVERHEAD;
        if let Body::Events { events, .. } = &message.body {
            let is_shared = matches!(self.queue.back(), Some(Message { body: Body::Events { events: last, .. }, .. })
                if last.as_ptr() == events.as_ptr() && last.len() == events.len());
            self.queued_bytes += if is_shared { 0 } else { events.len() };
        }
        self.queue.push_back(message);
    }

    pub fn take(&mut self, into: &mut VecDeque<Message>) {
        self.queued_bytes = 0;
        if into.is_empty() {
            std::mem::swap(&mut self.queue, into);
        } else {
            into.append(&mut self.queue);
        }
    }

    /// The id of a new watcher: the one asked for if it is free, for 0 the next free one (WAT-3).
    pub fn assign(&mut self, asked: i64) -> Option<i64> {
        if asked != 0 {
            return (!self.is_used(asked)).then_some(asked);
        }
        while self.is_used(self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Some(self.next_id - 1)
    }

    fn is_used(&self, id: i64) -> bool {
        self.ids.contains_key(&id) || self.compacted.contains(&id)
    }
}
