//! When each lease ends, known to the leader alone and never replicated.
//!
//! ```text
//!   deadline    now ......... granted or renewed + TTL                of each lease, moved by every keepalive
//!   queue       (when to look, lease)  smallest first                 not moved by a keepalive: whoever looks too early
//!                                                                     puts the lease back at its true deadline
//! ```
//!
//! Writes: the node (promote, demote, effects of apply) and keepalives (`renew`). Reads: the expiry loop, TimeToLive.
//! Holds I7: there are deadlines only between `promote` and `demote`. A lease may live longer than its TTL after a change
//! of leader, never shorter (LSE-12). The caller passes the time in; no clock here.
//! Does not revoke: it names what is due, the node proposes, and the effect of the applied revoke takes the lease out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Granted;

/// Bound: leases that may end within one second after a change of leader, when all deadlines were set at once (LSE-12).
const EXPIRIES_PER_SECOND: usize = 750;

/// An expired lease whose revocation did not come about is named again after this long.
const RETRY: Duration = Duration::from_secs(3);

/// Bound: checkpoints in one command.
const CHECKPOINTS_MAX: usize = 1000;

/// Places of leases that are gone which are not worth a walk through the queue.
const LEFT_OVERS_MIN: usize = 1024;

/// What became of a keepalive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease has `ttl` seconds again. If `clears_checkpoint`, the replicated remaining TTL must be set back to zero,
    /// or a new leader would cut the lease short (LSE-14).
    Renewed { ttl: i64, clears_checkpoint: bool },
    /// Its time was over: it is not revived, the answer is TTL 0 as soon as the revocation is applied (LSE-10).
    Expired,
    /// No such lease here. Not yet an answer: the grant may be committed and not applied (LSE-8).
    Unknown,
    /// This member does not keep deadlines.
    NotLeader,
}

/// Remaining seconds to be replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub id: i64,
    pub remaining: i64,
}

#[derive(Debug)]
struct Entry {
    ttl: i64,
    /// The replicated remaining TTL, zero if none.
    remaining: i64,
    deadline: Duration,
    /// The one place in each queue that counts; others of this lease are left over from before.
    expiry_at: Duration,
    checkpoint_at: Option<Duration>,
}

impl Entry {
    /// Seconds that a renewal or a new leader gives.
    fn seconds(&self) -> i64 {
        if self.remaining > 0 { self.remaining } else { self.ttl }
    }
}

type Queue = BinaryHeap<Reverse<(Duration, i64)>>;

#[derive(Default)]
struct State {
    is_leader: bool,
    entries: HashMap<i64, Entry>,
    expiries: Queue,
    checkpoints: Queue,
}

impl State {
    /// Bound: granting and revoking long leases in turn must not grow the queues; at most half of a queue is left over.
    fn drop_left_overs(&mut self) {
        let State { entries, expiries, checkpoints, .. } = self;
        let bound = 2 * entries.len() + LEFT_OVERS_MIN;
        if expiries.len() > bound {
            expiries.retain(|Reverse((when, id))| entries.get(id).is_some_and(|entry| entry.expiry_at == *when));
        }
        if checkpoints.len() > bound {
            checkpoints.retain(|Reverse((when, id))| entries.get(id).is_some_and(|entry| entry.checkpoint_at == Some(*when)));
        }
    }
}

/// See the module. Shared by reference; each call takes one short lock.
pub struct Deadlines {
    state: Mutex<State>,
    /// How often a long lease is checkpointed; `None` where the feature is off (LSE-14).
    checkpoint_every: Option<Duration>,
}

impl Deadlines {
    pub fn new(checkpoint_every: Option<Duration>) -> Deadlines {
        Deadlines { state: Mutex::default(), checkpoint_every }
    }

