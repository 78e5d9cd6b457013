//! The JSON format: the messages as Go's `encoding/json` writes their structs, on one line.
//!
//! Quirk: this is not the gateway's JSON. Numbers are numbers and enums are numbers; fields that are zero are left out where the message is a
//! generated one, and present where the Go client has a type of its own (watch, most of lease); pinned by the golden tests of `tests/cli`.
//!
//! Writes: the stream it is given. Reads: messages.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{Answer, Cell, Health, Shown};
use crate::wire::{
    etcdserverpb::{
        AlarmMember, DeleteRangeResponse, HashKvResponse, Member, PutResponse, RangeResponse, ResponseHeader, ResponseOp, StatusResponse,
        TxnResponse, response_op::Response,
    },
    mvccpb::{Event, KeyValue},
};

pub fn show(out: &mut dyn Write, hex: bool, answer: Answer<'_>) -> io::Result<Shown> {
    let value = value(hex, answer);
    writeln!(out, "{}", escape_html(&value.to_string()))?;
    Ok(Shown::Yes)
}

fn value(hex: bool, answer: Answer<'_>) -> Value {
    match answer {
        Answer::Range(r) => range(r),
        Answer::Put(r) => put(r),
        Answer::DeleteRange(r) => delete_range(r),
        Answer::Txn(r) => txn(r),
        Answer::Watch(r) => json!({
            "Header": header(&r.header),
            "Events": if r.events.is_empty() { Value::Null } else { r.events.iter().map(event).collect() },
            "CompactRevision": r.compact_revision,
            "Canceled": r.canceled,
            "Created": r.created,
            "CancelReason": r.cancel_reason,
        }),
        Answer::LeaseGrant(r) => {
            Object::with_header(&r.header).always("ID", r.id).always("TTL", r.ttl).always("Error", r.error.clone()).done()
        }
        Answer::LeaseRevoke { response, .. } => Object::default().header(&response.header).done(),
        Answer::LeaseKeepAlive(r) => Object::with_header(&r.header).always("ID", r.id).always("TTL", r.ttl).done(),
        Answer::LeaseTimeToLive { response: r, .. } => Object::with_header(&r.header)
            .always("id", r.id)
            .always("ttl", r.ttl)
            .always("granted-ttl", r.granted_ttl)
            .always("keys", if r.keys.is_empty() { Value::Null } else { r.keys.iter().map(|key| base64(key)).collect() })
            .done(),
        Answer::LeaseLeases(r) => {
            let leases: Vec<_> = r.leases.iter().map(|lease| json!({ "id": lease.id })).collect();
            Object::with_header(&r.header).always("leases", leases).done()
        }
        Answer::Alarm(r) => Object::default().header(&r.header).list("alarms", &r.alarms, alarm).done(),
        Answer::MemberList(r) if hex => json!({
            "header": r.header.as_ref().map(hex_header),
            "members": r.members.iter().map(|m| member(m, format!("{:x}", m.id).into())).collect::<Vec<_>>(),
        }),
        Answer::MemberList(r) => Object::default().header(&r.header).list("members", &r.members, |m| member(m, omit_zero(m.id))).done(),
        Answer::Downgrade { response, .. } => Object::default().header(&response.header).put("version", response.version.clone()).done(),
        Answer::MoveLeader { response, .. } => Object::default().header(&response.header).done(),
        Answer::Health(list) => list_or_null(list, health),
        Answer::Status(list) => list_or_null(list, |s| json!({ "Endpoint": s.endpoint, "Status": status(&s.response) })),
        Answer::Row(columns) => {
            columns.iter().fold(Object::default(), |object, column| object.always(column.names[2], cell(&column.value))).done()
        }
        Answer::HashKv(list) => list_or_null(list, |h| json!({ "Endpoint": h.endpoint, "HashKV": hash_kv(&h.response) })),
    }
}

/// Fields in the order of the Go struct; `put` leaves out what is zero, as `omitempty` does.
fn cell(cell: &Cell) -> Value {
    match cell {
        Cell::Hash(hash) => Value::from(*hash),
        Cell::Number(number) => Value::from(*number),
        Cell::Size(bytes) => Value::from(*bytes),
        Cell::Text(text) => Value::from(text.clone()),
    }
}

