//! `put`: a value for a key.

use std::{ffi::OsString, io::Read};

use bytes::Bytes;

use super::{Failure, get::bytes, number, session::Session};
use crate::{print::Answer, wire::etcdserverpb::PutRequest};

const NEEDS: &str = "put command needs 1 argument and input from stdin or 2 arguments";

/// Stores a value under a key; without <value> it is read from stdin
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl put [options] <key> [value]")]
pub struct Put {
    #[arg(value_names = ["key", "value"], num_args = 0..)]
    pub args: Vec<OsString>,
    /// Lease that the key is attached to, in hexadecimal
    #[arg(long, default_value = "0", value_name = "string")]
    pub lease: String,
    /// Show the pair as it was before
    #[arg(long)]
    pub prev_kv: bool,
    /// Keep the value that the key has
    #[arg(long)]
    pub ignore_value: bool,
    /// Keep the lease that the key has
    #[arg(long)]
    pub ignore_lease: bool,
}

impl Put {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let request = self.request(true)?;
        let client = session.client().await?;
        let answer = client.call(request, session.timeout()?).await.map_err(Failure::general)?;
        session.print(Answer::Put(&answer))
    }

    /// `from_stdin`: a value that is missing is read from there. In a transaction stdin has the other requests.
    pub fn request(&self, from_stdin: bool) -> Result<PutRequest, Failure> {
        let [key, ..] = &self.args[..] else { return Err(Failure::bad_args(NEEDS)) };
        let value = match self.args.get(1) {
            Some(_) if self.ignore_value => return Err(Failure::bad_args("put command needs only 1 argument when 'ignore-value' is set")),
            None if self.ignore_value => Bytes::new(),
            Some(value) => bytes(value),
            None if from_stdin => stdin()?,
            None => return Err(Failure::bad_args(NEEDS)),
        };
        let lease = number::parse(&self.lease, 16).map_err(|e| Failure::bad_args(format!("bad lease ID ({e}), expecting ID in Hex")))?;
        Ok(PutRequest {
            key: bytes(key),
            value,
            lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        })
    }
}

fn stdin() -> Result<Bytes, Failure> {
    let mut value = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut value) {
        Ok(1..) => Ok(value.into()),
        Ok(0) => Err(Failure::bad_args(NEEDS)),
        Err(e) => Err(Failure::bad_args(format!("{NEEDS}: {e}"))),
    }
}
