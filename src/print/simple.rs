//! The simple format: keys and values on lines of their own, one sentence for the rest.
//!
//! Writes: the stream it is given, raw bytes as they are; unhealthy endpoints go to stderr. Reads: messages.

use std::io::{self, Write};

use super::{Answer, Health, Shown, Style, table, text};
use crate::wire::{
    etcdserverpb::{
        AlarmType, DeleteRangeResponse, LeaseTimeToLiveResponse, PutResponse, RangeResponse, ResponseOp, TxnResponse, response_op::Response,
    },
    mvccpb::{Event, KeyValue, event::EventType},
};

pub fn show(out: &mut dyn Write, style: Style, answer: Answer<'_>) -> io::Result<Shown> {
    match answer {
        Answer::Range(r) => range(out, style, r)?,
        Answer::Put(r) => put(out, style, r)?,
        Answer::DeleteRange(r) => delete_range(out, style, r)?,
        Answer::Txn(r) => txn(out, style, r)?,
        Answer::Watch(r) => r.events.iter().try_for_each(|e| event(out, style, e))?,
        Answer::LeaseGrant(r) => writeln!(out, "lease {:016x} granted with TTL({}s)", r.id, r.ttl)?,
        Answer::LeaseRevoke { id, .. } => writeln!(out, "lease {id:016x} revoked")?,
        Answer::LeaseKeepAlive(r) => writeln!(out, "lease {:016x} keepalived with TTL({})", r.id, r.ttl)?,
        Answer::LeaseTimeToLive { response, with_keys } => time_to_live(out, response, with_keys)?,
        Answer::LeaseLeases(r) => {
            writeln!(out, "found {} leases", r.leases.len())?;
            r.leases.iter().try_for_each(|lease| writeln!(out, "{:016x}", lease.id))?;
        }
        Answer::Alarm(r) => r.alarms.iter().try_for_each(|a| match alarm_name(a.alarm) {
            // The text form of a message leaves out what is zero.
            Some("NONE") => writeln!(out, "memberID:{}", a.member_id),
            Some(name) => writeln!(out, "memberID:{} alarm:{name}", a.member_id),
            None => writeln!(out, "memberID:{} alarm:{}", a.member_id, a.alarm),
        })?,
        Answer::MoveLeader { from, to, .. } => writeln!(out, "Leadership transferred from {from:x} to {to:x}")?,
        Answer::Downgrade { verb, response } => writeln!(out, "Downgrade {verb} success, cluster version {}", response.version)?,
        Answer::Health(list) => list.iter().try_for_each(|h| health(out, h))?,
        Answer::MemberList(_) | Answer::Status(_) | Answer::HashKv(_) | Answer::Row(_) => {
            let sheet = table::sheet(answer).expect("these four have columns");
            sheet.rows.iter().try_for_each(|row| writeln!(out, "{}", row.join(", ")))?;
        }
    }
    Ok(Shown::Yes)
}

pub(super) fn alarm_name(alarm: i32) -> Option<&'static str> {
    AlarmType::try_from(alarm).ok().map(|a| a.as_str_name())
}

pub(super) fn event_name(event: &Event) -> &'static str {
    EventType::try_from(event.r#type).map_or("UNKNOWN", |t| t.as_str_name())
}

fn pair(out: &mut dyn Write, style: Style, kv: &KeyValue) -> io::Result<()> {
    if !style.value_only {
        line(out, style, &kv.key)?;
    }
    line(out, style, &kv.value)
}

fn line(out: &mut dyn Write, style: Style, bytes: &[u8]) -> io::Result<()> {
    if style.hex {
        return writeln!(out, "{}", text::hex_bytes(bytes));
    }
    out.write_all(bytes)?;
    out.write_all(b"\n")
}

fn range(out: &mut dyn Write, style: Style, r: &RangeResponse) -> io::Result<()> {
    r.kvs.iter().try_for_each(|kv| pair(out, style, kv))
}

fn put(out: &mut dyn Write, style: Style, r: &PutResponse) -> io::Result<()> {
    writeln!(out, "OK")?;
    r.prev_kv.iter().try_for_each(|kv| pair(out, style, kv))
}

fn delete_range(out: &mut dyn Write, style: Style, r: &DeleteRangeResponse) -> io::Result<()> {
    writeln!(out, "{}", r.deleted)?;
    r.prev_kvs.iter().try_for_each(|kv| pair(out, style, kv))
}

fn txn(out: &mut dyn Write, style: Style, r: &TxnResponse) -> io::Result<()> {
    writeln!(out, "{}", if r.succeeded { "SUCCESS" } else { "FAILURE" })?;
    for ResponseOp { response } in &r.responses {
        writeln!(out)?;
        match response {
            Some(Response::ResponseRange(r)) => range(out, style, r)?,
            Some(Response::ResponsePut(r)) => put(out, style, r)?,
            Some(Response::ResponseDeleteRange(r)) => delete_range(out, style, r)?,
            Some(Response::ResponseTxn(r)) => txn(out, style, r)?,
            None => {}
        }
    }
    Ok(())
}

fn event(out: &mut dyn Write, style: Style, event: &Event) -> io::Result<()> {
    writeln!(out, "{}", event_name(event))?;
    event.prev_kv.iter().chain(&event.kv).try_for_each(|kv| pair(out, style, kv))
}

fn time_to_live(out: &mut dyn Write, r: &LeaseTimeToLiveResponse, with_keys: bool) -> io::Result<()> {
    if r.granted_ttl == 0 && r.ttl == -1 {
        return writeln!(out, "lease {:016x} already expired", r.id);
    }
    write!(out, "lease {:016x} granted with TTL({}s), remaining({}s)", r.id, r.granted_ttl, r.ttl)?;
    if with_keys {
        out.write_all(b", attached keys([")?;
        out.write_all(&r.keys.join(&b' '))?;
        out.write_all(b"])")?;
    }
    writeln!(out)
}

fn health(out: &mut dyn Write, h: &Health) -> io::Result<()> {
    if h.error.is_empty() {
        return writeln!(out, "{} is healthy: successfully committed proposal: took = {}", h.endpoint, h.took);
    }
    out.flush()?;
    writeln!(io::stderr(), "{} is unhealthy: failed to commit proposal: {}", h.endpoint, h.error)
}
