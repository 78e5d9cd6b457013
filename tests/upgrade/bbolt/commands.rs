//! What `etcdutl bbolt` says of a file is what bbolt's own command says, byte for byte.

use std::path::Path;

use clap::{FromArgMatches as _, Subcommand as _};
use etcd::cli::Failure;
use etcd::utl::bbolt::Command;

use super::changes_hands::{Files, buckets, write};
use super::real::Real;

/// What a command writes, and how it ends.
fn ours(words: &[&str]) -> (String, Result<(), Failure>) {
    let tree = Command::augment_subcommands(clap::Command::new("bbolt").no_binary_name(true));
    let matches = tree.try_get_matches_from(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let command = Command::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let mut out = Vec::new();
    let done = command.run(&mut out);
    (String::from_utf8_lossy(&out).into_owned(), done)
}

/// Both say the same, and both succeed or fail.
fn compare(real: &Real, words: &[&str]) -> bool {
    let theirs = real.command_line(words);
    let (out, done) = ours(words);
    let wanted = String::from_utf8_lossy(&theirs.stdout);
    if out != wanted {
        let differs = out.lines().zip(wanted.lines()).find(|(ours, theirs)| ours != theirs);
        panic!("{words:?}: {} bytes instead of {}, {differs:?}, {done:?}", out.len(), wanted.len());
    }
    assert_eq!(done.is_ok(), theirs.status.success(), "{words:?}: {done:?}");
    if let Err(failure) = &done {
        let (said, theirs) = (format!("{failure:?}"), String::from_utf8_lossy(&theirs.stderr).into_owned());
        let first = theirs.lines().next().unwrap_or_default().trim_start_matches("Error: ").to_owned();
        assert!(said.contains(&format!("{first:?}")), "{words:?}: {said} instead of {first}");
    }
    done.is_ok()
}

/// All commands on one file.
fn compare_all(real: &Real, path: &Path, names: &[&str], nested: &[&str]) {
    let file = path.to_str().expect("the path is text");
    for command in ["buckets", "check", "info", "inspect", "pages", "stats"] {
        assert!(compare(real, &[command, file]));
    }
    assert!(compare(real, &["stats", file, "l"]));
    for format in ["auto", "ascii-encoded", "hex", "bytes", "redacted"] {
        for name in names {
            assert!(compare(real, &["keys", file, name, "--format", format]));
        }
        let nested: Vec<_> = ["keys", file].iter().chain(nested).chain(&["-f", format]).copied().collect();
        compare(real, &nested);
        for item in ["0", "1"] {
            compare(real, &["page-item", file, "3", item, "--format", format]);
        }
        compare(real, &["page-item", file, "4", "0", "--key-only"]);
        compare(real, &["page-item", file, "4", "0", "--value-only"]);
    }
    for format in ["auto", "ascii-encoded", "redacted"] {
        assert!(compare(real, &["page", file, "--all", "--format-value", format]));
    }
    assert!(compare(real, &["page", file, "0", "1", "2", "3", "4", "5"]));
    assert!(compare(real, &["dump", file, "0"]));
    assert!(compare(real, &["dump", file, "3", "1", "2"]));
}

#[test]
fn the_commands_say_what_bbolts_do_of_files_that_we_wrote() {
    let Some(real) = Real::new() else { return };
    for page_size in [1024, 4096, 16_384] {
        let files = Files::new();
        let (path, text) = files.path("written");
        write(&path, page_size, &buckets(3));
        compare_all(&real, &path, &["alarm", "key", "large", "long", "meta"], &["meta"]);
        for format in ["auto", "ascii-encoded", "hex", "redacted"] {
            assert!(compare(&real, &["get", &text, "meta", "consistent_index", "--format", format]));
            assert!(compare(&real, &["get", &text, "meta", "7465726d", "--parse-format", "hex", "--format", format]));
        }
    }
}

#[test]
fn the_commands_say_what_bbolts_do_of_files_that_bbolt_made() {
    let Some(real) = Real::new() else { return };
    for (page_size, freelist) in [("1024", "array"), ("4096", "hashmap"), ("8192", "none")] {
        let files = Files::new();
        let (path, text) = files.path("made");
        real.run(&["make", &text, page_size, freelist, "5"]);
        compare_all(&real, &path, &["many", "large", "small", "empty", "outer"], &["outer", "inside 1", "inside 0"]);
        assert!(compare(&real, &["get", &text, "small", "key"]));
    }
}

#[test]
fn the_commands_refuse_what_bbolts_refuse() {
    let Some(real) = Real::new() else { return };
    let files = Files::new();
    let (path, text) = files.path("written");
    write(&path, 4096, &buckets(3));
    let file = text.as_str();
    let refused: &[&[&str]] = &[
        &["buckets"],
        &["buckets", file, "more"],
        &["buckets", "no such file"],
        &["keys", file],
        &["keys", file, "nothing"],
        &["keys", file, "key", "nothing"],
        &["keys", file, "key", "--format", "octal"],
        &["get", file, "key"],
        &["get", file, "nothing", "key"],
        &["get", file, "key", "a \"key\"\n"],
        &["get", file, "key", ""],
        &["get", file, "key", "6x", "--parse-format", "hex"],
        &["get", file, "key", "k", "--parse-format", "octal"],
        &["page", file],
        &["page", file, "--all", "3"],
        &["page", file, "three"],
        &["page", file, "99999999999999999999"],
        &["page-item", file, "3"],
        &["page-item", file, "3", "-"],
        &["page-item", file, "2", "5000"],
        &["page-item", file, "3", "0", "--key-only", "--value-only"],
        &["page-item", file, "0", "0"],
        &["dump", file],
        &["dump", file, ""],
        &["stats"],
        &["check", file, "--from-page", "1"],
        &["check", file, "--from-page", "100000000"],
    ];
    for words in refused {
        assert!(!compare(&real, words), "{words:?} is not refused");
    }
    assert!(compare(&real, &["check", file, "--from-page", "2"]));
}
