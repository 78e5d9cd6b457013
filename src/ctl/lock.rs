//! `lock`: holds a lock until it is told to end, or for as long as a command runs.
//!
//! ```text
//!   lock taken --no command--> key printed, held until SIGINT or SIGTERM
//!        |
//!        +--command--> runs with ETCD_LOCK_KEY and ETCD_LOCK_REV, its exit code is ours
//! ```

use std::{ffi::OsString, process::Stdio};

use tokio::process::Command;

use super::{Failure, get::bytes, interrupt::Interrupt, log, number, session::Session};
use crate::{
    client::recipes::{mutex::Mutex, session},
    go_words::go_words,
    print::Answer,
    wire::etcdserverpb::RangeRequest,
};

/// What a session of the Go client lives for, unless told otherwise.
pub const SESSION_TTL: i64 = 60;

/// Takes a named lock and holds it
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl lock [options] <lockname> [exec-command arg1 arg2 ...]")]
pub struct Lock {
    #[arg(value_names = ["lockname", "exec-command"], num_args = 0..)]
    args: Vec<OsString>,
    /// Seconds that the lock outlives its holder
    #[arg(long, default_value = "10", value_name = "int", value_parser = number::parse_flag)]
    ttl: i64,
}

impl Lock {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let [name, exec @ ..] = &self.args[..] else {
            return Err(Failure::bad_args("lock takes a lock name argument and an optional command to execute"));
        };
        let client = session.client().await?;
        let ttl = if self.ttl > 0 {
            self.ttl
        } else {
            log::warn("a TTL must be more than 0, the default is used", &[("given", &self.ttl.to_string())]);
            SESSION_TTL
        };
        let lease = session::Session::open(client.clone(), ttl).await.map_err(Failure::general)?;
        let mut interrupt = Interrupt::listen().map_err(Failure::general)?;
        let mut mutex = Mutex::new(&lease, &bytes(name));
        let locked = tokio::select! {
            locked = mutex.lock() => locked.map_err(Failure::general),
            () = interrupt.wished() => Err(Failure::general("context canceled")),
        };
        let revision = match locked {
            Ok(revision) => revision,
            Err(failure) => {
                // The first failure is the one to tell.
                let _ = mutex.unlock().await;
                return Err(failure);
            }
        };
        if !exec.is_empty() {
            let ran = run(exec, mutex.key(), revision).await;
            let unlocked = mutex.unlock().await.map_err(Failure::general);
            return ran.and(unlocked);
        }
        let answer = client.call(RangeRequest { key: mutex.key().clone(), ..Default::default() }, None).await.map_err(Failure::general)?;
        if answer.kvs.is_empty() {
            return Err(Failure::general("lock lost on init"));
        }
        session.print(Answer::Range(&answer))?;
        tokio::select! {
            () = interrupt.wished() => mutex.unlock().await.map_err(Failure::general),
            () = lease.lost() => Err(Failure::general("session expired")),
        }
    }
}

async fn run(exec: &[OsString], key: &[u8], revision: i64) -> Result<(), Failure> {
    let mut command = Command::new(&exec[0]);
    command.args(&exec[1..]).stdin(Stdio::null());
    command.env("ETCD_LOCK_KEY", String::from_utf8_lossy(key).as_ref()).env("ETCD_LOCK_REV", revision.to_string());
    let status = command.status().await.map_err(|error| {
        let name = exec[0].to_string_lossy();
        Failure::general(match error.kind() {
            std::io::ErrorKind::NotFound if !name.contains('/') => format!("exec: {name:?}: executable file not found in $PATH"),
            _ => format!("fork/exec {name}: {}", go_words(&error)),
        })
    })?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::of_command(u8::try_from(code).unwrap_or(1), format_args!("exit status {code}"))),
        // Ended by a signal: the code is etcd's too.
        None => Err(Failure::of_command(255, status)),
    }
}
