//! `lease`: grants and what becomes of them.

use super::{
    Failure, number,
    session::{Session, say},
};
use crate::{
    client::keep_alive::KeepAlive,
    print::{Answer, Format},
    wire::etcdserverpb::{LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest},
};

/// Grants, revokes and renews leases
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, override_usage = "etcdctl lease <command>")]
pub struct Lease {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Grants a lease that lives for <ttl> seconds
    #[command(override_usage = "etcdctl lease grant <ttl>")]
    Grant {
        #[arg(value_name = "ttl", num_args = 0..)]
        args: Vec<String>,
    },
    /// Ends a lease and deletes the keys attached to it
    #[command(override_usage = "etcdctl lease revoke <leaseID>")]
    Revoke {
        #[arg(value_name = "leaseID", num_args = 0..)]
        args: Vec<String>,
    },
    /// Shows how long a lease still lives
    #[command(name = "timetolive", override_usage = "etcdctl lease timetolive [options] <leaseID>")]
    TimeToLive {
        #[arg(value_name = "leaseID", num_args = 0..)]
        args: Vec<String>,
        /// Show the keys attached to it, too
        #[arg(long)]
        keys: bool,
    },
    /// Lists all leases
    #[command(override_usage = "etcdctl lease list")]
    List {
        #[arg(hide = true)]
        _ignored: Vec<String>,
    },
    /// Renews a lease again and again
    #[command(override_usage = "etcdctl lease keep-alive [options] <leaseID>")]
    KeepAlive {
        #[arg(value_name = "leaseID", num_args = 0..)]
        args: Vec<String>,
        /// Renew it once and end
        #[arg(long)]
        once: bool,
    },
}

impl Lease {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        match self.command {
            Command::Grant { args } => grant(session, &args).await,
            Command::Revoke { args } => revoke(session, &args).await,
            Command::TimeToLive { args, keys } => time_to_live(session, &args, keys).await,
            Command::List { .. } => list(session).await,
            Command::KeepAlive { args, once } => keep_alive(session, &args, once).await,
        }
    }
}

async fn grant(session: Session<'_>, args: &[String]) -> Result<(), Failure> {
    let [ttl] = args else { return Err(Failure::bad_args("lease grant command needs TTL argument")) };
    let ttl = number::parse(ttl, 10).map_err(|e| Failure::bad_args(format!("bad TTL ({e})")))?;
    let client = session.client().await?;
    let answer = client.call(LeaseGrantRequest { ttl, id: 0 }, session.timeout()?).await;
    let answer = answer.map_err(|e| Failure::general(format!("failed to grant lease ({e})")))?;
    session.print(Answer::LeaseGrant(&answer))
}

async fn revoke(session: Session<'_>, args: &[String]) -> Result<(), Failure> {
    let id = id(args, "lease revoke command needs 1 argument")?;
    let client = session.client().await?;
    let answer = client.call(LeaseRevokeRequest { id }, session.timeout()?).await;
    let response = &answer.map_err(|e| Failure::general(format!("failed to revoke lease ({e})")))?;
    session.print(Answer::LeaseRevoke { id, response })
}

/// Like `list` and `keep-alive` it waits for a member as long as it takes, as etcd's does.
async fn time_to_live(session: Session<'_>, args: &[String], keys: bool) -> Result<(), Failure> {
    let id = id(args, "lease timetolive command needs lease ID as argument")?;
    let client = session.client().await?;
    let response = &client.call(LeaseTimeToLiveRequest { id, keys }, None).await.map_err(Failure::bad_connection)?;
    session.print(Answer::LeaseTimeToLive { response, with_keys: keys })
}

async fn list(session: Session<'_>) -> Result<(), Failure> {
    let client = session.client().await?;
    let answer = client.call(LeaseLeasesRequest {}, None).await.map_err(Failure::bad_connection)?;
    session.print(Answer::LeaseLeases(&answer))
}

async fn keep_alive(session: Session<'_>, args: &[String], once: bool) -> Result<(), Failure> {
    let id = id(args, "lease keep-alive command needs lease ID as argument")?;
    let client = session.client().await?;
    if once {
        let answer = KeepAlive::once(client, id).await.map_err(Failure::bad_connection)?;
        return session.print(Answer::LeaseKeepAlive(&answer));
    }
    let mut keep_alive = KeepAlive::new(client, id);
    while let Some(answer) = keep_alive.next().await {
        session.print(Answer::LeaseKeepAlive(&answer))?;
    }
    if session.style()?.format == Format::Simple {
        say(format_args!("lease {id:016x} expired or revoked."))?;
    }
    Ok(())
}

fn id(args: &[String], needs: &str) -> Result<i64, Failure> {
    let [id] = args else { return Err(Failure::bad_args(needs)) };
    number::parse(id, 16).map_err(|e| Failure::bad_args(format!("bad lease ID arg ({e}), expecting ID in Hex")))
}
