//! Looks at the rows of the small buckets that come from outside, so that nothing is taken that a member would not start on.
//!
//! Writes: nothing. Reads: nothing but what it is given. What a row says is not judged, only whether it can be read.

use prost::Message;

use super::generations::REVISION_MAX;
use crate::membership::{Downgrade, Member, Version, hex};
use crate::mvcc::Revision;
use crate::storage::Keyspace;
use crate::storage::keyspace::meta;
use crate::wire::etcdserverpb::AlarmMember;
use crate::wire::{authpb, leasepb};

/// What is wrong with a row, in a few words.
pub(super) fn check(keyspace: Keyspace, key: &[u8], value: &[u8]) -> Result<(), String> {
    match keyspace {
        Keyspace::Alarm => AlarmMember::decode(key).map(drop).map_err(|error| error.to_string()),
        Keyspace::Auth => auth(key, value),
        Keyspace::AuthUsers => match authpb::User::decode(value) {
            Ok(user) if user.name == key => Ok(()),
            Ok(user) => Err(format!("the value is of the user {}", user.name.escape_ascii())),
            Err(error) => Err(error.to_string()),
        },
        Keyspace::AuthRoles => match authpb::Role::decode(value) {
            Ok(role) if role.name == key => Ok(()),
            Ok(role) => Err(format!("the value is of the role {}", role.name.escape_ascii())),
            Err(error) => Err(error.to_string()),
        },
        Keyspace::Cluster => cluster(key, value),
        Keyspace::Lease => lease(key, value),
        Keyspace::Members => member(key, value),
        Keyspace::MembersRemoved => id_of(key).map(drop),
        Keyspace::Meta => meta_row(key, value),
        Keyspace::Key | Keyspace::Index | Keyspace::Local => Ok(()),
    }
}

fn auth(key: &[u8], value: &[u8]) -> Result<(), String> {
    match key {
        b"authEnabled" if value.len() != 1 => Err(format!("the value has {} bytes, not 1", value.len())),
        b"authRevision" => number(value).map(drop),
        _ => Ok(()),
    }
}

fn cluster(key: &[u8], value: &[u8]) -> Result<(), String> {
    match key {
        b"clusterVersion" => version(value).map(drop),
        b"downgrade" => serde_json::from_slice::<Downgrade>(value).map(drop).map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

fn lease(key: &[u8], value: &[u8]) -> Result<(), String> {
    let id = number(key)? as i64;
    let lease = leasepb::Lease::decode(value).map_err(|error| error.to_string())?;
    if lease.id == id && id != 0 { Ok(()) } else { Err(format!("the value is of the lease {:016x}", lease.id)) }
}

fn member(key: &[u8], value: &[u8]) -> Result<(), String> {
    let id = id_of(key)?;
    let member: Member = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    if member.id == id { Ok(()) } else { Err(format!("the value is of the member {}", hex(member.id))) }
}

fn meta_row(key: &[u8], value: &[u8]) -> Result<(), String> {
    match key {
        meta::CONSISTENT_INDEX | meta::TERM => number(value).map(drop),
        meta::CONF_STATE => crate::state_machine::decode_conf_state(value).map(drop).map_err(|error| error.to_string()),
        meta::STORAGE_VERSION => version(value).map(drop),
        meta::SCHEDULED_COMPACT | meta::FINISHED_COMPACT => compact_revision(value).map(drop),
        _ => Ok(()),
    }
}

pub(super) fn number(value: &[u8]) -> Result<u64, String> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| format!("a number has 8 bytes, not {}", value.len()))
}

pub(super) fn compact_revision(value: &[u8]) -> Result<i64, String> {
    match Revision::decode(value) {
        Some((revision, false)) if (0..=REVISION_MAX).contains(&revision.main) => Ok(revision.main),
        Some((revision, false)) => Err(format!("revision {} is out of range", revision.main)),
        _ => Err(format!("{} is not a revision", value.escape_ascii())),
    }
}

pub(super) fn version(value: &[u8]) -> Result<Version, String> {
    let text = String::from_utf8_lossy(value);
    text.parse().map_err(|error: crate::membership::version::ParseError| error.to_string())
}

fn id_of(key: &[u8]) -> Result<u64, String> {
    let id = std::str::from_utf8(key).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
    id.ok_or_else(|| "the key is no id in hex".into())
}
