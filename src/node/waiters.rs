//! Callers waiting for their commands to be applied, one mailbox for each runtime thread.
//!
//! ```text
//!   rpc task --park(id)--> Mailbox <--deliver(batch of replies)-- applier
//!      ^                      |
//!      +----- oneshot --------+ opened by the runtime's own task, so one wake serves a whole batch
//! ```
//!
//! Holds: a request id belongs to the mailbox `id % mailboxes`, so the applier needs no map to find it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::state_machine::Reply;
use crate::wire::error::Error;

struct Waiter {
    reply: oneshot::Sender<Reply>,
    deadline: Duration,
}

/// Where the replies for one runtime thread arrive.
pub struct Mailbox {
    waiting: Mutex<HashMap<u64, Waiter>>,
    arrived: Mutex<Vec<(u64, Reply)>>,
    notify: Notify,
    next_id: AtomicU64,
    stride: u64,
}

impl Mailbox {
    /// One mailbox per runtime thread. `first_id` is etcd's id layout: member, time, counter.
    pub fn all(count: usize, first_id: u64) -> Vec<Arc<Mailbox>> {
        let stride = count as u64;
        let base = first_id - first_id % stride;
        (0..stride)
            .map(|k| {
                Arc::new(Mailbox {
                    waiting: Mutex::new(HashMap::new()),
                    arrived: Mutex::new(Vec::new()),
                    notify: Notify::new(),
                    next_id: AtomicU64::new(base + stride + k),
                    stride,
                })
            })
            .collect()
    }

    /// A request id of this mailbox, never given out before by this process.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(self.stride, Ordering::Relaxed)
    }

    /// Waits for the reply to `id`, at most until `deadline`.
    pub fn park(&self, id: u64, deadline: Duration) -> oneshot::Receiver<Reply> {
        let (reply, receiver) = oneshot::channel();
        self.waiting.lock().insert(id, Waiter { reply, deadline });
        receiver
    }

    /// The command will not be proposed after all.
    pub fn forget(&self, id: u64) {
        self.waiting.lock().remove(&id);
    }

    /// Callers that wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Called by the applier: hands over replies and wakes the runtime once.
    pub fn deliver(&self, replies: &mut Vec<(u64, Reply)>) {
        if replies.is_empty() {
            return;
        }
        self.arrived.lock().append(replies);
        self.notify.notify_one();
    }

    /// Runs on the mailbox's runtime for as long as the node lives.
    pub async fn open(self: Arc<Mailbox>) {
        let mut opened = Vec::new();
        loop {
            self.notify.notified().await;
            std::mem::swap(&mut *self.arrived.lock(), &mut opened);
            let mut waiting = self.waiting.lock();
            for (id, reply) in opened.drain(..) {
                if let Some(waiter) = waiting.remove(&id) {
                    // The caller may have gone; its command was applied all the same.
                    let _ = waiter.reply.send(reply);
                }
            }
        }
    }

    /// Answers every waiter whose deadline has passed, with a reason found by that deadline (PRP-3). The command may still be
    /// applied later.
    pub fn expire(&self, now: Duration, reason: impl Fn(Duration) -> Error) {
        let mut waiting = self.waiting.lock();
        let late: Vec<u64> = waiting.iter().filter(|(_, w)| w.deadline <= now).map(|(&id, _)| id).collect();
        for id in late {
            if let Some(waiter) = waiting.remove(&id) {
                // As above.
                let _ = waiter.reply.send(Err(reason(waiter.deadline)));
            }
        }
    }

    /// Answers everybody, at the end (PRP-7).
    pub fn close(&self, error: Error) {
        for (_, waiter) in self.waiting.lock().drain() {
            let _ = waiter.reply.send(Err(error));
        }
    }
}

/// The first request id of a process: 2 bytes of member id, 5 of milliseconds, 1 of counter, as etcd lays them out (PRP-6).
pub fn first_request_id(member: u64, unix: Duration) -> u64 {
    ((member & 0xffff) << 48) | ((unix.as_millis() as u64 & 0xff_ffff_ffff) << 8)
}
