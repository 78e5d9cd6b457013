//! Leases as callers ask about them: renewals and remaining times come from the leader's deadlines, in memory (D6).

use std::time::Duration;

use tokio::time::timeout;

use super::Node;
use super::seat::Seat;
use crate::lease::Renewal;
use crate::wire::error::Error;

/// How often a keepalive of an expired lease looks whether the revoke was applied.
const REVOKE_LOOK: Duration = Duration::from_millis(5);

impl Node {
    /// A keepalive, answered from memory.
    pub fn renew(&self, id: i64) -> Renewal {
        let renewal = self.deadlines.renew(id, self.clock.now());
        if matches!(renewal, Renewal::Renewed { .. }) {
            self.pipeline.metrics.lease_renewals.inc();
        }
        renewal
    }

    /// Whole seconds that a lease has left; may be 0 or less between expiry and revoke (LSE-18).
    pub fn remaining(&self, id: i64) -> Option<i64> {
        self.deadlines.remaining(id, self.clock.now())
    }

    /// All leases, the one that expires first in front.
    pub fn leases_by_deadline(&self) -> Vec<i64> {
        let now = self.clock.now();
        let mut leases: Vec<(Option<i64>, i64)> =
            self.leases.list().into_iter().map(|l| (self.deadlines.remaining(l.id, now), l.id)).collect();
        leases.sort_unstable();
        leases.into_iter().map(|(_, id)| id).collect()
    }
}

impl Seat {
    /// Returns when everything committed at the time of the call is applied, or refuses after `patience` (LSE-8).
    pub async fn wait_applied(&self, patience: Duration) -> Result<(), Error> {
        let marks = &self.node.pipeline.marks;
        let target = marks.commit();
        let reached = async {
            while marks.applied() < target {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(patience, reached).await.map_err(|_| Error::TimeoutWaitAppliedIndex)
    }

    /// Returns TTL 0 once the lease is gone.
    pub async fn wait_revoked(&self, id: i64) -> Result<i64, Error> {
        let gone = async {
            while self.node.leases.exists(id) {
                tokio::time::sleep(REVOKE_LOOK).await;
            }
        };
        timeout(self.node.options.request_timeout, gone).await.map(|()| 0).map_err(|_| Error::Timeout)
    }
}
