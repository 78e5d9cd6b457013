//! One watcher: what it asked for and how far it has been served.
//!
//! ```text
//!             create, start <= level
//!   create ----------------------------> CatchingUp { next } --level with the hub--> Live
//!      |                                      ^                                       |
//!      +--start > level (or 0)--> Live        +--its stream is full, value missing,---+
//!                                                or the hub itself had to jump
//! ```
//!
//! Invariant W1: a watcher's stream has every event that it wants below `next` (Live: up to the hub's level), and no other.

use crate::mvcc::Event;
use crate::wire::etcdserverpb::WatchCreateRequest;
use crate::wire::etcdserverpb::watch_create_request::FilterType;

use super::hub::StreamId;
use super::interval_map::Span;

#[derive(Debug)]
pub struct Watcher {
    pub stream: StreamId,
    pub id: i64,
    pub span: Span,
    /// Tells this watcher from an earlier one in the same slot.
    pub serial: u64,
    /// The start revision of the request: no progress below it (WAT-9). Zero for "from now".
    pub asked: i64,
    /// First revision that it wants.
    pub from: i64,
    pub state: State,
    pub wants_puts: bool,
    pub wants_deletes: bool,
    pub with_prev: bool,
    pub with_fragments: bool,
    pub with_progress: bool,
    /// It got no event since the last progress tick (PRG-1).
    pub is_quiet: bool,
    /// Turn of the history scan that served it last: the smallest has waited longest (WAT-20).
    pub served: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    CatchingUp { next: i64 },
}

impl Watcher {
    /// Whether the event, of a key inside its span, is one that it wants (EVT-5).
    pub fn wants(&self, event: &Event) -> bool {
        event.revision.main >= self.from && if event.is_delete { self.wants_deletes } else { self.wants_puts }
    }

    pub fn is_live(&self) -> bool {
        self.state == State::Live
    }

    /// The next revision it needs, while it is catching up.
    pub fn next(&self) -> Option<i64> {
        match self.state {
            State::Live => None,
            State::CatchingUp { next } => Some(next),
        }
    }
}

/// The options of a create request; a filter that is not known filters nothing.
pub fn wants(request: &WatchCreateRequest) -> (bool, bool) {
    let has = |filter: FilterType| request.filters.contains(&(filter as i32));
    (!has(FilterType::Noput), !has(FilterType::Nodelete))
}
