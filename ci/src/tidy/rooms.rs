//! The floor plan: which room may import which.
//!
//! ```text
//!   use crate::mvcc::Reader;            a room is a folder or file directly under src/,
//!   use crate::{lease, wire::Error};    an import is any path that begins at the crate's root
//! ```
//!
//! The list is ARCHITECTURE.md's. It has no cycle, so a room can be read knowing only the rooms above it; a change of the
//! picture is a change of this table and of that page in one commit. Tests may import what they like.

use super::Finding;
use super::source::{Source, is_word, places};

/// Free to all: they import nothing themselves.
const FREE: &[&str] = &["wire", "clock", "metrics", "release", "go_words", "log", "url"];

/// A room and the rooms it may import besides the free ones.
struct Room {
    name: &'static str,
    may: &'static [&'static str],
    /// The only word that may be taken from those rooms, where that is the rule.
    only: Option<&'static str>,
}

const fn room(name: &'static str, may: &'static [&'static str]) -> Room {
    Room { name, may, only: None }
}

const NODE: &[&str] = &["storage", "wal", "bbolt", "mvcc", "lease", "auth", "membership", "state_machine", "watch", "consensus"];
const CONFIG: &[&str] =
    &["storage", "wal", "mvcc", "lease", "auth", "membership", "state_machine", "watch", "consensus", "peer", "node", "api", "http", "tls"];

/// In import order.
const PLAN: &[Room] = &[
    room("wire", &[]),
    room("clock", &[]),
    room("metrics", &[]),
    room("release", &[]),
    room("go_words", &[]),
    room("log", &[]),
    room("url", &[]),
    room("tls", &[]),
    room("storage", &[]),
    room("wal", &[]),
    room("bbolt", &[]),
    room("mvcc", &["storage"]),
    room("lease", &["storage"]),
    room("auth", &["storage"]),
    room("membership", &["storage"]),
    room("state_machine", &["storage", "bbolt", "mvcc", "lease", "auth", "membership"]),
    room("watch", &["storage", "mvcc"]),
    room("consensus", &["wal", "storage"]),
    room("peer", &["consensus", "tls"]),
    room("node", NODE),
    room("api", &["node", "mvcc", "lease", "membership", "state_machine", "watch"]),
    room("http", &["api", "node"]),
    Room { name: "config", may: CONFIG, only: Some("Options") },
    room("server", &["config", "api", "http", "node", "watch", "peer", "tls"]),
    room("client", &["tls"]),
    room("print", &[]),
    room("cli", &["print"]),
    room("ctl", &["bbolt", "client", "print", "cli"]),
    room("utl", &["storage", "wal", "bbolt", "mvcc", "membership", "state_machine", "print", "cli"]),
    room("bin", &["config", "server", "ctl", "utl"]),
];

/// An import of `room`, and the whole path or group as written.
struct Import {
    line: usize,
    room: String,
    path: String,
}

pub fn check(source: &Source) -> Vec<Finding> {
    let Some(from) = room_of(&source.path) else { return Vec::new() };
    let Some(plan) = PLAN.iter().find(|room| room.name == from) else {
        return vec![Finding { line: 1, what: format!("the room `{from}` is not on the floor plan") }];
    };
    let root = if from == "bin" { "etcd" } else { "crate" };
    let refused = |import: &Import| {
        if import.room == from || FREE.contains(&import.room.as_str()) || !PLAN.iter().any(|room| room.name == import.room) {
            return None;
        }
        if !plan.may.contains(&import.room.as_str()) {
            return Some(format!("`{from}` may not import `{}`", import.room));
        }
        let is_wanted = plan.only.is_none_or(|word| import.path.contains(word));
        (!is_wanted).then(|| format!("`{from}` may only take {} from `{}`", plan.only.unwrap_or_default(), import.room))
    };
    let mut findings: Vec<Finding> =
        imports(source, root).iter().filter_map(|import| refused(import).map(|what| Finding { line: import.line, what })).collect();
    findings.dedup();
    findings
}

/// `src/wal/frame.rs` is in `wal`; `src/lib.rs` is in none.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let room = inside.split_once('/').map_or_else(|| inside.trim_end_matches(".rs"), |(room, _)| room);
    (room != "lib").then_some(room)
}

