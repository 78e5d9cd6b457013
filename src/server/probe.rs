//! What the HTTP pages ask of the running node.

use futures_util::future::BoxFuture;

use crate::http::Source;
use crate::node::Seat;
use crate::release;
use crate::wire::etcdserverpb::{AlarmType, RangeRequest};

pub struct Probe {
    seat: Seat,
}

impl Probe {
    pub fn new(seat: Seat) -> Probe {
        Probe { seat }
    }

    /// etcd's own probe: a read of this one key, whether it exists or not.
    async fn read(&self) -> Result<(), String> {
        let request = RangeRequest { key: "health".into(), limit: 1, ..Default::default() };
        self.seat.range(&request).await.map(drop).map_err(|error| error.to_string())
    }
}

impl Source for Probe {
    fn release(&self) -> String {
        release::VERSION.to_owned()
    }

    fn cluster_version(&self) -> Option<String> {
        self.seat.node.cluster.version().map(|version| version.to_string())
    }

    fn storage_version(&self) -> Option<String> {
        self.seat.node.storage_version()
    }

    fn alarms(&self) -> Vec<AlarmType> {
        self.seat.node.alarms.list(AlarmType::None as i32).into_iter().map(|a| a.alarm()).collect()
    }

    fn has_leader(&self) -> bool {
        self.seat.has_leader()
    }

    fn is_learner(&self) -> bool {
        self.seat.node.cluster.is_learner()
    }

    fn serializable_read(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.read())
    }

    fn linearizable_read(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            self.seat.linearize().await.map_err(|error| error.to_string())?;
            self.read().await
        })
    }

    fn raft_status(&self) -> serde_json::Value {
        let status = self.seat.node.pipeline.marks.status();
        serde_json::json!({
            "id": format!("{:x}", self.seat.node.member_id()),
            "term": status.term,
            "commit": status.commit,
            "lead": format!("{:x}", status.leader),
            "raftState": format!("{:?}", status.role),
            "applied": self.seat.node.pipeline.marks.applied(),
        })
    }
}
