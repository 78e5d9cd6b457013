//! The running member: what the services hold, and the threads behind it.
//!
//! ```text
//!   api --Seat--> proposals --> inbox --> pipeline (driver, log, applier) --> mailboxes --> api
//!           \---> reads ------> mvcc::Reader
//!   expiry, compactor, monitor: tasks that propose like any caller
//! ```
//!
//! Writes: nothing itself; `pipeline` owns the stages. Reads: the published state.

pub mod applier;
mod bootstrap;
mod compactor;
mod expiry;
mod flushed;
mod flusher;
mod hash;
mod inbox;
mod leases;
mod metrics;
mod monitor;
mod open;
mod pipeline;
mod proposals;
mod read_txn;
mod reads;
mod seat;
mod shared;
mod snapshot;
mod space;
mod stage;
pub mod takeover;
mod waiters;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

pub use applier::{Applier, Outcome};
pub use bootstrap::{Options, StartError, start};
pub use compactor::{Compactor, Mode as CompactionMode};
pub use expiry::take_over;
pub use flushed::{Flushed, flushed};
pub use metrics::Metrics;
pub use monitor::{publish, raise_no_space, refused_for_space, set_cluster_version};
pub use open::{Opened, open};
pub use pipeline::Pipeline;
pub use proposals::Field;
pub use seat::Seat;
pub use snapshot::Messages;

use crate::clock::Clock;
use crate::lease::{Deadlines, Leases};
use crate::membership::Cluster;
use crate::mvcc;
use crate::state_machine::alarm::Alarms;
use crate::state_machine::quota::Quota;
use crate::storage::keyspace::meta;
use crate::storage::{Engine, Keyspace};
use crate::watch::Leadership;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::ResponseHeader;

/// A member that runs.
pub struct Node {
    pub options: Options,
    pub pipeline: Arc<Pipeline>,
    pub reader: mvcc::Reader,
    engine: Arc<dyn Engine>,
    pub leases: Leases,
    pub cluster: Cluster,
    pub alarms: Alarms,
    pub deadlines: Arc<Deadlines>,
    pub clock: Arc<dyn Clock>,
    member_id: u64,
    cluster_id: u64,
    stop: tokio::sync::watch::Sender<bool>,
    leadership: tokio::sync::watch::Sender<Leadership>,
    defragmenting: AtomicBool,
    /// Held by the one defragmentation under way; the next waits for it.
    defragment_turn: Mutex<()>,
    /// Held by the one who asks for NOSPACE.
    alarm_turn: tokio::sync::Mutex<()>,
    /// One permit for each snapshot under way.
    snapshots: Arc<tokio::sync::Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held for as long as the member may write: a second process waits for it.
    _lock: std::fs::File,
}

impl Node {
    pub fn member_id(&self) -> u64 {
        self.member_id
    }

    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Resolves when the member begins to stop: streams end then.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the node is gone, which is a stop too.
            let _ = stop.wait_for(|&stop| stop).await;
        }
    }

    /// Whether a leader is known, for streams that require one (WAT-23).
    pub fn leadership(&self) -> tokio::sync::watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn set_leadership(&self, leadership: Leadership) {
        self.leadership.send_if_modified(|old| std::mem::replace(old, leadership) != leadership);
    }

    pub fn subscribe_stop(&self) -> tokio::sync::watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Tells streams and connections that the end is near; nothing ends by this alone.
    pub fn begin_stop(&self) {
        self.stop.send_replace(true);
    }

    /// A header with all four fields (HDR-1).
    pub fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader { cluster_id: self.cluster_id, member_id: self.member_id, revision, raft_term: self.pipeline.marks.applied_term() }
    }

    /// Fills the header that the core left with its revision only.
    pub fn fill(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |h| h.revision);
        let revision = if revision == 0 { self.reader.revision() } else { revision };
        *header = Some(self.header(revision));
    }

    /// One seat per runtime thread.
    pub fn seats(self: &Arc<Node>) -> Vec<Seat> {
        self.pipeline.mailboxes.iter().map(|mailbox| Seat { node: self.clone(), mailbox: mailbox.clone() }).collect()
    }

    /// The quota in force (QUO-1).
    pub fn quota(&self) -> Quota {
        Quota::from_flag(self.options.quota_bytes)
    }

    /// Whether a write of this cost fits; what costs nothing always does (QUO-2).
    pub fn fits(&self, cost: u64) -> bool {
        !(self.quota().is_exceeded(self.reader.sizes().db_size, cost) || cost > 0 && self.pipeline.is_low_on_space())
    }

    /// A read of the state engine failed. Nothing is known to be wrong with what was acknowledged, so the member answers and stays.
    pub(crate) fn engine_failed(&self, error: &crate::storage::Error) -> Error {
        tracing::error!(error = %error, "a read of the state engine failed");
        Error::Corrupt
    }

    /// Rewrites the engine's files; only one at a time (BAK-6).
    pub fn defragment(&self) -> Result<(), crate::storage::Error> {
        let _turn = self.defragment_turn.lock();
        self.defragmenting.store(true, Ordering::Release);
        let done = self.pipeline.defragment();
        self.defragmenting.store(false, Ordering::Release);
        done
    }

    /// The version of the stored data, once it is written (VSN-3).
    pub fn storage_version(&self) -> Option<String> {
        let row = self.engine.get(Keyspace::Meta, meta::STORAGE_VERSION).ok()??;
        String::from_utf8(row.to_vec()).ok()
    }

    /// HSH-1. Reads the whole store.
    pub fn hash(&self) -> Result<u32, crate::storage::Error> {
        let began = self.clock.now();
        let hash = hash::whole_state(&*self.engine.view());
        self.pipeline.metrics.hash.observe(self.clock.now().saturating_sub(began).as_secs_f64());
        hash
    }

    /// HSH-2. Reads the whole history.
    pub fn hash_kv(&self, revision: i64) -> Result<mvcc::HashKv, mvcc::HashError> {
        let began = self.clock.now();
        let hash = self.reader.hash_kv(revision);
        self.pipeline.metrics.hash_kv.observe(self.clock.now().saturating_sub(began).as_secs_f64());
        hash
    }

    pub fn is_defragmenting(&self) -> bool {
        self.defragmenting.load(Ordering::Acquire)
    }

    /// Ends the member. Order: no new proposals; the driver, log and applier finish what is committed; one last flush so that
    /// the next start has nothing to replay; whoever still waits is told (PRP-7).
    pub fn stop(&self) {
        self.begin_stop();
        self.pipeline.stop();
        for thread in self.threads.lock().drain(..) {
            // A pipeline thread that panicked has already ended the process.
            let _ = thread.join();
        }
        self.pipeline.flush();
        for mailbox in &self.pipeline.mailboxes {
            mailbox.close(Error::Stopped);
        }
    }
}

/// Starts the tasks that look after the member, on the runtime that this is called from.
pub fn look_after(seat: &Seat) {
    tokio::spawn(expiry::run(seat.clone()));
    tokio::spawn(compactor::run(seat.clone(), seat.node.options.compaction));
    tokio::spawn(monitor::run(seat.clone()));
}

/// Time a caller waits for a command: 5 s and two elections (PRP-2).
pub fn request_timeout(election: Duration) -> Duration {
    Duration::from_secs(5) + 2 * election
}