    /// Starts all deadlines anew: what each lease has left, plus `slack` for the time without a leader, spread so that they do
    /// not end all at once (LSE-12, LSE-13).
    ///
    /// `leases` lists them, and is asked while nothing can move here: a grant or a revoke applied meanwhile is either in the list
    /// already, or its effect comes in afterwards. Listed before, a lease could be without a deadline for ever.
    pub fn promote(&self, now: Duration, leases: &dyn Fn() -> Vec<Granted>, slack: Duration) {
        let mut state = self.state.lock();
        *state = State { is_leader: true, ..State::default() };
        for lease in leases() {
            let mut entry = Entry {
                ttl: lease.ttl,
                remaining: lease.remaining,
                deadline: Duration::ZERO,
                expiry_at: Duration::ZERO,
                checkpoint_at: None,
            };
            entry.deadline = now + slack + seconds(entry.seconds());
            state.entries.insert(lease.id, entry);
        }
        let mut order: Vec<_> = state.entries.iter().map(|(&id, entry)| (entry.deadline, id)).collect();
        order.sort_unstable();
        spread(&mut order);
        for &(deadline, id) in &order {
            if let Some(entry) = state.entries.get_mut(&id) {
                (entry.deadline, entry.expiry_at) = (deadline, deadline);
            }
            self.schedule_checkpoint(&mut state, id, now);
        }
        state.expiries = order.into_iter().map(Reverse).collect();
    }

    /// Forgets all deadlines: another member may be leader.
    pub fn demote(&self) {
        *self.state.lock() = State::default();
    }

    pub fn is_leader(&self) -> bool {
        self.state.lock().is_leader
    }

    /// A lease was granted, by apply. Granting what is known starts it anew.
    pub fn grant(&self, id: i64, ttl: i64, now: Duration) {
        let mut state = self.state.lock();
        if state.is_leader {
            let deadline = now + seconds(ttl);
            state.entries.insert(id, Entry { ttl, remaining: 0, deadline, expiry_at: deadline, checkpoint_at: None });
            state.expiries.push(Reverse((deadline, id)));
            self.schedule_checkpoint(&mut state, id, now);
        }
    }

    /// A lease was revoked, by apply. What its queue places hold is dropped when they are looked at.
    pub fn revoke(&self, id: i64) {
        let mut state = self.state.lock();
        state.entries.remove(&id);
        state.drop_left_overs();
    }

    /// A checkpoint was applied.
    pub fn checkpoint(&self, id: i64, remaining: i64, now: Duration) {
        let mut state = self.state.lock();
        if let Some(entry) = state.entries.get_mut(&id) {
            entry.remaining = remaining;
            self.schedule_checkpoint(&mut state, id, now);
        }
    }

    /// A keepalive: the hot path, which looks one lease up and allocates nothing.
    pub fn renew(&self, id: i64, now: Duration) -> Renewal {
        let mut state = self.state.lock();
        if !state.is_leader {
            return Renewal::NotLeader;
        }
        let Some(entry) = state.entries.get_mut(&id) else { return Renewal::Unknown };
        if entry.deadline <= now {
            return Renewal::Expired;
        }
        entry.deadline = now + seconds(entry.ttl);
        Renewal::Renewed { ttl: entry.ttl, clears_checkpoint: entry.remaining > 0 }
    }

    /// Seconds left, truncated; below zero for an expired lease that is not yet revoked (LSE-18).
    pub fn remaining(&self, id: i64, now: Duration) -> Option<i64> {
        let state = self.state.lock();
        let deadline = state.entries.get(&id)?.deadline;
        Some(match deadline.checked_sub(now) {
            Some(left) => left.as_secs() as i64,
            None => -((now - deadline).as_secs() as i64),
        })
    }

