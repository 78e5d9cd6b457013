//! What a member is told from outside: flags, environment, file, in one resolved `Config`.
//!
//! ```text
//!   words ----args---+
//!   ETCD_* ---env----+--> Settings --resolve--> Config
//!   file -----file---+         (a file, when there is one, stands alone: CFG-1)
//! ```
//!
//! Writes: nothing. Reads: the words and variables it is handed, and the configuration file.
//! Nothing below `server` parses a setting.

mod args;
mod bootstrap;
mod check;
mod env;
mod file;
mod flags;
mod gates;
mod help;
mod resolve;
mod settings;
mod value;

pub use gates::{GATES, Gate, Gates, Stage};
pub use resolve::{AutoCompaction, Config, InitialCluster, Keepalive};

use crate::go_words::go_words;
use crate::log::Notice;
use settings::Settings;

/// What the command line asks for.
#[derive(Debug)]
pub enum Outcome {
    Run(Box<Config>),
    /// Write these texts and leave with this code.
    Print {
        stdout: String,
        stderr: String,
        code: u8,
    },
    /// The settings cannot be honoured: one log line with this reason, then code 1.
    Refuse(String),
}

const SUB_COMMANDS: &[&str] = &["gateway", "grpc-proxy"];

/// Reads the words after the program's name and the environment.
pub fn parse(words: &[String], env: &[(String, String)]) -> Outcome {
    if let Some(name) = words.first().filter(|word| SUB_COMMANDS.contains(&word.as_str())) {
        return Outcome::Refuse(format!("etcd {name} is not built yet"));
    }
    let mut settings = Settings::default();
    match args::read(words, &mut settings) {
        Err(args::Stop::Help) => return Outcome::Print { stdout: help::flags(), stderr: help::USAGE.to_owned(), code: 0 },
        Err(args::Stop::Usage(error)) => {
            return Outcome::Print { stdout: String::new(), stderr: format!("{error}\n{}", help::USAGE), code: 2 };
        }
        Ok([stray, ..]) => return Outcome::Refuse(format!("{stray:?} is not a valid flag")),
        Ok([]) => {}
    }
    if settings.bool("version") {
        return Outcome::Print { stdout: crate::release::lines(), stderr: String::new(), code: 0 };
    }
    match load(settings, env).and_then(|(settings, notices)| resolve::resolve(&settings, notices)) {
        Ok(config) => Outcome::Run(Box::new(config)),
        Err(reason) => Outcome::Refuse(reason),
    }
}

/// The settings that count: those of the file alone where one is named, else those of the command line and the environment.
fn load(mut settings: Settings, env: &[(String, String)]) -> Result<(Settings, Vec<Notice>), String> {
    let mut notices = Vec::new();
    let from_env = env.iter().find(|(name, _)| name == "ETCD_CONFIG_FILE").map(|(_, path)| path.as_str());
    let path = match settings.text("config-file") {
        "" => from_env.unwrap_or_default(),
        given => given,
    };
    if path.is_empty() {
        env::read(env, &mut settings, &mut notices)?;
        return Ok((settings, notices));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("open {path}: {}", go_words(&error)))?;
    let text_of =
        Notice { is_warning: false, text: "settings come from the configuration file alone".to_owned(), subject: path.to_owned() };
    notices.push(text_of);
    let mut settings = Settings::default();
    settings.is_from_file = true;
    file::read(&text, &mut settings, &mut notices).map_err(|error| format!("{path}: {error}"))?;
    Ok((settings, notices))
}
