//! The threads that carry a command from the inbox to its reply: driver, log, applier, and the flusher behind them.
//!
//! ```text
//!   inbox --> driver --append--> log ----> disk
//!               ^                 | |
//!               +---persisted-----+ +--committed--> applier --> engine, index, hubs, waiters
//! ```
//!
//! A wake costs more than the work for a lone client, so a stage that is idle is run by its neighbour (D6): always when no
//! other proposal waits, and under load too while a sync costs less than a wake.
//! Writes: nothing of its own. Holds: whoever hands committed entries to the applier holds the log stage, so they stay in order.

mod applier;
mod driver;
mod log;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use super::applier::Applier;
use super::inbox::Inbox;
use super::metrics::Metrics;
use super::shared::Watermarks;
use super::space::Space;
use super::stage::Stage;
use super::waiters::Mailbox;
use crate::clock::Clock;
use crate::consensus::{Append, Driver, Entry, LogStage};
use crate::lease::Deadlines;
use crate::watch::Hubs;

/// Bound: appends under way. The driver leaves proposals in the inbox beyond it, where they gather for the next batch.
const APPENDS_MAX: usize = 2;
/// Bound: batches waiting for the applier.
const APPLY_QUEUE_MAX: usize = 64;
/// A fast writer fills a small volume between two looks of the monitor, so the log looks too, after so many bytes.
const LOOK_EVERY_BYTES: u64 = 1 << 20;
const RETRY_NO_SPACE: Duration = Duration::from_millis(50);

pub struct Options {
    pub member_id: u64,
    pub tick: Duration,
    /// Records in a slice of the physical compaction, and the pause between slices.
    pub sweep_records: usize,
    pub sweep_pause: Duration,
    /// The engine is flushed when a restart would have to replay more than this.
    pub debt_bytes_max: u64,
    pub debt_entries_max: u64,
    /// .. or when nothing was written for this long.
    pub idle_flush: Duration,
    pub wals_max: usize,
    /// A batch that takes longer to apply is told.
    pub warning_apply: Duration,
}

pub(super) struct LogJob {
    append: Option<Append>,
    committed: Vec<Entry>,
}

pub struct Pipeline {
    pub inbox: Inbox,
    pub marks: Watermarks,
    pub mailboxes: Vec<Arc<Mailbox>>,
    pub deadlines: Arc<Deadlines>,
    pub(super) log: Stage<LogStage, LogJob>,
    pub(super) applier: Stage<Applier, Vec<Entry>>,
    pub hubs: Hubs,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Options,
    pub metrics: Metrics,
    pub space: Space,
    /// The log's volume is below the low-water mark, or was when it was last looked at.
    pub(super) low_space: AtomicBool,
    /// The monitor is to look at the disk before its time.
    pub look_at_space: Notify,
    pub(super) looked_at: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    pub(super) log_segments: AtomicUsize,
    pub(super) debt_bytes: AtomicU64,
    pub(super) debt_entries: AtomicU64,
    pub(super) sweeping: AtomicBool,
    pub(super) stopping: AtomicBool,
    /// The applier has applied the last of what was handed over.
    pub(super) applier_ended: AtomicBool,
    /// The log stage will hand over nothing more.
    pub(super) log_ended: AtomicBool,
    /// The member was told to end: nobody waits for a disk to have room any more.
    pub(super) ending: AtomicBool,
    /// A write met a full disk; the monitor makes room.
    pub no_space: AtomicBool,
}

/// Ends the process: the state in memory and on disk may no longer agree, and a restart replays the log (I1).
pub(super) fn fail_stop(what: &str, error: &dyn std::fmt::Display) -> ! {
    tracing::error!(error = %error, "{what}; this member stops, its log is replayed at the next start");
    // At once, with no destructor of a library that other threads are still in.
    #[cfg(unix)]
    signal_hook::low_level::exit(1);
    #[cfg(not(unix))]
    std::process::abort()
}

impl Pipeline {
    #[expect(clippy::too_many_arguments, reason = "assembled once, at start")]
    pub fn new(
        options: Options,
        log: LogStage,
        applier: Applier,
        hubs: Hubs,
        mailboxes: Vec<Arc<Mailbox>>,
        deadlines: Arc<Deadlines>,
        clock: Arc<dyn Clock>,
        inbox_bytes_max: usize,
        metrics: Metrics,
        space: Space,
    ) -> Arc<Pipeline> {
        Arc::new(Pipeline {
            inbox: Inbox::new(inbox_bytes_max),
            marks: Watermarks::new(applier.applied()),
            mailboxes,
            deadlines,
            log: Stage::new(log),
            applier: Stage::new(applier),
            hubs,
            clock,
            options,
            metrics,
            space,
            low_space: AtomicBool::new(false),
            look_at_space: Notify::new(),
            looked_at: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            log_segments: AtomicUsize::new(0),
            debt_bytes: AtomicU64::new(0),
            debt_entries: AtomicU64::new(0),
            // A compaction that was scheduled before a restart is resumed (REV-15).
            sweeping: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            applier_ended: AtomicBool::new(false),
            log_ended: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            no_space: AtomicBool::new(false),
        })
    }

    /// Starts the threads. They end after `stop`, in the order driver, log, applier, flusher.
    pub fn spawn(self: &Arc<Pipeline>, driver: Driver) -> std::io::Result<Vec<JoinHandle<()>>> {
        let thread = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(move || {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
                    fail_stop("a thread of the pipeline panicked", &"see the panic above");
                }
            })
        };
        let this = [(); 4].map(|()| self.clone());
        let [a, b, c, d] = this;
        Ok(vec![
            thread("driver", Box::new(move || a.run_driver(driver)))?,
            thread("log", Box::new(move || b.run_log()))?,
            thread("applier", Box::new(move || c.run_applier()))?,
            thread("flusher", Box::new(move || d.run_flusher()))?,
        ])
    }

    /// Commands whose callers wait.
    pub fn waiting(&self) -> usize {
        self.mailboxes.iter().map(|mailbox| mailbox.waiting()).sum()
    }

    /// Whether puts are to be refused for want of space, before they meet it. Before it refuses it looks again, so that the
    /// first put after the way out of a full disk is not refused for what was.
    pub fn is_low_on_space(&self) -> bool {
        self.low_space.load(Ordering::Acquire) && self.note_space()
    }

    /// Looks at the volume. Answers whether it is low.
    pub fn note_space(&self) -> bool {
        match self.space.tightest() {
            Ok(volume) => {
                self.low_space.store(volume.is_low(), Ordering::Release);
                if volume.is_getting_low() && self.has_spare_segments() {
                    self.look_at_space.notify_one();
                }
                volume.is_low()
            }
            Err(error) => {
                tracing::debug!(error = %error, "free space could not be read");
                false
            }
        }
    }

    /// Bytes written to the log since the start. Never waits for the log, which holds its own cell while the disk is full.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn note_log(&self, log: &LogStage) {
        let written = log.wal().bytes_written();
        self.log_bytes.store(written, Ordering::Relaxed);
        if written - self.looked_at.load(Ordering::Relaxed) >= LOOK_EVERY_BYTES {
            self.looked_at.store(written, Ordering::Relaxed);
            self.note_space();
        }
        self.log_segments.store(log.wal().segments(), Ordering::Relaxed);
    }

    /// Asks the threads to end: what is in the log is applied, what is in the inbox is not proposed.
    pub fn stop(&self) {
        self.ending.store(true, Ordering::Release);
        self.inbox.close();
        self.inbox.stop();
    }
}
