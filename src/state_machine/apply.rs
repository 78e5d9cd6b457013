//! The one match: from an entry of the log to changes and effects.

use prost::Message;

use crate::storage::Batch;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::AlarmType;
use crate::wire::raftpb;

use super::command::{Action, Command};
use super::effects::{Effects, Fault, Outcome, Response, Stop};
use super::{Entry, EntryKind, StateMachine, cluster, kv, lease, quota, txn};

impl StateMachine {
    /// Applies the entry after the last one. What it changes is in the batch and in the writers' memory; an entry that is
    /// refused has an answer and changes nothing (DET-2). After a fault this object must not be used again.
    pub fn apply(&mut self, entry: &Entry, batch: &mut Batch) -> Result<Effects, Fault> {
        let fault = |why: String| Fault::Entry { index: entry.index, why };
        if entry.index != self.applied.0 + 1 {
            return Err(fault(format!("the last one applied is {}", self.applied.0)));
        }
        self.applied = (entry.index, entry.term);
        let mut effects = Effects::default();
        let outcome = match entry.kind {
            // A leader's first entry of its term.
            EntryKind::Normal if entry.data.is_empty() => return Ok(effects),
            EntryKind::Normal => {
                let command = Command::decode(entry.data.clone()).map_err(|error| fault(error.to_string()))?;
                effects.request_id = command.id;
                self.apply_command(command.action, batch, &mut effects)
            }
            EntryKind::ConfChange => {
                let change = raftpb::ConfChange::decode(entry.data.clone()).map_err(|error| fault(error.to_string()))?;
                effects.request_id = change.id();
                self.apply_conf_change(change, batch, &mut effects)
            }
            // etcd proposes none, and would stop here too.
            EntryKind::ConfChangeV2 => return Err(fault("it is a joint conf change".into())),
        };
        effects.reply = Some(match outcome {
            Ok(_) if effects.raise_nospace => Err(Error::NoSpace),
            Ok(response) => Ok(response),
            Err(Stop::Rejected(error)) => Err(error),
            Err(Stop::Storage(error)) => return Err(error.into()),
            Err(Stop::Fault(why)) => return Err(fault(why)),
        });
        Ok(effects)
    }

    fn apply_conf_change(&mut self, change: raftpb::ConfChange, batch: &mut Batch, effects: &mut Effects) -> Outcome<Response> {
        effects.conf_change = Some(cluster::conf_change(&mut self.membership, change, batch)?);
        Ok(Response::Members(self.cluster().members()))
    }

    fn apply_command(&mut self, action: Action, batch: &mut Batch, effects: &mut Effects) -> Outcome<Response> {
        let cost = quota::cost(&action);
        self.check_alarms(&action, cost)?;
        // QUO-4: found before, felt after: this member's size must not decide what is written.
        let is_exceeded = self.quota.is_exceeded(self.reader().sizes().db_size, cost);
        let response = self.run(action, batch, effects)?;
        effects.raise_nospace = is_exceeded;
        Ok(response)
    }

    /// What an alarm refuses, on every member alike (QUO-5, ALM-4). CORRUPT goes before NOSPACE.
    fn check_alarms(&self, action: &Action, cost: u64) -> Result<(), Error> {
        let touches_state = matches!(
            action,
            Action::Range(_)
                | Action::Put(_)
                | Action::DeleteRange(_)
                | Action::Txn(_)
                | Action::Compaction(_)
                | Action::LeaseGrant(_)
                | Action::LeaseRevoke(_)
        );
        if touches_state && self.alarms().is_active(AlarmType::Corrupt) {
            return Err(Error::Corrupt);
        }
        if cost > 0 && self.alarms().is_active(AlarmType::Nospace) {
            return Err(Error::NoSpace);
        }
        Ok(())
    }

    fn run(&mut self, action: Action, batch: &mut Batch, effects: &mut Effects) -> Outcome<Response> {
        let StateMachine { writer, lessor, membership, alarms, auth, .. } = self;
        let revision = writer.revision();
        Ok(match action {
            Action::Range(request) => Response::Range(kv::range(writer, &request, batch)?),
            Action::Put(request) => Response::Put(kv::put(writer, lessor, request, batch)?),
            Action::DeleteRange(request) => Response::DeleteRange(kv::delete_range(writer, lessor, &request, batch)?),
            Action::Txn(request) => Response::Txn(txn::txn(writer, lessor, request, batch)?),
            Action::Compaction(request) => {
                let response = kv::compact(writer, &request, batch)?;
                effects.compacted = Some(request.revision);
                Response::Compaction(response)
            }
            Action::LeaseGrant(request) => Response::LeaseGrant(lease::grant(lessor, &request, revision, batch, &mut effects.lease)?),
            Action::LeaseRevoke(request) => Response::LeaseRevoke(lease::revoke(writer, lessor, &request, batch, &mut effects.lease)?),
            Action::LeaseCheckpoint(request) => {
                let cluster = membership.cluster();
                Response::LeaseCheckpoint(lease::checkpoint(lessor, cluster, &request, revision, batch, &mut effects.lease))
            }
            Action::Alarm(request) => Response::Alarm(alarms.apply(&request, revision, batch)?),
            Action::ClusterVersionSet(request) => {
                cluster::set_version(membership, &request, batch)?;
                Response::Empty
            }
            Action::ClusterMemberAttrSet(request) => {
                cluster::set_attributes(membership, request, batch);
                Response::Empty
            }
            Action::DowngradeInfoSet(request) => {
                cluster::set_downgrade(membership, request, batch);
                Response::Empty
            }
            Action::DowngradeVersionTest => Response::Empty,
            Action::AuthChange(change) => {
                auth.apply(change, batch)?;
                Response::Empty
            }
            Action::AuthEnable | Action::Auth => return Err(Error::NotCapable.into()),
        })
    }
}
