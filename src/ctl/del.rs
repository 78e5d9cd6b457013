//! `del`: away with a key or a range of keys.

use std::{ffi::OsString, time::Duration};

use super::{
    Failure,
    get::{range, refuse_both},
    session::Session,
};
use crate::{
    print::{Answer, text},
    wire::etcdserverpb::DeleteRangeRequest,
};

/// How long a person has to think better of deleting a range.
const SECOND_THOUGHTS: Duration = Duration::from_secs(2);

/// Deletes a key, or the keys from <key> up to, but not including, <range_end>
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl del [options] <key> [range_end]")]
pub struct Del {
    #[arg(value_names = ["key", "range_end"], num_args = 0..)]
    pub args: Vec<OsString>,
    /// All keys that begin with <key>
    #[arg(long)]
    pub prefix: bool,
    /// Show the pairs that were deleted
    #[arg(long)]
    pub prev_kv: bool,
    /// All keys from <key> on
    #[arg(long)]
    pub from_key: bool,
    /// Delete up to <range_end> at once, without the pause for second thoughts
    #[arg(long)]
    pub range: bool,
}

impl Del {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let request = self.request().await?;
        let client = session.client().await?;
        let answer = client.call(request, session.timeout()?).await.map_err(Failure::general)?;
        session.print(Answer::DeleteRange(&answer))
    }

    pub async fn request(&self) -> Result<DeleteRangeRequest, Failure> {
        let [key, rest @ ..] = &self.args[..] else { return Err(Failure::bad_args(NEEDS)) };
        if rest.len() > 1 {
            return Err(Failure::bad_args(NEEDS));
        }
        refuse_both(self.prefix, "--prefix", self.from_key, "--from-key")?;
        let (key, range_end) = range(key, rest.first(), self.prefix, self.from_key)?;
        if !rest.is_empty() && !self.range {
            eprintln!(
                "Warning: Keys between {} and {} will be deleted. Please interrupt the command within next 2 seconds to cancel. \
                 You can provide `--range` flag to avoid the delay.",
                text::quote(&key),
                text::quote(&range_end)
            );
            tokio::time::sleep(SECOND_THOUGHTS).await;
        }
        Ok(DeleteRangeRequest { key, range_end, prev_kv: self.prev_kv })
    }
}

const NEEDS: &str = "del command needs one argument as key and an optional argument as range_end";
