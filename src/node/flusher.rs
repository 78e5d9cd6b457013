//! The flusher: bounds what a restart would have to replay, and gives the log's old segments back (D2).
//!
//! ```text
//!   debt over its bound, or nothing written for a while
//!        --> flush the engine --> snapshot record in the log --> drop segments below
//! ```
//!
//! Writes: through the engine and the log stage. Reads: the debt that the applier publishes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::flushed::{Flushed, flushed};
use super::pipeline::{Pipeline, fail_stop};
use crate::consensus::LogError;
use crate::storage;

/// What a command of any size adds to the engine's files at the least: keys of its rows, and what RocksDB keeps of each.
const ROW_BYTES: u64 = 64;

impl Pipeline {
    /// Flushes the engine when the log behind it grows long, then says so in the log and drops old segments (D2).
    pub(super) fn run_flusher(&self) {
        let mut last_debt = 0;
        let mut idle_since = self.clock.now();
        while !self.stopping.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(250));
            let (bytes, entries) = (self.debt_bytes.load(Ordering::Acquire), self.debt_entries.load(Ordering::Acquire));
            if entries != last_debt {
                last_debt = entries;
                idle_since = self.clock.now();
            }
            let idle = entries > 0 && self.clock.now().saturating_sub(idle_since) >= self.options.idle_flush;
            if bytes >= self.options.debt_bytes_max || entries >= self.options.debt_entries_max || idle {
                self.flush();
            }
        }
    }

    /// One flush of the state engine, then the log's record of it.
    ///
    /// Crash: before the record, the log keeps what the engine already has, and replays less than it could.
    pub fn flush(&self) {
        self.flush_and_keep(self.options.wals_max);
    }

    /// There are segments of the log that no restart needs once the engine is flushed.
    pub fn has_spare_segments(&self) -> bool {
        self.log_segments.load(Ordering::Relaxed) > 1
    }

    /// On a full disk: keeps no more of the log than a restart needs. Waits as long as the disk is full for the log itself.
    pub fn give_back(&self) {
        // What lies below the last record needs no flush, and whoever waits for room may hold what a flush needs.
        // An error of it is met again by the next append.
        let _ = self.log.enter().give_back();
        self.flush_and_keep(1);
    }

    fn flush_and_keep(&self, segments: usize) {
        let (engine, debt) = {
            let applier = self.applier.enter();
            (applier.engine().clone(), applier.debt())
        };
        if self.space.volume().is_ok_and(|volume| volume.free < debt.bytes + ROW_BYTES * debt.entries) {
            // Not begun: an engine whose flush met a full disk takes nothing for seconds after there is room again.
            return self.no_space.store(true, Ordering::Release);
        }
        if let Err(error) = engine.flush() {
            match error {
                storage::Error::NoSpace(_) => return self.no_space.store(true, Ordering::Release),
                // Tried again with the next round of the flusher.
                storage::Error::Stalled(_) => return,
                storage::Error::Fault(_) => fail_stop("the state engine could not be flushed", &error),
            }
        }
        {
            // What was applied since the flush began is still owed.
            let mut applier = self.applier.enter();
            applier.pay_debt(debt);
            let left = applier.debt();
            self.debt_bytes.store(left.bytes, Ordering::Release);
            self.debt_entries.store(left.entries, Ordering::Release);
        }
        let Flushed { index, term, conf_state } = match flushed(&*engine) {
            Ok(flushed) if flushed.index > 0 => flushed,
            Ok(_) => return,
            Err(error) => fail_stop("the flushed index could not be read", &error),
        };
        let mut log = self.log.enter();
        match log.flushed(index, term, &conf_state, segments) {
            Ok(_) => {
                self.note_log(&log);
                self.inbox.flushed(index);
            }
            Err(LogError::NoSpace) => self.no_space.store(true, Ordering::Release),
            Err(LogError::Fault(error)) => fail_stop("the flushed index could not be written to the log", &error),
        }
    }

    /// Rewrites the engine's files and lets the logical size fall (BAK-6). Blocks the caller, nobody else.
    pub fn defragment(&self) -> Result<(), storage::Error> {
        let engine = self.applier.enter().engine().clone();
        let began = self.clock.now();
        engine.defragment()?;
        self.metrics.defragment.observe(self.clock.now().saturating_sub(began).as_secs_f64());
        let mut applier = self.applier.enter();
        applier.stage_defragmented();
        self.settle(&mut applier);
        Ok(())
    }
}
