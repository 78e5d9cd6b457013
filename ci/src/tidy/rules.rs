//! The rules: what is looked for, where, why, and a sample that breaks each.

use super::source::{Source, is_word, item_end, places};
use super::{Finding, rooms};

pub struct Rule {
    pub name: &'static str,
    pub why: &'static str,
    pub is_warning: bool,
    pub applies: fn(&Source) -> bool,
    pub check: fn(&Source) -> Vec<Finding>,
    /// A path and a text that the rule has to find something in.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by this table's tests"))]
    pub bad: (&'static str, &'static str),
    /// A path and a text, close to the bad one, that it has to let pass.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by this table's tests"))]
    pub good: (&'static str, &'static str),
}

const LINES_AIM: usize = 300;
const LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

pub const RULES: &[Rule] = &[
    Rule {
        name: "file-size",
        why: "A room is seen at one glance: a file stops at 600 lines, tests not counted. Split it by noun.",
        is_warning: false,
        applies: is_source,
        check: |source| longer_than(source, LINES_MAX),
        bad: ("src/a/b.rs", LONG_FILE),
        good: ("src/a/b.rs", "//! A.\n"),
    },
    Rule {
        name: "file-aim",
        why: "Files aim at 300 lines.",
        is_warning: true,
        applies: is_source,
        check: |source| if longer_than(source, LINES_MAX).is_empty() { longer_than(source, LINES_AIM) } else { Vec::new() },
        bad: ("src/a/b.rs", AIMLESS_FILE),
        good: ("src/a/b.rs", LONG_FILE),
    },
    Rule {
        name: "function-size",
        why: "A function stops at 70 lines: what does not fit is more than one thing.",
        is_warning: true,
        applies: is_source,
        check: long_functions,
        bad: ("src/a.rs", LONG_FUNCTION),
        good: ("src/a.rs", "fn short() {\n}\n"),
    },
    Rule {
        name: "module-head",
        why: "The first line of a file says what it is for.",
        is_warning: false,
        applies: is_source,
        check: |source| {
            let is_head = source.lines.first().is_some_and(|line| line.text.starts_with("//! ") && line.text.len() > 5);
            if is_head { Vec::new() } else { vec![finding(1, "the file does not begin with `//!` and a sentence")] }
        },
        bad: ("src/a.rs", "use std::fs;\n"),
        good: ("src/a.rs", "//! Reads files.\nuse std::fs;\n"),
    },
    Rule {
        name: "module-name",
        why: "What has no noun has no owner: name a module after the one thing it holds.",
        is_warning: false,
        applies: is_source,
        check: |source| {
            let parts = source.path.trim_end_matches(".rs").split('/').skip(1);
            parts.filter(|part| NAMELESS.contains(part)).map(|part| finding(1, format!("`{part}` says nothing"))).collect()
        },
        bad: ("src/wal/utils.rs", "//! Odds and ends.\n"),
        good: ("src/wal/frame.rs", "//! A frame.\n"),
    },
    Rule {
        name: "floor-plan",
        why: "Rooms import along one list (ARCHITECTURE.md), so that the picture stays true.",
        is_warning: false,
        applies: |source| is_product(source),
        check: rooms::check,
        bad: ("src/storage/rocks.rs", "use crate::node::Node;\n"),
        good: ("src/node/mod.rs", "use crate::storage::Engine;\n"),
    },
    Rule {
        name: "clock",
        why: "Time comes from clock.rs alone, so that a simulation can move it.",
        is_warning: false,
        applies: |source| is_product(source) && source.path != "src/clock.rs",
        check: |source| words_in_code(source, &["Instant::now", "SystemTime::now"]),
        bad: ("src/lease/mod.rs", "fn f() { Instant::now(); }\n"),
        good: ("src/lease/mod.rs", "//! Never calls Instant::now.\nfn f(clock: &dyn Clock) { clock.now(); }\n"),
    },
    Rule {
        name: "environment",
        why: "Flags, environment and file become one Config; nothing below the server looks around for itself.",
        is_warning: false,
        applies: |source| is_product(source) && !ENVIRONMENT_READERS.iter().any(|folder| source.path.starts_with(folder)),
        check: |source| words_in_code(source, ENVIRONMENT),
        bad: ("src/node/mod.rs", "fn f() { std::env::var(\"A\"); }\n"),
        good: ("src/node/mod.rs", "const A: &str = env!(\"A\");\n"),
    },
    Rule {
        name: "log-files",
        why: "The log touches the disk through one small seam, so that a simulation can lose what was not synced.",
        is_warning: false,
        applies: |source| source.path.starts_with("src/wal/") && !DISK_DOORS.contains(&source.path.as_str()),
        check: |source| words_in_code(source, &["std::fs", "File::open", "File::create", "OpenOptions"]),
        bad: ("src/wal/segment.rs", "use std::fs::File;\n"),
        good: ("src/wal/file_system.rs", "use std::fs::File;\n"),
    },
    Rule {
        name: "unwrap",
        why: "A failure is a rejection, a fault, or an invariant spelt out in `expect`.",
        is_warning: false,
        applies: is_product,
        check: |source| words_in_code(source, &[".unwrap()"]),
        bad: ("src/a.rs", "fn f() { g().unwrap(); }\n"),
        good: ("src/a.rs", "fn f() { g().unwrap_or_default(); }\n#[cfg(test)]\nmod tests { fn h() { g().unwrap(); } }\n"),
    },
    Rule {
        name: "unsafe",
        why: "No unsafe code.",
        is_warning: false,
        applies: Source::is_rust,
        check: |source| words_in_all_code(source, &["unsafe"]),
        bad: ("src/a.rs", "fn f() { unsafe { g() } }\n"),
        good: ("src/a.rs", "#![forbid(unsafe_code)]\n"),
    },
    Rule {
        name: "waiver",
        why: "A lint is waived with `expect` and a reason, so that a dead waiver surfaces.",
        is_warning: false,
        applies: is_source,
        check: |source| words_in_all_code(source, &["#[allow(", "#![allow("]),
        bad: ("src/a.rs", "#[allow(dead_code)]\nfn f() {}\n"),
        good: ("src/a.rs", "#[expect(dead_code, reason = \"a\")]\nfn f() {}\n"),
    },
    Rule {
        name: "ignored-test",
        why: "A test that is not run says why.",
        is_warning: false,
        applies: Source::is_rust,
        check: |source| words_in_all_code(source, &["#[ignore]"]),
        bad: ("tests/a.rs", "#[test]\n#[ignore]\nfn f() {}\n"),
        good: ("tests/a.rs", "#[test]\n#[ignore = \"an hour long\"]\nfn f() {}\n"),
    },
    Rule {
        name: "unfinished",
        why: "What is not done is on the issue list, not in the code.",
        is_warning: false,
        applies: is_text,
        check: |source| {
            let words =
                [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
            words_in_text(source, &words)
        },
        bad: ("src/a.rs", concat!("// TO", "DO: finish\n")),
        good: ("src/a.rs", "// The rest is left to the caller.\n"),
    },
    Rule {
        name: "one-machine",
        why: "The tree builds anywhere: no path that exists on one machine only.",
        is_warning: false,
        applies: is_text,
        check: machine_paths,
        bad: ("README.md", concat!("See /ho", "me/someone/notes.\n")),
        good: ("README.md", "See https://example.org/home/page and src/home/a.rs.\n"),
    },
];

/// Names that could be given to anything.
const NAMELESS: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc", "core", "imp", "inner", "new"];
/// What looks at the process's surroundings.
const ENVIRONMENT: &[&str] = &[
    "env::var",
    "env::var_os",
    "env::vars",
    "env::vars_os",
    "env::args",
    "env::args_os",
    "env::current_dir",
    "env::current_exe",
    "env::temp_dir",
];
/// The edges: the server's settings, the service manager's socket, and the command line with the client it speaks through.
const ENVIRONMENT_READERS: &[&str] = &["src/config/", "src/bin/", "src/server/signal/", "src/ctl/", "src/client/"];
/// The log's only door to the disk.
const DISK_DOORS: &[&str] = &["src/wal/file_system.rs"];
const MACHINE_ROOTS: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/Us", "ers/")];

fn finding(line: usize, what: impl Into<String>) -> Finding {
    Finding { line, what: what.into() }
}

/// Code of the product and of the programs beside it.
fn is_source(source: &Source) -> bool {
    source.is_rust() && ["src/", "ci/src/", "bench/src/"].iter().any(|folder| source.path.starts_with(folder))
}

fn is_product(source: &Source) -> bool {
    source.is_rust() && source.path.starts_with("src/")
}

/// Everything written by hand here: not the lock file, not the licence.
fn is_text(source: &Source) -> bool {
    !source.path.ends_with(".lock") && source.path != "LICENSE"
}

fn longer_than(source: &Source, max: usize) -> Vec<Finding> {
    let len = source.product().count();
    if len > max { vec![finding(max + 1, format!("{len} lines without tests, {max} wanted"))] } else { Vec::new() }
}

/// In code that ships: not in tests, comments or literals.
fn words_in_code(source: &Source, words: &[&str]) -> Vec<Finding> {
    source.product().filter_map(|(number, line)| banned(&line.code, words, number)).collect()
}

fn words_in_all_code(source: &Source, words: &[&str]) -> Vec<Finding> {
    source.numbered().filter_map(|(number, line)| banned(&line.code, words, number)).collect()
}

/// Anywhere, in comments and prose too.
fn words_in_text(source: &Source, words: &[&str]) -> Vec<Finding> {
    source.numbered().filter_map(|(number, line)| banned(&line.text, words, number)).collect()
}

fn banned(line: &str, words: &[&str], number: usize) -> Option<Finding> {
    words.iter().find(|word| !places(line, word).is_empty()).map(|word| finding(number, format!("`{word}`")))
}

fn machine_paths(source: &Source) -> Vec<Finding> {
    // Inside a longer path or an address the same letters mean nothing.
    let begins = |text: &str, at: usize| !text[..at].chars().next_back().is_some_and(|c| is_word(c) || ".-/}".contains(c));
    let found = |text: &str| MACHINE_ROOTS.iter().any(|root| text.match_indices(root).any(|(at, _)| begins(text, at)));
    source.numbered().filter(|(_, line)| found(&line.text)).map(|(number, _)| finding(number, "a path of one machine")).collect()
}

fn long_functions(source: &Source) -> Vec<Finding> {
    let code = source.lines.iter().map(|line| if line.is_test { "" } else { line.code.as_str() }).collect::<Vec<_>>().join("\n");
    let mut findings = Vec::new();
    for at in places(&code, "fn ") {
        let lines = code[at..item_end(&code, at)].lines().count();
        if lines > FUNCTION_LINES_MAX {
            let name: String = code[at + 3..].chars().take_while(|c| is_word(*c)).collect();
            findings.push(finding(code[..at].lines().count(), format!("`{name}` has {lines} lines")));
        }
    }
    findings
}

const LONG_FILE: &str = text(&tall::<700>(b""));
const AIMLESS_FILE: &str = text(&tall::<400>(b""));
const LONG_FUNCTION: &str = text(&tall::<100>(b"fn long() {"));

/// `head` and then empty lines.
const fn tall<const N: usize>(head: &[u8]) -> [u8; N] {
    let mut bytes = [b'\n'; N];
    bytes.split_at_mut(head.len()).0.copy_from_slice(head);
    bytes
}

const fn text(bytes: &'static [u8]) -> &'static str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: &Rule, (path, text): (&str, &str)) -> Vec<Finding> {
        let source = Source::new(path, text);
        if (rule.applies)(&source) { (rule.check)(&source) } else { Vec::new() }
    }

    #[test]
    fn each_rule_finds_its_bad_sample() {
        for rule in RULES {
            assert!(!found(rule, rule.bad).is_empty(), "{} lets its bad sample pass", rule.name);
        }
    }

    #[test]
    fn each_rule_lets_its_good_sample_pass() {
        for rule in RULES {
            assert_eq!(found(rule, rule.good), [], "{}", rule.name);
        }
    }

    #[test]
    fn each_rule_has_its_own_name_and_a_reason() {
        for (index, rule) in RULES.iter().enumerate() {
            assert!(RULES[..index].iter().all(|earlier| earlier.name != rule.name), "{} twice", rule.name);
            assert!(rule.why.ends_with('.'), "{} has no reason", rule.name);
        }
    }

    #[test]
    fn lines_of_tests_do_not_count_for_the_size() {
        let tests = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn f() {}\n".repeat(LINES_MAX));
        assert_eq!(longer_than(&Source::new("src/a.rs", &tests), LINES_MAX), []);
    }
}
