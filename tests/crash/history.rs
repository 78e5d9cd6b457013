//! Holds what writers were told against the events that the server kept.
//!
//! A writer owns its keys and has one request under way, so its attempts are in order: an acknowledged one must be the writer's next
//! change in the history, at the revision it was told; one without an answer may be there or not, but only in its place.

use std::collections::BTreeMap;

use bytes::Bytes;
use etcd::wire::mvccpb::{Event, KeyValue, event::EventType};

/// A change of one key: a value, or none for a delete.
pub type Change = (Bytes, Option<Bytes>);

#[derive(Debug)]
pub struct Attempt {
    pub changes: Vec<Change>,
    /// The revision that the server told. `None`: no answer came.
    pub acknowledged: Option<i64>,
}

/// All that one writer tried, in order. Deletes of nothing are left out.
#[derive(Debug)]
pub struct Writer {
    pub prefix: Bytes,
    pub attempts: Vec<Attempt>,
}

pub fn revision(event: &Event) -> i64 {
    event.kv.as_ref().expect("an event has a key").mod_revision
}

/// Fails unless the history is what the writers did; the number of acknowledged attempts.
pub fn check(history: &[Event], writers: &[Writer], last: i64) -> u64 {
    let mut by_revision: BTreeMap<i64, Vec<&Event>> = BTreeMap::new();
    for event in history {
        by_revision.entry(revision(event)).or_default().push(event);
    }
    let revisions: Vec<i64> = by_revision.keys().copied().collect();
    let gapless: Vec<i64> = (2..=last).collect();
    assert_eq!(revisions, gapless, "every revision from the first on has its events");

    let mut owned = 0;
    let mut acknowledged = 0;
    for writer in writers {
        let changes: Vec<(i64, Vec<Change>)> = by_revision
            .iter()
            .filter(|(_, events)| events.iter().any(|event| key(event).starts_with(&writer.prefix)))
            .map(|(revision, events)| (*revision, events.iter().map(|event| change(event)).collect()))
            .collect();
        owned += changes.len();
        acknowledged += check_writer(&changes, writer);
    }
    assert_eq!(owned, by_revision.len(), "every revision belongs to one writer");
    acknowledged
}

fn check_writer(changes: &[(i64, Vec<Change>)], writer: &Writer) -> u64 {
    let mut left = changes.iter().peekable();
    let mut acknowledged = 0;
    for (number, attempt) in writer.attempts.iter().enumerate() {
        match attempt.acknowledged {
            Some(told) => {
                let found = left.next();
                let is_found = found.is_some_and(|(revision, changes)| *revision == told && *changes == attempt.changes);
                assert!(is_found, "an acknowledged write is lost or changed: {attempt:?}; in its place is {found:?}");
                acknowledged += 1;
            }
            None => {
                // An equal change of the next attempt, known by its revision, is not this one's.
                let next = writer.attempts.get(number + 1).and_then(|next| next.acknowledged);
                left.next_if(|(revision, changes)| Some(*revision) != next && *changes == attempt.changes);
            }
        }
    }
    assert_eq!(left.next(), None, "a change that nobody made, or made twice");
    acknowledged
}

/// The state that the history leads to, in key order.
pub fn fold(history: &[Event]) -> Vec<KeyValue> {
    let mut state = BTreeMap::new();
    for event in history {
        let kv = event.kv.clone().expect("an event has a key");
        match event.r#type() {
            EventType::Put => state.insert(kv.key.clone(), kv),
            EventType::Delete => state.remove(&kv.key),
        };
    }
    state.into_values().collect()
}

fn key(event: &Event) -> &Bytes {
    &event.kv.as_ref().expect("an event has a key").key
}

fn change(event: &Event) -> Change {
    let kv = event.kv.as_ref().expect("an event has a key");
    (kv.key.clone(), (event.r#type() == EventType::Put).then(|| kv.value.clone()))
}
