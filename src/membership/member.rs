//! One row of the member list: its ids and its JSON form, as etcd writes it (FMT-14).
//!
//! ```text
//!   {"id":N,"peerURLs":[..],"isLearner":true,"name":"..","clientURLs":[..]}     isLearner, name, clientURLs only if set
//!   the context of a conf change: the same, and "isPromote":bool
//! ```

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest, Sha1};

use crate::wire::{etcdserverpb, raftpb};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: u64,
    #[serde(rename = "peerURLs", default, deserialize_with = "null_is_empty", serialize_with = "empty_is_null")]
    pub peer_urls: Vec<String>,
    #[serde(rename = "isLearner", default, skip_serializing_if = "is_false")]
    pub is_learner: bool,
    /// Empty until the member has published itself (MEM-8).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(rename = "clientURLs", default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub client_urls: Vec<String>,
}

impl Member {
    /// A member that takes part from the start: its id depends on the token, not on the time (MEM-10).
    pub fn founding(name: &str, peer_urls: &[String], token: &str) -> Member {
        Member { id: member_id(peer_urls, token, None), peer_urls: sorted(peer_urls), name: name.into(), ..Member::default() }
    }

    /// The change that makes this member a voter of a group that is founded (BST-5, FMT-4).
    pub fn founding_change(&self) -> raftpb::ConfChange {
        raftpb::ConfChange {
            id: None,
            r#type: Some(raftpb::ConfChangeType::ConfChangeAddNode.into()),
            node_id: Some(self.id),
            context: Some(go_json(self).expect("a member has a JSON form").into()),
        }
    }

    /// A member has started once it has published its name.
    pub fn is_started(&self) -> bool {
        !self.name.is_empty()
    }

    pub fn to_wire(&self) -> etcdserverpb::Member {
        etcdserverpb::Member {
            id: self.id,
            name: self.name.clone(),
            peer_ur_ls: self.peer_urls.clone(),
            client_ur_ls: self.client_urls.clone(),
            is_learner: self.is_learner,
        }
    }
}

/// What a conf change carries for the member list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    #[serde(flatten)]
    pub member: Member,
    #[serde(rename = "isPromote", default)]
    pub is_promote: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Go writes a list that was never set as null.
fn null_is_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(from)?.unwrap_or_default())
}

fn empty_is_null<S: Serializer>(list: &[String], to: S) -> Result<S::Ok, S::Error> {
    if list.is_empty() { to.serialize_none() } else { list.serialize(to) }
}

/// JSON as Go writes it: compact, in the order of the fields, with the characters escaped that could mean something to a browser.
pub fn go_json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(value)?;
    for (character, escaped) in [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")] {
        // Outside of strings JSON has none of these characters.
        if text.contains(character) {
            text = text.replace(character, escaped);
        }
    }
    Ok(text)
}

/// An id as keys and logs have it: lower-case hex without padding.
pub fn hex(id: u64) -> String {
    format!("{id:x}")
}

fn sorted(urls: &[String]) -> Vec<String> {
    let mut urls = urls.to_vec();
    urls.sort_unstable();
    urls
}

/// The first eight bytes of SHA-1 over the sorted peer URLs, the token and, for a member added later, the unix seconds (MEM-10).
pub fn member_id(peer_urls: &[String], token: &str, added_at: Option<u64>) -> u64 {
    let mut text = sorted(peer_urls).concat() + token;
    if let Some(seconds) = added_at {
        text += &seconds.to_string();
    }
    first_eight(text.as_bytes())
}

/// The first eight bytes of SHA-1 over the sorted ids of the founding members, eight bytes each, big-endian (MEM-10).
pub fn cluster_id(members: &[u64]) -> u64 {
    let mut ids = members.to_vec();
    ids.sort_unstable();
    first_eight(&ids.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<_>>())
}

fn first_eight(bytes: &[u8]) -> u64 {
    let digest: [u8; 20] = Sha1::digest(bytes).into();
    digest.iter().take(8).fold(0, |id, &byte| id << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|&url| url.to_owned()).collect()
    }

    #[test]
    fn the_ids_of_a_default_cluster_are_etcds() {
        let member = member_id(&urls(&["http://localhost:2380"]), "etcd-cluster", None);
        assert_eq!(hex(member), "8e9e05c52164694d");
        assert_eq!(hex(cluster_id(&[member])), "cdf818194e3a8c32");
    }

    #[test]
    fn an_id_does_not_depend_on_the_order_of_urls_but_on_token_and_time() {
        let (a, b) = (urls(&["http://a:1", "http://b:1"]), urls(&["http://b:1", "http://a:1"]));
        assert_eq!(member_id(&a, "t", None), member_id(&b, "t", None));
        assert_ne!(member_id(&a, "t", None), member_id(&a, "u", None));
        assert_ne!(member_id(&a, "t", None), member_id(&a, "t", Some(1)));
        assert_eq!(cluster_id(&[1, 2]), cluster_id(&[2, 1]));
    }

    #[test]
    fn a_member_row_is_written_as_go_writes_it() {
        let mut member = Member { id: 13_668_033_151_171_901_709, peer_urls: urls(&["http://127.0.0.1:1"]), ..Member::default() };
        assert_eq!(go_json(&member).unwrap(), r#"{"id":13668033151171901709,"peerURLs":["http://127.0.0.1:1"]}"#);
        member.is_learner = true;
        member.name = "a&<b>".into();
        member.client_urls = urls(&["http://127.0.0.1:2"]);
        let text = go_json(&member).unwrap();
        assert_eq!(
            text,
            r#"{"id":13668033151171901709,"peerURLs":["http://127.0.0.1:1"],"isLearner":true,"name":"a\u0026\u003cb\u003e","clientURLs":["http://127.0.0.1:2"]}"#
        );
        assert_eq!(serde_json::from_str::<Member>(&text).unwrap(), member);
    }

    #[test]
    fn a_context_reads_both_a_bare_member_and_a_promotion() {
        let bare: Context = serde_json::from_str(r#"{"id":5,"peerURLs":null}"#).unwrap();
        assert_eq!(bare, Context { member: Member { id: 5, ..Member::default() }, is_promote: false });
        let promotion: Context = serde_json::from_str(r#"{"id":5,"peerURLs":["u"],"isLearner":true,"isPromote":true}"#).unwrap();
        assert!(promotion.is_promote && promotion.member.is_learner);
        assert_eq!(go_json(&promotion).unwrap(), r#"{"id":5,"peerURLs":["u"],"isLearner":true,"isPromote":true}"#);
    }
}
