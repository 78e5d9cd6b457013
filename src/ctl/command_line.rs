//! The command line: nouns and flags, read the way etcd's own tools read them.
//!
//! Flags may stand before or after arguments, `--` ends them, switches take `=false`, a command may be shortened as far as it is clear, and a
//! flag given twice counts once, the last time. Lines of `txn` and `watch -i` are read by the same rules.
//! Writes: nothing. Reads: arguments.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::{
    Failure, alarm::Alarm, check::Check, compaction::Compaction, defrag::Defrag, del::Del, downgrade::Downgrade, elect::Elect,
    endpoint::Endpoint, get::Get, lease::Lease, lock::Lock, make_mirror::MakeMirror, member::Member, move_leader::MoveLeader,
    options::Options, put::Put, settings, snapshot::Snapshot, txn::Txn, watch::Watch, watch_lines,
};
use crate::cli::{self, Completion, Tool, Version, first_line};

#[derive(Debug, Subcommand)]
pub enum Command {
    Get(Get),
    Put(Put),
    Del(Del),
    Txn(Txn),
    Compaction(Compaction),
    Watch(Watch),
    Lease(Lease),
    Alarm(Alarm),
    Defrag(Defrag),
    Endpoint(Endpoint),
    Member(Member),
    MoveLeader(MoveLeader),
    Downgrade(Downgrade),
    Lock(Lock),
    Elect(Elect),
    Check(Check),
    MakeMirror(MakeMirror),
    Snapshot(Snapshot),
    Completion(Completion),
    Options(Options),
    Version(Version),
}

pub type Parsed = cli::Parsed<Command>;

pub const TOOL: Tool = Tool {
    name: "etcdctl",
    about: "A command line client of etcd.",
    commands: Command::augment_subcommands,
    flags: &settings::FLAGS,
    groups: &[
        ("Key-value commands", &["compaction", "del", "get", "lease", "put", "txn", "watch"]),
        ("Cluster maintenance commands", &["alarm", "defrag", "downgrade", "endpoint", "member", "move-leader", "snapshot"]),
        ("Concurrency commands", &["elect", "lock"]),
        ("Utility commands", &["check", "completion", "help", "make-mirror", "options", "version"]),
    ],
    hint: OPTIONS_HINT,
    hint_short: ", 'etcdctl options' for the global ones",
    dash: "etcdctl put <key> -- <value>",
};

const OPTIONS_HINT: &str = "Use \"etcdctl options\" for the global flags, which every command takes.\n";

pub fn parse(args: Vec<OsString>) -> Result<Parsed, Failure> {
    let parsed = TOOL.parse(&args)?;
    if let Parsed::Command { command, .. } = &parsed
        && let Command::Watch(watch) = &**command
        && watch.exec.is_empty()
        && args.last().is_some_and(|arg| arg == "--")
    {
        watch_lines::check_separator(&["--".into()])?;
    }
    Ok(parsed)
}

/// A request line of `txn`.
#[derive(Debug, Subcommand)]
pub enum Operation {
    Get(Get),
    Put(Put),
    Del(Del),
}

pub fn parse_operation(words: Vec<OsString>) -> Result<Operation, clap::Error> {
    cli::parse_line(
        words,
        Operation::augment_subcommands(clap::Command::new("txn").no_binary_name(true).subcommand_required(true)),
        OPTIONS_HINT,
    )
}

/// The words of a `watch` line after the first.
pub fn parse_watch(words: Vec<OsString>) -> Result<Watch, Failure> {
    cli::parse_line(words, Watch::augment_args(clap::Command::new("watch").no_binary_name(true)), OPTIONS_HINT)
        .map_err(|e| Failure::bad_args(first_line(&e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        match parse(line.split(' ').map(OsString::from).collect()) {
            Ok(Parsed::Command { command, .. }) => *command,
            Ok(Parsed::Help(text)) => panic!("{line}: help: {text}"),
            Err(failure) => panic!("{line}: {failure:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        match parse(line.split(' ').map(OsString::from).collect()) {
            Err(failure) => format!("{failure:?}"),
            Ok(_) => panic!("{line} was taken"),
        }
    }

    #[test]
    fn the_tree_of_commands_is_sound() {
        TOOL.tree(true).debug_assert();
        TOOL.tree(false).debug_assert();
        let grouped: Vec<_> = TOOL.groups.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        for command in TOOL.tree(true).get_subcommands() {
            assert!(grouped.contains(&command.get_name()), "{} is missing in the help", command.get_name());
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        }
    }

    #[test]
    fn a_command_may_be_shortened_and_flags_may_follow_arguments() {
        assert!(matches!(command("etcdctl mem li -w json"), Command::Member(_)));
        let Command::Get(get) = command("etcdctl get a --prefix --limit 3 --limit=0x5 --keys-only=false") else { panic!("not get") };
        assert_eq!((get.args, get.prefix, get.limit, get.keys_only), (vec!["a".into()], true, 5, false));
    }

    #[test]
    fn after_two_dashes_everything_is_an_argument() {
        let Command::Put(put) = command("etcdctl put k -- -v") else { panic!("not put") };
        assert_eq!(put.args, ["k", "-v"]);
        let Command::Watch(watch) = command("etcdctl watch k --rev 3 -- echo -n --rev") else { panic!("not watch") };
        assert_eq!((watch.args, watch.rev, watch.exec), (vec!["k".into()], 3, vec!["echo".into(), "-n".into(), "--rev".into()]));
    }

    #[test]
    fn global_flags_are_found_before_and_after_the_command() {
        for line in ["etcdctl --user a:b lease list", "etcdctl lease --user a:b list", "etcdctl lease list --user=a:b"] {
            let Ok(Parsed::Command { matches, .. }) = parse(line.split(' ').map(OsString::from).collect()) else { panic!("{line}") };
            assert_eq!(matches.get_one::<String>("user").map(String::as_str), Some("a:b"), "{line}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_explained_as_etcd_does() {
        for (line, says) in [
            ("etcdctl bogus", r#"unknown command \"bogus\" for \"etcdctl\""#),
            ("etcdctl get --bogus", "unknown flag: --bogus"),
            ("etcdctl put k -1", "unknown shorthand flag: '1' in -1"),
            ("etcdctl get --limit x k", r#"invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"#),
            ("etcdctl get k --limit", "flag needs an argument: --limit"),
            ("etcdctl get k --dial-timeout 5", "time: invalid duration"),
        ] {
            let refusal = refusal(line).replace(r"\\\", r"\");
            assert!(refusal.contains(says), "{line}: {refusal}");
        }
    }

    #[test]
    fn help_is_an_answer_not_an_error() {
        for line in ["etcdctl", "etcdctl help", "etcdctl lease", "etcdctl get -h", "etcdctl help put", "etcdctl --help"] {
            assert!(matches!(parse(line.split(' ').map(OsString::from).collect()), Ok(Parsed::Help(_))), "{line}");
        }
    }
}
