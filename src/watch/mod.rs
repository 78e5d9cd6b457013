//! Watchers: who is told what changed, once each, in order and without a gap.
//!
//! ```text
//!   applier --Arc<EventBatch>--> Hubs --bounded inbox--> Hub (one per runtime thread)
//!                                                         |  interval_map: key -> watchers
//!                                   Live watchers <-------+
//!                                   CatchingUp   <-- ring (recent batches) <-- one shared history scan (blocking pool)
//!                                                         |
//!                                         queue of each stream --take--> api/watch.rs, one poll per stream
//! ```
//!
//! `Hub` (with `catch_up`, `ring`, `stream`, `watcher`) is the sans-IO core: inputs are method calls, outputs are the streams'
//! queues, the list of streams that became ready, and jobs. `inbox` is what the applier holds, `station` runs a hub on its
//! runtime thread and performs its jobs.
//!
//! Writes: each hub owns the watchers of its thread's connections. Reads: shared batches, `mvcc::Reader` in jobs.
//! Holds, in all of these files:
//! - W1 a watcher's stream has every event that it wants below `next` (Live: up to the hub's level), and no other; a revision
//!   is whole in one response unless the client asked for fragments.
//! - W2 the ring has no gap and ends at the hub's level.
//! - W3 progress with revision R is queued only when every watcher that it speaks for is level and R is the hub's level.
//! - W4 the level moves before its revision is readable (REV-19), so "from now" means from what the client can have read.
//!
//! Does not know connections, permissions, or a clock.

mod batch;
mod catch_up;
mod hub;
mod inbox;
mod interval_map;
mod ring;
mod slots;
mod station;
mod stream;
mod watcher;

#[cfg(test)]
mod hub_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod scripted;

pub use batch::EventBatch;
pub use catch_up::{Failure, Job, Outcome};
pub use hub::{Hub, Options, StreamId, Taken};
pub use inbox::{Counts, Hubs, Leadership};
pub use interval_map::{End, IntervalMap, Span};
pub use station::{Station, perform};
pub use stream::{Body, Message};
