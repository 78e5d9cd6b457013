//! What a crash right now would leave of the state engine.

use crate::state_machine::{self, OpenError};
use crate::storage::keyspace::meta;
use crate::storage::{Engine, Keyspace};
use crate::wire::raftpb;

/// The newest batch that survives a crash.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flushed {
    pub index: u64,
    pub term: u64,
    pub conf_state: raftpb::ConfState,
}

/// Reads what is persisted. The engine may flush by itself between two reads, so the index is read again until it stands still.
pub fn flushed(engine: &dyn Engine) -> Result<Flushed, OpenError> {
    let number = |key: &[u8]| -> Result<u64, OpenError> {
        let row = engine.get_persisted(Keyspace::Meta, key)?;
        Ok(row.and_then(|row| row[..].try_into().ok()).map_or(0, u64::from_be_bytes))
    };
    loop {
        let index = number(meta::CONSISTENT_INDEX)?;
        let term = number(meta::TERM)?;
        let row = engine.get_persisted(Keyspace::Meta, meta::CONF_STATE)?;
        let conf_state = row.map_or(Ok(raftpb::ConfState::default()), |row| state_machine::decode_conf_state(&row))?;
        if number(meta::CONSISTENT_INDEX)? == index {
            return Ok(Flushed { index, term, conf_state });
        }
    }
}
