//! `make-mirror`: copies keys to another cluster, and then every change of them, until something fails.
//!
//! ```text
//!   keys at one revision, page by page --put--> destination
//!   changes after it, revision by revision --one transaction each--> destination
//! ```
//!
//! Writes: the destination; every 30 s, how many keys were written so far, on stdout.

use std::{cell::Cell, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Failure, number,
    session::{self, Session, say},
};
use crate::{
    client::{
        Auth, Client, Error, Options, key_range, tls,
        watch::{Update, Watches, cancel_error},
    },
    wire::{
        error::Error as Rejection,
        etcdserverpb::{
            DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
            range_request::{SortOrder, SortTarget},
            request_op::Request,
        },
        mvccpb::event::EventType,
    },
};

const PAGE_KEYS: i64 = 1000;
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Copies keys, and then every change of them, to another cluster
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl make-mirror [options] <destination>")]
pub struct MakeMirror {
    #[arg(value_name = "destination", num_args = 0..)]
    args: Vec<String>,
    /// Copy the keys that begin with this
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    prefix: String,
    /// Copy no keys, only the changes from this revision on
    #[arg(long, default_value = "0", value_name = "int", value_parser = number::parse_flag)]
    rev: i64,
    /// Most operations in a transaction at the destination
    #[arg(long, default_value = "128", value_name = "uint")]
    max_txn_ops: usize,
    /// What the keys begin with at the destination, instead of --prefix
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    dest_prefix: String,
    /// Keys lose their prefix at the destination
    #[arg(long)]
    no_dest_prefix: bool,
    /// File of the client's certificate for the destination
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    dest_cert: String,
    /// File of the key of that certificate
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    dest_key: String,
    /// File of the CA certificates that the destination is verified with
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    dest_cacert: String,
    /// No TLS unless an https destination or a certificate asks for it (default true)
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool", value_parser = number::parse_bool, action = clap::ArgAction::Set)]
    dest_insecure_transport: bool,
    /// name[:password] to authenticate with at the destination; asks for a password that is missing
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    dest_user: String,
    /// Password of --dest-user, which then is the name only
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    dest_password: String,
}

impl MakeMirror {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let [destination] = &self.args[..] else { return Err(Failure::bad_args("make-mirror takes one destination argument")) };
        let options = self.destination(&session, destination)?;
        let to = session::open(options).await?;
        let from = session.client().await?;
        if self.no_dest_prefix && !self.dest_prefix.is_empty() {
            return Err(Failure::bad_args("`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one"));
        }
        let mirror = Mirror { from, to, prefix: self.prefix.clone().into(), written: Cell::new(0), ops_max: self.max_txn_ops };
        let telling = async {
            loop {
                tokio::time::sleep(TELL_EVERY).await;
                if let Err(failure) = say(mirror.written.get()) {
                    return failure;
                }
            }
        };
        tokio::select! {
            Err(error) = mirror.run(self.rev, &self.dest_prefix, self.no_dest_prefix) => Err(Failure::general(error)),
            failure = telling => Err(failure),
        }
    }

    fn destination(&self, session: &Session<'_>, endpoint: &str) -> Result<Options, Failure> {
        let file = |path: &str| (!path.is_empty()).then(|| path.into());
        let tls = tls::Options {
            cert: file(&self.dest_cert),
            key: file(&self.dest_key),
            ca: file(&self.dest_cacert),
            server_name: None,
            skip_verify: false,
            force: !self.dest_insecure_transport,
        };
        let auth: Option<Auth> = session::password_auth("Destination Password: ", &self.dest_user, &self.dest_password)?;
        Ok(Options { tls, auth, ..session.options_for(endpoint)? })
    }
}

struct Mirror {
    from: Arc<Client>,
    to: Arc<Client>,
    prefix: Bytes,
    written: Cell<u64>,
    ops_max: usize,
}

