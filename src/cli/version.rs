//! `version`: the release whose behaviour this is, and the API it speaks (LOG-1).
//!
//! Writes: stdout. Reads: nothing.

use std::io::Write;

use super::{Failure, Tool};
use crate::release;

/// Shows the version
#[derive(Debug, clap::Args)]
pub struct Version {
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

impl Version {
    pub fn run(self, tool: &Tool) -> Result<(), Failure> {
        let (version, api) = (release::VERSION, release::API_VERSION);
        Ok(writeln!(std::io::stdout(), "{} version: {version}\nAPI version: {api}", tool.name)?)
    }
}
