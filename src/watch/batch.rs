//! What the applier hands to the hubs: the events of one applied batch, shared by all of them and encoded once.
//!
//! Writes: the applier makes it. Reads: every hub; nobody changes it.

use std::sync::Arc;

use bytes::Bytes;

use crate::mvcc::{Event, Previous};
use crate::wire::watch_response::{event_len, put_event};

/// All events of the revisions `first..=last`, in order.
#[derive(Debug)]
pub struct EventBatch {
    pub events: Vec<Event>,
    pub first: i64,
    pub last: i64,
    bytes: usize,
}

/// What an event costs in memory beside its key and values.
const EVENT_OVERHEAD: usize = std::mem::size_of::<Event>();

impl EventBatch {
    pub fn new(events: Vec<Event>, first: i64, last: i64) -> Self {
        debug_assert!(events.iter().all(|event| (first..=last).contains(&event.revision.main)));
        debug_assert!(events.is_sorted_by_key(|event| (event.revision.main, event.revision.sub)));
        let bytes = events.iter().map(cost).sum();
        EventBatch { events, first, last, bytes }
    }

    /// What the writer gathered since it was last asked; nothing if no revision came of it. Every revision has an event, so the
    /// first and last event bound them.
    pub fn of(events: Vec<Event>) -> Option<Arc<EventBatch>> {
        let (first, last) = (events.first()?.revision.main, events.last()?.revision.main);
        Some(Arc::new(EventBatch::new(events, first, last)))
    }

    /// Memory that the batch keeps.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn cost(event: &Event) -> usize {
    let prev = if let Previous::Kv(kv) = &event.prev { kv.len() } else { 0 };
    EVENT_OVERHEAD + event.key.len() + event.encoded.len() + prev
}

/// Encodes sets of events of one run as response bodies, each set once for all watchers that take it.
///
/// Watchers of one key take the same set, so remembering the last set of several and every set of one finds nearly all.
pub struct Encoder<'a> {
    events: &'a [Event],
    singles: Vec<[Option<Bytes>; 2]>,
    last: [Option<(Vec<u32>, Bytes)>; 2],
}

impl<'a> Encoder<'a> {
    pub fn new(events: &'a [Event]) -> Self {
        Encoder { events, singles: Vec::new(), last: [None, None] }
    }

    pub fn events(&self) -> &'a [Event] {
        self.events
    }

    pub fn revision(&self, index: u32) -> i64 {
        self.events[index as usize].revision.main
    }

    pub fn len_of(&self, index: u32, with_prev: bool) -> usize {
        let event = &self.events[index as usize];
        event_len(&event.encoded, prev_kv(event, with_prev))
    }

    /// The body of a response with these events.
    pub fn encode(&mut self, wanted: &[u32], with_prev: bool) -> Bytes {
        let (events, side) = (self.events, usize::from(with_prev));
        let write = || {
            let len = wanted.iter().map(|&i| event_len(&events[i as usize].encoded, prev_kv(&events[i as usize], with_prev))).sum();
            let mut body = Vec::with_capacity(len);
            for &index in wanted {
                let event = &events[index as usize];
                put_event(&mut body, &event.encoded, prev_kv(event, with_prev));
            }
            Bytes::from(body)
        };
        if let [index] = wanted {
            // Made at the first use: most batches have nothing for most hubs.
            if self.singles.is_empty() {
                self.singles.resize(events.len(), [None, None]);
            }
            return self.singles[*index as usize][side].get_or_insert_with(write).clone();
        }
        match &self.last[side] {
            Some((set, body)) if set == wanted => body.clone(),
            _ => {
                let body = write();
                self.last[side] = Some((wanted.to_vec(), body.clone()));
                body
            }
        }
    }
}

/// Creates have none, and so has a value that is gone with a compaction (EVT-3).
fn prev_kv(event: &Event, with_prev: bool) -> Option<&[u8]> {
    match &event.prev {
        Previous::Kv(kv) if with_prev => Some(kv),
        _ => None,
    }
}
