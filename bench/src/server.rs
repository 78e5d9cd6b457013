//! A server under measurement: a process on loopback with a data dir of its own, and what /proc says of it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use etcd::wire::etcdserverpb::{RangeRequest, RangeResponse};
use nix::time::{clock_getcpuclockid, clock_gettime};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Connection, Method};
use crate::device::Device;

#[derive(Clone)]
pub enum Kind {
    Etcd(PathBuf),
    Floor,
}

/// Where data dirs are made.
#[derive(Clone)]
pub enum Place {
    Memory,
    Disk(PathBuf),
}

impl Place {
    fn root(&self) -> PathBuf {
        match self {
            Place::Memory => PathBuf::from("/dev/shm"),
            Place::Disk(folder) => folder.clone(),
        }
    }
}

/// How long a server may take to answer for the first time, and to stop.
const START_MAX: Duration = Duration::from_secs(120);
const STOP_MAX: Duration = Duration::from_secs(20);

pub struct Server {
    kind: Kind,
    folder: PathBuf,
    place: Place,
    pub address: SocketAddr,
    peer: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts it with an empty data dir and waits for its first linearizable answer.
    pub async fn start(kind: &Kind, place: &Place) -> Result<Server> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = place.root().join(format!("versus-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let [client, peer] = free_ports()?;
        let child = spawn(kind, &folder, client, peer).inspect_err(|_| drop(fs::remove_dir_all(&folder)))?;
        let mut server = Server { kind: kind.clone(), folder, place: place.clone(), address: client, peer, child };
        server.wait(Instant::now()).await?;
        Ok(server)
    }

    /// Stops it as an operator would, starts it again on the same data and ports, and answers the time from exec to the first linearizable answer.
    pub async fn restart(&mut self) -> Result<Duration> {
        self.stop().await?;
        let start = Instant::now();
        self.child = spawn(&self.kind, &self.folder, self.address, self.peer)?;
        self.wait(start).await
    }

    async fn wait(&mut self, start: Instant) -> Result<Duration> {
        while start.elapsed() < START_MAX {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended ({status}) before it answered:\n{}", self.log_tail());
            }
            if self.answers().await.is_ok() {
                return Ok(start.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bail!("no answer after {START_MAX:?}:\n{}", self.log_tail())
    }

    async fn answers(&self) -> Result<()> {
        let connection = Connection::open(self.address).await?;
        let request = RangeRequest { key: "ready".into(), ..Default::default() };
        let answer = connection.ask::<RangeResponse>(Method::Range, &request);
        tokio::time::timeout(Duration::from_secs(2), answer).await??;
        Ok(())
    }

    async fn stop(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a pid")?;
        kill_process(pid, Signal::TERM)?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > STOP_MAX {
                bail!("the server did not stop within {STOP_MAX:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// A folder beside the data dir, on the same disk, that outlives the server: whoever asks for it removes it.
    pub fn side_folder(&self) -> Result<PathBuf> {
        let folder = self.folder.with_extension("side");
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        Ok(folder)
    }

    /// Waits until the work that clients left it is done, such as a compaction of its files.
    pub async fn settled(&self) -> Result<()> {
        const LOOK: Duration = Duration::from_secs(1);
        // Both servers take less than ten milliseconds a second for nothing at all; a compaction takes most of a core.
        const CPU_MAX: Duration = Duration::from_millis(30);
        const LOOKS: usize = 60;
        let mut before = self.usage()?.cpu;
        for _ in 0..LOOKS {
            tokio::time::sleep(LOOK).await;
            let now = self.usage()?.cpu;
            if now - before <= CPU_MAX {
                return Ok(());
            }
            before = now;
        }
        bail!("it still works on something {LOOKS} s after the last call")
    }

    pub fn usage(&self) -> Result<Usage> {
        Usage::of(&self.child.id().to_string())
    }

    /// The device under the data, if it is on one; the floor has no data.
    pub fn device(&self) -> Result<Option<Device>> {
        match (&self.place, &self.kind) {
            (Place::Disk(folder), Kind::Etcd(_)) => Device::below(folder).map(Some),
            _ => Ok(None),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // By pid, and only this one. A server that was stopped already is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(kind: &Kind, folder: &std::path::Path, client: SocketAddr, peer: SocketAddr) -> Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = match kind {
        Kind::Floor => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--floor").arg(client.to_string());
            command
        }
        Kind::Etcd(path) => {
            let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
            let mut command = Command::new(path);
            command.args(["--name", "default", "--log-level", "error", "--quota-backend-bytes", "6442450944"]);
            command.arg("--data-dir").arg(folder.join("data"));
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &format!("default={peer}")]);
            command
        }
    };
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("failed to start {}", command.get_program().to_string_lossy()))
}

/// Two free ports of loopback, as far as one can know.
fn free_ports() -> Result<[SocketAddr; 2]> {
    let (first, second) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok([first.local_addr()?, second.local_addr()?])
}

/// What a process has used up to now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    pub rss_kib: u64,
    pub rss_peak_kib: u64,
    pub rss_anonymous_kib: u64,
    /// Times that a thread of it gave its processor up or lost it.
    pub switches: u64,
}

impl Usage {
    pub fn own() -> Result<Usage> {
        Usage::of("self")
    }

    fn of(pid: &str) -> Result<Usage> {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).with_context(|| format!("failed to read /proc/{pid}/{name}"));
        let status = read("status")?;
        let kib = |name: &str| number_after(&status, name).unwrap_or_default();
        let cpu = cpu_of(pid)?;
        let switches = context_switches(pid);
        Ok(Usage { cpu, switches, rss_kib: kib("VmRSS:"), rss_peak_kib: kib("VmHWM:"), rss_anonymous_kib: kib("RssAnon:") })
    }
}

/// Of the threads alive now: a thread that ended takes its count with it.
fn context_switches(pid: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let both = |status: String| {
        ["\nvoluntary_ctxt_switches:", "\nnonvoluntary_ctxt_switches:"].iter().filter_map(|name| number_after(&status, name)).sum::<u64>()
    };
    statuses.map(both).sum()
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    text.split(name).nth(1)?.split_whitespace().next()?.parse().ok()
}

/// User and system time of all threads, those that ended included; /proc has it in hundredths of a second only.
fn cpu_of(pid: &str) -> Result<Duration> {
    let pid = if pid == "self" { 0 } else { pid.parse().context("a pid")? };
    let clock = clock_getcpuclockid(nix::unistd::Pid::from_raw(pid)).context("the process has no clock")?;
    Ok(clock_gettime(clock)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work_and_not_with_waiting() {
        let (start, before) = (Instant::now(), Usage::own().unwrap().cpu);
        while Usage::own().unwrap().cpu - before < Duration::from_millis(50) {
            assert!(start.elapsed() < Duration::from_secs(30), "the clock of this process stands still");
        }
        let mut idle = Command::new("sleep").arg("60").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let used = Usage::of(&idle.id().to_string()).unwrap().cpu;
        idle.kill().unwrap();
        idle.wait().unwrap();
        assert!(used < Duration::from_millis(250), "a process that sleeps used {used:?} in half a second");
    }

    #[test]
    fn a_number_is_found_after_its_name() {
        assert_eq!(number_after("VmRSS:\t  120 kB\nRssAnon: 7 kB", "RssAnon:"), Some(7));
    }
}
