//! A random history of a store: what a seed does to a server.

use etcd::wire::authpb::{Permission, permission::Type};
use etcd::wire::etcdserverpb::alarm_request::AlarmAction;
use etcd::wire::etcdserverpb::auth_client::AuthClient;
use etcd::wire::etcdserverpb::{
    AlarmRequest, AlarmType, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RequestOp, TxnRequest, request_op::Request,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::Clients;

pub struct History {
    random: StdRng,
    leases: Vec<i64>,
    revision: i64,
    compacted: i64,
}

fn key(number: u32) -> String {
    format!("key-{number:03}")
}

impl History {
    /// Performs the history of a seed; users and roles as well, where the server has them.
    pub async fn perform(seed: u64, clients: &mut Clients, with_users: bool) {
        let mut history = History { random: StdRng::seed_from_u64(seed), leases: Vec::new(), revision: 1, compacted: 0 };
        let steps = match history.random.random_range(0..6) {
            0 => 0,
            1 => history.random.random_range(1..5),
            _ => history.random.random_range(20..200),
        };
        for _ in 0..steps {
            history.step(clients).await;
        }
        if with_users && history.random.random_ratio(2, 3) {
            history.users(clients).await;
        }
        if steps > 0 && history.random.random_ratio(1, 3) {
            history.alarm(clients).await;
        }
    }

    async fn step(&mut self, clients: &mut Clients) {
        match self.random.random_range(0..100) {
            0..60 => {
                let put = self.put(1 << 20);
                self.revision = clients.kv.put(put).await.expect("a put").into_inner().header.expect("a header").revision;
            }
            60..80 => {
                let (from, to) = (self.random.random_range(0..40), self.random.random_range(0..3));
                let range_end = if to == 0 { String::new() } else { key(from + to) };
                let delete = DeleteRangeRequest { key: key(from).into(), range_end: range_end.into(), prev_kv: false };
                self.revision = clients.kv.delete_range(delete).await.expect("a delete").into_inner().header.expect("a header").revision;
            }
            80..88 => {
                // Keys of their own ranges: a transaction does not put what it deletes.
                let puts = (0..self.random.random_range(1..6)).map(|n| {
                    // Together no more than a request may hold.
                    let put = PutRequest { key: key(n * 7 + self.random.random_range(0..6)).into(), ..self.put(40_000) };
                    RequestOp { request: Some(Request::RequestPut(put)) }
                });
                let txn = TxnRequest { success: puts.collect(), ..Default::default() };
                self.revision = clients.kv.txn(txn).await.expect("a transaction").into_inner().header.expect("a header").revision;
            }
            88..94 => {
                let grant = LeaseGrantRequest { id: self.random.random_range(1..i64::MAX), ttl: 3600 };
                self.leases.push(clients.lease.lease_grant(grant).await.expect("a grant").into_inner().id);
            }
            94..96 if !self.leases.is_empty() => {
                let at = self.random.random_range(0..self.leases.len());
                let revoke = LeaseRevokeRequest { id: self.leases.swap_remove(at) };
                self.revision = clients.lease.lease_revoke(revoke).await.expect("a revoke").into_inner().header.expect("a header").revision;
            }
            _ if self.revision > self.compacted + 1 => {
                self.compacted = self.random.random_range(self.compacted + 1..=self.revision);
                let compact = CompactionRequest { revision: self.compacted, physical: self.random.random_ratio(1, 2) };
                clients.kv.compact(compact).await.expect("a compaction");
            }
            _ => {}
        }
    }

    fn put(&mut self, large: usize) -> PutRequest {
        let size = match self.random.random_range(0..40) {
            0 => large,
            1..4 => self.random.random_range(2000..40_000),
            _ => self.random.random_range(0..400),
        };
        let value: Vec<u8> = (0..size).map(|at: usize| (at as u8).wrapping_mul(31) ^ size as u8).collect();
        let lease = if self.random.random_ratio(1, 4) && !self.leases.is_empty() {
            self.leases[self.random.random_range(0..self.leases.len())]
        } else {
            0
        };
        PutRequest { key: key(self.random.random_range(0..40)).into(), value: value.into(), lease, ..Default::default() }
    }

    async fn users(&mut self, clients: &Clients) {
        let mut auth = AuthClient::new(clients.channel.clone());
        for number in 0..self.random.random_range(1..6) {
            let (user, role) = (format!("user-{number}"), format!("role-{number}"));
            auth.role_add(AuthRoleAddRequest { name: role.clone() }).await.expect("a role");
            let perm = Permission { perm_type: Type::Readwrite.into(), key: key(number).into(), range_end: key(number + 9).into() };
            auth.role_grant_permission(AuthRoleGrantPermissionRequest { name: role.clone(), perm: Some(perm) })
                .await
                .expect("a permission");
            auth.user_add(AuthUserAddRequest { name: user.clone(), password: "secret".into(), ..Default::default() })
                .await
                .expect("a user");
            auth.user_grant_role(AuthUserGrantRoleRequest { user, role }).await.expect("a role for a user");
        }
    }

    async fn alarm(&mut self, clients: &mut Clients) {
        for member_id in 1..=self.random.random_range(1..3) {
            let alarm = AlarmRequest { action: AlarmAction::Activate.into(), member_id, alarm: AlarmType::Nospace.into() };
            clients.maintenance.alarm(alarm).await.expect("an alarm");
        }
    }
}
