//! `options`: the global flags.

use std::io::Write;

use super::{
    Failure,
    settings::{FLAGS, variable_of},
};
use crate::cli::{Flag, Kind};

/// Lists the global flags
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl options")]
pub struct Options {
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

pub fn run() -> Result<(), Failure> {
    let mut text = String::from("These flags go with every command; each may be set by a variable instead:\n\n");
    for flag in &FLAGS {
        text.push_str(&format!("{:<34} {}{}\n", head(flag), flag.help, default(flag)));
        text.push_str(&format!("{:<34} {}\n", "", variable_of(flag)));
    }
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn head(flag: &Flag) -> String {
    let short = flag.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
    let kind = match flag.kind {
        Kind::Switch => "",
        Kind::Text => " string",
        Kind::Duration => " duration",
        Kind::Number => " int",
        Kind::List => " strings",
    };
    format!("  {short}--{}{kind}", flag.name)
}

fn default(flag: &Flag) -> String {
    match flag.default {
        "" | "0" | "false" => String::new(),
        default => format!(" (default {default})"),
    }
}
