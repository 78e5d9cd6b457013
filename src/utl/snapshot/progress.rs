//! How far a long command is, on a terminal.
//!
//! Writes: stderr, if it is a terminal and the work takes longer than a few seconds (LOG-10). Reads: the clock.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::{Clock, SystemClock};

const SHOWN_AFTER: Duration = Duration::from_secs(3);
const TEMPLATE: &str = "{msg} [{bar:40}] {bytes} of {total_bytes}, {eta} left";

pub struct Progress {
    what: &'static str,
    total: u64,
    clock: SystemClock,
    start: Duration,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub fn new(what: &'static str, total: u64) -> Progress {
        let clock = SystemClock::default();
        Progress { what, total, start: clock.now(), clock, bar: None }
    }

    pub fn at(&mut self, bytes: u64) {
        if self.bar.is_none() && self.clock.now() - self.start >= SHOWN_AFTER {
            let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well formed");
            let bar = ProgressBar::with_draw_target(Some(self.total), ProgressDrawTarget::stderr());
            self.bar = Some(bar.with_style(style).with_message(self.what));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(bytes.min(self.total));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
