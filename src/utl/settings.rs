//! The global flags: how the answer is written, and how long a database file that is in use is waited for.
//!
//! Writes: nothing. Reads: matched arguments.

use std::time::Duration;

use clap::ArgMatches;

use crate::{
    cli::{Failure, Flag, Kind},
    print::{self, Answer, Format, Shown, Style, text},
};

pub const FLAGS: [Flag; 2] = [
    Flag::new("timeout", Kind::Duration, "10s", "how long to wait for a database file that is in use (0: for ever)"),
    Flag::with_short('w', Flag::new("write-out", Kind::Text, "simple", "format of the answer: fields, json, protobuf, simple or table")),
];

#[derive(Debug)]
pub struct Settings {
    format: Option<Format>,
    timeout: Duration,
}

impl Settings {
    pub fn new(matches: &ArgMatches) -> Settings {
        let text = |name| matches.get_one::<String>(name).expect("it has a default");
        let timeout = text::parse_duration(text("timeout")).expect("checked when it was taken");
        Settings { format: Format::from_name(text("write-out")), timeout }
    }

    /// How long to wait for a file that is in use; `None`: for ever.
    pub fn timeout(&self) -> Option<Duration> {
        (!self.timeout.is_zero()).then_some(self.timeout)
    }

    /// Where and how a command answers.
    pub fn style(&self) -> Result<Style, Failure> {
        let format = self.format.ok_or_else(|| Failure::bad_feature("unsupported output format"))?;
        Ok(Style { format, hex: false, value_only: false })
    }
}

/// Writes the answer on stdout.
pub fn print(style: Style, answer: Answer<'_>) -> Result<(), Failure> {
    match print::show(&mut std::io::stdout().lock(), style, answer)? {
        Shown::Yes => Ok(()),
        Shown::Unsupported => Err(Failure::bad_feature(format!("{} not supported as output format", style.format.name()))),
    }
}
