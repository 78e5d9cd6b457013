//! Auto compaction, by age or by number of revisions (CMP-9..11).
//!
//! ```text
//!   periodic: sample the revision every min(period, 1h)/10; compact to the sample that is one period old, every min(period, 1h)
//!   revision: every 5 min, compact to current - retention
//! ```
//!
//! Sans-IO: `Compactor::step(now, revision)` says what to compact; the task around it asks the clock and proposes.

use std::collections::VecDeque;
use std::time::Duration;

use super::seat::Seat;
use crate::consensus::Role;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{CompactionRequest, InternalRaftRequest};

const HOUR: Duration = Duration::from_secs(3600);
const REVISION_EVERY: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Off,
    Periodic(Duration),
    Revision(i64),
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Off => "no",
            Mode::Periodic(_) => "periodic",
            Mode::Revision(_) => "revision",
        }
    }
}

/// Decides when to compact, and to which revision.
pub struct Compactor {
    mode: Mode,
    /// Revisions sampled, oldest first, one per interval. Bound: one period's worth.
    samples: VecDeque<i64>,
    next_sample: Duration,
    last_compacted: i64,
    /// Samples still to be taken before the next compaction.
    until_next: usize,
}

impl Compactor {
    pub fn new(mode: Mode, now: Duration) -> Compactor {
        let mut compactor = Compactor { mode, samples: VecDeque::new(), next_sample: now, last_compacted: 0, until_next: 0 };
        if matches!(mode, Mode::Revision(_)) {
            // The first look comes after an interval (CMP-10): a member that restarts often does not compact more often.
            compactor.next_sample = now + compactor.interval();
        }
        compactor.until_next = compactor.samples_kept();
        compactor
    }

    /// Time between two looks.
    pub fn interval(&self) -> Duration {
        match self.mode {
            Mode::Off => HOUR,
            Mode::Periodic(period) => (period.min(HOUR) / 10).max(Duration::from_millis(1)),
            Mode::Revision(_) => REVISION_EVERY,
        }
    }

    fn samples_kept(&self) -> usize {
        match self.mode {
            Mode::Periodic(period) => (period.as_nanos() / self.interval().as_nanos()).max(1) as usize,
            _ => 0,
        }
    }

    /// The revision to compact to now, if any. A member that does not lead samples, but compacts nothing (CMP-11).
    pub fn step(&mut self, now: Duration, revision: i64, leading: bool) -> Option<i64> {
        if now < self.next_sample {
            return None;
        }
        self.next_sample = now + self.interval();
        let target = match self.mode {
            Mode::Off => return None,
            Mode::Revision(retention) => revision - retention,
            Mode::Periodic(_) => {
                self.samples.push_back(revision);
                if self.samples.len() > self.samples_kept() + 1 {
                    self.samples.pop_front();
                }
                if self.until_next > 0 {
                    self.until_next -= 1;
                    return None;
                }
                *self.samples.front()?
            }
        };
        (leading && target > 0 && target != self.last_compacted).then_some(target)
    }

    /// What became of the compaction that `step` asked for.
    pub fn done(&mut self, revision: i64, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) | Err(Error::Compacted) => {
                self.last_compacted = revision;
                if let Mode::Periodic(period) = self.mode {
                    let every = period.min(HOUR).as_nanos() / self.interval().as_nanos();
                    self.until_next = (every.max(1) - 1) as usize;
                }
            }
            // Tried again after one interval.
            Err(_) => {}
        }
    }
}

/// Runs on one runtime for as long as the node lives.
pub async fn run(seat: Seat, mode: Mode) {
    if mode == Mode::Off {
        return;
    }
    let mut compactor = Compactor::new(mode, seat.node.clock.now());
    loop {
        tokio::time::sleep(compactor.interval().min(Duration::from_secs(1))).await;
        if seat.node.is_stopping() {
            return;
        }
        let leading = seat.node.pipeline.marks.status().role == Role::Leader;
        let Some(revision) = compactor.step(seat.node.clock.now(), seat.node.reader.revision(), leading) else { continue };
        tracing::info!(revision, "starting auto {} compaction", mode.name());
        let command = InternalRaftRequest { compaction: Some(CompactionRequest { revision, physical: false }), ..Default::default() };
        let outcome = seat.propose(command).await.map(drop);
        match outcome {
            Ok(()) => tracing::info!(revision, "completed auto {} compaction", mode.name()),
            Err(error) => tracing::warn!(revision, error = %error, "failed auto {} compaction", mode.name()),
        }
        compactor.done(revision, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_periodic_compaction_comes_after_one_period_and_goes_to_the_revision_of_its_start() {
        let period = Duration::from_secs(600);
        let mut compactor = Compactor::new(Mode::Periodic(period), Duration::ZERO);
        let mut asked = Vec::new();
        for minute in 0..=21u64 {
            let now = Duration::from_secs(60 * minute);
            if let Some(revision) = compactor.step(now, 100 + minute as i64, true) {
                asked.push((minute, revision));
                compactor.done(revision, Ok(()));
            }
        }
        assert_eq!(asked, [(10, 100), (20, 110)]);
    }

    #[test]
    fn a_follower_samples_but_does_not_compact() {
        let mut compactor = Compactor::new(Mode::Revision(10), Duration::ZERO);
        assert_eq!(compactor.step(Duration::ZERO, 100, true), None, "the first look comes after an interval");
        assert_eq!(compactor.step(REVISION_EVERY, 100, false), None);
        assert_eq!(compactor.step(REVISION_EVERY * 2, 100, true), Some(90));
        compactor.done(90, Ok(()));
        assert_eq!(compactor.step(REVISION_EVERY * 3, 100, true), None, "nothing changed");
    }
}
