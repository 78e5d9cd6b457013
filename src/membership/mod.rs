//! Who belongs to the cluster, and which version the cluster has agreed on.
//!
//! ```text
//!   apply --conf change, attributes, version--> Membership --rows--> `members`, `members_removed`, `cluster`
//!                                                   |
//!                                               Cluster (read side, any thread)
//! ```
//!
//! Writes: the state machine, through `Membership`. Reads: everybody, through `Cluster`.
//! Holds: an id that was removed never comes back (MEM-7); a change that breaks a rule changes nothing, here or in raft (RMV-3).
//! Does not know raft's conf state, nor whether members can be reached: what may be proposed is decided by the node.

pub mod member;
pub mod snap_file;
pub mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::storage::{self, Batch, Keyspace, Read};
use crate::wire::error::Error;
use crate::wire::raftpb;

pub use member::{Context, Member, cluster_id, go_json, hex, member_id};
pub use snap_file::SnapFile;
pub use version::Version;

/// Keys of the `cluster` keyspace (FMT-14).
const CLUSTER_VERSION: &[u8] = b"clusterVersion";
const DOWNGRADE: &[u8] = b"downgrade";

/// The value of a row of `members_removed`.
const REMOVED: &[u8] = b"removed";

/// Why the membership could not be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error("the row {key:?} of {keyspace:?} does not decode: {why}")]
    Row { keyspace: Keyspace, key: String, why: String },
}

/// A conf change that cannot be understood: nobody could apply it, so it is a fault.
#[derive(Debug, thiserror::Error)]
#[error("a conf change does not decode: {0}")]
pub struct ChangeError(String);

/// Which member of which cluster this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: u64,
    pub member_id: u64,
}

/// Where a downgrade stands (VSN-4), in etcd's JSON form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downgrade {
    #[serde(rename = "target-version", default)]
    pub target: String,
    #[serde(default)]
    pub enabled: bool,
}

/// A change of the member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Add(Member),
    Promote { id: u64 },
    Remove { id: u64 },
    SetPeerUrls { id: u64, peer_urls: Vec<String> },
}

