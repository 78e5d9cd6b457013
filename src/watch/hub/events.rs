//! What was applied, to whom it is of interest.
//!
//! Writes: responses into the queues of streams. A watcher whose stream is full, or whose events want a value that is not in memory, is
//! left to `catch_up`.

use std::sync::Arc;

use super::{Hub, StreamId};
use crate::mvcc::Previous;
use crate::watch::EventBatch;
use crate::watch::batch::Encoder;
use crate::watch::stream::{Body, Message};

/// Bytes of a response beside its events, at most.
const ENVELOPE_BYTES: usize = 64;

impl Hub {
    /// Takes the next applied batch. Batches known already are passed over, a gap is closed by way of history.
    pub fn offer(&mut self, batch: Arc<EventBatch>) {
        if batch.first != self.level + 1 {
            return self.reach(batch.last);
        }
        self.level = batch.last;
        if self.watchers.is_empty() {
            return self.ring.clear();
        }
        let mut hits = std::mem::take(&mut self.hits);
        for (index, event) in batch.events.iter().enumerate() {
            self.map.stab(&event.key, &mut |slot| {
                let watcher = &self.watchers[slot];
                if watcher.is_live() && watcher.wants(event) {
                    hits.push((slot, index as u32));
                }
            });
        }
        self.ring.push(Arc::clone(&batch));
        let refused = self.deliver(&mut Encoder::new(&batch.events), &mut hits, None);
        for refusal in refused {
            self.lag(refusal.slot, refusal.next);
            if refusal.why == Why::ValueMissing {
                self.catch_up.want_previous(batch.first, self.watchers[refusal.slot].stream);
            }
        }
        hits.clear();
        self.hits = hits;
    }

    /// The hub must get to this revision without the batches before it: its inbox overflowed, or the store was replaced by a
    /// snapshot (WAT-22). Level, not edge: watchers go on from where each of them stands.
    pub fn reach(&mut self, revision: i64) {
        if revision <= self.level {
            return;
        }
        let first_missed = self.level + 1;
        self.level = revision;
        self.ring.clear();
        let behind: Vec<(u32, i64)> = self
            .watchers
            .iter()
            .filter(|(_, watcher)| watcher.is_live() && watcher.from <= revision)
            .map(|(slot, watcher)| (slot, watcher.from.max(first_missed)))
            .collect();
        for (slot, next) in behind {
            self.lag(slot, next);
        }
        let lagging: Vec<StreamId> = self.catch_up.lagging().collect();
        lagging.into_iter().for_each(|id| self.level_soon(id));
    }

    /// Queues for each watcher of `hits` its events; answers those that could not take all of theirs. The header's revision is
    /// `revision`, or the last event's of each response (WAT-18).
    pub(in crate::watch) fn deliver(&mut self, encoder: &mut Encoder<'_>, hits: &mut [(u32, u32)], revision: Option<i64>) -> Vec<Refusal> {
        hits.sort_unstable();
        let mut refused = Vec::new();
        let mut wanted = Vec::new();
        for group in hits.chunk_by(|a, b| a.0 == b.0) {
            wanted.clear();
            wanted.extend(group.iter().map(|&(_, index)| index));
            if let Err((next, why)) = self.serve(group[0].0, &wanted, encoder, revision) {
                refused.push(Refusal { slot: group[0].0, next, why });
            }
        }
        refused
    }

    /// Queues one watcher's events, cut between revisions near `response_bytes` (WAT-14); fails with the first revision that
    /// it did not queue.
    fn serve(&mut self, slot: u32, wanted: &[u32], encoder: &mut Encoder<'_>, revision: Option<i64>) -> Result<(), (i64, Why)> {
        let watcher = &self.watchers[slot];
        let (id, watch_id, with_prev, with_fragments) = (watcher.stream, watcher.id, watcher.with_prev, watcher.with_fragments);
        let is_missing = |&index: &u32| matches!(encoder.events()[index as usize].prev, Previous::Stored(_));
        if with_prev && wanted.iter().any(is_missing) {
            return Err((encoder.revision(wanted[0]), Why::ValueMissing));
        }
        let mut rest = wanted;
        while !rest.is_empty() {
            let (count, bytes) = response_len(rest, encoder, with_prev, self.options.response_bytes);
            let (part, after) = rest.split_at(count);
            if !self.streams[id.0].has_room(self.options.stream_messages, self.options.stream_bytes) {
                return Err((encoder.revision(part[0]), Why::StreamFull));
            }
            let revision = revision.unwrap_or_else(|| encoder.revision(part[count - 1]));
            let is_fragmented = with_fragments && count > 1 && bytes + ENVELOPE_BYTES >= self.options.fragment_bytes;
            let mut fragments = part;
            while is_fragmented && !fragments.is_empty() {
                let (fragment, after) = fragments.split_at(fragment_len(fragments, encoder, with_prev, self.options.fragment_bytes));
                let body = Body::Events { events: encoder.encode(fragment, with_prev), more: !after.is_empty() };
                self.push(id, Message { watch_id, revision, body });
                fragments = after;
            }
            if !is_fragmented {
                let body = Body::Events { events: encoder.encode(part, with_prev), more: false };
                self.push(id, Message { watch_id, revision, body });
            }
            self.events_sent += count as u64;
            self.watchers[slot].is_quiet = false;
            rest = after;
        }
        Ok(())
    }
}

/// A watcher that could not take all of its events.
#[derive(Debug)]
pub(in crate::watch) struct Refusal {
    pub slot: u32,
    /// The first revision that it still needs.
    pub next: i64,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::watch) enum Why {
    StreamFull,
    /// An event's previous value has to be read from the engine first (EVT-3).
    ValueMissing,
}

/// How many of the wanted events make one response: whole revisions, one at least. Their bytes with it.
fn response_len(wanted: &[u32], encoder: &Encoder<'_>, with_prev: bool, bytes_max: usize) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    for revision in wanted.chunk_by(|&a, &b| encoder.revision(a) == encoder.revision(b)) {
        let more: usize = revision.iter().map(|&index| encoder.len_of(index, with_prev)).sum();
        if count > 0 && bytes + more > bytes_max {
            break;
        }
        count += revision.len();
        bytes += more;
    }
    (count, bytes)
}

/// How many of the wanted events make one fragment: one at least (WAT-16).
fn fragment_len(wanted: &[u32], encoder: &Encoder<'_>, with_prev: bool, bytes_max: usize) -> usize {
    let mut bytes = ENVELOPE_BYTES;
    let fits = |&index: &&u32| {
        bytes += encoder.len_of(*index, with_prev);
        bytes < bytes_max
    };
    wanted.iter().take_while(fits).count().max(1)
}
