//! `endpoint`: how each member is, asked one by one.

use futures_util::future::join_all;

use super::{Failure, number, session::Session, settings};
use crate::{
    client::Client,
    print::{Answer, HashKv, Health, Status, text},
    wire::{
        error::Error as Rejection,
        etcdserverpb::{AlarmRequest, AlarmType, HashKvRequest, MemberListRequest, RangeRequest, StatusRequest},
    },
};

const CLUSTER_VARIABLE: &str = "ETCDCTL_CLUSTER";

/// Shows how the endpoints are
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, override_usage = "etcdctl endpoint <command>")]
pub struct Endpoint {
    /// Every member of the cluster, not only the endpoints
    #[arg(long = "cluster", id = "all")]
    cluster: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tells whether each endpoint can commit
    #[command(override_usage = "etcdctl endpoint health [options]")]
    Health(Which),
    /// Shows what each endpoint says of itself
    #[command(override_usage = "etcdctl endpoint status [options]")]
    Status(Which),
    /// Shows the hash of each endpoint's key space
    #[command(name = "hashkv", override_usage = "etcdctl endpoint hashkv [options]")]
    HashKv {
        #[command(flatten)]
        which: Which,
        /// Highest revision to hash (0: the latest)
        #[arg(long, default_value = "0", value_name = "int", value_parser = number::parse_flag)]
        rev: i64,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    #[arg(hide = true)]
    _ignored: Vec<String>,
    /// Every member of the cluster, not only the endpoints
    #[arg(long)]
    cluster: bool,
}

impl Endpoint {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        session.resolve(&[CLUSTER_VARIABLE])?;
        let (Command::Health(which) | Command::Status(which) | Command::HashKv { which, .. }) = &self.command;
        let is_given = self.cluster || which.cluster;
        let variable = std::env::var(CLUSTER_VARIABLE).ok().filter(|value| !value.is_empty());
        if is_given && variable.is_some() {
            return Err(settings::conflict(CLUSTER_VARIABLE));
        }
        let cluster = is_given || variable.is_some_and(|value| number::parse_bool(&value) == Ok(true));
        let endpoints = addresses(&session, cluster).await?;
        match self.command {
            Command::Health(_) => health(session, endpoints).await,
            Command::Status(_) => status(session, endpoints).await,
            Command::HashKv { rev, .. } => hash_kv(session, endpoints, rev).await,
        }
    }
}

/// The endpoints that were named, or those of every member.
pub async fn addresses(session: &Session<'_>, cluster: bool) -> Result<Vec<String>, Failure> {
    if !cluster {
        return session.endpoints();
    }
    let client = session.client().await?;
    let answer = client.call(MemberListRequest { linearizable: true }, session.timeout()?).await;
    let answer = answer.map_err(|e| Failure::general(format!("failed to fetch endpoints from etcd cluster member list: {e}")))?;
    Ok(answer.members.into_iter().flat_map(|member| member.client_ur_ls).collect())
}

async fn health(session: Session<'_>, endpoints: Vec<String>) -> Result<(), Failure> {
    let list = join_all(endpoints.into_iter().map(|endpoint| health_of(&session, endpoint))).await;
    let list: Vec<Health> = list.into_iter().collect::<Result<_, _>>()?;
    session.print(Answer::Health(&list))?;
    if list.iter().any(|h| !h.error.is_empty()) { Err(Failure::general("unhealthy cluster")) } else { Ok(()) }
}

/// A read goes through consensus, so whoever answers it can commit, even with "permission denied" (LOG-9).
async fn health_of(session: &Session<'_>, endpoint: String) -> Result<Health, Failure> {
    let unhealthy = |endpoint, took, error| Health { endpoint, is_healthy: false, took, error };
    let client = match Client::open(session.options_for(&endpoint)?).await {
        Ok(client) => client,
        Err(e) => return Ok(unhealthy(endpoint, String::new(), e.to_string())),
    };
    let (start, timeout) = (session.now(), session.timeout()?);
    let read = client.call(RangeRequest { key: "health".into(), ..Default::default() }, timeout).await;
    let took = text::duration(session.now() - start);
    match read {
        Err(e) if e.rejection() != Some(Rejection::PermissionDenied) => return Ok(unhealthy(endpoint, took, e.to_string())),
        _ => {}
    }
    Ok(match client.call(AlarmRequest::default(), timeout).await {
        Ok(answer) if answer.alarms.is_empty() => Health { endpoint, is_healthy: true, took, error: String::new() },
        Ok(answer) => {
            let names = answer.alarms.iter().map(|a| match AlarmType::try_from(a.alarm) {
                Ok(AlarmType::Nospace) => "NOSPACE ",
                Ok(AlarmType::Corrupt) => "CORRUPT ",
                _ => "UNKNOWN ",
            });
            unhealthy(endpoint, took, format!("Active Alarm(s): {}", names.collect::<String>()))
        }
        Err(_) => unhealthy(endpoint, took, "Unable to fetch the alarm list".into()),
    })
}

async fn status(session: Session<'_>, endpoints: Vec<String>) -> Result<(), Failure> {
    let (mut list, mut failed) = (Vec::new(), false);
    for endpoint in endpoints {
        let client = session.client_to(&endpoint).await?;
        match client.call(StatusRequest {}, session.timeout()?).await {
            Ok(response) => list.push(Status { endpoint, response }),
            Err(e) => {
                failed = true;
                eprintln!("Failed to get the status of endpoint {endpoint} ({e})");
            }
        }
    }
    session.print(Answer::Status(&list))?;
    if failed { Err(Failure::told()) } else { Ok(()) }
}

async fn hash_kv(session: Session<'_>, endpoints: Vec<String>, revision: i64) -> Result<(), Failure> {
    let (mut list, mut failed) = (Vec::new(), None);
    for endpoint in endpoints {
        let client = session.client_to(&endpoint).await?;
        match client.call(HashKvRequest { revision }, session.timeout()?).await {
            Ok(response) => list.push(HashKv { endpoint, response }),
            Err(e) => {
                eprintln!("Failed to get the hash of endpoint {endpoint} ({e})");
                failed = Some(e);
            }
        }
    }
    session.print(Answer::HashKv(&list))?;
    failed.map_or(Ok(()), |e| Err(Failure::general(e)))
}
