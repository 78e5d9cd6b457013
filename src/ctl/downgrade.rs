//! `downgrade`: prepares a cluster for servers of an older minor release.

use super::{Failure, session::Session};
use crate::{
    print::Answer,
    wire::etcdserverpb::{DowngradeRequest, downgrade_request::DowngradeAction},
};

/// Prepares the cluster for an older release
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, override_usage = "etcdctl downgrade <command>")]
pub struct Downgrade {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tells whether the cluster could be downgraded
    #[command(override_usage = "etcdctl downgrade validate <TARGET_VERSION>")]
    Validate {
        #[arg(value_name = "TARGET_VERSION", num_args = 0..)]
        args: Vec<String>,
    },
    /// Lets the members be replaced by older ones
    #[command(override_usage = "etcdctl downgrade enable <TARGET_VERSION>")]
    Enable {
        #[arg(value_name = "TARGET_VERSION", num_args = 0..)]
        args: Vec<String>,
    },
    /// Takes the permission back
    #[command(override_usage = "etcdctl downgrade cancel")]
    Cancel {
        #[arg(hide = true)]
        _ignored: Vec<String>,
    },
}

impl Downgrade {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let (verb, action, version) = match &self.command {
            Command::Validate { args } => ("validate", DowngradeAction::Validate, target(args)?),
            Command::Enable { args } => ("enable", DowngradeAction::Enable, target(args)?),
            Command::Cancel { .. } => ("cancel", DowngradeAction::Cancel, String::new()),
        };
        let client = session.client().await?;
        let request = DowngradeRequest { action: action.into(), version };
        let response = &client.call(request, session.timeout()?).await.map_err(Failure::general)?;
        session.print(Answer::Downgrade { verb, response })
    }
}

fn target(args: &[String]) -> Result<String, Failure> {
    match args {
        [] => Err(Failure::bad_args("TARGET_VERSION not provided")),
        [version] if version.is_empty() => Err(Failure::bad_args("target version not provided")),
        [version] => Ok(version.clone()),
        _ => Err(Failure::bad_args("too many arguments")),
    }
}
