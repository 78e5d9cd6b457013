//! `compaction`: the history before a revision may go.

use super::{
    Failure, number,
    session::{Session, say},
};
use crate::wire::etcdserverpb::CompactionRequest;

/// Discards the history before a revision
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl compaction [options] <revision>")]
pub struct Compaction {
    #[arg(value_name = "revision", num_args = 0..)]
    args: Vec<String>,
    /// Wait until the old revisions are gone from the member's storage
    #[arg(long)]
    physical: bool,
}

impl Compaction {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let [revision] = &self.args[..] else { return Err(Failure::bad_args("compaction command needs 1 argument")) };
        let revision = number::parse(revision, 10).map_err(Failure::general)?;
        let client = session.client().await?;
        let request = CompactionRequest { revision, physical: self.physical };
        client.call(request, session.timeout()?).await.map_err(Failure::general)?;
        say(format_args!("compacted revision {revision}"))
    }
}
