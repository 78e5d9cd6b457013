//! `version`: the release whose behaviour this is, and the API it speaks (LOG-1).

use std::io::Write;

use super::Failure;
use crate::client::API_VERSION;

/// The etcd release that is matched.
pub const VERSION: &str = "3.7.1";

/// Shows the version
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl version")]
pub struct Version {
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

pub fn run() -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "etcdctl version: {VERSION}\nAPI version: {API_VERSION}")?)
}
