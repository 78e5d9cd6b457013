//! The log's thread: appends and syncs that the driver did not do itself, in their order.
//!
//! Writes: the log. Crash: after an append and before its sync, the log may or may not have it; nobody was told yet.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{APPENDS_MAX, Pipeline, RETRY_NO_SPACE, fail_stop};
use crate::consensus::{Append, LogError, LogStage};

impl Pipeline {
    pub(super) fn append(&self, log: &mut LogStage, append: &Append) -> Result<(), LogError> {
        let began = self.clock.now();
        let done = log.append(append);
        self.metrics.log_write.observe(self.clock.now().saturating_sub(began).as_secs_f64());
        if matches!(done, Err(LogError::NoSpace)) {
            self.no_space.store(true, Ordering::Release);
            // Segments kept only for the curious are the first to go. An error of it is met again by the next try.
            let _ = log.give_back();
        }
        self.note_log(log);
        done
    }

    pub(super) fn sync(&self, log: &mut LogStage, wanted: bool) {
        if !wanted {
            return;
        }
        let began = self.clock.now();
        if let Err(error) = log.sync() {
            fail_stop("the write-ahead log could not be synced", &error);
        }
        let took = self.clock.now().saturating_sub(began);
        self.metrics.log_sync.observe(took.as_secs_f64());
        log.note_sync(took);
    }

    pub(super) fn run_log(&self) {
        self.write_log();
        self.log_ended.store(true, Ordering::Release);
        self.applier.wake();
    }

    /// Until the driver has ended and nothing waits; or, at the end, until the disk is full.
    fn write_log(&self) {
        self.log.adopt();
        loop {
            let Some((mut log, job)) = self.log.next(Duration::from_secs(1)) else {
                if self.stopping.load(Ordering::Acquire) && self.log.len() == 0 {
                    break;
                }
                continue;
            };
            let Some(append) = job.append else {
                self.hand_over(job.committed, false);
                drop(log);
                if self.log.len() + 1 == APPENDS_MAX {
                    // The driver stopped feeding when the queue was long.
                    self.inbox.nudge();
                }
                continue;
            };
            loop {
                match self.append(&mut log, &append) {
                    Ok(()) => break,
                    // The append is held; nothing of it was acknowledged (D2).
                    Err(LogError::NoSpace) => std::thread::park_timeout(RETRY_NO_SPACE),
                    Err(LogError::Fault(error)) => fail_stop("the write-ahead log could not be written", &error),
                }
                if self.stopping.load(Ordering::Acquire) {
                    // What still waits was not acknowledged.
                    return;
                }
            }
            self.hand_over(job.committed, false);
            self.sync(&mut log, append.sync);
            drop(log);
            self.inbox.persisted(append.number);
        }
    }
}
