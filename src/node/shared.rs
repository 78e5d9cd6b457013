//! What the threads of a node tell each other without asking: watermarks, and the way to wait for them.
//!
//! Writes: the driver (raft status), the applier (applied), each alone. Reads: everybody.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::consensus::Status;

/// Watermarks of a running node.
pub struct Watermarks {
    reads_at_once: AtomicBool,
    commit: AtomicU64,
    applied: AtomicU64,
    applied_term: AtomicU64,
    offered: AtomicI64,
    /// When the present leader was first heard of, in nanoseconds of the clock; 0 before any was.
    elected: AtomicU64,
    status: watch::Sender<Status>,
    /// The revision that the physical compaction has reached.
    swept: watch::Sender<i64>,
}

impl Watermarks {
    pub fn new(applied: (u64, u64)) -> Watermarks {
        Watermarks {
            reads_at_once: AtomicBool::new(false),
            commit: AtomicU64::new(0),
            applied: AtomicU64::new(applied.0),
            applied_term: AtomicU64::new(applied.1),
            offered: AtomicI64::new(0),
            elected: AtomicU64::new(0),
            status: watch::Sender::new(Status::default()),
            swept: watch::Sender::new(0),
        }
    }

    /// The driver's news. Only changes of role, term or leader wake those who wait for them.
    pub fn set_status(&self, status: Status) {
        self.commit.store(status.commit, Ordering::Release);
        self.reads_at_once.store(status.reads_at_once, Ordering::Release);
        self.status.send_if_modified(|old| {
            let woken =
                (old.role, old.term, old.leader, old.reads_at_once) != (status.role, status.term, status.leader, status.reads_at_once);
            *old = status;
            woken
        });
    }

    /// A leader was elected, as far as this member knows.
    pub fn set_elected(&self, now: Duration) {
        self.elected.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// When the present leader was elected.
    pub fn elected(&self) -> Duration {
        Duration::from_nanos(self.elected.load(Ordering::Acquire))
    }

    pub fn set_applied(&self, (index, term): (u64, u64)) {
        self.applied_term.store(term, Ordering::Release);
        self.applied.store(index, Ordering::Release);
    }

    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// The term of the newest applied entry (HDR-1).
    pub fn applied_term(&self) -> u64 {
        self.applied_term.load(Ordering::Acquire)
    }

    /// Before the hubs are offered the events up to this revision.
    pub fn set_offered(&self, revision: i64) {
        self.offered.store(revision, Ordering::Release);
    }

    /// The newest revision that a watcher may know of. It is readable moments later.
    pub fn offered(&self) -> i64 {
        self.offered.load(Ordering::Acquire)
    }

    pub fn commit(&self) -> u64 {
        self.commit.load(Ordering::Acquire)
    }

    /// A linearizable read may be answered from the published state without asking anybody.
    pub fn reads_at_once(&self) -> bool {
        self.reads_at_once.load(Ordering::Acquire)
    }

    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    pub fn set_swept(&self, revision: i64) {
        self.swept.send_replace(revision);
    }

    pub fn swept(&self) -> watch::Receiver<i64> {
        self.swept.subscribe()
    }

    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }
}
