//! What to watch: from the command line, from variables, from a line of `watch -i`.
//!
//! Writes: nothing. Reads: the environment.

use std::ffi::OsString;

use super::{Failure, command_line, get, watch::Watch, words};
use crate::{print::text, wire::etcdserverpb::WatchCreateRequest};

pub const KEY_VARIABLE: &str = "ETCDCTL_WATCH_KEY";
pub const RANGE_END_VARIABLE: &str = "ETCDCTL_WATCH_RANGE_END";

const BAD_COUNT: &str = "bad number of arguments";
const BAD_COUNT_VARIABLE: &str = "bad number of arguments (found conflicting environment key)";
const BAD_COUNT_SEPARATOR: &str = "bad number of arguments (found separator --, but no commands)";

/// Key and range end from the environment; empty if not set.
#[derive(Debug, Default)]
pub struct Variables {
    key: OsString,
    range_end: OsString,
}

impl Variables {
    pub fn from_environment() -> Result<Variables, Failure> {
        let [key, range_end] = [KEY_VARIABLE, RANGE_END_VARIABLE].map(|name| std::env::var_os(name).unwrap_or_default());
        if key.is_empty() && !range_end.is_empty() {
            let range_end = text::quote(range_end.as_encoded_bytes());
            return Err(Failure::bad_args(format!("{KEY_VARIABLE} is empty but got {RANGE_END_VARIABLE}={range_end}")));
        }
        Ok(Variables { key, range_end })
    }
}

#[derive(Debug)]
pub struct Plan {
    /// Err: the flags do not go together.
    pub create: Result<WatchCreateRequest, String>,
    pub exec: Vec<OsString>,
}

/// What the arguments of one `watch` ask for. Err: there are too few or too many.
pub fn plan(watch: &Watch, variables: &Variables) -> Result<Plan, &'static str> {
    let mut args: Vec<&OsString> = watch.args.iter().collect();
    if !variables.key.is_empty() {
        if !args.is_empty() {
            return Err(BAD_COUNT_VARIABLE);
        }
        args.extend([&variables.key, &variables.range_end].into_iter().filter(|arg| !arg.is_empty()));
    }
    // Only what follows `--` is a command, and `--` with nothing after it is a slip.
    let [key, rest @ ..] = &args[..] else { return Err(BAD_COUNT) };
    let create = match rest {
        [_] if watch.prefix => Err("`range_end` and `--prefix` are mutually exclusive".into()),
        [end] => Ok((get::bytes(key), get::bytes(end))),
        _ => get::range(key, None, watch.prefix, false).map_err(|failure| format!("{failure:?}")),
    };
    let create = create.map(|(key, range_end)| WatchCreateRequest {
        key,
        range_end,
        start_revision: watch.rev,
        progress_notify: watch.progress_notify,
        prev_kv: watch.prev_kv,
        ..Default::default()
    });
    Ok(Plan { create, exec: watch.exec.clone() })
}

/// Refuses a `--` that no command follows.
pub fn check_separator(words: &[OsString]) -> Result<(), Failure> {
    if words.iter().position(|word| word == "--").is_some_and(|at| at + 1 == words.len()) {
        return Err(Failure::bad_args(BAD_COUNT_SEPARATOR));
    }
    Ok(())
}

/// A line of `watch -i`.
#[derive(Debug)]
pub enum Input {
    Watch(Plan),
    Progress,
    /// Not understood; the message says why, and the next line is read.
    Refused(String),
}

pub fn read(line: &[u8], variables: &Variables, progress_notify: bool) -> Result<Input, Failure> {
    let shown = String::from_utf8_lossy(line);
    let words = words::split(line).map_err(Failure::invalid_input)?;
    let words: Vec<OsString> = words.into_iter().map(words::to_argument).collect::<Result<_, _>>().map_err(Failure::invalid_input)?;
    let Some((first, rest)) = words.split_first() else {
        return Ok(Input::Refused(format!("Invalid command: {shown} (watch and progress supported)")));
    };
    match first.to_str() {
        Some("watch") if rest.is_empty() && variables.key.is_empty() => {
            Ok(Input::Refused(format!("Invalid command {shown} (command type or key is not provided)")))
        }
        Some("watch") => {
            check_separator(rest)?;
            let mut watch = command_line::parse_watch(rest.to_vec())?;
            watch.progress_notify |= progress_notify;
            Ok(Input::Watch(plan(&watch, variables).map_err(Failure::bad_args)?))
        }
        Some("progress") => Ok(Input::Progress),
        _ => Ok(Input::Refused(format!("Invalid command {shown} (only support watch)"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watching(line: &str) -> Plan {
        match read(line.as_bytes(), &Variables::default(), false) {
            Ok(Input::Watch(plan)) => plan,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_has_the_flags_of_the_command() {
        let plan = watching("watch --rev 5 --prev-kv a 'b c' -- echo \"x y\"");
        let create =
            WatchCreateRequest { key: "a".into(), range_end: "b c".into(), start_revision: 5, prev_kv: true, ..Default::default() };
        assert_eq!(plan.create.unwrap(), create);
        assert_eq!(plan.exec, ["echo", "x y"]);
        assert_eq!(watching("watch xx --prefix").create.unwrap().range_end, "xy");
        assert_eq!(watching("watch --prefix ''").create.unwrap().key, "\0");
    }

    #[test]
    fn a_line_that_is_not_understood_says_why_and_does_not_end_the_command() {
        for (line, says) in [
            ("", "Invalid command:  (watch and progress supported)"),
            ("bogus", "Invalid command bogus (only support watch)"),
            ("watch", "Invalid command watch (command type or key is not provided)"),
        ] {
            match read(line.as_bytes(), &Variables::default(), false) {
                Ok(Input::Refused(message)) => assert_eq!(message, says),
                other => panic!("{line}: {other:?}"),
            }
        }
        assert_eq!(watching("watch a b --prefix").create.unwrap_err(), "`range_end` and `--prefix` are mutually exclusive");
        assert!(matches!(read(b"progress", &Variables::default(), false), Ok(Input::Progress)));
    }

    #[test]
    fn a_key_comes_from_the_line_or_from_the_variable_but_not_from_both() {
        let variables = Variables { key: "k".into(), range_end: "l".into() };
        match read(b"watch -- echo a", &variables, true) {
            Ok(Input::Watch(Plan { create: Ok(create), exec })) => {
                assert_eq!((&create.key[..], &create.range_end[..], create.progress_notify), (&b"k"[..], &b"l"[..], true));
                assert_eq!(exec, ["echo", "a"]);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(read(b"watch a", &variables, false).unwrap_err(), Failure::bad_args(BAD_COUNT_VARIABLE));
        assert_eq!(read(b"watch -- echo", &Variables::default(), false).unwrap_err(), Failure::bad_args(BAD_COUNT));
        assert_eq!(read(b"watch a --", &Variables::default(), false).unwrap_err(), Failure::bad_args(BAD_COUNT_SEPARATOR));
        assert_eq!(read(b"watch --bogus", &Variables::default(), false).unwrap_err(), Failure::bad_args("unknown flag: --bogus"));
    }
}