fn imports(source: &Source, root: &str) -> Vec<Import> {
    // One text again, because a group may stand on several lines.
    let mut code = String::new();
    let mut starts = Vec::new();
    for line in &source.lines {
        starts.push(code.len());
        let kept = if line.is_test { "" } else { line.code.as_str() };
        code.push_str(kept);
        code.push('\n');
    }
    let mut found = Vec::new();
    for at in places(&code, root) {
        let Some(rest) = code[at + root.len()..].strip_prefix("::") else { continue };
        let line = starts.partition_point(|start| *start <= at);
        for path in heads(rest) {
            let room = path.chars().take_while(|c| is_word(*c)).collect();
            found.push(Import { line, room, path });
        }
    }
    found
}

/// What follows `crate::`: one path, or each of a group.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        let end = rest.find(|c| !is_word(c) && c != ':').unwrap_or(rest.len());
        let group = if rest[end..].starts_with('{') { rest[end..].split_inclusive('}').next() } else { None };
        return vec![rest[..end].to_owned() + group.unwrap_or_default()];
    };
    let (mut depth, mut head, mut found) = (0_usize, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(std::mem::take(&mut head));
                continue;
            }
            _ => {}
        }
        if !c.is_whitespace() || !head.is_empty() {
            head.push(c);
        }
    }
    found.push(head);
    found.retain(|head| !head.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
    }

    #[test]
    fn a_room_may_import_what_is_on_its_line() {
        assert!(said("src/mvcc/writer.rs", "use crate::storage::{Batch, Engine};\nuse crate::wire::error::Error;\n").is_empty());
    }

    #[test]
    fn an_import_against_the_order_is_found() {
        assert_eq!(said("src/mvcc/writer.rs", "//! A.\nuse crate::lease::Lessor;\n"), ["2: `mvcc` may not import `lease`"]);
        assert_eq!(said("src/storage/rocks.rs", "fn f() { crate::mvcc::open() }"), ["1: `storage` may not import `mvcc`"]);
    }

    #[test]
    fn each_name_of_a_group_is_an_import() {
        let text = "use crate::{\n    storage::{Batch, Engine},\n    watch,\n};\n";
        assert_eq!(said("src/lease/mod.rs", text), ["1: `lease` may not import `watch`"]);
    }

    #[test]
    fn config_takes_options_only() {
        assert!(said("src/config/resolve.rs", "use crate::wal::Options;\nuse crate::{node::Options as Node};\n").is_empty());
        assert_eq!(said("src/config/resolve.rs", "use crate::node::Node;\n"), ["1: `config` may only take Options from `node`"]);
    }

    #[test]
    fn a_binary_names_the_crate() {
        assert!(said("src/bin/etcd.rs", "fn main() { etcd::server::main() }").is_empty());
        assert_eq!(said("src/bin/etcd.rs", "use etcd::mvcc;"), ["1: `bin` may not import `mvcc`"]);
    }

    #[test]
    fn tests_import_what_they_like() {
        assert!(said("src/wal/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::mvcc::Writer;\n}\n").is_empty());
    }

    #[test]
    fn a_new_room_has_to_be_drawn_first() {
        assert_eq!(said("src/attic/mod.rs", "//! A.\n"), ["1: the room `attic` is not on the floor plan"]);
    }

    #[test]
    fn the_plan_has_no_cycle() {
        for (index, room) in PLAN.iter().enumerate().filter(|(_, room)| room.only.is_none()) {
            for name in room.may {
                let above = PLAN[..index].iter().any(|earlier| earlier.name == *name);
                assert!(above, "{} imports {name}, which is not above it", room.name);
            }
        }
    }
}
