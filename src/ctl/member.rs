//! `member`: who is in the cluster.

use super::{Failure, get::is_serializable, session::Session};
use crate::{print::Answer, wire::etcdserverpb::MemberListRequest};

/// Shows the members of the cluster
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, override_usage = "etcdctl member <command>")]
pub struct Member {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists all members
    #[command(override_usage = "etcdctl member list [options]")]
    List {
        #[arg(hide = true)]
        _ignored: Vec<String>,
        /// l: linearizable, s: serializable (may be behind, needs no quorum)
        #[arg(long, default_value = "l", value_name = "string")]
        consistency: String,
    },
}

impl Member {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let Command::List { consistency, .. } = self.command;
        let linearizable = !is_serializable(&consistency)?;
        let client = session.client().await?;
        let answer = client.call(MemberListRequest { linearizable }, session.timeout()?).await.map_err(Failure::general)?;
        session.print(Answer::MemberList(&answer))
    }
}
