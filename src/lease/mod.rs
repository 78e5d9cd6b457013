//! Leases: what is granted, to which keys it is attached, and (on the leader alone) when it ends.
//!
//! ```text
//!   apply --grant, attach, detach, checkpoint, revoke--> Lessor --rows--> keyspace `lease`
//!                                                          |
//!                                                    Leases (read side, any thread)
//!
//!   node  --promote, effects of apply--> Deadlines <--renew-- keepalives          (leader only, `deadlines`)
//! ```
//!
//! Writes: the state machine, through `Lessor`. Reads: everybody, through `Leases`.
//! A row is id, granted TTL and the remaining TTL of the last checkpoint; which keys are attached is not stored here but in
//! the last record of each key (LSE-21), so a start attaches them again from there.
//! Holds: a key is attached to one lease at most; keys are listed in order (LSE-16); nothing here knows the time.
//! Does not delete keys: the state machine does, in one transaction, before it revokes.

pub mod deadlines;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use prost::Message;

use crate::storage::{self, Batch, Keyspace, Read};
use crate::wire::error::Error;
use crate::wire::leasepb;

pub use deadlines::{Checkpoint, Deadlines, Renewal};

/// The largest TTL that can be asked for, in seconds (LSE-2).
pub const TTL_MAX: i64 = 9_000_000_000;

/// What `put` means by "no lease".
pub const NO_LEASE: i64 = 0;

/// Why the leases could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error("the lease row {key:02x?} does not decode")]
    Row { key: Vec<u8> },
}

#[derive(Debug, Default)]
struct Lease {
    ttl: i64,
    /// Of the last checkpoint; zero if there was none since the last renewal.
    remaining: i64,
    keys: BTreeSet<Bytes>,
}

type Table = BTreeMap<i64, Lease>;

/// The replicated part, owned by the state machine.
pub struct Lessor {
    leases: Leases,
    ttl_min: i64,
}

impl Lessor {
    /// Reads all leases back; the keys are attached afterwards. TTLs below `ttl_min` seconds will be granted as that.
    pub fn open(store: &dyn Read, ttl_min: i64) -> Result<Lessor, OpenError> {
        let mut table = Table::new();
        let mut broken = None;
        store.scan(Keyspace::Lease, b"", None, &mut |key, value| match (key.len(), leasepb::Lease::decode(value)) {
            (8, Ok(row)) => {
                table.insert(row.id, Lease { ttl: row.ttl, remaining: row.remaining_ttl, keys: BTreeSet::new() });
                ControlFlow::Continue(())
            }
            _ => {
                broken = Some(key.to_vec());
                ControlFlow::Break(())
            }
        })?;
        match broken {
            Some(key) => Err(OpenError::Row { key }),
            None => Ok(Lessor { leases: Leases { table: Arc::new(RwLock::new(table)) }, ttl_min }),
        }
    }

    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Returns the TTL that was really granted (LSE-2).
    ///
    /// Quirk: the minimum is a setting of each member, yet etcd raises at apply (server/lease/lessor.go `Grant`), so members
    /// must be configured alike; pinned by `a_short_ttl_is_raised_to_the_minimum`.
    pub fn grant(&mut self, id: i64, ttl: i64, batch: &mut Batch) -> Result<i64, Error> {
        if id == NO_LEASE {
            return Err(Error::LeaseNotFound);
        }
        if ttl > TTL_MAX {
            return Err(Error::LeaseTTLTooLarge);
        }
        let mut table = self.leases.table.write();
        if table.contains_key(&id) {
            return Err(Error::LeaseExist);
        }
        let lease = Lease { ttl: ttl.max(self.ttl_min), ..Lease::default() };
        let granted = lease.ttl;
        write_row(id, &lease, batch);
        table.insert(id, lease);
        Ok(granted)
    }

    /// Forgets a lease, whose keys the caller has deleted.
    pub fn revoke(&mut self, id: i64, batch: &mut Batch) -> Result<(), Error> {
        match self.leases.table.write().remove(&id) {
            Some(_) => {
                batch.delete(Keyspace::Lease, row_key(id));
                Ok(())
            }
            None => Err(Error::LeaseNotFound),
        }
    }

