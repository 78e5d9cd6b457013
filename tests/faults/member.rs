//! A server process on a directory of the test's choice, perhaps run by another program, and what was acknowledged to its writers.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use etcd::wire::etcdserverpb::{AlarmRequest, AlarmType, PutRequest, RangeRequest, alarm_request::AlarmAction};
use rustix::process::Signal;
use tonic::Status;

use crate::harness::{Clients, DEADLINE, free_port, runner};

pub const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";
const POLL: Duration = Duration::from_millis(5);

pub struct Member {
    program: PathBuf,
    pub data: PathBuf,
    log: PathBuf,
    pub client: String,
    peer: String,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Member {
    /// Not started yet. The log goes into `notes`, which is not on the volume under test.
    pub fn new(program: &Path, data: PathBuf, notes: &Path, flags: &[&str]) -> Member {
        let flags = flags.iter().map(ToString::to_string).collect();
        let url = || format!("http://127.0.0.1:{}", free_port());
        let (client, peer) = (url(), url());
        let log = notes.join(format!("log-{}", client.rsplit(':').next().expect("a port")));
        Member { program: program.to_path_buf(), data, log, client, peer, flags, child: None }
    }

    /// The next start is of this program.
    pub fn switch_to(&mut self, program: &Path) {
        self.program = program.to_path_buf();
    }

    /// Starts it, as an argument of `wrapper` if that is not empty. The wrapper must become the program by `exec`.
    pub fn spawn(&mut self, wrapper: &[OsString]) {
        assert!(self.child.is_none(), "the member runs");
        let log = File::options().create(true).append(true).open(&self.log).expect("the log file can be written");
        let mut command = match wrapper {
            [] => runner::command(&self.program),
            [runner, rest @ ..] => {
                let mut command = Command::new(runner);
                command.args(rest).arg(&self.program);
                command
            }
        };
        command
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--listen-client-urls", &self.client, "--advertise-client-urls", &self.client])
            .args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer])
            .args(["--initial-cluster", &format!("default={}", self.peer)])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}")));
    }

    /// Waits until it serves, or has ended.
    pub async fn is_ready(&mut self) -> bool {
        let mut clients = self.clients();
        let deadline = Instant::now() + DEADLINE;
        loop {
            if matches!(clients.announced().await, Ok(status) if !status.storage_version.is_empty()) {
                return true;
            }
            if self.ended().is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "neither ready nor gone\n{}", self.log_text());
            tokio::time::sleep(POLL).await;
        }
    }

    pub async fn start(&mut self) {
        self.spawn(&[]);
        assert!(self.is_ready().await, "it did not start\n{}", self.log_text());
    }

    pub fn clients(&self) -> Clients {
        Clients::to(&self.client)
    }

    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Lines of the log at a level, which is one word in the JSON of both servers.
    pub fn lines_at(&self, level: &str) -> Vec<String> {
        let wanted = format!("\"level\":\"{level}\"");
        self.log_text().lines().filter(|line| line.contains(&wanted)).map(str::to_owned).collect()
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().expect("the member was started").try_wait().expect("a child can be waited for")
    }

    pub fn is_alive(&mut self) -> bool {
        self.ended().is_none()
    }

    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().expect("the member runs"));
        rustix::process::kill_process(pid, signal).expect("the process can be signalled");
    }

    /// Waits for the end.
    pub async fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.ended() {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < deadline, "it did not end\n{}", self.log_text());
            tokio::time::sleep(POLL).await;
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that it has ended already.
            let _ = child.kill();
            child.wait().expect("a killed child ends");
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Disarms what stands; how many alarms that were.
pub async fn disarm(clients: &mut Clients) -> Result<usize, Status> {
    let request = AlarmRequest { action: AlarmAction::Get.into(), ..Default::default() };
    let standing = clients.maintenance.alarm(request).await?.into_inner().alarms;
    for alarm in &standing {
        let request = AlarmRequest { action: AlarmAction::Deactivate.into(), member_id: alarm.member_id, alarm: AlarmType::Nospace.into() };
        clients.maintenance.alarm(request).await?;
    }
    Ok(standing.len())
}

pub async fn has_alarm(clients: &mut Clients) -> Result<bool, Status> {
    let request = AlarmRequest { action: AlarmAction::Get.into(), ..Default::default() };
    let alarms = clients.maintenance.alarm(request).await?.into_inner().alarms;
    Ok(alarms.iter().any(|alarm| alarm.alarm == i32::from(AlarmType::Nospace)))
}

/// What writers were told is written.
#[derive(Debug, Default)]
pub struct Told {
    puts: BTreeMap<Bytes, Bytes>,
}

impl Told {
    pub fn len(&self) -> usize {
        self.puts.len()
    }

    pub fn keys(&self) -> Vec<Bytes> {
        self.puts.keys().cloned().collect()
    }

    pub fn forget(&mut self, key: &Bytes) {
        self.puts.remove(key);
    }

    pub fn extend(&mut self, other: Told) {
        self.puts.extend(other.puts);
    }

    /// One put, remembered if it was acknowledged.
    pub async fn put(&mut self, clients: &mut Clients, key: &str, value: Bytes) -> Result<(), Status> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        clients.kv.put(PutRequest { key: key.clone(), value: value.clone(), ..Default::default() }).await?;
        self.puts.insert(key, value);
        Ok(())
    }

    /// Puts one after another until one fails or `count` are done.
    pub async fn put_many(&mut self, clients: &mut Clients, prefix: &str, count: usize, value: &Bytes) -> Result<(), Status> {
        for number in 0..count {
            self.put(clients, &format!("{prefix}{number:06}"), value.clone()).await?;
        }
        Ok(())
    }

    /// Fails unless the server has all of it.
    pub async fn check(&self, clients: &mut Clients) {
        for (key, value) in &self.puts {
            let read = RangeRequest { key: key.clone(), ..Default::default() };
            let found = clients.kv.range(read).await.expect("a read is served").into_inner();
            assert_eq!(found.kvs.first().map(|kv| &kv.value), Some(value), "an acknowledged write is lost: {key:?}");
        }
    }
}
