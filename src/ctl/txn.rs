//! `txn`: conditions and requests from stdin, as one transaction.
//!
//!   compares           one per line
//!   (empty line)
//!   requests           done if all compares hold
//!   (empty line)
//!   requests           done otherwise
//!   (empty line)

use std::io::BufRead;

use super::{
    Failure,
    session::{Session, say},
    txn_lines,
};
use crate::{print::Answer, wire::etcdserverpb::TxnRequest};

/// Does several requests at once, if conditions hold; reads them from stdin
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "etcdctl txn [options]",
    long_about = "\
Reads three blocks from stdin, each ended by an empty line: conditions, requests for the case that all of them hold, and requests for any other
case. The requests of the case that comes true are done as one transaction.

  mod(\"key1\") > \"0\"                     targets: ver, create, mod, val, lease; operators: = != < >

  put key1 \"was there\"                   get, put and del with their flags

  put key2 'was not there'
  get --prefix key
"
)]
pub struct Txn {
    #[arg(hide = true)]
    args: Vec<String>,
    /// Say which block is read
    #[arg(short, long)]
    interactive: bool,
}

impl Txn {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        if !self.args.is_empty() {
            return Err(Failure::bad_args("txn command does not accept argument"));
        }
        let client = session.client().await?;
        let mut request = TxnRequest::default();
        self.prompt("compares:")?;
        while let Some(line) = next_line()? {
            request.compare.push(txn_lines::compare(&line).map_err(Failure::invalid_input)?);
        }
        self.prompt("success requests (get, put, del):")?;
        while let Some(line) = next_line()? {
            request.success.push(txn_lines::operation(&line).await?);
        }
        self.prompt("failure requests (get, put, del):")?;
        while let Some(line) = next_line()? {
            request.failure.push(txn_lines::operation(&line).await?);
        }
        // No timeout: typing took time already, and etcd's has none either.
        let answer = client.call(request, None).await.map_err(Failure::general)?;
        session.print(Answer::Txn(&answer))
    }

    fn prompt(&self, text: &str) -> Result<(), Failure> {
        if self.interactive { say(text) } else { Ok(()) }
    }
}

/// The next line without the space around it; None after an empty one.
fn next_line() -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    std::io::stdin().lock().read_until(b'\n', &mut line).map_err(Failure::invalid_input)?;
    if line.pop() != Some(b'\n') {
        return Err(Failure::invalid_input("EOF"));
    }
    let line = line.trim_ascii();
    Ok((!line.is_empty()).then(|| line.to_vec()))
}
