//! `defrag`: members give unused storage back.

use super::{
    Failure, endpoint,
    session::{Session, say},
};
use crate::{print::text, wire::etcdserverpb::DefragmentRequest};

/// Has members give unused storage back
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl defrag [options]")]
pub struct Defrag {
    #[arg(hide = true)]
    _ignored: Vec<String>,
    /// Every member of the cluster, not only the endpoints
    #[arg(long)]
    cluster: bool,
}

impl Defrag {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let mut failures = 0;
        for endpoint in endpoint::addresses(&session, self.cluster).await? {
            let client = session.client_to(&endpoint).await?;
            let start = session.now();
            let done = client.call(DefragmentRequest {}, session.timeout()?).await;
            let took = text::duration(session.now() - start);
            match done {
                Ok(_) => say(format_args!("Finished defragmenting etcd member[{endpoint}]. took {took}"))?,
                Err(e) => {
                    eprintln!("Failed to defragment etcd member[{endpoint}]. took {took}. ({e})");
                    failures += 1;
                }
            }
        }
        if failures == 0 { Ok(()) } else { Err(Failure::told()) }
    }
}
