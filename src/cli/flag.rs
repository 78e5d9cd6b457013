//! A global flag: its name, what it takes, and Go's words for what it does not take.
//!
//! Writes and reads: nothing.

use clap::{Arg, ArgAction};

use super::number;
use crate::print::text;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Switch,
    Duration,
    Number,
    List,
}

pub struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    pub default: &'static str,
    pub help: &'static str,
}

impl Flag {
    pub const fn new(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
        Flag { name, short: None, kind, default, help }
    }

    pub const fn with_short(short: char, flag: Flag) -> Flag {
        Flag { short: Some(short), ..flag }
    }

    pub fn arg(&self) -> Arg {
        let kind = self.kind;
        let arg = Arg::new(self.name).long(self.name).help(self.help).global(true).default_value(self.default);
        let arg = arg.value_parser(move |value: &str| kind.check(value).map(|()| value.to_owned()));
        let arg = match self.short {
            Some(short) => arg.short(short),
            None => arg,
        };
        match kind {
            Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true").action(ArgAction::Set),
            Kind::List => arg.action(ArgAction::Append).value_name("strings"),
            Kind::Text => arg.action(ArgAction::Set).value_name("string"),
            Kind::Duration => arg.action(ArgAction::Set).value_name("duration"),
            Kind::Number => arg.action(ArgAction::Set).value_name("int"),
        }
    }
}

impl Kind {
    /// Whether a flag of this kind takes the value, or why not.
    pub fn check(self, value: &str) -> Result<(), String> {
        match self {
            Kind::Text | Kind::List => Ok(()),
            Kind::Switch => number::parse_bool(value).map(drop),
            Kind::Number => number::parse_flag(value).map(drop),
            Kind::Duration => match text::parse_duration(value) {
                Some(_) => Ok(()),
                None => Err(format!(
                    "time: invalid duration {}, expected a number with a unit such as 500ms, 5s or 1m",
                    text::quote(value.as_bytes())
                )),
            },
        }
    }
}