    /// Moves a key from the lease of its last record to that of its new one; either may be `NO_LEASE` (LSE-20).
    ///
    /// A lease that is not there is passed over: a record may name one that a restored store no longer has.
    pub fn move_key(&mut self, key: &Bytes, from: i64, to: i64) {
        if from == to && from == NO_LEASE {
            return;
        }
        let mut table = self.leases.table.write();
        if from != to
            && let Some(lease) = table.get_mut(&from)
        {
            lease.keys.remove(key);
        }
        if let Some(lease) = table.get_mut(&to) {
            lease.keys.insert(key.clone());
        }
    }

    /// Notes what a lease had left when the leader last said so; zero takes the note away (LSE-14). Unknown leases are passed over.
    ///
    /// `is_stored` is decided by the cluster version alone (DET-10). Returns whether the lease exists.
    pub fn checkpoint(&mut self, id: i64, remaining: i64, is_stored: bool, batch: &mut Batch) -> bool {
        let mut table = self.leases.table.write();
        let Some(lease) = table.get_mut(&id) else { return false };
        lease.remaining = remaining;
        if is_stored {
            write_row(id, lease, batch);
        }
        true
    }
}

/// Draws a row: id as u64, big-endian -> leasepb.Lease (FMT-11).
fn write_row(id: i64, lease: &Lease, batch: &mut Batch) {
    let row = leasepb::Lease { id, ttl: lease.ttl, remaining_ttl: lease.remaining };
    batch.put(Keyspace::Lease, row_key(id), row.encode_to_vec());
}

fn row_key(id: i64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

/// A lease as the deadlines need to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub id: i64,
    pub ttl: i64,
    /// Of the last checkpoint, zero if none.
    pub remaining: i64,
}

/// The read side: what is applied, for any thread.
#[derive(Clone)]
pub struct Leases {
    table: Arc<RwLock<Table>>,
}

impl Leases {
    pub fn exists(&self, id: i64) -> bool {
        self.table.read().contains_key(&id)
    }

    pub fn get(&self, id: i64) -> Option<Granted> {
        self.table.read().get(&id).map(|lease| Granted { id, ttl: lease.ttl, remaining: lease.remaining })
    }

