//! The cluster's own facts: its version, its members, raft's conf state.
//!
//! ```text
//!   meta / confState       {"voters":[..],"learners":[..],"auto_leave":false}     lists only if they hold something   FMT-10
//!   meta / storageVersion  "3.7.0": the cluster version's minor; none below 3.6                                       VSN-3
//! ```

use serde::{Deserialize, Serialize};

use crate::membership::{Change, Downgrade, Membership, Version, go_json};
use crate::storage::keyspace::meta;
use crate::storage::{Batch, Keyspace, Read};
use crate::wire::error::Error;
use crate::wire::membershippb::{ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest};
use crate::wire::raftpb;

use super::effects::{ConfChange, Outcome, Stop};
use super::{OpenError, StateMachine};

/// The first version that stores its own.
const STORES_VERSION: Version = Version::new(3, 6);

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct ConfStateRow {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters_outgoing: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners_next: Vec<u64>,
    auto_leave: bool,
}

pub(super) fn read_conf_state(store: &dyn Read) -> Result<raftpb::ConfState, OpenError> {
    let row = store.get(Keyspace::Meta, meta::CONF_STATE)?;
    row.map_or(Ok(raftpb::ConfState::default()), |row| decode_conf_state(&row))
}

/// The row `confState` of the keyspace `meta`.
pub fn decode_conf_state(row: &[u8]) -> Result<raftpb::ConfState, OpenError> {
    let row: ConfStateRow =
        serde_json::from_slice(row).map_err(|error| OpenError::Row { key: "confState".into(), why: error.to_string() })?;
    let ConfStateRow { voters, learners, voters_outgoing, learners_next, auto_leave } = row;
    Ok(raftpb::ConfState { voters, learners, voters_outgoing, learners_next, auto_leave: Some(auto_leave) })
}

pub(super) fn encode_conf_state(conf_state: &raftpb::ConfState) -> String {
    let raftpb::ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } = conf_state.clone();
    let row = ConfStateRow { voters, learners, voters_outgoing, learners_next, auto_leave: auto_leave.unwrap_or(false) };
    go_json(&row).expect("lists of numbers have a JSON form")
}

impl StateMachine {
    /// Puts raft's answer to a conf change into the batch that carries the change.
    pub fn set_conf_state(&mut self, conf_state: &raftpb::ConfState, batch: &mut Batch) {
        batch.put(Keyspace::Meta, meta::CONF_STATE, encode_conf_state(conf_state));
        self.conf_state = conf_state.clone();
    }
}

/// Applies a conf change to the member list, if the rules let it pass.
pub(super) fn conf_change(membership: &mut Membership, change: raftpb::ConfChange, batch: &mut Batch) -> Outcome<ConfChange> {
    let asked = Change::decode(&change).map_err(|error| Stop::Fault(error.to_string()))?;
    membership.check(&asked)?;
    membership.apply(&asked, batch);
    let removes_self = matches!(asked, Change::Remove { id } if id == membership.cluster().member_id());
    Ok(ConfChange { change, removes_self })
}

pub(super) fn set_version(membership: &mut Membership, request: &ClusterVersionSetRequest, batch: &mut Batch) -> Outcome<()> {
    let version: Version = request.ver.parse().map_err(|_| Error::WrongDowngradeVersionFormat)?;
    membership.set_version(version, batch);
    if version >= STORES_VERSION {
        batch.put(Keyspace::Meta, meta::STORAGE_VERSION, version.minor_only().to_string());
    } else {
        batch.delete(Keyspace::Meta, meta::STORAGE_VERSION);
    }
    Ok(())
}

pub(super) fn set_attributes(membership: &mut Membership, request: ClusterMemberAttrSetRequest, batch: &mut Batch) {
    let attributes = request.member_attributes.unwrap_or_default();
    membership.set_attributes(request.member_id, &attributes.name, &attributes.client_urls, batch);
}

pub(super) fn set_downgrade(membership: &mut Membership, request: DowngradeInfoSetRequest, batch: &mut Batch) {
    let target = if request.enabled { request.ver } else { String::new() };
    membership.set_downgrade(Downgrade { target, enabled: request.enabled }, batch);
}
