//! Starts one server as a child process on loopback and speaks to it over plain gRPC, with no client library in between.
//!
//! ```text
//!   test ──► Server ── spawn, SIGTERM, SIGKILL, start again ──► program (ours, or the reference)
//!     │        └── temporary data dir, free ports, log file
//!     └────► Clients ── tonic, no message limits ─────────────► 127.0.0.1:port
//! ```
//!
//! The program is a parameter, so that a test can first be proven against the reference on both sides
//! (`ETCD_OURS=<path of etcd>`). A server is killed when it is dropped; nothing waits by sleeping a fixed time: readiness is a
//! question asked again until a deadline.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod go;
pub mod runner;
pub mod watching;

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use etcd::release::CLUSTER_VERSION;
use etcd::wire::etcdserverpb::{
    RangeRequest, StatusRequest, StatusResponse, cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use rand::Rng;
use tempfile::TempDir;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// How long anything may take before a test calls it a failure. Generous: it only passes when something is broken.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Pause between two askings of the same question.
const POLL: Duration = Duration::from_millis(10);

/// The server under test.
pub fn ours() -> PathBuf {
    std::env::var_os("ETCD_OURS").map_or_else(|| runner::built("etcd", env!("CARGO_BIN_EXE_etcd")), PathBuf::from)
}

/// The etcd release that decides what is right.
pub fn reference() -> PathBuf {
    std::env::var_os("ETCD_REFERENCE").map_or_else(
        || etcd_bin_vendored::etcd_bin_path().unwrap_or_else(|error| panic!("no reference etcd for this platform: {error}")).to_path_buf(),
        PathBuf::from,
    )
}

/// True when the reference is run against itself, to prove the tests rather than a server.
pub fn is_reference_itself() -> bool {
    let length = |path: PathBuf| std::fs::metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).len();
    length(ours()) == length(reference())
}

/// A number from the environment, for runs longer or shorter than the default.
pub fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// The seed of a random test: given, or new; printed, so that a failure can be repeated.
pub fn seed(name: &str) -> u64 {
    let seed = setting(name, rand::rng().random_range(0..u64::from(u32::MAX)));
    println!("{name}={seed}");
    seed
}

/// One server process with a data dir that outlives it.
pub struct Server {
    program: PathBuf,
    flags: Vec<String>,
    home: TempDir,
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
}

/// The gRPC services of one server.
#[derive(Clone)]
pub struct Clients {
    pub channel: Channel,
    pub kv: KvClient<Channel>,
    pub watch: WatchClient<Channel>,
    pub lease: LeaseClient<Channel>,
    pub cluster: ClusterClient<Channel>,
    pub maintenance: MaintenanceClient<Channel>,
}

// === impl Server ===

impl Server {
    /// Starts `program` on an empty data dir and waits until it answers.
    pub async fn start(program: &Path, flags: &[&str]) -> Server {
        Server::start_on(program, flags, |_, _| {}).await
    }

    /// As `start`, on what `fill` puts into the data dir for a member with this peer URL.
    pub async fn start_on(program: &Path, flags: &[&str], fill: impl Fn(&Path, &str)) -> Server {
        let home = tempfile::Builder::new().prefix("etcd-test-").tempdir().expect("a temporary directory");
        let flags = flags.iter().map(ToString::to_string).collect();
        let mut server = Server { program: program.to_path_buf(), flags, home, client_port: 0, peer_port: 0, child: None };
        for attempt in 0.. {
            (server.client_port, server.peer_port) = (free_port(), free_port());
            let data = server.home.path().join("data");
            // Of an earlier attempt, if there was one.
            let _ = std::fs::remove_dir_all(&data);
            fill(&data, &server.peer_url());
            server.spawn();
            match server.wait_until_ready().await {
                Ok(()) => return server,
                // Another process may take a port between our look and the server's own bind.
                Err(reason) if attempt < 3 && server.log().contains("address already in use") => {
                    println!("starting again on other ports: {reason}");
                }
                Err(reason) => panic!("{} did not start: {reason}\n{}", server.program.display(), server.log_tail()),
            }
        }
        unreachable!("the loop returns or panics")
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// The peer URL, for tests that compare member lists.
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Connects lazily, with messages of any size.
    pub fn clients(&self) -> Clients {
        Clients::to(&self.endpoint())
    }

    /// True while the process has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child can be waited for").is_none())
    }

