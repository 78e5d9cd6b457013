//! A `.snap` file: where a snapshot stands in the raft log, with the membership as members up to 3.6 read it at start (FMT-23).
//!
//! ```text
//!   <16 hex term>-<16 hex index>.snap
//!   snappb.Snapshot { crc of data, data = raftpb.Snapshot { metadata: index, term, conf state, data = JSON } }
//!
//!   {"Root":{"/0":{"members":{"<id>":{"raftAttributes":"{..}","attributes":"{..}"}},"removed_members":{..},"version":".."},"/1":{}}, ..}
//! ```
//!
//! Writes: whoever lays out a data directory for a Go member. Reads: the takeover of one, for its checksum only.
//! The JSON is a dump of the store of the second API; what a Go member does not need of it (its event history, its counters) is
//! left out, and then begins anew there. Since 3.7 a member starts without this file and writes it still.

use prost::Message;
use serde_json::{Map, Value, json};

use super::{Member, Version, go_json, hex};
use crate::wire::{raftpb, snappb};

/// A member's membership at an index of the log.
#[derive(Clone, Debug, Default)]
pub struct SnapFile {
    pub index: u64,
    pub term: u64,
    pub conf_state: raftpb::ConfState,
    pub members: Vec<Member>,
    pub removed: Vec<u64>,
    pub version: Option<Version>,
}

impl SnapFile {
    pub fn name(&self) -> String {
        format!("{:016x}-{:016x}.snap", self.term, self.index)
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let metadata =
            raftpb::SnapshotMetadata { conf_state: Some(self.conf_state.clone()), index: Some(self.index), term: Some(self.term) };
        let snapshot = raftpb::Snapshot { data: Some(self.store().to_string().into()), metadata: Some(metadata) };
        let data = snapshot.encode_to_vec();
        snappb::Snapshot { crc: Some(crc32c::crc32c(&data)), data: Some(data.into()) }.encode_to_vec()
    }

    fn store(&self) -> Value {
        let members = self.members.iter().map(|member| (hex(member.id), member_node(member))).collect();
        let mut cluster = Map::from_iter([("members".to_owned(), directory("/0/members", members))]);
        if !self.removed.is_empty() {
            let key = |id: &u64| format!("/0/removed_members/{}", hex(*id));
            let removed = self.removed.iter().map(|id| (hex(*id), file(&key(id), ""))).collect();
            cluster.insert("removed_members".into(), directory("/0/removed_members", removed));
        }
        if let Some(version) = self.version {
            cluster.insert("version".into(), file("/0/version", &version.to_string()));
        }
        let top = Map::from_iter([("0".to_owned(), directory("/0", cluster)), ("1".to_owned(), directory("/1", Map::new()))]);
        json!({ "Root": directory("/", top), "CurrentIndex": 0, "CurrentVersion": 2 })
    }
}

fn member_node(member: &Member) -> Value {
    let key = format!("/0/members/{}", hex(member.id));
    let mut raft = Map::from_iter([("peerURLs".to_owned(), json!(member.peer_urls))]);
    if member.is_learner {
        raft.insert("isLearner".into(), true.into());
    }
    let mut children = Map::from_iter([("raftAttributes".to_owned(), file(&format!("{key}/raftAttributes"), &text(&raft.into())))]);
    if member.is_started() {
        let attributes = json!({ "name": member.name, "clientURLs": member.client_urls });
        children.insert("attributes".into(), file(&format!("{key}/attributes"), &text(&attributes)));
    }
    directory(&key, children)
}

fn text(value: &Value) -> String {
    go_json(value).expect("a value of JSON has a JSON form")
}

fn directory(path: &str, children: Map<String, Value>) -> Value {
    node(path, "", Value::Object(children))
}

fn file(path: &str, value: &str) -> Value {
    node(path, value, Value::Null)
}

fn node(path: &str, value: &str, children: Value) -> Value {
    json!({
        "Path": path, "CreatedIndex": 0, "ModifiedIndex": 0, "ExpireTime": "0001-01-01T00:00:00Z", "Value": value, "Children": children,
    })
}

/// Is this a `.snap` file that was written whole? Or what is wrong with it.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let file = snappb::Snapshot::decode(bytes).map_err(|error| error.to_string())?;
    let (crc, data) = (file.crc.unwrap_or_default(), file.data.unwrap_or_default());
    let found = crc32c::crc32c(&data);
    if data.is_empty() || found != crc {
        return Err(format!("the checksum is {found:08x} and should be {crc:08x}"));
    }
    raftpb::Snapshot::decode(data).map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_one() -> SnapFile {
        let member = Member {
            id: 0xb_dae9,
            peer_urls: vec!["http://a:2380".into()],
            name: "m1".into(),
            client_urls: vec!["http://a:2379".into()],
            ..Member::default()
        };
        let conf_state = raftpb::ConfState { voters: vec![member.id], auto_leave: Some(false), ..raftpb::ConfState::default() };
        SnapFile { index: 0x1a, term: 2, conf_state, members: vec![member], removed: vec![0xff], version: Some(Version::new(3, 6)) }
    }

    #[test]
    fn a_file_says_where_it_stands_and_who_is_a_member() {
        let file = of_one();
        assert_eq!(file.name(), "0000000000000002-000000000000001a.snap");
        let bytes = file.encode();
        check(&bytes).unwrap();
        let data = snappb::Snapshot::decode(&bytes[..]).unwrap().data.unwrap();
        let snapshot = raftpb::Snapshot::decode(data).unwrap();
        assert_eq!(snapshot.metadata.as_ref().map(|metadata| (metadata.index(), metadata.term())), Some((0x1a, 2)));
        let store: Value = serde_json::from_slice(snapshot.data()).unwrap();
        let cluster = &store["Root"]["Children"]["0"]["Children"];
        let member = &cluster["members"]["Children"]["bdae9"];
        assert_eq!(member["Path"], "/0/members/bdae9");
        assert_eq!(member["Children"]["raftAttributes"]["Value"], r#"{"peerURLs":["http://a:2380"]}"#);
        assert_eq!(member["Children"]["attributes"]["Value"], r#"{"name":"m1","clientURLs":["http://a:2379"]}"#);
        assert_eq!(cluster["removed_members"]["Children"]["ff"]["Path"], "/0/removed_members/ff");
        assert_eq!(cluster["version"]["Value"], "3.6.0");
    }

    #[test]
    fn every_flipped_bit_that_changes_anything_is_seen() {
        let bytes = of_one().encode();
        let whole = snappb::Snapshot::decode(&bytes[..]).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // The number that the checksum is written as has more bits than the checksum.
            let is_same = snappb::Snapshot::decode(&damaged[..]).is_ok_and(|decoded| decoded == whole);
            assert!(is_same || check(&damaged).is_err(), "bit {bit}");
        }
        assert!(check(b"").is_err());
    }
}
