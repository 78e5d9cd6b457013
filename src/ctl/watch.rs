//! `watch`: events as they happen, printed or handed to a command.
//!
//!   stdin (-i) --lines--> watch_lines --> client::watch --> updates, one task per watcher --> stdout, exec
//!
//! Writes: stdout, stderr. Reads: stdin with -i, ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END. Ends when a watcher was cancelled by the member.

use std::{ffi::OsString, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    sync::mpsc,
    task::JoinSet,
};

use super::{
    Failure, number,
    session::{self, Session},
    watch_lines::{self, Input, Plan, Variables},
};
use crate::{
    client::watch::{Update, Watches, cancel_error, is_progress},
    print::{Answer, Style, text},
    wire::{
        etcdserverpb::WatchResponse,
        mvccpb::{Event, event::EventType},
    },
};

/// Shows changes of a key, a range or a prefix as they happen, or runs a command for each
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "etcdctl watch [options] <key> [range_end] [-- exec-command arg...]")]
pub struct Watch {
    #[arg(value_names = ["key", "range_end"], num_args = 0..)]
    pub args: Vec<OsString>,
    /// Read `watch` and `progress` lines from stdin
    #[arg(short, long)]
    pub interactive: bool,
    /// All keys that begin with <key>
    #[arg(long)]
    pub prefix: bool,
    /// First revision to show (0: from now on)
    #[arg(long, default_value = "0", value_name = "int", value_parser = number::parse_flag)]
    pub rev: i64,
    /// Show the pair as it was before each change
    #[arg(long)]
    pub prev_kv: bool,
    /// Have the member tell now and then how far it is
    #[arg(long)]
    pub progress_notify: bool,
    /// Command to run for each event, with ETCD_WATCH_* variables
    #[arg(last = true, value_name = "exec-command")]
    pub exec: Vec<OsString>,
}

impl Watch {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let variables = Variables::from_environment()?;
        session_variables(&session)?;
        if self.interactive {
            return self.run_lines(session, &variables).await;
        }
        let plan = watch_lines::plan(&self, &variables).map_err(Failure::bad_args)?;
        let create = plan.create.map_err(Failure::bad_args)?;
        let watches = Watches::open(session.client().await?);
        show(watches.watch(create).await, session.style()?, plan.exec).await?;
        Err(Failure::interrupted("watch is canceled by the server"))
    }

    async fn run_lines(self, session: Session<'_>, variables: &Variables) -> Result<(), Failure> {
        let style = session.style()?;
        let watches = Watches::open(session.client().await?);
        let mut shows: JoinSet<Result<(), Failure>> = JoinSet::new();
        let mut lines = BufReader::new(tokio::io::stdin()).split(b'\n');
        loop {
            let line = tokio::select! {
                line = lines.next_segment() => line,
                Some(ended) = shows.join_next() => {
                    ended.unwrap_or_else(|e| Err(Failure::general(e)))?;
                    continue;
                }
            };
            let line = match line {
                Ok(Some(line)) => line,
                Ok(None) => return Err(Failure::invalid_input("error reading watch request line: EOF")),
                Err(e) => return Err(Failure::invalid_input(format!("error reading watch request line: {e}"))),
            };
            match watch_lines::read(&line, variables, self.progress_notify)? {
                Input::Watch(Plan { create: Ok(create), exec }) => {
                    shows.spawn(show(watches.watch(create).await, style, exec));
                }
                Input::Watch(Plan { create: Err(reason), .. }) => {
                    eprintln!("Invalid command {} ({reason})", String::from_utf8_lossy(&line));
                }
                Input::Progress => watches.request_progress().await,
                Input::Refused(message) => eprintln!("{message}"),
            }
        }
    }
}

fn session_variables(session: &Session<'_>) -> Result<(), Failure> {
    session.resolve(&[watch_lines::KEY_VARIABLE, watch_lines::RANGE_END_VARIABLE])
}

/// Shows what a watcher is told until it ends.
async fn show(mut updates: mpsc::Receiver<Update>, style: Style, exec: Vec<OsString>) -> Result<(), Failure> {
    while let Some(update) = updates.recv().await {
        let response = match update {
            Update::Response(response) => response,
            Update::Ended(error) => {
                eprintln!("watch was canceled ({error})");
                return Ok(());
            }
        };
        if response.canceled {
            eprintln!("watch was canceled ({})", cancel_error(&response));
        }
        if is_progress(&response) {
            session::say(format_args!("progress notify: {}", response.header.map_or(0, |header| header.revision)))?;
        }
        // Of a creation that was refused etcd's client keeps only that.
        let shown = if response.created {
            WatchResponse { header: Some(Default::default()), canceled: true, ..Default::default() }
        } else {
            response
        };
        session::print(style, Answer::Watch(&shown))?;
        if !exec.is_empty() {
            for event in &shown.events {
                run(&exec, event, shown.header.map_or(0, |header| header.revision)).await?;
            }
        }
    }
    Ok(())
}

async fn run(exec: &[OsString], event: &Event, revision: i64) -> Result<(), Failure> {
    let kv = event.kv.clone().unwrap_or_default();
    let kind = if event.r#type() == EventType::Delete { "DELETE" } else { "PUT" };
    let status = Command::new(&exec[0])
        .args(&exec[1..])
        .env("ETCD_WATCH_REVISION", revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", text::quote(kind.as_bytes()))
        .env("ETCD_WATCH_KEY", text::quote(&kv.key))
        .env("ETCD_WATCH_VALUE", text::quote(&kv.value))
        .stdin(Stdio::null())
        .status()
        .await;
    let reason = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}")),
        Err(e) => e.to_string(),
    };
    let words: Vec<_> = exec.iter().map(|word| text::quote(word.as_encoded_bytes())).collect();
    eprintln!("command [{}] error ({reason})", words.join(" "));
    Err(Failure::told())
}
