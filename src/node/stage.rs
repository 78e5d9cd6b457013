//! One step of the pipeline with its own thread, which a neighbour may run itself when that saves a wake (D6).
//!
//! ```text
//!   producer --offer--> cell free and queue empty? --yes--> step on the producer's thread
//!                             | no
//!                             +--> queue --> the stage's own thread: step, step, ..
//! ```
//!
//! Holds: jobs are stepped in the order they were offered, by one thread at a time. There is one producer per stage, so
//! "the queue is empty while I hold the cell" means that nothing offered earlier is still to come.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

pub struct Stage<S, J> {
    cell: Mutex<S>,
    /// Bound: producers look at `len` and stop feeding the driver when it is long.
    queue: Mutex<VecDeque<J>>,
    len: AtomicUsize,
    thread: OnceLock<Thread>,
}

impl<S, J> Stage<S, J> {
    pub fn new(state: S) -> Stage<S, J> {
        Stage { cell: Mutex::new(state), queue: Mutex::new(VecDeque::new()), len: AtomicUsize::new(0), thread: OnceLock::new() }
    }

    /// To be called once by the stage's own thread, before it waits.
    pub fn adopt(&self) {
        self.thread.get_or_init(std::thread::current);
    }

    /// The state, if nobody is stepping it and nothing waits: the caller may step it now.
    pub fn try_enter(&self) -> Option<MutexGuard<'_, S>> {
        let guard = self.cell.try_lock()?;
        (self.len.load(Ordering::Acquire) == 0).then_some(guard)
    }

    /// The state, once nobody else is stepping it.
    pub fn enter(&self) -> MutexGuard<'_, S> {
        self.cell.lock()
    }

    /// Leaves a job to the stage's own thread.
    pub fn push(&self, job: J) {
        let mut queue = self.queue.lock();
        queue.push_back(job);
        self.len.store(queue.len(), Ordering::Release);
        drop(queue);
        self.wake();
    }

    pub fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// The next job with the state to step it on, or `None` after waiting for `patience`. Only the stage's own thread calls this.
    pub fn next(&self, patience: Duration) -> Option<(MutexGuard<'_, S>, J)> {
        if self.len() == 0 {
            std::thread::park_timeout(patience);
        }
        let guard = self.cell.lock();
        // The job leaves the queue while the cell is held, so nobody can enter between the two and overtake it.
        let mut queue = self.queue.lock();
        let job = queue.pop_front()?;
        self.len.store(queue.len(), Ordering::Release);
        drop(queue);
        Some((guard, job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_enters_while_a_job_waits() {
        let stage: Stage<Vec<u32>, u32> = Stage::new(Vec::new());
        stage.push(1);
        assert!(stage.try_enter().is_none());
        let (mut state, job) = stage.next(Duration::ZERO).expect("a job waits");
        assert!(stage.try_enter().is_none(), "the cell is held");
        state.push(job);
        drop(state);
        assert_eq!(*stage.try_enter().expect("free and empty"), [1]);
    }
}