impl Change {
    /// What an entry of the log asks for. The numbers are etcd's (RHT-0).
    pub fn decode(change: &raftpb::ConfChange) -> Result<Change, ChangeError> {
        let id = change.node_id();
        let context = || -> Result<Context, ChangeError> {
            let context: Context = serde_json::from_slice(change.context()).map_err(|error| ChangeError(error.to_string()))?;
            if context.member.id == id {
                Ok(context)
            } else {
                Err(ChangeError(format!("it is about member {}, its context about {}", hex(id), hex(context.member.id))))
            }
        };
        let kind = raftpb::ConfChangeType::try_from(change.r#type.unwrap_or_default());
        Ok(match kind.map_err(|error| ChangeError(error.to_string()))? {
            raftpb::ConfChangeType::ConfChangeRemoveNode => Change::Remove { id },
            raftpb::ConfChangeType::ConfChangeUpdateNode => Change::SetPeerUrls { id, peer_urls: context()?.member.peer_urls },
            raftpb::ConfChangeType::ConfChangeAddNode | raftpb::ConfChangeType::ConfChangeAddLearnerNode => match context()? {
                Context { is_promote: true, .. } => Change::Promote { id },
                Context { member, .. } => Change::Add(member),
            },
        })
    }
}

struct State {
    identity: Identity,
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
    version: Option<Version>,
    downgrade: Downgrade,
}

/// The replicated member list, owned by the state machine.
pub struct Membership {
    cluster: Cluster,
    learners_max: usize,
}

impl Membership {
    pub fn open(store: &dyn Read, identity: Identity, learners_max: usize) -> Result<Membership, OpenError> {
        let mut state =
            State { identity, members: BTreeMap::new(), removed: BTreeSet::new(), version: None, downgrade: Downgrade::default() };
        each_row(store, Keyspace::Members, |_, value| {
            let member: Member = serde_json::from_slice(value).map_err(|error| error.to_string())?;
            state.members.insert(member.id, member);
            Ok(())
        })?;
        each_row(store, Keyspace::MembersRemoved, |key, _| {
            let id = std::str::from_utf8(key).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
            state.removed.insert(id.ok_or("the key is no id")?);
            Ok(())
        })?;
        each_row(store, Keyspace::Cluster, |key, value| {
            match key {
                CLUSTER_VERSION => {
                    let text = String::from_utf8_lossy(value);
                    state.version = Some(text.parse().map_err(|error: version::ParseError| error.to_string())?);
                }
                DOWNGRADE => state.downgrade = serde_json::from_slice(value).map_err(|error| error.to_string())?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(Membership { cluster: Cluster { state: Arc::new(RwLock::new(state)) }, learners_max })
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The rules that the log itself keeps; the same on every member (RMV-3).
    ///
    /// Quirk: the number of learners allowed is a setting of each member, yet etcd checks it at apply
    /// (server/etcdserver/api/membership/cluster.go), so members must be configured alike; pinned by `a_second_learner_is_refused`.
    pub fn check(&self, change: &Change) -> Result<(), Error> {
        let state = self.cluster.state.read();
        let (Change::Add(Member { id, .. }) | Change::Promote { id } | Change::Remove { id } | Change::SetPeerUrls { id, .. }) = change;
        if state.removed.contains(id) {
            return Err(Error::MemberNotFound);
        }
        let found = state.members.get(id);
        let others_use =
            |urls: &[String]| state.members.values().any(|other| other.id != *id && other.peer_urls.iter().any(|url| urls.contains(url)));
        match change {
            Change::Add(_) if found.is_some() => Err(Error::MemberExist),
            Change::Add(member) if others_use(&member.peer_urls) => Err(Error::PeerURLExist),
            Change::Add(member) if member.is_learner && state.learners() >= self.learners_max => Err(Error::TooManyLearners),
            Change::Add(_) => Ok(()),
            Change::Promote { .. } => match found {
                None => Err(Error::MemberNotFound),
                Some(member) if !member.is_learner => Err(Error::MemberNotLearner),
                Some(_) => Ok(()),
            },
            Change::Remove { .. } | Change::SetPeerUrls { .. } if found.is_none() => Err(Error::MemberNotFound),
            Change::SetPeerUrls { peer_urls, .. } if others_use(peer_urls) => Err(Error::PeerURLExist),
            Change::Remove { .. } | Change::SetPeerUrls { .. } => Ok(()),
        }
    }

    /// Makes a change that `check` has let pass.
    pub fn apply(&mut self, change: &Change, batch: &mut Batch) {
        let mut state = self.cluster.state.write();
        match change {
            Change::Add(member) => {
                write_member(member, batch);
                state.members.insert(member.id, member.clone());
            }
            Change::Promote { id } => state.change(*id, batch, |member| member.is_learner = false),
            // A learner stays one (LRN-5).
            Change::SetPeerUrls { id, peer_urls } => state.change(*id, batch, |member| member.peer_urls.clone_from(peer_urls)),
            Change::Remove { id } => {
                state.members.remove(id);
                state.removed.insert(*id);
                batch.delete(Keyspace::Members, hex(*id));
                batch.put(Keyspace::MembersRemoved, hex(*id), REMOVED);
            }
        }
    }

    /// A member has published itself (MEM-8). One that is not there, because it was removed meanwhile, is passed over.
    pub fn set_attributes(&mut self, id: u64, name: &str, client_urls: &[String], batch: &mut Batch) {
        self.cluster.state.write().change(id, batch, |member| {
            member.name = name.into();
            member.client_urls = client_urls.to_vec();
        });
    }

    pub fn set_version(&mut self, version: Version, batch: &mut Batch) {
        batch.put(Keyspace::Cluster, CLUSTER_VERSION, version.to_string());
        self.cluster.state.write().version = Some(version);
    }

    pub fn set_downgrade(&mut self, downgrade: Downgrade, batch: &mut Batch) {
        batch.put(Keyspace::Cluster, DOWNGRADE, json(&downgrade));
        self.cluster.state.write().downgrade = downgrade;
    }
}

impl State {
    fn learners(&self) -> usize {
        self.members.values().filter(|member| member.is_learner).count()
    }

    fn change(&mut self, id: u64, batch: &mut Batch, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(&id) {
            change(member);
            write_member(member, batch);
        }
    }
}

fn write_member(member: &Member, batch: &mut Batch) {
    batch.put(Keyspace::Members, hex(member.id), json(member));
}

fn json<T: Serialize>(value: &T) -> String {
    go_json(value).expect("rows hold only strings, numbers and lists, which all have a JSON form")
}

fn each_row(store: &dyn Read, keyspace: Keyspace, mut read: impl FnMut(&[u8], &[u8]) -> Result<(), String>) -> Result<(), OpenError> {
    let mut broken = None;
    store.scan(keyspace, b"", None, &mut |key, value| match read(key, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(why) => {
            broken = Some(OpenError::Row { keyspace, key: String::from_utf8_lossy(key).into_owned(), why });
            ControlFlow::Break(())
        }
    })?;
    broken.map_or(Ok(()), Err)
}

/// The read side: what is applied, for any thread.
#[derive(Clone)]
pub struct Cluster {
    state: Arc<RwLock<State>>,
}

impl Cluster {
    pub fn id(&self) -> u64 {
        self.state.read().identity.cluster_id
    }

    /// This member's own id.
    pub fn member_id(&self) -> u64 {
        self.state.read().identity.member_id
    }

    /// All members by id.
    pub fn members(&self) -> Vec<Member> {
        self.state.read().members.values().cloned().collect()
    }

    /// The member list as peers are told of it, in Go's JSON (HTP-11).
    pub fn members_json(&self) -> String {
        json(&self.members())
    }

    pub fn member(&self, id: u64) -> Option<Member> {
        self.state.read().members.get(&id).cloned()
    }

    pub fn is_removed(&self, id: u64) -> bool {
        self.state.read().removed.contains(&id)
    }

    /// Whether this member is listed as a learner.
    pub fn is_learner(&self) -> bool {
        let state = self.state.read();
        state.members.get(&state.identity.member_id).is_some_and(|member| member.is_learner)
    }

    /// `None` until the cluster has agreed on one (VSN-3).
    pub fn version(&self) -> Option<Version> {
        self.state.read().version
    }

    pub fn downgrade(&self) -> Downgrade {
        self.state.read().downgrade.clone()
    }
}

#[cfg(test)]
mod tests;
