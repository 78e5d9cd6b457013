//! A program's command line: nouns and flags, read the way etcd's own tools read them.
//!
//! Flags may stand before or after arguments, `--` ends them, switches take `=false`, a command may be shortened as far as it is clear, and a
//! flag given twice counts once, the last time.
//! Writes: nothing. Reads: arguments.

use std::ffi::OsString;

use clap::{
    ArgAction, ArgMatches, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Failure, Flag, number};

/// A program: its commands, and the words around them.
pub struct Tool {
    pub name: &'static str,
    pub about: &'static str,
    /// Adds the commands.
    pub commands: fn(clap::Command) -> clap::Command,
    pub flags: &'static [Flag],
    /// The commands as the help shows them: a title, and names.
    pub groups: &'static [(&'static str, &'static [&'static str])],
    /// Where the global flags are told of, if not on the page of every command.
    pub hint: &'static str,
    /// The same, for the end of a line that says where the flags of a command are told of.
    pub hint_short: &'static str,
    /// How a value that begins with a dash is given.
    pub dash: &'static str,
}

pub enum Parsed<C> {
    Command {
        command: Box<C>,
        /// Of the innermost command: the global flags are found there wherever they were given.
        matches: ArgMatches,
    },
    /// What was asked for is to be told how.
    Help(String),
}

impl Tool {
    pub fn parse<C: FromArgMatches>(&self, args: &[OsString]) -> Result<Parsed<C>, Failure> {
        let mut tree = self.tree(!self.hint.is_empty());
        let matches = match tree.try_get_matches_from_mut(args) {
            Ok(matches) => matches,
            Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) => {
                return Ok(Parsed::Help(e.render().to_string()));
            }
            Err(e) => return Err(self.explain(&e, args)),
        };
        if matches.subcommand().is_none() {
            return Ok(Parsed::Help(tree.render_help().to_string()));
        }
        let command = C::from_arg_matches(&matches).map_err(|e| self.explain(&e, args))?;
        let mut innermost = &matches;
        while let Some((_, matches)) = innermost.subcommand() {
            innermost = matches;
        }
        Ok(Parsed::Command { command: Box::new(command), matches: innermost.clone() })
    }

    /// All commands with the global flags, which help may leave out of every page.
    pub fn tree(&self, hide_globals: bool) -> clap::Command {
        let root = clap::Command::new(self.name).about(self.about).disable_version_flag(true);
        let usage = |args: &str| format!("{} {args}", self.name);
        let tree = (self.commands)(root)
            .mut_subcommand("completion", |command| command.override_usage(usage("completion <bash|zsh|fish|powershell>")))
            .mut_subcommand("version", |command| command.override_usage(usage("version")))
            .args(self.flags.iter().map(|flag| flag.arg().hide(hide_globals)));
        let help = self.root_help(&tree);
        as_etcd_reads(tree, self.hint).override_help(help)
    }

    fn root_help(&self, tree: &clap::Command) -> String {
        let about = |name: &str| match tree.find_subcommand(name) {
            Some(command) => command.get_about().map(|a| a.to_string()).unwrap_or_default(),
            None => "Tells how a command is used".into(),
        };
        let name = self.name;
        let mut help = format!("{}\n\nUsage:\n  {name} [command]\n", self.about);
        for (title, names) in self.groups {
            help.push_str(&format!("\n{title}\n"));
            names.iter().for_each(|name| help.push_str(&format!("  {name:<11} {}\n", about(name))));
        }
        if self.hint.is_empty() {
            help.push_str("\nFlags of every command\n");
            let line = |flag: &Flag| {
                let short = flag.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
                format!("  {short}--{:<11} {} (default {})\n", flag.name, flag.help, flag.default)
            };
            self.flags.iter().for_each(|flag| help.push_str(&line(flag)));
        }
        help + &format!("\nUse \"{name} [command] --help\" for more about a command.\n") + self.hint
    }

    /// What is wrong, and how the command is used; `args` say which command it was.
    fn explain(&self, error: &clap::Error, args: &[OsString]) -> Failure {
        let tree = self.tree(true);
        let (mut command, mut path) = (&tree, self.name.to_owned());
        for arg in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
            let mut candidates = command.get_subcommands().filter(|c| !arg.is_empty() && c.get_name().starts_with(arg));
            if let (Some(found), None) = (candidates.next(), candidates.next()) {
                path = format!("{path} {}", found.get_name());
                command = found;
            }
        }
        let value_hint = match context(error, ContextKind::InvalidArg) {
            Some(arg) if error.kind() == ErrorKind::UnknownArgument && !arg.starts_with("--") => {
                format!("A value that begins with - goes after --, as in: {}\n", self.dash)
            }
            _ => String::new(),
        };
        if let Some(unknown) = context(error, ContextKind::InvalidSubcommand) {
            let names: Vec<_> = command.get_subcommands().map(|c| c.get_name()).collect();
            let advice = format!("Commands: {}\nRun '{path} --help' for usage.\n", names.join(", "));
            return Failure::general(format!("unknown command {unknown:?} for {path:?}")).with_advice(advice);
        }
        let usage = command.clone().render_usage();
        let advice = format!("{value_hint}{usage}\nRun '{path} --help' for the flags{}.\n", self.hint_short);
        Failure::general(first_line(error)).with_advice(advice)
    }
}

/// A line of words with no program's name before them, read by the same rules.
pub fn parse_line<T: FromArgMatches>(words: Vec<OsString>, command: clap::Command, hint: &'static str) -> Result<T, clap::Error> {
    T::from_arg_matches(&as_etcd_reads(command, hint).try_get_matches_from(words)?)
}

/// What the flag library of etcd's tools allows and ours does not unless told.
fn as_etcd_reads(command: clap::Command, hint: &'static str) -> clap::Command {
    command
        .args_override_self(true)
        .infer_subcommands(true)
        .after_help(hint.trim_end())
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
        .mut_subcommands(|command| as_etcd_reads(command, hint))
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
        ErrorKind::MissingRequiredArgument => format!("required flag(s) {} not set", missing(error)),
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

/// The names of the flags that have to be given and were not.
fn missing(error: &clap::Error) -> String {
    let Some(ContextValue::Strings(flags)) = error.get(ContextKind::InvalidArg) else { return String::new() };
    let name = |flag: &String| format!("{:?}", flag.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default());
    flags.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(" ")),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
}
