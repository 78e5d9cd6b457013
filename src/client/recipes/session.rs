//! A lease that lives as long as its holder looks after it.
//!
//! Writes: one lease. Reads: nothing. A task renews it; it ends with the value, and the lease a TTL later.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinHandle};

use super::super::{Client, Error, keep_alive::KeepAlive};
use crate::wire::etcdserverpb::LeaseGrantRequest;

pub struct Session {
    client: Arc<Client>,
    lease: i64,
    is_lost: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Session {
    /// Grants a lease of `ttl` seconds and begins to renew it.
    pub async fn open(client: Arc<Client>, ttl: i64) -> Result<Session, Error> {
        let lease = client.call(LeaseGrantRequest { ttl, id: 0 }, None).await?.id;
        let mut keep_alive = KeepAlive::new(client.clone(), lease);
        let (lost, is_lost) = watch::channel(false);
        let task = tokio::spawn(async move {
            while keep_alive.next().await.is_some() {}
            lost.send_replace(true);
        });
        Ok(Session { client, lease, is_lost, task })
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub fn lease(&self) -> i64 {
        self.lease
    }

    /// Returns when the lease is no longer renewed: it is gone, or nobody could tell in time.
    pub async fn lost(&self) {
        // An error means that the task is gone, and with it the renewals.
        let _ = self.is_lost.clone().wait_for(|&is_lost| is_lost).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}
