//! The table format: a box with a heading, for the answers that have columns.
//!
//! Writes: the stream it is given. Reads: messages. The simple format prints the same rows, joined by commas.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, Table};

use super::{Answer, Cell as Value, HashKv, Shown, Status, text};
use crate::wire::etcdserverpb::Member;

/// Names of columns and the rows below them.
pub struct Sheet {
    pub heads: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

/// The columns of an answer, if it has any.
pub fn sheet(answer: Answer<'_>) -> Option<Sheet> {
    Some(match answer {
        Answer::MemberList(r) => Sheet {
            heads: vec!["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"],
            rows: r.members.iter().map(member).collect(),
        },
        Answer::Health(list) => Sheet {
            heads: vec!["ENDPOINT", "HEALTH", "TOOK", "ERROR"],
            rows: list.iter().map(|h| vec![h.endpoint.clone(), h.is_healthy.to_string(), h.took.clone(), h.error.clone()]).collect(),
        },
        Answer::Status(list) => Sheet {
            heads: vec![
                "ENDPOINT",
                "ID",
                "VERSION",
                "STORAGE VERSION",
                "DB SIZE",
                "IN USE",
                "PERCENTAGE NOT IN USE",
                "QUOTA",
                "IS LEADER",
                "IS LEARNER",
                "RAFT TERM",
                "RAFT INDEX",
                "RAFT APPLIED INDEX",
                "ERRORS",
                "DOWNGRADE TARGET VERSION",
                "DOWNGRADE ENABLED",
            ],
            rows: list.iter().map(status).collect(),
        },
        Answer::HashKv(list) => Sheet { heads: vec!["ENDPOINT", "HASH", "HASH REVISION"], rows: list.iter().map(hash_kv).collect() },
        Answer::Row(columns) => Sheet {
            heads: columns.iter().map(|column| column.names[0]).collect(),
            rows: vec![columns.iter().map(|column| value(&column.value)).collect()],
        },
        _ => return None,
    })
}

fn value(value: &Value) -> String {
    match value {
        Value::Hash(hash) => format!("{hash:x}"),
        Value::Number(number) => number.to_string(),
        Value::Size(bytes) => text::size(*bytes),
        Value::Text(text) => text.clone(),
    }
}

pub fn show(out: &mut dyn Write, answer: Answer<'_>) -> io::Result<Shown> {
    let Some(sheet) = sheet(answer) else { return Ok(Shown::Unsupported) };
    let mut table = Table::new();
    table.load_preset("││──├─┼┤│    ┬┴┌┐└┘");
    table.set_header(heads(&sheet).into_iter().map(|head| Cell::new(head).set_alignment(CellAlignment::Left)));
    for row in sheet.rows {
        table.add_row(row.into_iter().map(|cell| Cell::new(cell).set_alignment(CellAlignment::Right)));
    }
    writeln!(out, "{table}")?;
    Ok(Shown::Yes)
}

/// The names of the columns, in the middle; where that is not possible, a little to the left.
fn heads(sheet: &Sheet) -> Vec<String> {
    let centred = |(i, head): (usize, &&str)| {
        let widest = sheet.rows.iter().map(|row| row[i].chars().count()).max().unwrap_or_default();
        let left = widest.saturating_sub(head.len()) / 2;
        format!("{}{head}", " ".repeat(left))
    };
    sheet.heads.iter().enumerate().map(centred).collect()
}

fn member(m: &Member) -> Vec<String> {
    vec![
        format!("{:x}", m.id),
        // A member that has not yet published itself has no name.
        if m.name.is_empty() { "unstarted" } else { "started" }.into(),
        m.name.clone(),
        m.peer_ur_ls.join(","),
        m.client_ur_ls.join(","),
        m.is_learner.to_string(),
    ]
}

fn status(s: &Status) -> Vec<String> {
    let r = &s.response;
    let member = r.header.unwrap_or_default().member_id;
    let downgrade = r.downgrade_info.clone().unwrap_or_default();
    vec![
        s.endpoint.clone(),
        format!("{member:x}"),
        r.version.clone(),
        r.storage_version.clone(),
        text::size(r.db_size.cast_unsigned()),
        text::size(r.db_size_in_use.cast_unsigned()),
        format!("{}%", text::percent_not_in_use(r.db_size, r.db_size_in_use)),
        text::size(r.db_size_quota.cast_unsigned()),
        (r.leader == member).to_string(),
        r.is_learner.to_string(),
        r.raft_term.to_string(),
        r.raft_index.to_string(),
        r.raft_applied_index.to_string(),
        r.errors.join(", "),
        downgrade.target_version,
        downgrade.enabled.to_string(),
    ]
}

fn hash_kv(h: &HashKv) -> Vec<String> {
    vec![h.endpoint.clone(), h.response.hash.to_string(), h.response.hash_revision.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{print::Health, wire::etcdserverpb::RangeResponse};

    #[test]
    fn a_table_has_centred_heads_and_cells_to_the_right() {
        let mut out = Vec::new();
        let list = [Health { endpoint: "127.0.0.1:2379".into(), is_healthy: true, took: "2.8ms".into(), error: String::new() }];
        assert_eq!(show(&mut out, Answer::Health(&list)).unwrap(), Shown::Yes);
        let expected = "\
┌────────────────┬────────┬───────┬───────┐
│    ENDPOINT    │ HEALTH │ TOOK  │ ERROR │
├────────────────┼────────┼───────┼───────┤
│ 127.0.0.1:2379 │   true │ 2.8ms │       │
└────────────────┴────────┴───────┴───────┘
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn pairs_have_no_table() {
        let mut out = Vec::new();
        assert_eq!(show(&mut out, Answer::Range(&RangeResponse::default())).unwrap(), Shown::Unsupported);
    }
}
