//! The command line: nouns and flags, read the way etcd's own tools read them.
//!
//! Flags may stand before or after arguments, `--` ends them, switches take `=false`, a command may be shortened as far as it is clear, and a
//! flag given twice counts once, the last time. Lines of `txn` and `watch -i` are read by the same rules.
//! Writes: nothing. Reads: arguments.

use std::ffi::OsString;

use clap::{
    ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    Failure, alarm::Alarm, check::Check, compaction::Compaction, completion::Completion, defrag::Defrag, del::Del, downgrade::Downgrade,
    elect::Elect, endpoint::Endpoint, get::Get, lease::Lease, lock::Lock, make_mirror::MakeMirror, member::Member, move_leader::MoveLeader,
    number, options::Options, put::Put, settings, txn::Txn, version::Version, watch::Watch, watch_lines,
};

#[derive(Debug, Parser)]
#[command(name = "etcdctl", about = "A command line client of etcd.", infer_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

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
    Completion(Completion),
    Options(Options),
    Version(Version),
}

/// The commands as the help shows them.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Key-value commands", &["compaction", "del", "get", "lease", "put", "txn", "watch"]),
    ("Cluster maintenance commands", &["alarm", "defrag", "downgrade", "endpoint", "member", "move-leader"]),
    ("Concurrency commands", &["elect", "lock"]),
    ("Utility commands", &["check", "completion", "help", "make-mirror", "options", "version"]),
];

const OPTIONS_HINT: &str = "Use \"etcdctl options\" for the global flags, which every command takes.";

pub enum Parsed {
    Command {
        command: Box<Command>,
        /// Of the innermost command: the global flags are found there wherever they were given.
        matches: ArgMatches,
    },
    /// What was asked for is to be told how.
    Help(String),
}

pub fn parse(args: Vec<OsString>) -> Result<Parsed, Failure> {
    let mut tree = tree(true);
    let is_separator_last = args.last().is_some_and(|arg| arg == "--");
    let matches = match tree.try_get_matches_from_mut(&args) {
        Ok(matches) => matches,
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) => {
            return Ok(Parsed::Help(e.render().to_string()));
        }
        Err(e) if context(&e, ContextKind::InvalidSubcommand).is_some() => return unknown_command(&e, &args),
        Err(e) => return Err(explain(&e, &args)),
    };
    let command = CommandLine::from_arg_matches(&matches).map_err(|e| explain(&e, &args))?.command;
    let Some(command) = command else { return Ok(Parsed::Help(tree.render_help().to_string())) };
    if let Command::Watch(watch) = &command
        && watch.exec.is_empty()
        && is_separator_last
    {
        watch_lines::check_separator(&["--".into()])?;
    }
    let mut innermost = &matches;
    while let Some((_, matches)) = innermost.subcommand() {
        innermost = matches;
    }
    Ok(Parsed::Command { command: Box::new(command), matches: innermost.clone() })
}

/// All commands with the global flags, which help does not repeat on every page.
pub fn tree(hide_globals: bool) -> clap::Command {
    let tree = CommandLine::command().disable_version_flag(true).args(settings::FLAGS.iter().map(|flag| flag.arg().hide(hide_globals)));
    let help = root_help(&tree);
    as_etcd_reads(tree).override_help(help)
}

fn root_help(tree: &clap::Command) -> String {
    let about = |name: &str| match tree.find_subcommand(name) {
        Some(command) => command.get_about().map(|a| a.to_string()).unwrap_or_default(),
        None => "Tells how a command is used".into(),
    };
    let mut help = "A command line client of etcd.\n\nUsage:\n  etcdctl [command]\n".to_owned();
    for (title, names) in GROUPS {
        help.push_str(&format!("\n{title}\n"));
        names.iter().for_each(|name| help.push_str(&format!("  {name:<11} {}\n", about(name))));
    }
    help + "\nUse \"etcdctl [command] --help\" for more about a command.\n" + OPTIONS_HINT + "\n"
}

/// What the flag library of etcd's tools allows and ours does not unless told.
fn as_etcd_reads(command: clap::Command) -> clap::Command {
    command
        .args_override_self(true)
        .infer_subcommands(true)
        .after_help(OPTIONS_HINT)
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .value_name("bool")
                .hide_default_value(true)
                .value_parser(number::parse_bool),
            // The usage line shows them.
            _ if arg.is_positional() => arg.hide(true),
            ArgAction::Set => arg.allow_hyphen_values(true),
            _ => arg,
        })
        .mut_subcommands(as_etcd_reads)
}

/// A request line of `txn`.
#[derive(Debug, Subcommand)]
pub enum Operation {
    Get(Get),
    Put(Put),
    Del(Del),
}

pub fn parse_operation(words: Vec<OsString>) -> Result<Operation, clap::Error> {
    parse_line(words, Operation::augment_subcommands(clap::Command::new("txn").no_binary_name(true).subcommand_required(true)))
}

/// The words of a `watch` line after the first.
pub fn parse_watch(words: Vec<OsString>) -> Result<Watch, Failure> {
    parse_line(words, Watch::augment_args(clap::Command::new("watch").no_binary_name(true))).map_err(|e| Failure::bad_args(first_line(&e)))
}

fn parse_line<T: FromArgMatches>(words: Vec<OsString>, command: clap::Command) -> Result<T, clap::Error> {
    T::from_arg_matches(&as_etcd_reads(command).try_get_matches_from(words)?)
}