#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    /// The header's fields among the object's own, as Go writes an embedded struct.
    fn with_header(header: &Option<ResponseHeader>) -> Object {
        match header.as_ref().map(header_fields) {
            Some(Value::Object(fields)) => Object(fields),
            _ => Object::default(),
        }
    }

    fn header(self, header: &Option<ResponseHeader>) -> Object {
        match header {
            Some(header) => self.always("header", header_fields(header)),
            None => self,
        }
    }

    fn put(self, name: &str, value: impl Into<Value>) -> Object {
        let value = value.into();
        let is_empty = match &value {
            Value::Null => true,
            Value::Bool(b) => !b,
            Value::Number(n) => n.as_u64() == Some(0),
            Value::String(s) => s.is_empty(),
            Value::Array(a) => a.is_empty(),
            Value::Object(_) => false,
        };
        if is_empty { self } else { self.always(name, value) }
    }

    fn always(mut self, name: &str, value: impl Into<Value>) -> Object {
        self.0.insert(name.into(), value.into());
        self
    }

    fn list<T>(self, name: &str, items: &[T], each: impl Fn(&T) -> Value) -> Object {
        self.put(name, items.iter().map(each).collect::<Vec<_>>())
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

fn omit_zero(id: u64) -> Value {
    if id == 0 { Value::Null } else { id.into() }
}

/// A nil slice is `null` in Go's JSON.
fn list_or_null<T>(items: &[T], each: impl Fn(&T) -> Value) -> Value {
    if items.is_empty() { Value::Null } else { items.iter().map(each).collect() }
}

fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

fn header(header: &Option<ResponseHeader>) -> Value {
    header.as_ref().map_or_else(|| json!({}), header_fields)
}

fn header_fields(h: &ResponseHeader) -> Value {
    Object::default()
        .put("cluster_id", h.cluster_id)
        .put("member_id", h.member_id)
        .put("revision", h.revision)
        .put("raft_term", h.raft_term)
        .done()
}

fn hex_header(h: &ResponseHeader) -> Value {
    Object::default()
        .always("cluster_id", format!("{:x}", h.cluster_id))
        .always("member_id", format!("{:x}", h.member_id))
        .put("revision", h.revision)
        .put("raft_term", h.raft_term)
        .done()
}

fn key_value(kv: &KeyValue) -> Value {
    Object::default()
        .put("key", base64(&kv.key))
        .put("create_revision", kv.create_revision)
        .put("mod_revision", kv.mod_revision)
        .put("version", kv.version)
        .put("value", base64(&kv.value))
        .put("lease", kv.lease)
        .done()
}

fn event(e: &Event) -> Value {
    Object::default()
        .put("type", e.r#type)
        .put("kv", e.kv.as_ref().map_or(Value::Null, key_value))
        .put("prev_kv", e.prev_kv.as_ref().map_or(Value::Null, key_value))
        .done()
}

fn range(r: &RangeResponse) -> Value {
    Object::default().header(&r.header).list("kvs", &r.kvs, key_value).put("more", r.more).put("count", r.count).done()
}

fn put(r: &PutResponse) -> Value {
    Object::default().header(&r.header).put("prev_kv", r.prev_kv.as_ref().map_or(Value::Null, key_value)).done()
}

fn delete_range(r: &DeleteRangeResponse) -> Value {
    Object::default().header(&r.header).put("deleted", r.deleted).list("prev_kvs", &r.prev_kvs, key_value).done()
}

fn txn(r: &TxnResponse) -> Value {
    Object::default().header(&r.header).put("succeeded", r.succeeded).list("responses", &r.responses, response_op).done()
}

fn response_op(op: &ResponseOp) -> Value {
    let object = Object::default();
    let response = match &op.response {
        Some(Response::ResponseRange(r)) => object.always("response_range", range(r)),
        Some(Response::ResponsePut(r)) => object.always("response_put", put(r)),
        Some(Response::ResponseDeleteRange(r)) => object.always("response_delete_range", delete_range(r)),
        Some(Response::ResponseTxn(r)) => object.always("response_txn", txn(r)),
        None => object,
    };
    json!({ "Response": response.done() })
}

fn alarm(a: &AlarmMember) -> Value {
    Object::default().put("memberID", a.member_id).put("alarm", a.alarm).done()
}

fn member(m: &Member, id: Value) -> Value {
    Object::default()
        .put("ID", id)
        .put("name", m.name.clone())
        .put("peerURLs", m.peer_ur_ls.clone())
        .put("clientURLs", m.client_ur_ls.clone())
        .put("isLearner", m.is_learner)
        .done()
}

fn health(h: &Health) -> Value {
    Object::default()
        .always("endpoint", h.endpoint.clone())
        .always("health", h.is_healthy)
        .always("took", h.took.clone())
        .put("error", h.error.clone())
        .done()
}

fn status(r: &StatusResponse) -> Value {
    let downgrade = r
        .downgrade_info
        .as_ref()
        .map(|d| Object::default().put("enabled", d.enabled).put("targetVersion", d.target_version.clone()).done());
    Object::default()
        .header(&r.header)
        .put("version", r.version.clone())
        .put("dbSize", r.db_size)
        .put("leader", r.leader)
        .put("raftIndex", r.raft_index)
        .put("raftTerm", r.raft_term)
        .put("raftAppliedIndex", r.raft_applied_index)
        .put("errors", r.errors.clone())
        .put("dbSizeInUse", r.db_size_in_use)
        .put("isLearner", r.is_learner)
        .put("storageVersion", r.storage_version.clone())
        .put("dbSizeQuota", r.db_size_quota)
        .put("downgradeInfo", downgrade.unwrap_or(Value::Null))
        .done()
}

fn hash_kv(r: &HashKvResponse) -> Value {
    Object::default()
        .header(&r.header)
        .put("hash", r.hash)
        .put("compact_revision", r.compact_revision)
        .put("hash_revision", r.hash_revision)
        .done()
}

/// Go escapes what could end a script element; these characters occur inside strings only.
fn escape_html(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::etcdserverpb::WatchResponse;

    fn text(answer: Answer<'_>) -> String {
        let mut out = Vec::new();
        assert_eq!(show(&mut out, false, answer).unwrap(), Shown::Yes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_zero_is_left_out_of_a_message() {
        let header = Some(ResponseHeader { cluster_id: u64::MAX, member_id: 2, revision: 0, raft_term: 4 });
        let kv = KeyValue { key: "e2".into(), create_revision: 23, mod_revision: 23, version: 1, ..Default::default() };
        assert_eq!(
            text(Answer::Range(&RangeResponse { header, kvs: vec![kv], more: false, count: 1 })),
            "{\"header\":{\"cluster_id\":18446744073709551615,\"member_id\":2,\"raft_term\":4},\
             \"kvs\":[{\"key\":\"ZTI=\",\"create_revision\":23,\"mod_revision\":23,\"version\":1}],\"count\":1}\n"
        );
    }

    #[test]
    fn a_watch_answer_has_all_fields_of_the_clients_type() {
        let response = WatchResponse { header: Some(ResponseHeader::default()), canceled: true, compact_revision: 7, ..Default::default() };
        assert_eq!(
            text(Answer::Watch(&response)),
            "{\"Header\":{},\"Events\":null,\"CompactRevision\":7,\"Canceled\":true,\"Created\":false,\"CancelReason\":\"\"}\n"
        );
    }

    #[test]
    fn angle_brackets_and_ampersands_are_escaped() {
        let list = [Health { endpoint: "http://a?<b>&c".into(), is_healthy: false, took: String::new(), error: "x".into() }];
        let expected = concat!(r#"[{"endpoint":"http://a?\u003cb\u003e\u0026c","health":false,"took":"","error":"x"}]"#, "\n");
        assert_eq!(text(Answer::Health(&list)), expected);
    }
}
