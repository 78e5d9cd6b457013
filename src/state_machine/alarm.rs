//! The alarms: which member has run out of space, which is corrupt (ALM-1..ALM-5).
//!
//! Writes: `apply`, through `AlarmStore`. Reads: everybody, through `Alarms`: the gates of apply, health, Status, metrics.
//! A row is etcdserverpb.AlarmMember as the key, no value (FMT-12). An alarm never goes away by itself (QUO-6).

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::RwLock;
use prost::Message;

use crate::storage::{Batch, Keyspace, Read};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::alarm_request::AlarmAction;
use crate::wire::etcdserverpb::{AlarmMember, AlarmRequest, AlarmResponse, AlarmType};

use super::OpenError;
use super::effects::{Outcome, header};

/// Type, then member: the order in which alarms are listed.
type Table = BTreeSet<(i32, u64)>;

pub(super) struct AlarmStore {
    alarms: Alarms,
}

impl AlarmStore {
    pub fn open(store: &dyn Read) -> Result<AlarmStore, OpenError> {
        let mut table = Table::new();
        let mut broken = None;
        store.scan(Keyspace::Alarm, b"", None, &mut |key, _| match AlarmMember::decode(key) {
            Ok(row) => {
                table.insert((row.alarm, row.member_id));
                ControlFlow::Continue(())
            }
            Err(error) => {
                broken = Some(OpenError::Row { key: format!("alarm {key:02x?}"), why: error.to_string() });
                ControlFlow::Break(())
            }
        })?;
        match broken {
            Some(error) => Err(error),
            None => Ok(AlarmStore { alarms: Alarms { table: Arc::new(RwLock::new(table)) } }),
        }
    }

    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Answers with the alarms that the request is about; an unknown pair is no error (ALM-2).
    pub fn apply(&mut self, request: &AlarmRequest, revision: i64, batch: &mut Batch) -> Outcome<AlarmResponse> {
        let alarm = (request.alarm, request.member_id);
        let row = AlarmMember { alarm: request.alarm, member_id: request.member_id };
        // The API lets none pass; a log may have one all the same.
        let action = AlarmAction::try_from(request.action).map_err(|_| Error::NotCapable)?;
        let alarms = match action {
            AlarmAction::Get => self.alarms.list(request.alarm),
            AlarmAction::Activate if request.alarm == AlarmType::None as i32 => Vec::new(),
            AlarmAction::Activate => {
                if self.alarms.table.write().insert(alarm) {
                    batch.put(Keyspace::Alarm, row.encode_to_vec(), "");
                }
                vec![row]
            }
            AlarmAction::Deactivate => match self.alarms.table.write().remove(&alarm) {
                true => {
                    batch.delete(Keyspace::Alarm, row.encode_to_vec());
                    vec![row]
                }
                false => Vec::new(),
            },
        };
        Ok(AlarmResponse { header: header(revision), alarms })
    }
}

/// The read side: what is applied, for any thread.
#[derive(Clone)]
pub struct Alarms {
    table: Arc<RwLock<Table>>,
}

impl Alarms {
    /// Whether any member has raised this alarm.
    pub fn is_active(&self, alarm: AlarmType) -> bool {
        self.table.read().iter().any(|&(found, _)| found == alarm as i32)
    }

    /// The alarms of a type, by type and member; type NONE means all.
    pub fn list(&self, alarm: i32) -> Vec<AlarmMember> {
        let is_wanted = |found: i32| alarm == AlarmType::None as i32 || alarm == found;
        let table = self.table.read();
        table.iter().filter(|(found, _)| is_wanted(*found)).map(|&(alarm, member_id)| AlarmMember { member_id, alarm }).collect()
    }
}