/// The command that the words lead to, and its path.
fn innermost<'a>(tree: &'a clap::Command, args: &[OsString]) -> (&'a clap::Command, String) {
    let (mut command, mut path) = (tree, "etcdctl".to_owned());
    for arg in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        let mut candidates = command.get_subcommands().filter(|c| !arg.is_empty() && c.get_name().starts_with(arg));
        if let (Some(found), None) = (candidates.next(), candidates.next()) {
            path = format!("{path} {}", found.get_name());
            command = found;
        }
    }
    (command, path)
}

/// Quirk: below a command, or after `help`, a word that is no command is answered by help and success, as etcd's own tool does;
/// pinned by `a_word_that_is_no_command_of_a_group_is_answered_by_help`.
fn unknown_command(error: &clap::Error, args: &[OsString]) -> Result<Parsed, Failure> {
    let tree = tree(true);
    let (command, path) = innermost(&tree, args);
    if path != "etcdctl" {
        return Ok(Parsed::Help(command.clone().render_help().to_string()));
    }
    if args.get(1).is_some_and(|arg| arg == "help") {
        let topic: Vec<_> = args[2..].iter().map(|arg| format!("`{}`", arg.to_string_lossy())).collect();
        eprint!("Unknown help topic [{}]\n{}", topic.join(" "), command.clone().render_help());
        return Ok(Parsed::Help(String::new()));
    }
    Err(explain(error, args))
}

/// What is wrong, and how the command is used; `args` say which command it was.
fn explain(error: &clap::Error, args: &[OsString]) -> Failure {
    let tree = tree(true);
    let (command, path) = innermost(&tree, args);
    let value_hint = match context(error, ContextKind::InvalidArg) {
        Some(arg) if error.kind() == ErrorKind::UnknownArgument && !arg.starts_with("--") => {
            "A value that begins with - goes after --, as in: etcdctl put <key> -- <value>\n"
        }
        _ => "",
    };
    if let Some(unknown) = context(error, ContextKind::InvalidSubcommand) {
        let names: Vec<_> = command.get_subcommands().map(|c| c.get_name()).collect();
        let advice = format!("Commands: {}\nRun '{path} --help' for usage.\n", names.join(", "));
        return Failure::general(format!("unknown command {unknown:?} for {path:?}")).with_advice(advice);
    }
    let usage = command.clone().render_usage();
    // The parser knows a flag by its long name only.
    let letter = args.last().and_then(|last| last.to_str()?.strip_prefix('-')).filter(|letter| letter.len() == 1);
    let reason = match (first_line(error), letter) {
        (reason, Some(letter)) if reason.starts_with("flag needs an argument: ") => {
            format!("flag needs an argument: '{letter}' in -{letter}")
        }
        (reason, _) => reason,
    };
    Failure::general(reason)
        .with_advice(format!("{value_hint}{usage}\nRun '{path} --help' for the flags, 'etcdctl options' for the global ones.\n"))
}

/// What is wrong, in the words of etcd's flag library.
pub fn first_line(error: &clap::Error) -> String {
    let arg = context(error, ContextKind::InvalidArg).unwrap_or_default();
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    let name = arg.split(['=', ' ', '[']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => match arg.strip_prefix('-').and_then(|rest| rest.chars().next()) {
            Some('-') => format!("unknown flag: {name}"),
            Some(letter) => format!("unknown shorthand flag: '{letter}' in {arg}"),
            None => format!("unexpected argument {arg:?}"),
        },
        ErrorKind::InvalidSubcommand => {
            format!("unknown command {:?}", context(error, ContextKind::InvalidSubcommand).unwrap_or_default())
        }
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues if value.is_empty() => {
            format!("flag needs an argument: {name}")
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("invalid argument {value:?} for {name:?} flag{reason}")
        }
        _ => {
            let text = error.render().to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(" ")),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
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
        tree(true).debug_assert();
        tree(false).debug_assert();
        let grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        for command in tree(true).get_subcommands() {
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
            ("etcdctl get k -w", "flag needs an argument: 'w' in -w"),
            ("etcdctl get k --limit", "flag needs an argument: --limit"),
            ("etcdctl get k --dial-timeout 5", "time: invalid duration"),
        ] {
            let refusal = refusal(line).replace(r"\\\", r"\");
            assert!(refusal.contains(says), "{line}: {refusal}");
        }
    }

    #[test]
    fn a_word_that_is_no_command_of_a_group_is_answered_by_help() {
        for (line, says) in [("etcdctl lease foo", "Usage: etcdctl lease <command>"), ("etcdctl help get x", "Usage: etcdctl get ")] {
            let Ok(Parsed::Help(text)) = parse(line.split(' ').map(OsString::from).collect()) else { panic!("{line}") };
            assert!(text.contains(says), "{line}: {text}");
        }
        let Ok(Parsed::Help(text)) = parse(["etcdctl", "help", "foo"].map(OsString::from).to_vec()) else { panic!("no help") };
        assert_eq!(text, "");
    }

    #[test]
    fn help_is_an_answer_not_an_error() {
        for line in ["etcdctl", "etcdctl help", "etcdctl lease", "etcdctl get -h", "etcdctl help put", "etcdctl --help"] {
            assert!(matches!(parse(line.split(' ').map(OsString::from).collect()), Ok(Parsed::Help(_))), "{line}");
        }
    }
}
