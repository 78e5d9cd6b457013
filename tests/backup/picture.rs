//! What a store looks like from outside: equal before and after a backup.

use std::ops::ControlFlow;
use std::sync::Arc;

use etcd::membership::Identity;
use etcd::state_machine::quota::Quota;
use etcd::state_machine::{Options, StateMachine};
use etcd::storage::memory::MemoryEngine;
use etcd::storage::{Keyspace, Read};
use etcd::wire::etcdserverpb::{
    AlarmRequest, HashKvRequest, LeaseLeasesRequest, LeaseTimeToLiveRequest, RangeRequest, auth_client::AuthClient,
};
use prost::Message;

use crate::harness::Clients;

/// Revisions that a picture has hashes of, besides the newest.
const HASHES_MAX: i64 = 12;

#[derive(Debug, PartialEq)]
pub struct Picture {
    revision: i64,
    compacted: i64,
    /// Revision and hash.
    hashes: Vec<(i64, u32)>,
    /// Keys in order, with a checksum of each one's `KeyValue`.
    keys: Vec<(String, u32)>,
    /// Id, granted TTL, attached keys.
    leases: Vec<(i64, i64, Vec<Vec<u8>>)>,
    /// Member and type.
    alarms: Vec<(u64, i32)>,
}

/// Revisions from the oldest to the newest that hashes are compared at. Quirk: HSH-2, at the revision of a compaction etcd's server
/// answers with what that compaction hashed by the way (server/storage/mvcc/hash.go), so it is left out unless `with_compacted`.
fn to_hash(compacted: i64, revision: i64, with_compacted: bool) -> Vec<i64> {
    let first = if with_compacted { compacted } else { compacted + 1 }.max(1);
    let step = ((revision - first) / HASHES_MAX).max(1);
    let mut revisions: Vec<i64> = (first..=revision).step_by(usize::try_from(step).expect("it is positive")).collect();
    if revisions.last().is_some_and(|last| *last < revision) {
        revisions.push(revision);
    }
    revisions
}

fn checksum(kv: &[u8]) -> (String, u32) {
    let key = etcd::mvcc::record::key_of(kv).expect("a key");
    (key.escape_ascii().to_string(), crc32c::crc32c(kv))
}

impl Picture {
    pub async fn of(clients: &mut Clients, with_compacted: bool) -> Picture {
        let newest = clients.maintenance.hash_kv(HashKvRequest { revision: 0 }).await.expect("a hash").into_inner();
        let (revision, compacted) = (newest.hash_revision, newest.compact_revision);
        let mut hashes = Vec::new();
        for revision in to_hash(compacted, revision, with_compacted) {
            hashes.push((revision, clients.maintenance.hash_kv(HashKvRequest { revision }).await.expect("a hash").into_inner().hash));
        }
        let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
        let keys = clients.kv.range(all).await.expect("a range").into_inner().kvs.iter().map(|kv| checksum(&kv.encode_to_vec())).collect();
        let mut leases = Vec::new();
        for lease in clients.lease.lease_leases(LeaseLeasesRequest {}).await.expect("leases").into_inner().leases {
            let asked = LeaseTimeToLiveRequest { id: lease.id, keys: true };
            let told = clients.lease.lease_time_to_live(asked).await.expect("a lease").into_inner();
            let mut keys: Vec<Vec<u8>> = told.keys.iter().map(|key| key.to_vec()).collect();
            keys.sort();
            leases.push((told.id, told.granted_ttl, keys));
        }
        leases.sort();
        let alarms = clients.maintenance.alarm(AlarmRequest::default()).await.expect("alarms").into_inner().alarms;
        let mut alarms: Vec<_> = alarms.iter().map(|alarm| (alarm.member_id, alarm.alarm)).collect();
        alarms.sort_unstable();
        Picture { revision, compacted, hashes, keys, leases, alarms }
    }

    /// Of rows that a state machine of ours opens.
    pub fn of_engine(engine: Arc<MemoryEngine>) -> Picture {
        let options = Options {
            mvcc: etcd::mvcc::Options::default(),
            quota: Quota::from_flag(-1),
            lease_ttl_min: 1,
            learners_max: 1,
            identity: Identity { cluster_id: 1, member_id: 1 },
        };
        let machine = StateMachine::open(engine.clone(), options, &mut |_| {}).expect("the rows open");
        let reader = machine.reader();
        let (revision, compacted) = (reader.revision(), reader.compact_revision());
        let hashes = to_hash(compacted, revision, false);
        let hashes = hashes.into_iter().map(|revision| (revision, reader.hash_kv(revision).expect("a hash").hash)).collect();
        let mut scan = reader.scan(&RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() }).expect("a range");
        let found = loop {
            match scan.step(usize::MAX).expect("a range") {
                etcd::mvcc::Step::Done(found) => break found,
                etcd::mvcc::Step::More => {}
                etcd::mvcc::Step::Read => scan.read().expect("a read"),
            }
        };
        let leases = machine.leases();
        let lease = |lease: etcd::lease::Granted| (lease.id, lease.ttl, leases.keys(lease.id).iter().map(|key| key.to_vec()).collect());
        let alarms = machine.alarms().list(0).iter().map(|alarm| (alarm.member_id, alarm.alarm)).collect();
        Picture {
            revision,
            compacted,
            hashes,
            keys: found.kvs.iter().map(|kv| checksum(kv)).collect(),
            leases: leases.list().into_iter().map(lease).collect(),
            alarms,
        }
    }

    pub fn revision(&self) -> i64 {
        self.revision
    }

    pub fn key_count(&self) -> usize {
        self.keys.len()
    }
}

/// Users with their roles, and roles with their permissions, as a server tells them.
pub async fn users(clients: &Clients) -> Vec<String> {
    let mut auth = AuthClient::new(clients.channel.clone());
    let mut told = Vec::new();
    for user in auth.user_list(etcd::wire::etcdserverpb::AuthUserListRequest {}).await.expect("users").into_inner().users {
        let asked = etcd::wire::etcdserverpb::AuthUserGetRequest { name: user.clone() };
        told.push(format!("{user}: {:?}", auth.user_get(asked).await.expect("a user").into_inner().roles));
    }
    for role in auth.role_list(etcd::wire::etcdserverpb::AuthRoleListRequest {}).await.expect("roles").into_inner().roles {
        let asked = etcd::wire::etcdserverpb::AuthRoleGetRequest { role: role.clone() };
        told.push(format!("{role}: {:?}", auth.role_get(asked).await.expect("a role").into_inner().perm));
    }
    told
}

/// All rows of a bucket.
pub fn rows(engine: &MemoryEngine, keyspace: Keyspace) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    engine.scan(keyspace, b"", None, &mut add).expect("rows in memory can be read");
    rows
}