    /// When `expired` is worth calling next; never later than the first deadline.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.state.lock().expiries.peek().map(|Reverse((when, _))| *when)
    }

    /// Up to `limit` leases whose time is over, in the order in which they ended. Each is named again only after a while.
    pub fn expired(&self, now: Duration, limit: usize) -> Vec<i64> {
        let mut state = self.state.lock();
        let State { entries, expiries, .. } = &mut *state;
        let mut due = Vec::new();
        // Bound: every turn takes one queue place that was due and puts none back that is.
        while due.len() < limit
            && let Some(&Reverse((when, id))) = expiries.peek()
            && when <= now
        {
            expiries.pop();
            let Some(entry) = entries.get_mut(&id).filter(|entry| entry.expiry_at == when) else { continue };
            if entry.deadline > now {
                entry.expiry_at = entry.deadline;
            } else {
                entry.expiry_at = now + RETRY;
                due.push(id);
            }
            expiries.push(Reverse((entry.expiry_at, id)));
        }
        due
    }

    /// When `due_checkpoints` is worth calling next.
    pub fn next_checkpoint(&self) -> Option<Duration> {
        self.state.lock().checkpoints.peek().map(|Reverse((when, _))| *when)
    }

    /// Long leases whose remaining TTL should be replicated now. The applied command plans the next one of each.
    pub fn due_checkpoints(&self, now: Duration) -> Vec<Checkpoint> {
        let mut state = self.state.lock();
        let State { entries, checkpoints, .. } = &mut *state;
        let mut due = Vec::new();
        // Bound: every turn takes a queue place away.
        while due.len() < CHECKPOINTS_MAX
            && let Some(&Reverse((when, id))) = checkpoints.peek()
            && when <= now
        {
            checkpoints.pop();
            let Some(entry) = entries.get_mut(&id).filter(|entry| entry.checkpoint_at == Some(when)) else { continue };
            entry.checkpoint_at = None;
            let Some(left) = entry.deadline.checked_sub(now) else { continue };
            // Rounded up: a checkpoint must never shorten a lease.
            let remaining = left.as_secs() as i64 + i64::from(left.subsec_nanos() > 0);
            if remaining < entry.ttl {
                due.push(Checkpoint { id, remaining });
            }
        }
        due
    }

    fn schedule_checkpoint(&self, state: &mut State, id: i64, now: Duration) {
        if let Some(every) = self.checkpoint_every
            && let Some(entry) = state.entries.get_mut(&id)
            && seconds(entry.seconds()) > every
        {
            entry.checkpoint_at = Some(now + every);
            state.checkpoints.push(Reverse((now + every, id)));
        }
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(ttl.max(0) as u64)
}

