//! Looks after what no request asks for: this member's own entry in the member list, the cluster version, the NOSPACE alarm,
//! free space, and callers who have waited too long.
//!
//! Writes: proposals. Reads: the state machine's read sides, the file system's free space.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::expiry::take_over;
use super::pipeline::Pipeline;
use super::seat::Seat;
use crate::membership::Version;
use crate::watch::Leadership;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{AlarmRequest, AlarmType, InternalRaftRequest, alarm_request::AlarmAction};
use crate::wire::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest};

/// The cluster version that a member of this release decides on (VSN-1).
pub(super) const CLUSTER_VERSION: Version = Version::new(3, 7);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Announces this member's name and client URLs through the log, until it is accepted (MEM-8). Client traffic is let in only
/// after that (GRP-1), so nobody reads a state older than the last start.
pub async fn publish(seat: &Seat) -> Result<(), Error> {
    let node = &seat.node;
    loop {
        let attributes = Attributes { name: node.options.name.clone(), client_urls: node.options.advertise_client_urls.clone() };
        let set = ClusterMemberAttrSetRequest { member_id: node.member_id(), member_attributes: Some(attributes) };
        let command = InternalRaftRequest { cluster_member_attr_set: Some(set), ..Default::default() };
        match seat.propose(command).await {
            Ok(_) => break,
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => tracing::warn!(error = %error, "failed to publish local member to cluster through raft, trying again"),
        }
        // A refusal comes at once: without a pause this loop would be all that its runtime does.
        tokio::time::sleep(LOOK_EVERY).await;
    }
    // Before a client is let in: a lease granted to a leader that does not keep deadlines yet would get an election on top (LSE-12).
    take_over(node.pipeline.marks.status(), &node.deadlines, &node.leases, node.clock.now(), node.options.election);
    tracing::info!(
        local_member_id = format_args!("{:x}", node.member_id()),
        cluster_id = format_args!("{:x}", node.cluster_id()),
        "published local member to cluster through raft"
    );
    Ok(())
}

