//! Revokes leases whose deadline has passed, through the log like everybody else (LSE-11, LSE-23).
//!
//! Writes: proposals. Reads: the leader's deadlines.
//! Bound: `IN_FLIGHT` revokes under way; the rest wait for the next round, so that a pile of expiries does not crowd out puts.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::proposals::Field;
use super::seat::Seat;
use crate::consensus::{Role, Status};
use crate::lease::{Deadlines, Leases};
use crate::wire::etcdserverpb::{InternalRaftRequest, LeaseCheckpoint, LeaseCheckpointRequest, LeaseRevokeRequest};

const IN_FLIGHT: usize = 256;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs on one runtime for as long as the node lives.
pub async fn run(seat: Seat) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if seat.node.is_stopping() {
            return;
        }
        let node = &seat.node;
        if take_over(node.pipeline.marks.status(), &node.deadlines, &node.leases, node.clock.now(), node.options.election) {
            revoke_expired(&seat).await;
            if seat.node.options.lease_checkpoints {
                checkpoint(&seat).await;
            }
        }
    }
}

/// Whether this member keeps the deadlines now. It takes them over as soon as it may: timers restart in full, plus an election
/// (LSE-12).
///
/// Invariant I7: deadlines exist only on a leader that has committed in its term. Whether they exist is asked of them, not
/// remembered here: leadership may be lost and won again between two looks.
pub fn take_over(status: Status, deadlines: &Deadlines, leases: &Leases, now: Duration, election: Duration) -> bool {
    let leads = status.role == Role::Leader && status.reads_at_once;
    if leads && !deadlines.is_leader() {
        deadlines.promote(now, &|| leases.list(), election);
    }
    leads
}

async fn revoke_expired(seat: &Seat) {
    let mut under_way = FuturesUnordered::new();
    loop {
        // Refilled by halves: revokes that trickle in one by one would each be a batch of its own.
        let room = if under_way.len() <= IN_FLIGHT / 2 { IN_FLIGHT - under_way.len() } else { 0 };
        let expired = if room > 0 { seat.node.deadlines.expired(seat.node.clock.now(), room) } else { Vec::new() };
        let found = expired.len();
        for id in expired {
            under_way.push(async move { (id, seat.propose_field(Field::LeaseRevoke, LeaseRevokeRequest { id }).await) });
        }
        match under_way.next().await {
            Some((_, Ok(_))) => seat.node.pipeline.metrics.leases_expired.inc(),
            // Revoked meanwhile, or named again after a while.
            Some((id, Err(error))) => tracing::debug!(lease = format_args!("{id:x}"), error = %error, "an expired lease was not revoked"),
            None if found == 0 => return,
            None => {}
        }
    }
}

async fn checkpoint(seat: &Seat) {
    let due = seat.node.deadlines.due_checkpoints(seat.node.clock.now());
    if due.is_empty() {
        return;
    }
    let checkpoints = due.into_iter().map(|c| LeaseCheckpoint { id: c.id, remaining_ttl: c.remaining }).collect();
    let command = InternalRaftRequest { lease_checkpoint: Some(LeaseCheckpointRequest { checkpoints }), ..Default::default() };
    if let Err(error) = seat.propose(command).await {
        tracing::debug!(error = %error, "lease checkpoints were not recorded");
    }
}
