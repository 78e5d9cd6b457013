//! The fields format: one `"Name" : value` line per field.
//!
//! Writes: the stream it is given. Reads: messages.

use std::io::{self, Write};

use super::{
    Answer, Cell, Health, Shown, Status,
    simple::{alarm_name, event_name},
    text,
};
use crate::wire::{
    etcdserverpb::{Member, ResponseHeader, ResponseOp, TxnResponse, response_op::Response},
    mvccpb::KeyValue,
};

pub fn show(out: &mut dyn Write, hex: bool, answer: Answer<'_>) -> io::Result<Shown> {
    let mut fields = Fields { out, hex };
    fields.answer(answer)
}

struct Fields<'a> {
    out: &'a mut dyn Write,
    hex: bool,
}

impl Fields<'_> {
    fn answer(&mut self, answer: Answer<'_>) -> io::Result<Shown> {
        match answer {
            Answer::Range(r) => {
                self.header(&r.header)?;
                r.kvs.iter().try_for_each(|kv| self.pair("", kv))?;
                self.line("More", r.more)?;
                self.line("Count", r.count)?;
            }
            Answer::Put(r) => {
                self.header(&r.header)?;
                r.prev_kv.iter().try_for_each(|kv| self.pair("Prev", kv))?;
            }
            Answer::DeleteRange(r) => {
                self.header(&r.header)?;
                self.line("Deleted", r.deleted)?;
                r.prev_kvs.iter().try_for_each(|kv| self.pair("Prev", kv))?;
            }
            Answer::Txn(r) => self.txn(r)?,
            Answer::Watch(r) => {
                self.header(&r.header)?;
                for event in &r.events {
                    self.line("Type", event_name(event))?;
                    event.prev_kv.iter().try_for_each(|kv| self.pair("Prev", kv))?;
                    self.pair("", event.kv.as_ref().unwrap_or(&KeyValue::default()))?;
                }
            }
            Answer::Alarm(r) => {
                self.header(&r.header)?;
                for alarm in &r.alarms {
                    self.id("MemberID", alarm.member_id)?;
                    self.line("AlarmType", alarm_name(alarm.alarm).unwrap_or("UNKNOWN"))?;
                    writeln!(self.out)?;
                }
            }
            Answer::MemberList(r) => {
                self.header(&r.header)?;
                r.members.iter().try_for_each(|member| self.member(member))?;
            }
            Answer::Health(list) => list.iter().try_for_each(|h| self.health(h))?,
            Answer::Status(list) => list.iter().try_for_each(|s| self.status(s))?,
            Answer::HashKv(list) => {
                for h in list {
                    self.header(&h.response.header)?;
                    self.quoted("Endpoint", h.endpoint.as_bytes())?;
                    self.line("Hash", h.response.hash)?;
                    self.line("HashRevision", h.response.hash_revision)?;
                    writeln!(self.out)?;
                }
            }
            Answer::Row(columns) => columns.iter().try_for_each(|column| match &column.value {
                Cell::Hash(hash) => self.line(column.names[1], hash),
                Cell::Number(number) => self.line(column.names[1], number),
                Cell::Size(bytes) => self.line(column.names[1], bytes),
                Cell::Text(text) => self.line(column.names[1], text),
            })?,
            Answer::MoveLeader { .. } | Answer::Downgrade { .. } => return Ok(Shown::Unsupported),
            lease => self.lease(lease)?,
        }
        Ok(Shown::Yes)
    }

    fn lease(&mut self, answer: Answer<'_>) -> io::Result<()> {
        match answer {
            Answer::LeaseGrant(r) => {
                self.header(&r.header)?;
                self.lease_id("ID", r.id)?;
                self.line("TTL", r.ttl)
            }
            Answer::LeaseRevoke { response, .. } => self.header(&response.header),
            Answer::LeaseKeepAlive(r) => {
                self.header(&r.header)?;
                self.lease_id("ID", r.id)?;
                self.line("TTL", r.ttl)
            }
            Answer::LeaseTimeToLive { response, .. } => {
                self.header(&response.header)?;
                self.lease_id("ID", response.id)?;
                self.line("TTL", response.ttl)?;
                self.line("GrantedTTL", response.granted_ttl)?;
                response.keys.iter().try_for_each(|key| self.quoted("Key", key))
            }
            Answer::LeaseLeases(r) => {
                self.header(&r.header)?;
                r.leases.iter().try_for_each(|lease| self.lease_id("ID", lease.id))
            }
            other => unreachable!("not about a lease: {other:?}"),
        }
    }

    fn header(&mut self, header: &Option<ResponseHeader>) -> io::Result<()> {
        let header = header.unwrap_or_default();
        self.id("ClusterID", header.cluster_id)?;
        self.id("MemberID", header.member_id)?;
        if header.revision > 0 {
            self.line("Revision", header.revision)?;
        }
        self.line("RaftTerm", header.raft_term)
    }

    fn pair(&mut self, prefix: &str, kv: &KeyValue) -> io::Result<()> {
        self.quoted(&format!("{prefix}Key"), &kv.key)?;
        self.line(&format!("{prefix}CreateRevision"), kv.create_revision)?;
        self.line(&format!("{prefix}ModRevision"), kv.mod_revision)?;
        self.line(&format!("{prefix}Version"), kv.version)?;
        self.quoted(&format!("{prefix}Value"), &kv.value)?;
        self.lease_id(&format!("{prefix}Lease"), kv.lease)
    }

    fn txn(&mut self, r: &TxnResponse) -> io::Result<()> {
        self.header(&r.header)?;
        self.line("Succeeded", r.succeeded)?;
        for ResponseOp { response } in &r.responses {
            let _ = match response {
                Some(Response::ResponseRange(r)) => self.answer(Answer::Range(r))?,
                Some(Response::ResponsePut(r)) => self.answer(Answer::Put(r))?,
                Some(Response::ResponseDeleteRange(r)) => self.answer(Answer::DeleteRange(r))?,
                Some(Response::ResponseTxn(r)) => self.answer(Answer::Txn(r))?,
                None => Shown::Yes,
            };
        }
        Ok(())
    }

    fn member(&mut self, member: &Member) -> io::Result<()> {
        self.id("ID", member.id)?;
        self.quoted("Name", member.name.as_bytes())?;
        member.peer_ur_ls.iter().try_for_each(|url| self.quoted("PeerURL", url.as_bytes()))?;
        member.client_ur_ls.iter().try_for_each(|url| self.quoted("ClientURL", url.as_bytes()))?;
        self.line("IsLearner", member.is_learner)?;
        writeln!(self.out)
    }

    fn health(&mut self, h: &Health) -> io::Result<()> {
        self.quoted("Endpoint", h.endpoint.as_bytes())?;
        self.line("Health", h.is_healthy)?;
        self.line("Took", &h.took)?;
        self.line("Error", &h.error)?;
        writeln!(self.out)
    }

    fn status(&mut self, status: &Status) -> io::Result<()> {
        let r = &status.response;
        let downgrade = r.downgrade_info.clone().unwrap_or_default();
        self.header(&r.header)?;
        self.quoted("Version", r.version.as_bytes())?;
        self.quoted("StorageVersion", r.storage_version.as_bytes())?;
        self.line("DBSize", r.db_size)?;
        self.line("DBSizeInUse", r.db_size_in_use)?;
        self.line("DBSizeQuota", r.db_size_quota)?;
        self.line("Leader", r.leader)?;
        self.line("IsLearner", r.is_learner)?;
        self.line("RaftIndex", r.raft_index)?;
        self.line("RaftTerm", r.raft_term)?;
        self.line("RaftAppliedIndex", r.raft_applied_index)?;
        self.line("Errors", format_args!("[{}]", r.errors.join(" ")))?;
        self.quoted("Endpoint", status.endpoint.as_bytes())?;
        self.quoted("DowngradeTargetVersion", downgrade.target_version.as_bytes())?;
        self.line("DowngradeEnabled", downgrade.enabled)?;
        writeln!(self.out)
    }

    fn line(&mut self, name: &str, value: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.out, "\"{name}\" : {value}")
    }

    fn quoted(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        self.line(name, text::quote(value))
    }

    /// Members and clusters.
    fn id(&mut self, name: &str, id: u64) -> io::Result<()> {
        if self.hex { self.line(name, format_args!("{id:x}")) } else { self.line(name, id) }
    }

    fn lease_id(&mut self, name: &str, id: i64) -> io::Result<()> {
        if self.hex { self.line(name, format_args!("{id:016x}")) } else { self.line(name, id) }
    }
}
