//! Reads at this member: when they may happen, and a Range in slices so that no connection waits behind a large one.
//!
//! ```text
//!   linearize: sole voter that committed in its term -> at once; else wait for it (RDX-4, RDX-5)
//!   range:     step, step, .. under the key index's short lock; missing values from the engine, in the blocking pool when many
//! ```

use tokio::time::timeout;

use super::seat::Seat;
use crate::consensus::Role;
use crate::mvcc::Step;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::RangeRequest;
use crate::wire::hot;

/// Keys looked at before others get a turn.
const SLICE_KEYS: usize = 512;
/// Values read from the engine on the caller's own thread; a point read costs a few microseconds.
const INLINE_READS: usize = 8;

impl Seat {
    /// Returns when the published state holds every write that was acknowledged before the call, or that a watcher was told of.
    pub async fn linearize(&self) -> Result<(), Error> {
        self.wait_reads_at_once().await?;
        // Events are offered just before they are readable (REV-19), and who has heard of one may ask for it at once.
        while self.node.reader.revision() < self.node.pipeline.marks.offered() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn wait_reads_at_once(&self) -> Result<(), Error> {
        let marks = &self.node.pipeline.marks;
        if marks.reads_at_once() {
            return Ok(());
        }
        let mut status = marks.subscribe();
        let ready = status.wait_for(|s| s.reads_at_once);
        match timeout(self.node.options.request_timeout, ready).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Stopped),
            Err(_) => {
                let metrics = &self.node.pipeline.metrics;
                metrics.reads_failed.inc();
                metrics.reads_slow.inc();
                Err(if marks.status().leader == 0 { Error::NoLeader } else { Error::Timeout })
            }
        }
    }

    /// Returns when this member keeps the deadlines of leases: it leads and has taken them over.
    pub async fn wait_leading(&self) -> Result<(), Error> {
        self.linearize().await?;
        let began = async {
            while !self.node.deadlines.is_leader() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        timeout(self.node.options.request_timeout, began).await.map_err(|_| Error::Timeout)
    }

    /// Returns when the physical compaction has passed `revision`.
    pub async fn wait_swept(&self, revision: i64) -> Result<(), Error> {
        let mut swept = self.node.pipeline.marks.swept();
        let mut stopping = std::pin::pin!(self.node.stopping());
        tokio::select! {
            done = swept.wait_for(|&swept| swept >= revision) => done.map(drop).map_err(|_| Error::Stopped),
            () = &mut stopping => Err(Error::Stopped),
        }
    }

    pub fn has_leader(&self) -> bool {
        let status = self.node.pipeline.marks.status();
        status.role == Role::Leader || status.leader != 0
    }

    /// A Range on the published state; the header holds the revision only.
    pub async fn range(&self, request: &RangeRequest) -> Result<hot::RangeResponse, Error> {
        let mut scan = self.node.reader.scan(request)?;
        loop {
            match scan.step(SLICE_KEYS)? {
                Step::Done(response) => return Ok(response),
                Step::More => tokio::task::yield_now().await,
                Step::Read if scan.missing() <= INLINE_READS => scan.read().map_err(|e| self.node.engine_failed(&e))?,
                Step::Read => {
                    let read = tokio::task::spawn_blocking(move || {
                        let done = scan.read();
                        (scan, done)
                    });
                    let Ok((back, done)) = read.await else { return Err(Error::Stopped) };
                    done.map_err(|e| self.node.engine_failed(&e))?;
                    scan = back;
                }
            }
        }
    }
}
