//! What waits for the driver.
//!
//! Writes: rpc tasks (proposals), the log stage (persisted), the applier (conf changes), the flusher. Reads: the driver.
//! Bound: `bytes_max` of proposals; when full the caller is told "too many requests".

use std::sync::OnceLock;
use std::sync::mpsc::SyncSender;
use std::thread::Thread;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::consensus::ConfChange;
use crate::wire::raftpb;

/// A change of the group, with the way back for the conf state.
pub struct ConfRequest {
    pub change: ConfChange,
    pub reply: SyncSender<raftpb::ConfState>,
}

/// Everything that had arrived at one moment.
#[derive(Default)]
pub struct Arrived {
    pub proposals: Vec<Bytes>,
    pub persisted: Option<u64>,
    pub flushed: Option<u64>,
    pub conf: Vec<ConfRequest>,
    pub stop: bool,
}

#[derive(Default)]
struct Waiting {
    arrived: Arrived,
    bytes: usize,
    /// Something other than proposals came in, or a neighbour wants the driver to look around.
    urgent: bool,
    closed: bool,
}

pub struct Inbox {
    waiting: Mutex<Waiting>,
    bytes_max: usize,
    thread: OnceLock<Thread>,
}

impl Inbox {
    pub fn new(bytes_max: usize) -> Inbox {
        Inbox { waiting: Mutex::default(), bytes_max, thread: OnceLock::new() }
    }

    /// To be called once by the driver's thread, before it waits.
    pub fn adopt(&self) {
        self.thread.get_or_init(std::thread::current);
    }

    /// Leaves a command to be proposed. `false`: the inbox is full or closed, nothing was kept.
    pub fn propose(&self, command: Bytes) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.bytes + command.len() > self.bytes_max {
            return false;
        }
        waiting.bytes += command.len();
        waiting.arrived.proposals.push(command);
        let first = waiting.arrived.proposals.len() == 1;
        drop(waiting);
        if first {
            self.unpark();
        }
        true
    }

    pub fn persisted(&self, number: u64) {
        self.urgent(|arrived| arrived.persisted = arrived.persisted.max(Some(number)));
    }

    pub fn flushed(&self, index: u64) {
        self.urgent(|arrived| arrived.flushed = arrived.flushed.max(Some(index)));
    }

    pub fn conf_change(&self, request: ConfRequest) {
        self.urgent(|arrived| arrived.conf.push(request));
    }

    pub fn stop(&self) {
        self.urgent(|arrived| arrived.stop = true);
    }

    /// Makes the driver look at the watermarks.
    pub fn nudge(&self) {
        self.urgent(|_| ());
    }

    /// No more proposals from now on.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
    }

    fn urgent(&self, change: impl FnOnce(&mut Arrived)) {
        let mut waiting = self.waiting.lock();
        change(&mut waiting.arrived);
        waiting.urgent = true;
        drop(waiting);
        self.unpark();
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub fn has_proposals(&self) -> bool {
        !self.waiting.lock().arrived.proposals.is_empty()
    }

    /// What has arrived, after waiting at most `patience` for something. With `hungry` false proposals stay where they are.
    pub fn take(&self, hungry: bool, patience: Duration) -> Arrived {
        for last in [false, true] {
            let mut waiting = self.waiting.lock();
            let proposals = hungry && !waiting.arrived.proposals.is_empty();
            if waiting.urgent || proposals {
                waiting.urgent = false;
                let mut arrived = std::mem::take(&mut waiting.arrived);
                if hungry {
                    waiting.bytes = 0;
                } else {
                    waiting.arrived.proposals = std::mem::take(&mut arrived.proposals);
                }
                return arrived;
            }
            drop(waiting);
            if !last {
                std::thread::park_timeout(patience);
            }
        }
        Arrived::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_refuses_and_keeps_what_it_has() {
        let inbox = Inbox::new(10);
        assert!(inbox.propose(Bytes::from_static(b"12345678")));
        assert!(!inbox.propose(Bytes::from_static(b"12345678")));
        assert_eq!(inbox.take(true, Duration::ZERO).proposals.len(), 1);
        assert!(inbox.propose(Bytes::from_static(b"12345678")), "what was taken no longer counts");
    }

    #[test]
    fn a_sated_driver_leaves_proposals_but_hears_the_rest() {
        let inbox = Inbox::new(100);
        assert!(inbox.propose(Bytes::from_static(b"a")));
        inbox.persisted(7);
        let arrived = inbox.take(false, Duration::ZERO);
        assert_eq!((arrived.persisted, arrived.proposals.len()), (Some(7), 0));
        assert_eq!(inbox.take(true, Duration::ZERO).proposals.len(), 1);
    }
}
