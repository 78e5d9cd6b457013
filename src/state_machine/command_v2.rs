//! What members up to 3.5 log of themselves: requests to the store of the second API, which is otherwise gone.
//!
//! ```text
//!   Request {ID=1, Method=2, Path=3, Val=4, ..}      bare, or as field 2 of an InternalRaftRequest
//!     PUT /0/members/<hex id>/attributes   {"name":..,"clientURLs":[..]}    -> ClusterMemberAttrSet
//!     PUT /0/version                       3.5.0                            -> ClusterVersionSet
//! ```
//!
//! Writes: nothing. Reads: an entry that is no command of the third API. Anything else of the second API stays unknown, as in etcd
//! 3.6 (server/etcdserver/apply_v2.go), whose translation this is.

use bytes::Bytes;
use prost::Message;
use serde::Deserialize;

use super::command::Action;
use crate::wire::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest};

/// The fields that matter here.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(string, tag = "3")]
    path: String,
    #[prost(string, tag = "4")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(message, optional, tag = "2")]
    request: Option<Request>,
}

#[derive(Deserialize)]
struct AttributesJson {
    #[serde(default)]
    name: String,
    #[serde(rename = "clientURLs", default)]
    client_urls: Option<Vec<String>>,
}

/// The id and the command that such an entry stands for, if it is one.
pub(super) fn decode(data: &Bytes) -> Option<(u64, Action)> {
    // What is wrapped may decode as a request whose method is all of it.
    let is_method = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
    let bare = Request::decode(data.clone()).ok().filter(|request| is_method(&request.method));
    let request = bare.or_else(|| Envelope::decode(data.clone()).ok()?.request)?;
    Some((request.id, action(&request)?))
}

fn action(Request { method, path, value, .. }: &Request) -> Option<Action> {
    if method != "PUT" {
        return None;
    }
    if path == "/0/version" {
        return Some(Action::ClusterVersionSet(ClusterVersionSetRequest { ver: value.clone() }));
    }
    let member = path.strip_prefix("/0/members/")?.strip_suffix("/attributes")?;
    let member_id = u64::from_str_radix(member, 16).ok()?;
    let AttributesJson { name, client_urls } = serde_json::from_str(value).ok()?;
    let member_attributes = Some(Attributes { name, client_urls: client_urls.unwrap_or_default() });
    Some(Action::ClusterMemberAttrSet(ClusterMemberAttrSetRequest { member_id, member_attributes }))
}

#[cfg(test)]
mod tests {
    use super::super::command::{Command, DecodeError};
    use super::*;

    fn request(method: &str, path: &str, value: &str) -> Request {
        Request { id: 7, method: method.into(), path: path.into(), value: value.into() }
    }

    fn command(message: &impl Message) -> Result<(u64, Action), DecodeError> {
        Command::decode(message.encode_to_vec().into()).map(|command| (command.id, command.action))
    }

    #[test]
    fn a_member_of_3_5_that_publishes_itself_is_understood() {
        let publish = request("PUT", "/0/members/8e9e05c52164694d/attributes", r#"{"name":"m1","clientURLs":["http://a:2379"]}"#);
        let wanted = Action::ClusterMemberAttrSet(ClusterMemberAttrSetRequest {
            member_id: 0x8e9e_05c5_2164_694d,
            member_attributes: Some(Attributes { name: "m1".into(), client_urls: vec!["http://a:2379".into()] }),
        });
        assert_eq!(command(&publish).unwrap(), (7, wanted.clone()));
        assert_eq!(command(&Envelope { request: Some(publish) }).unwrap(), (7, wanted));
    }

    #[test]
    fn a_cluster_version_that_3_5_has_set_is_understood() {
        let wanted = Action::ClusterVersionSet(ClusterVersionSetRequest { ver: "3.5.0".into() });
        assert_eq!(command(&request("PUT", "/0/version", "3.5.0")).unwrap(), (7, wanted));
    }

    #[test]
    fn anything_else_of_the_second_api_stays_unknown() {
        for (method, path) in [("PUT", "/1/user"), ("DELETE", "/0/version"), ("SYNC", ""), ("PUT", "/0/members/x/attributes")] {
            assert!(command(&request(method, path, "{}")).is_err(), "{method} {path}");
        }
    }
}
