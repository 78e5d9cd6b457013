//! From a thread that may wait to a connection that may not: a bounded queue, and how long it may stay full.
//!
//! Writes: the queue. Reads: the clock, while the queue is full.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::clock::Clock;

/// Bound: how long a client may take nothing. A view keeps on disk what is deleted meanwhile.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at the clock; room in the queue wakes the thread at once.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct HandOver {
    pub to: mpsc::Sender<Result<Bytes, String>>,
    pub clock: Arc<dyn Clock>,
}

impl HandOver {
    /// Waits for room.
    pub fn give(&self, block: Bytes) -> io::Result<()> {
        match self.to.try_send(Ok(block)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(TrySendError::Full(block)) => self.give_later(block),
        }
    }

    fn give_later(&self, block: Result<Bytes, String>) -> io::Result<()> {
        let full_since = self.clock.now();
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut room = pin!(self.to.reserve());
        loop {
            match room.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(Ok(room)) => {
                    room.send(block);
                    return Ok(());
                }
                Poll::Ready(Err(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                Poll::Pending if self.clock.now().saturating_sub(full_since) > PATIENCE => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, format!("the client has taken nothing for {PATIENCE:?}")));
                }
                Poll::Pending => thread::park_timeout(LOOK),
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A minute later at every look.
    #[derive(Default)]
    struct Minutes(AtomicU64);

    impl Clock for Minutes {
        fn now(&self) -> Duration {
            Duration::from_secs(60 * self.0.fetch_add(1, Ordering::Relaxed))
        }

        fn unix(&self) -> Duration {
            self.now()
        }
    }

    fn block(number: u8) -> Bytes {
        Bytes::copy_from_slice(&[number])
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up_and_one_that_is_gone_at_once() {
        let (to, blocks) = mpsc::channel(1);
        let to = HandOver { to, clock: Arc::new(Minutes::default()) };
        to.give(block(1)).unwrap();
        let given_up = to.give(block(0)).unwrap_err();
        assert_eq!((given_up.kind(), given_up.to_string()), (io::ErrorKind::TimedOut, "the client has taken nothing for 300s".into()));
        drop(blocks);
        assert_eq!(to.give(block(0)).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_queue_is_waited_for_and_its_order_kept() {
        let (to, mut blocks) = mpsc::channel(1);
        let to = HandOver { to, clock: Arc::new(Minutes::default()) };
        let given = thread::spawn(move || (0..100).try_for_each(|number| to.give(block(number))));
        let got: Vec<u8> = std::iter::from_fn(|| blocks.blocking_recv()).map(|block| block.unwrap()[0]).collect();
        assert!(given.join().unwrap().is_ok());
        assert_eq!(got, (0..100).collect::<Vec<_>>());
    }
}