/// Moves deadlines back where more than the allowed number would fall into one second. Ascending before and after.
fn spread(order: &mut [(Duration, i64)]) {
    for at in EXPIRIES_PER_SECOND..order.len() {
        let earliest = order[at - EXPIRIES_PER_SECOND].0 + Duration::from_secs(1);
        order[at].0 = order[at].0.max(earliest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const SLACK: Duration = s(1);

    fn lease(id: i64, ttl: i64) -> Granted {
        Granted { id, ttl, remaining: 0 }
    }

    fn leader(leases: &[Granted]) -> Deadlines {
        let deadlines = Deadlines::new(None);
        deadlines.promote(s(100), &|| leases.to_vec(), SLACK);
        deadlines
    }

    fn renewed(ttl: i64) -> Renewal {
        Renewal::Renewed { ttl, clears_checkpoint: false }
    }

    #[test]
    fn a_lease_ends_after_its_ttl_and_not_before() {
        let deadlines = leader(&[]);
        deadlines.grant(1, 10, s(200));
        assert!(deadlines.expired(s(209), 10).is_empty());
        assert_eq!(deadlines.expired(s(210), 10), [1]);
    }

    #[test]
    fn a_new_leader_gives_every_lease_its_ttl_and_the_slack_again() {
        let deadlines = leader(&[lease(1, 10), Granted { id: 2, ttl: 1000, remaining: 20 }]);
        assert_eq!(deadlines.remaining(1, s(100)), Some(11));
        assert_eq!(deadlines.remaining(2, s(100)), Some(21));
    }

    #[test]
    fn leases_are_named_in_the_order_they_ended() {
        let deadlines = leader(&[lease(1, 30), lease(2, 10), lease(3, 20)]);
        assert_eq!(deadlines.expired(s(200), 2), [2, 3]);
        assert_eq!(deadlines.expired(s(200), 2), [1]);
        assert!(deadlines.expired(s(200), 2).is_empty());
    }

    #[test]
    fn a_keepalive_moves_the_deadline() {
        let deadlines = leader(&[lease(1, 10)]);
        assert_eq!(deadlines.renew(1, s(105)), renewed(10));
        assert!(deadlines.expired(s(112), 10).is_empty());
        assert_eq!(deadlines.next_expiry(), Some(s(115)));
        assert_eq!(deadlines.expired(s(115), 10), [1]);
    }

    #[test]
    fn an_expired_lease_is_not_revived() {
        let deadlines = leader(&[lease(1, 10)]);
        assert_eq!(deadlines.renew(1, s(111)), Renewal::Expired);
        assert_eq!(deadlines.expired(s(111), 10), [1]);
        assert_eq!(deadlines.renew(1, s(111)), Renewal::Expired);
        deadlines.revoke(1);
        assert_eq!(deadlines.renew(1, s(111)), Renewal::Unknown);
    }

    #[test]
    fn a_lease_whose_revocation_was_lost_is_named_again() {
        let deadlines = leader(&[lease(1, 10)]);
        assert_eq!(deadlines.expired(s(111), 10), [1]);
        assert!(deadlines.expired(s(113), 10).is_empty());
        assert_eq!(deadlines.expired(s(114), 10), [1]);
        deadlines.revoke(1);
        assert!(deadlines.expired(s(200), 10).is_empty());
        assert_eq!(deadlines.next_expiry(), None);
    }

    #[test]
    fn only_a_leader_has_deadlines() {
        let deadlines = Deadlines::new(None);
        deadlines.grant(1, 10, s(0));
        assert_eq!(deadlines.renew(1, s(1)), Renewal::NotLeader);
        assert_eq!(deadlines.remaining(1, s(1)), None);
        deadlines.promote(s(0), &|| vec![lease(1, 10)], SLACK);
        assert_eq!(deadlines.renew(1, s(1)), renewed(10));
        deadlines.demote();
        assert_eq!(deadlines.renew(1, s(1)), Renewal::NotLeader);
        assert!(deadlines.expired(s(1000), 10).is_empty());
    }

    #[test]
    fn the_time_left_is_truncated_and_goes_below_zero() {
        let deadlines = leader(&[lease(1, 10)]);
        assert_eq!(deadlines.remaining(1, s(100) + Duration::from_millis(1)), Some(10));
        assert_eq!(deadlines.remaining(1, s(110) + Duration::from_millis(500)), Some(0));
        assert_eq!(deadlines.remaining(1, s(114)), Some(-3));
        assert_eq!(deadlines.remaining(2, s(114)), None);
    }

    #[test]
    fn a_pile_of_leases_does_not_end_at_once_after_a_promotion() {
        let leases: Vec<_> = (1..=2000).map(|id| lease(id, 10)).collect();
        let deadlines = leader(&leases);
        assert_eq!(deadlines.expired(s(111), 10_000).len(), 750);
        assert_eq!(deadlines.expired(s(112), 10_000).len(), 750);
        assert_eq!(deadlines.expired(s(113), 10_000).len(), 500);
    }

    #[test]
    fn a_long_lease_is_checkpointed_and_a_renewal_asks_to_clear_it() {
        let deadlines = Deadlines::new(Some(s(300)));
        deadlines.promote(s(0), &|| vec![lease(1, 300), lease(2, 1000)], Duration::ZERO);
        assert_eq!(deadlines.next_checkpoint(), Some(s(300)));
        assert!(deadlines.due_checkpoints(s(299)).is_empty());
        let due = deadlines.due_checkpoints(s(300) + Duration::from_millis(1));
        assert_eq!(due, [Checkpoint { id: 2, remaining: 700 }]);
        deadlines.checkpoint(2, 700, s(300));
        assert_eq!(deadlines.renew(2, s(301)), Renewal::Renewed { ttl: 1000, clears_checkpoint: true });
        deadlines.checkpoint(2, 0, s(301));
        assert_eq!(deadlines.renew(2, s(302)), renewed(1000));
        assert!(deadlines.due_checkpoints(s(600)).is_empty());
        assert_eq!(deadlines.due_checkpoints(s(601)), [Checkpoint { id: 2, remaining: 701 }]);
        assert_eq!(deadlines.next_checkpoint(), None);
    }

    #[test]
    fn granting_and_revoking_in_turn_does_not_grow_the_queues() {
        let deadlines = Deadlines::new(Some(s(300)));
        deadlines.promote(s(0), &Vec::new, SLACK);
        for turn in 0..10_000 {
            deadlines.grant(1, 1000 + turn, s(0));
            deadlines.grant(2 + turn, 1000, s(0));
            deadlines.revoke(1);
            deadlines.revoke(2 + turn);
        }
        deadlines.grant(1, 1000, s(0));
        let state = deadlines.state.lock();
        assert!(state.expiries.len() <= LEFT_OVERS_MIN + 2, "{}", state.expiries.len());
        assert!(state.checkpoints.len() <= LEFT_OVERS_MIN + 2, "{}", state.checkpoints.len());
    }

    #[test]
    fn a_lease_of_the_largest_ttl_does_not_overflow() {
        let deadlines = leader(&[]);
        deadlines.grant(1, super::super::TTL_MAX, s(100));
        assert_eq!(deadlines.remaining(1, s(100)), Some(super::super::TTL_MAX));
    }
}
