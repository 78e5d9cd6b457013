//! Leases that were granted for longer than any run: each has to be there at the end, as it was granted.

use etcd::wire::etcdserverpb::{LeaseGrantRequest, LeaseLeasesRequest, LeaseTimeToLiveRequest};

use tonic::Code;

use crate::{
    harness::{Clients, eventually},
    member::{NO_SPACE, disarm},
};

const TTL: i64 = 86_400;

#[derive(Default)]
pub struct Holder {
    granted: Vec<i64>,
}

impl Holder {
    /// Between two faults, so it is answered; after a full volume the alarm may be raised a second time.
    pub async fn grant(&mut self, clients: &mut Clients) {
        let granted =
            eventually("a lease is granted", async || match clients.lease.lease_grant(LeaseGrantRequest { ttl: TTL, id: 0 }).await {
                Ok(granted) => Some(granted.into_inner()),
                Err(refused) => {
                    assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, NO_SPACE));
                    disarm(clients).await.expect("an alarm is disarmed");
                    None
                }
            })
            .await;
        assert_eq!(granted.ttl, TTL);
        self.granted.push(granted.id);
    }

    pub async fn check(&self, clients: &mut Clients) {
        let listed = clients.lease.lease_leases(LeaseLeasesRequest {}).await.expect("leases are listed").into_inner();
        let mut listed: Vec<i64> = listed.leases.into_iter().map(|lease| lease.id).collect();
        let mut granted = self.granted.clone();
        listed.sort_unstable();
        granted.sort_unstable();
        assert_eq!(listed, granted, "a granted lease is lost, or one is there that nobody asked for");
        for id in granted {
            let request = LeaseTimeToLiveRequest { id, keys: false };
            let left = clients.lease.lease_time_to_live(request).await.expect("a lease is looked at").into_inner();
            assert_eq!((left.granted_ttl, left.ttl > 0), (TTL, true), "{id}");
        }
    }

    pub fn len(&self) -> usize {
        self.granted.len()
    }
}