/// A sole member decides the cluster version by itself: its own (VSN-1).
pub async fn set_cluster_version(seat: &Seat) {
    let wanted = CLUSTER_VERSION;
    if seat.node.cluster.version() == Some(wanted) {
        return;
    }
    loop {
        let set = ClusterVersionSetRequest { ver: wanted.to_string() };
        match seat.propose(InternalRaftRequest { cluster_version_set: Some(set), ..Default::default() }).await {
            Ok(_) => return tracing::info!(cluster_version = %wanted, "cluster version is set"),
            Err(Error::Stopped) => return,
            Err(error) => tracing::warn!(error = %error, "the cluster version was not set, trying again"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Follows what is known of a leader: `Lost` after three election timeouts without one (WAT-23).
async fn follow_leadership(seat: Seat) {
    let patience = 3 * seat.node.options.election;
    let mut status = seat.node.pipeline.marks.subscribe();
    let mut lost = false;
    loop {
        let known = status.borrow_and_update().leader != 0;
        lost &= !known;
        seat.node.set_leadership(match (known, lost) {
            (true, _) => Leadership::Known,
            (false, false) => Leadership::Missing,
            (false, true) => Leadership::Lost,
        });
        let changed = if known || lost { Ok(status.changed().await) } else { tokio::time::timeout(patience, status.changed()).await };
        match changed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => lost = true,
        }
    }
}

/// What a caller is told whose command was not applied in time (PRP-3): one that `began` shortly before the leader was elected
/// most likely had it with the leader before. A sole voter is a quorum of its own; of a lost connection to the leader, or of a
/// leader to its quorum, nothing can be told before there are peers.
fn timed_out(began: Duration, elected: Duration, election: Duration) -> Error {
    let is_before_this_leader = began < elected && elected < began + 2 * election;
    if is_before_this_leader { Error::TimeoutDueToLeaderFail } else { Error::Timeout }
}

/// Runs on one runtime for as long as the node lives.
pub async fn run(seat: Seat) {
    tokio::spawn(follow_leadership(seat.clone()));
    let mut look: Option<JoinHandle<()>> = None;
    let mut refused = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = seat.node.pipeline.look_at_space.notified() => {}
        }
        if seat.node.is_stopping() {
            return;
        }
        let now = seat.node.clock.now();
        let (elected, options) = (seat.node.pipeline.marks.elected(), &seat.node.options);
        for mailbox in &seat.node.pipeline.mailboxes {
            mailbox.expire(now, |deadline| timed_out(deadline.saturating_sub(options.request_timeout), elected, options.election));
        }
        // Never behind a look: the alarm that a look may be waiting for needs the room that the ballast gives.
        refused |= give_ballast_up(&seat.node.pipeline);
        // In a task of its own: on a full disk a look may wait for a reply, and the end of that wait comes from the lines above.
        if look.as_ref().is_none_or(JoinHandle::is_finished) {
            let (seat, refused) = (seat.clone(), std::mem::take(&mut refused));
            look = Some(tokio::spawn(async move { look_at_space(&seat, refused).await }));
        }
    }
}

/// Whether a write has met a full disk since the last time; if so the ballast is gone.
fn give_ballast_up(pipeline: &Pipeline) -> bool {
    if !pipeline.no_space.swap(false, Ordering::AcqRel) {
        return false;
    }
    match pipeline.space.drop_ballast() {
        Ok(true) => tracing::warn!("a write met a full disk; the ballast is given up so that deletes and a compaction still fit"),
        Ok(false) => {}
        Err(error) => tracing::warn!(error = %error, "the ballast could not be removed"),
    }
    true
}

async fn look_at_space(seat: &Seat, refused: bool) {
    let pipeline = &seat.node.pipeline;
    let getting_low = pipeline.space.tightest().is_ok_and(|volume| volume.is_getting_low());
    if (refused || getting_low) && pipeline.has_spare_segments() {
        // Old segments of the log are kept for the curious only; they go before anybody is refused.
        let node = seat.node.clone();
        // An error means that the runtime ends.
        let _ = tokio::task::spawn_blocking(move || node.pipeline.give_back()).await;
    }
    if pipeline.note_space() || refused {
        raise_no_space(seat).await;
    } else if let Err(error) = pipeline.space.lay_ballast() {
        tracing::debug!(error = %error, "the ballast could not be laid");
    }
}

/// A write was refused at apply for want of space. If an alarm stands, whoever raised it, that is why; else this member's quota is
/// exceeded, and the caller hears of it after the alarm is raised (QUO-4).
pub async fn refused_for_space(seat: &Seat) {
    if !seat.node.alarms.is_active(AlarmType::Nospace) {
        raise_no_space(seat).await;
    }
}

/// Raises NOSPACE for this member, unless it stands already (QUO-3, ALM-3). Returns when that was tried, by this caller or another:
/// a thousand refused puts need one entry, on a disk that may be full.
pub async fn raise_no_space(seat: &Seat) {
    let Ok(_turn) = seat.node.alarm_turn.try_lock() else {
        drop(seat.node.alarm_turn.lock().await);
        return;
    };
    let member = seat.node.member_id();
    if seat.node.alarms.list(AlarmType::Nospace.into()).iter().any(|alarm| alarm.member_id == member) {
        return;
    }
    tracing::warn!(member = format_args!("{member:x}"), "raising the NOSPACE alarm");
    let alarm = AlarmRequest { action: AlarmAction::Activate.into(), member_id: member, alarm: AlarmType::Nospace.into() };
    let command = InternalRaftRequest { alarm: Some(alarm), ..Default::default() };
    if let Err(error) = seat.propose(command).await {
        tracing::warn!(error = %error, "the NOSPACE alarm could not be raised");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_began_shortly_before_the_leader_was_elected_was_lost_with_the_leader_before() {
        let told =
            |began: u64, elected: u64| timed_out(Duration::from_millis(began), Duration::from_millis(elected), Duration::from_secs(1));
        for (began, elected) in [(5_000, 5_001), (5_000, 6_999)] {
            assert_eq!(told(began, elected), Error::TimeoutDueToLeaderFail, "{began} {elected}");
        }
        for (began, elected) in [(5_000, 0), (5_000, 5_000), (5_000, 4_999), (5_000, 7_000)] {
            assert_eq!(told(began, elected), Error::Timeout, "{began} {elected}");
        }
    }
}