impl Mirror {
    /// Ends with an error only.
    async fn run(&self, rev: i64, dest_prefix: &str, drops_prefix: bool) -> Result<std::convert::Infallible, Error> {
        // Quirk: with --rev a prefix that is not named again is dropped, as in etcd; pinned by `a_mirror_from_a_revision_drops_the_prefix`.
        let keeps_prefix = rev <= 1 && !drops_prefix && dest_prefix.is_empty();
        let dest = if keeps_prefix { self.prefix.clone() } else { Bytes::copy_from_slice(dest_prefix.as_bytes()) };
        let synced = if rev > 1 { rev - 1 } else { self.copy_all(&dest).await? };
        self.follow(synced + 1, &dest).await
    }

    fn renamed(&self, key: &[u8], dest: &[u8]) -> Bytes {
        [dest, key.strip_prefix(&self.prefix[..]).unwrap_or(key)].concat().into()
    }

    fn range(&self) -> (Bytes, Bytes) {
        let open = Bytes::from_static(key_range::OPEN_END);
        if self.prefix.is_empty() { (open.clone(), open) } else { (self.prefix.clone(), key_range::prefix_end(&self.prefix).into()) }
    }

    /// Copies what there is, and says at which revision it was so.
    async fn copy_all(&self, dest: &[u8]) -> Result<i64, Error> {
        // Any key will do: the revision is in the header.
        let key = if self.prefix.is_empty() { Bytes::from_static(b"foo") } else { self.prefix.clone() };
        let answer = self.from.call(RangeRequest { key, ..Default::default() }, None).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        let (mut key, range_end) = self.range();
        loop {
            let page = RangeRequest {
                key,
                range_end: range_end.clone(),
                limit: PAGE_KEYS,
                revision,
                sort_target: SortTarget::Key.into(),
                sort_order: SortOrder::None.into(),
                ..Default::default()
            };
            let answer = self.from.call(page, None).await?;
            let last = answer.kvs.last().map(|kv| kv.key.clone());
            for kv in answer.kvs {
                let put = PutRequest { key: self.renamed(&kv.key, dest), value: kv.value, ..Default::default() };
                self.to.call(put, None).await?;
                self.written.set(self.written.get() + 1);
            }
            match last.filter(|_| answer.more) {
                Some(last) => key = [&last[..], b"\0"].concat().into(),
                None => return Ok(revision),
            }
        }
    }

    async fn follow(&self, from: i64, dest: &[u8]) -> Result<std::convert::Infallible, Error> {
        let (key, range_end) = self.range();
        let watches = Watches::patient(self.from.clone());
        let mut updates = watches.watch(WatchCreateRequest { key, range_end, start_revision: from, ..Default::default() }).await;
        loop {
            let response = match updates.recv().await {
                Some(Update::Response(response)) => response,
                Some(Update::Ended(error)) => return Err(error),
                None => return Err(Error::Status(tonic::Code::Unavailable, "the watch ended".into())),
            };
            if response.compact_revision != 0 {
                return Err(Error::Rejected(Rejection::Compacted));
            }
            if response.canceled {
                return Err(cancel_error(&response));
            }
            let (mut ops, mut revision) = (Vec::new(), 0);
            for event in response.events {
                let kind = event.r#type();
                let kv = event.kv.unwrap_or_default();
                // What changed in one revision changes in one at the destination, as far as its transactions reach.
                if ops.len() == self.ops_max || revision != 0 && kv.mod_revision > revision {
                    self.commit(std::mem::take(&mut ops)).await?;
                }
                revision = kv.mod_revision;
                let key = self.renamed(&kv.key, dest);
                let request = match kind {
                    EventType::Put => Request::RequestPut(PutRequest { key, value: kv.value, ..Default::default() }),
                    EventType::Delete => Request::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() }),
                };
                ops.push(RequestOp { request: Some(request) });
                self.written.set(self.written.get() + 1);
            }
            self.commit(ops).await?;
        }
    }

    async fn commit(&self, ops: Vec<RequestOp>) -> Result<(), Error> {
        if ops.is_empty() {
            return Ok(());
        }
        self.to.call(TxnRequest { success: ops, ..Default::default() }, None).await.map(drop)
    }
}
