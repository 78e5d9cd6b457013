//! `elect`: stands for election, or watches who is elected.

use std::ffi::OsString;

use tokio::sync::mpsc;

use super::{Failure, get::bytes, interrupt::Interrupt, lock::SESSION_TTL, session::Session};
use crate::{
    client::recipes::{election, session},
    print::Answer,
    wire::etcdserverpb::RangeRequest,
};

/// Stands for election, or watches who is elected
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl elect [options] <election-name> [proposal]")]
pub struct Elect {
    #[arg(value_names = ["election-name", "proposal"], num_args = 0..)]
    args: Vec<OsString>,
    /// Show each leader instead of standing for election
    #[arg(short, long)]
    listen: bool,
}

impl Elect {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        match &self.args[..] {
            [_] if !self.listen => Err(Failure::bad_args("no proposal argument but -l not set")),
            [name] => observe(session, name).await,
            [_, _] if self.listen => Err(Failure::bad_args("proposal given but -l is set")),
            [name, proposal] => campaign(session, name, proposal).await,
            _ => Err(Failure::bad_args("elect takes one election name argument and an optional proposal argument")),
        }
    }
}

async fn observe(session: Session<'_>, name: &OsString) -> Result<(), Failure> {
    let client = session.client().await?;
    let mut interrupt = Interrupt::listen().map_err(Failure::general)?;
    let (told, mut leaders) = mpsc::channel(1);
    let name = bytes(name);
    let observing = async { election::observe(&client, &name, &told).await };
    tokio::pin!(observing);
    loop {
        tokio::select! {
            () = interrupt.wished() => return Ok(()),
            Some(leader) = leaders.recv() => session.print(Answer::Range(&leader))?,
            // What ended it is of no use to a script; the words are etcd's.
            _ = &mut observing => return Err(Failure::general("elect: observer lost")),
        }
    }
}

async fn campaign(session: Session<'_>, name: &OsString, proposal: &OsString) -> Result<(), Failure> {
    let client = session.client().await?;
    let lease = session::Session::open(client.clone(), SESSION_TTL).await.map_err(Failure::general)?;
    let mut interrupt = Interrupt::listen().map_err(Failure::general)?;
    let mut candidate = election::Candidate::new(&lease, &bytes(name));
    let proposal = bytes(proposal);
    let elected = tokio::select! {
        elected = candidate.campaign(&proposal) => elected.map_err(Failure::general),
        () = interrupt.wished() => Err(Failure::general("context canceled")),
    };
    if let Err(failure) = elected {
        // The first failure is the one to tell.
        let _ = candidate.resign().await;
        return Err(failure);
    }
    let read = RangeRequest { key: candidate.key().clone(), ..Default::default() };
    session.print(Answer::Range(&client.call(read, None).await.map_err(Failure::general)?))?;
    tokio::select! {
        () = interrupt.wished() => candidate.resign().await.map_err(Failure::general),
        () = lease.lost() => Err(Failure::general("elect: session expired")),
    }
}
