//! Requests as log lines show them: etcd's text of them, with sizes in the place of values (LOG-5, LOG-7).
//!
//! Only for lines about what took too long: nothing here is fast.
//! Does not show auth commands beyond their kind, which is where passwords are.

use std::fmt::Write as _;

use super::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use super::etcdserverpb::range_request::{SortOrder, SortTarget};
use super::etcdserverpb::request_op::Request;
use super::etcdserverpb::{Compare, DeleteRangeRequest, InternalRaftRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};

/// A text of fields between blanks; what is zero or empty is not there.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn add(mut self, is_there: bool, name: &str, value: impl std::fmt::Display) -> Fields {
        if is_there {
            let blank = if self.0.is_empty() { "" } else { " " };
            // Writing to a text does not fail.
            let _ = write!(self.0, "{blank}{name}:{value}");
        }
        self
    }

    fn number(self, name: &str, value: i64) -> Fields {
        self.add(value != 0, name, value)
    }

    fn bytes(self, name: &str, value: &[u8]) -> Fields {
        self.add(!value.is_empty(), name, format_args!("\"{}\"", value.escape_ascii()))
    }

    fn flag(self, name: &str, value: bool) -> Fields {
        self.add(value, name, true)
    }

    /// Quirk: texts with a value's size in them have a blank behind every field in etcd.
    fn padded(self) -> String {
        if self.0.is_empty() { self.0 } else { self.0 + " " }
    }
}

pub fn range(request: &RangeRequest) -> String {
    let (order, target) = (request.sort_order, request.sort_target);
    let order_name = SortOrder::try_from(order).map_or_else(|_| order.to_string(), |order| order.as_str_name().to_owned());
    let target_name = SortTarget::try_from(target).map_or_else(|_| target.to_string(), |target| target.as_str_name().to_owned());
    Fields::default()
        .bytes("key", &request.key)
        .bytes("range_end", &request.range_end)
        .number("limit", request.limit)
        .number("revision", request.revision)
        .add(order != 0, "sort_order", order_name)
        .add(target != 0, "sort_target", target_name)
        .flag("serializable", request.serializable)
        .flag("keys_only", request.keys_only)
        .flag("count_only", request.count_only)
        .number("min_mod_revision", request.min_mod_revision)
        .number("max_mod_revision", request.max_mod_revision)
        .number("min_create_revision", request.min_create_revision)
        .number("max_create_revision", request.max_create_revision)
        .0
}

fn put(request: &PutRequest) -> String {
    Fields::default()
        .bytes("key", &request.key)
        .add(!request.value.is_empty(), "value_size", request.value.len())
        .number("lease", request.lease)
        .flag("prev_kv", request.prev_kv)
        .flag("ignore_value", request.ignore_value)
        .flag("ignore_lease", request.ignore_lease)
        .padded()
}

fn delete_range(request: &DeleteRangeRequest) -> String {
    Fields::default().bytes("key", &request.key).bytes("range_end", &request.range_end).flag("prev_kv", request.prev_kv).0
}

fn compare(compare: &Compare) -> String {
    let (result, target) = (compare.result, compare.target);
    let result_name = CompareResult::try_from(result).map_or_else(|_| result.to_string(), |result| result.as_str_name().to_owned());
    let target_name = CompareTarget::try_from(target).map_or_else(|_| target.to_string(), |target| target.as_str_name().to_owned());
    let fields = Fields::default().add(result != 0, "result", result_name).add(target != 0, "target", target_name);
    let fields = fields.bytes("key", &compare.key);
    let (fields, is_padded) = match &compare.target_union {
        None => (fields, false),
        Some(TargetUnion::Version(number)) => (fields.add(true, "version", number), false),
        Some(TargetUnion::CreateRevision(number)) => (fields.add(true, "create_revision", number), false),
        Some(TargetUnion::ModRevision(number)) => (fields.add(true, "mod_revision", number), false),
        Some(TargetUnion::Lease(number)) => (fields.add(true, "lease", number), false),
        Some(TargetUnion::Value(value)) => (fields.add(!value.is_empty(), "value_size", value.len()), true),
    };
    let fields = fields.bytes("range_end", &compare.range_end);
    if is_padded { fields.padded() } else { fields.0 }
}

fn operation(op: &RequestOp) -> String {
    match &op.request {
        None => String::new(),
        Some(Request::RequestRange(request)) => format!("request_range:{{{}}}", range(request)),
        Some(Request::RequestPut(request)) => format!("request_put:<{}>", put(request)),
        Some(Request::RequestDeleteRange(request)) => format!("request_delete_range:{{{}}}", delete_range(request)),
        Some(Request::RequestTxn(request)) => format!("request_txn:<{}>", txn(request)),
    }
}

pub fn txn(request: &TxnRequest) -> String {
    let compares: Vec<String> = request.compare.iter().map(compare).collect();
    let branch = |ops: &[RequestOp]| ops.iter().map(operation).collect::<Vec<_>>().join(" ");
    let (success, failure) = (branch(&request.success), branch(&request.failure));
    format!("compare:<{}> success:<{success}> failure:<{failure}>", compares.join(" "))
}