    /// The attached keys in ascending order; none for an unknown lease.
    pub fn keys(&self, id: i64) -> Vec<Bytes> {
        self.table.read().get(&id).map(|lease| lease.keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// All leases by id.
    pub fn list(&self) -> Vec<Granted> {
        self.table.read().iter().map(|(&id, lease)| Granted { id, ttl: lease.ttl, remaining: lease.remaining }).collect()
    }

    pub fn count(&self) -> usize {
        self.table.read().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Engine;
    use crate::storage::memory::MemoryEngine;

    fn lessor() -> (Lessor, Batch) {
        (Lessor::open(&*MemoryEngine::new(), 2).unwrap(), Batch::default())
    }

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_short_ttl_is_raised_to_the_minimum() {
        let (mut lessor, mut batch) = lessor();
        assert_eq!(lessor.grant(1, 1, &mut batch), Ok(2));
        assert_eq!(lessor.grant(2, 0, &mut batch), Ok(2));
        assert_eq!(lessor.grant(3, -5, &mut batch), Ok(2));
        assert_eq!(lessor.grant(4, 3, &mut batch), Ok(3));
    }

    #[test]
    fn a_grant_that_breaks_a_rule_leaves_no_row() {
        let (mut lessor, mut batch) = lessor();
        lessor.grant(-7, 10, &mut batch).unwrap();
        let rows = batch.ops().len();
        assert_eq!(lessor.grant(-7, 10, &mut batch), Err(Error::LeaseExist));
        assert_eq!(lessor.grant(8, TTL_MAX + 1, &mut batch), Err(Error::LeaseTTLTooLarge));
        assert_eq!(lessor.grant(NO_LEASE, 10, &mut batch), Err(Error::LeaseNotFound));
        assert_eq!(batch.ops().len(), rows);
        assert_eq!(lessor.grant(8, TTL_MAX, &mut batch), Ok(TTL_MAX));
    }

    #[test]
    fn a_lease_row_has_etcds_bytes() {
        let (mut lessor, mut batch) = lessor();
        lessor.grant(-2, 300, &mut batch).unwrap();
        lessor.checkpoint(-2, 5, true, &mut batch);
        let expected = |value: &'static [u8]| storage::Op::Put {
            keyspace: Keyspace::Lease,
            key: Bytes::from_static(b"\xff\xff\xff\xff\xff\xff\xff\xfe"),
            value: Bytes::from_static(value),
        };
        assert_eq!(
            batch.ops(),
            [
                expected(b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\xac\x02"),
                expected(b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\xac\x02\x18\x05"),
            ]
        );
    }

    #[test]
    fn keys_are_listed_in_order_whatever_order_they_came_in() {
        let (mut lessor, mut batch) = lessor();
        lessor.grant(1, 10, &mut batch).unwrap();
        for name in ["y", "x", "z", "x"] {
            lessor.move_key(&key(name), NO_LEASE, 1);
        }
        assert_eq!(lessor.leases().keys(1), ["x", "y", "z"]);
    }

    #[test]
    fn a_key_moves_from_its_old_lease_to_its_new_one() {
        let (mut lessor, mut batch) = lessor();
        lessor.grant(1, 10, &mut batch).unwrap();
        lessor.grant(2, 10, &mut batch).unwrap();
        lessor.move_key(&key("a"), NO_LEASE, 1);
        lessor.move_key(&key("a"), 1, 2);
        assert!(lessor.leases().keys(1).is_empty());
        assert_eq!(lessor.leases().keys(2), ["a"]);
        lessor.move_key(&key("a"), 2, NO_LEASE);
        assert!(lessor.leases().keys(2).is_empty());
    }

    #[test]
    fn a_key_that_names_a_missing_lease_is_passed_over() {
        let (mut lessor, _) = lessor();
        lessor.move_key(&key("a"), 5, 6);
        assert!(lessor.leases().keys(6).is_empty());
    }

    #[test]
    fn a_revoked_lease_is_gone_and_cannot_be_revoked_again() {
        let (mut lessor, mut batch) = lessor();
        lessor.grant(1, 10, &mut batch).unwrap();
        assert_eq!(lessor.revoke(1, &mut batch), Ok(()));
        assert!(!lessor.leases().exists(1));
        assert_eq!(lessor.revoke(1, &mut batch), Err(Error::LeaseNotFound));
    }

    #[test]
    fn leases_come_back_with_their_checkpoint_after_a_restart() {
        let engine = MemoryEngine::new();
        let (mut lessor, mut batch) = (Lessor::open(&*engine, 2).unwrap(), Batch::default());
        lessor.grant(-1, 600, &mut batch).unwrap();
        lessor.grant(7, 600, &mut batch).unwrap();
        lessor.grant(8, 600, &mut batch).unwrap();
        lessor.checkpoint(7, 42, true, &mut batch);
        lessor.revoke(8, &mut batch).unwrap();
        assert!(!lessor.checkpoint(8, 42, true, &mut batch));
        engine.write(&batch).unwrap();
        let again = Lessor::open(&*engine, 2).unwrap();
        assert_eq!(again.leases().list(), [Granted { id: -1, ttl: 600, remaining: 0 }, Granted { id: 7, ttl: 600, remaining: 42 }]);
    }

    #[test]
    fn a_row_that_does_not_decode_is_named() {
        let engine = MemoryEngine::new();
        let mut batch = Batch::default();
        batch.put(Keyspace::Lease, "short", "");
        engine.write(&batch).unwrap();
        assert!(matches!(Lessor::open(&*engine, 2), Err(OpenError::Row { key }) if key == b"short"));
    }
}