    /// Ends the process at once, as a power cut would, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that it has ended already.
            let _ = child.kill();
            child.wait().expect("a killed child ends");
        }
    }

    /// Asks the process to stop and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        let child = self.child.as_ref().expect("the server runs");
        terminate(child);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let ended = self.child.as_mut().expect("the server runs").try_wait().expect("a child can be waited for");
            if let Some(status) = ended {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not stop\n{}", self.log_tail());
            tokio::time::sleep(POLL).await;
        }
    }

    /// The next start is of this program, on the same data dir and ports.
    pub fn switch_to(&mut self, program: &Path) {
        assert!(self.child.is_none(), "the server still runs");
        self.program = program.to_path_buf();
    }

    /// Starts the program again and waits for nothing.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "the server still runs");
        self.spawn();
    }

    /// Waits until a program that cannot start has ended; answers how.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.as_mut().expect("the server was started").try_wait().expect("a child can be waited for") {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end\n{}", self.log_tail());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Starts the same program again on the same data dir and ports.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "the server still runs");
        self.spawn();
        if let Err(reason) = self.wait_until_ready().await {
            panic!("{} did not start again: {reason}\n{}", self.program.display(), self.log_tail());
        }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The last lines that the server wrote, for a failure message.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("--- last lines of {}\n{}", self.program.display(), lines[lines.len().saturating_sub(15)..].join("\n"))
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("log")
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_path()).expect("the log file can be written");
        let (client, peer) = (self.endpoint(), self.peer_url());
        let mut command = runner::command(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| runner::is_foreign(name)) {
            command.env_remove(name);
        }
        let child = command
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", self.program.display()));
        self.child = Some(child);
    }

    /// Ready means: a linearizable read is answered, and the versions that a leader announces after its election are known.
    async fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        let mut clients = self.clients();
        loop {
            let state = clients.announced().await;
            // Until the storage's version is written down, a status tells which one the store looks like: another.
            if matches!(&state, Ok(status) if status.storage_version == CLUSTER_VERSION) {
                return Ok(());
            }
            if !self.is_alive() {
                let ended = self.child.take().and_then(|mut child| child.wait().ok());
                return Err(format!("it ended: {ended:?}"));
            }
            if Instant::now() > deadline {
                self.kill();
                return Err(format!("it was not ready in time; the last answer was {state:?}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

// === impl Clients ===

impl Clients {
    /// Connects lazily, with messages of any size.
    pub fn to(endpoint: &str) -> Clients {
        let channel = Endpoint::from_shared(endpoint.to_owned()).expect("a URL").connect_timeout(Duration::from_secs(5)).connect_lazy();
        Clients {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            watch: WatchClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            lease: LeaseClient::new(channel.clone()),
            cluster: ClusterClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            channel,
        }
    }

    pub async fn announced(&mut self) -> Result<StatusResponse, Status> {
        let read = RangeRequest { key: "readiness".into(), ..Default::default() };
        let asked = async {
            self.kv.range(read).await?;
            self.maintenance.status(StatusRequest {}).await
        };
        match tokio::time::timeout(Duration::from_secs(2), asked).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::new(Code::DeadlineExceeded, "no answer")),
        }
    }
}

/// Asks until the answer is `Some`; fails with `what` at the deadline.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A port below the range from which the system takes the ports of outgoing connections, so that it stays free for a restart.
pub fn free_port() -> u16 {
    loop {
        let port = rand::rng().random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[cfg(unix)]
fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the process can be signalled");
}

/// Elsewhere there is no signal that asks: the end is always abrupt.
#[cfg(not(unix))]
fn terminate(child: &Child) {
    let killed = std::process::Command::new("taskkill").args(["/F", "/PID", &child.id().to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()), "taskkill failed");
}