/// A command of the log.
pub fn command(request: &InternalRaftRequest) -> String {
    let header = format!("ID:{}", request.header.as_ref().map_or(request.id, |header| header.id));
    let plain = |kind: &str, fields: String| format!("header:{{{header}}} {kind}:{{{fields}}}");
    if let Some(request) = &request.put {
        format!("header:<{header}> put:<{}>", put(request))
    } else if let Some(request) = &request.txn {
        format!("header:<{header}> txn:<{}>", txn(request))
    } else if let Some(request) = &request.lease_grant {
        format!("header:<{header}> lease_grant:<ttl:{}-second id:{:016x}>", request.ttl, request.id)
    } else if let Some(request) = &request.lease_revoke {
        format!("header:<{header}> lease_revoke:<id:{:016x}>", request.id)
    } else if let Some(request) = &request.range {
        plain("range", range(request))
    } else if let Some(request) = &request.delete_range {
        plain("delete_range", delete_range(request))
    } else if let Some(request) = &request.compaction {
        plain("compaction", Fields::default().number("revision", request.revision).flag("physical", request.physical).0)
    } else if let Some(request) = &request.lease_checkpoint {
        plain("lease_checkpoint", format!("checkpoints:{}", request.checkpoints.len()))
    } else if let Some(request) = &request.alarm {
        let fields = Fields::default().number("action", request.action.into());
        plain("alarm", fields.add(request.member_id != 0, "memberID", request.member_id).number("alarm", request.alarm.into()).0)
    } else if let Some(request) = &request.cluster_version_set {
        plain("cluster_version_set", format!("ver:{:?}", request.ver))
    } else if let Some(request) = &request.cluster_member_attr_set {
        plain("cluster_member_attr_set", format!("member_ID:{}", request.member_id))
    } else if let Some(request) = &request.downgrade_info_set {
        plain(
            "downgrade_info_set",
            Fields::default().flag("enabled", request.enabled).add(true, "ver", format_args!("{:?}", request.ver)).0,
        )
    } else {
        plain("auth", String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::etcdserverpb::{AuthUserAddRequest, LeaseGrantRequest, RequestHeader};

    fn header() -> Option<RequestHeader> {
        Some(RequestHeader { id: 7, ..RequestHeader::default() })
    }

    fn a_put() -> PutRequest {
        PutRequest { key: "k\u{ff}".into(), value: "secret".into(), lease: 291, ..PutRequest::default() }
    }

    #[test]
    fn a_command_reads_as_etcd_writes_it() {
        let with_put = InternalRaftRequest { header: header(), put: Some(a_put()), ..Default::default() };
        assert_eq!(command(&with_put), r#"header:<ID:7> put:<key:"k\xc3\xbf" value_size:6 lease:291 >"#);
        let grant = LeaseGrantRequest { ttl: 100, id: 0x13b0_a20e_ca7b_7e09 };
        let with_grant = InternalRaftRequest { header: header(), lease_grant: Some(grant), ..Default::default() };
        assert_eq!(command(&with_grant), "header:<ID:7> lease_grant:<ttl:100-second id:13b0a20eca7b7e09>");
        let delete = DeleteRangeRequest { key: "foo".into(), ..Default::default() };
        let with_delete = InternalRaftRequest { header: header(), delete_range: Some(delete), ..Default::default() };
        assert_eq!(command(&with_delete), r#"header:{ID:7} delete_range:{key:"foo"}"#);
    }

    #[test]
    fn a_read_shows_what_was_asked_for() {
        let request =
            RangeRequest { key: "fo".into(), range_end: "fp".into(), limit: 5, revision: 2, keys_only: true, ..Default::default() };
        assert_eq!(range(&request), r#"key:"fo" range_end:"fp" limit:5 revision:2 keys_only:true"#);
        let request = RangeRequest { sort_order: 2, sort_target: 9, serializable: true, ..Default::default() };
        assert_eq!(range(&request), "sort_order:DESCEND sort_target:9 serializable:true");
    }

    #[test]
    fn values_and_passwords_are_not_shown() {
        let op = |request| RequestOp { request: Some(request) };
        let value = Compare { target: 3, key: "a".into(), target_union: Some(TargetUnion::Value("secret".into())), ..Default::default() };
        let inner = TxnRequest { compare: vec![value.clone()], success: vec![op(Request::RequestPut(a_put()))], failure: vec![] };
        let outer = TxnRequest { compare: vec![value], success: vec![op(Request::RequestTxn(inner))], failure: vec![] };
        let shown = txn(&outer);
        assert!(!shown.contains("secret") && shown.matches("value_size:6").count() == 3, "{shown}");
        let user = AuthUserAddRequest { name: "u".into(), password: "secret".into(), ..Default::default() };
        let with_user = InternalRaftRequest { header: header(), auth_user_add: Some(user), ..Default::default() };
        assert_eq!(command(&with_user), "header:{ID:7} auth:{}");
    }
}
