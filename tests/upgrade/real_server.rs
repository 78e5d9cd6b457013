//! The real etcd as a child process, on free ports of the loopback interface.
//!
//! Nothing here waits by the clock: the server says on its error stream when it serves, and its end closes the stream.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use etcd::wire::etcdserverpb::kv_client::KvClient;
use etcd::wire::etcdserverpb::{PutRequest, RangeRequest};
use tonic::transport::Channel;

use crate::harness::runner;

/// What a member is called and where it listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub name: &'static str,
    pub client: String,
    pub peer: String,
}

impl Addresses {
    /// Ports that were free a moment ago.
    pub fn free(name: &'static str) -> Addresses {
        let listeners = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let [client, peer] = listeners.map(|listener| format!("http://{}", listener.local_addr().unwrap()));
        Addresses { name, client, peer }
    }
}

pub struct RealServer {
    child: Child,
    log: Option<JoinHandle<Vec<String>>>,
    serving: mpsc::Receiver<()>,
    addresses: Addresses,
}

impl RealServer {
    pub fn spawn(data_dir: &Path, addresses: &Addresses, more: &[&str]) -> RealServer {
        let Addresses { name, client, peer } = addresses;
        let mut child = runner::command(etcd_bin_vendored::etcd_bin_path().unwrap())
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--name", name, "--listen-client-urls", client, "--advertise-client-urls", client])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &format!("{name}={peer}")])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (serve, serving) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in stderr.lines().map_while(Result::ok) {
                if line.contains("ready to serve client requests") {
                    let _ = serve.send(());
                }
                lines.push(line);
            }
            lines
        });
        RealServer { child, log: Some(log), serving, addresses: addresses.clone() }
    }

    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// With the server's log, if it stops instead.
    pub fn start(data_dir: &Path, addresses: &Addresses, more: &[&str]) -> RealServer {
        let mut server = RealServer::spawn(data_dir, addresses, more);
        if server.serving.recv().is_err() {
            let log = server.log.take().unwrap().join().unwrap();
            panic!("the server stopped before it served:\n{}", log.join("\n"));
        }
        server
    }

    pub async fn kv(&self) -> KvClient<Channel> {
        KvClient::connect(self.addresses.client.clone()).await.unwrap()
    }

    pub async fn put(&self, key: &str, value: impl Into<Vec<u8>>) {
        let request = PutRequest { key: key.to_owned().into(), value: value.into().into(), ..PutRequest::default() };
        self.kv().await.put(request).await.unwrap();
    }

    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
        let answer = self.kv().await.max_decoding_message_size(usize::MAX).range(request).await.unwrap().into_inner();
        answer.kvs.first().map(|kv| kv.value.to_vec())
    }

    /// Ends the server the way an operator would, and waits for it, while the caller's runtime goes on closing the
    /// connections that the server waits for.
    pub async fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        tokio::task::spawn_blocking(move || self.wait()).await.unwrap();
    }

    /// Waits until the server has ended by itself; answers how, and its log.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let lines = self.log.take().map(|log| log.join().unwrap()).unwrap_or_default();
        (self.child.wait().unwrap(), lines.join("\n"))
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
