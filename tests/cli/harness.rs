//! A member to talk to, and etcdctl talking to it.
//!
//!   Member::start(..) --> server program on free ports, in a directory of its own
//!   member.ctl(..)  --> Ran { code, stdout, stderr }, ids and addresses masked
//!   member.begin(..) -> Running: lines come one by one

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::runner;

pub struct Member {
    program: PathBuf,
    dir: TempDir,
    client_port: u16,
    peer_port: u16,
    server: Option<Child>,
    masks: Vec<(String, &'static str)>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    code: Option<i32>,
    pub stdout: String,
    stderr: String,
}

/// A command that has not ended.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

/// The real etcd, or the program that `ETCD_REFERENCE` names in its place.
pub fn reference() -> PathBuf {
    match env::var_os("ETCD_REFERENCE") {
        Some(path) => path.into(),
        None => etcd_bin_vendored::etcd_bin_path().expect("there is a real etcd for this platform").to_path_buf(),
    }
}

/// A port below those that systems give to outgoing connections: one of these could be taken between here and the server's start.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + u16::try_from(first.wrapping_add(step) % 12_000).expect("it is below 12000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Member {
    pub fn start(program: &Path) -> Member {
        let dir = TempDir::new().expect("a directory can be made");
        let mut member = Member {
            program: program.to_path_buf(),
            dir,
            client_port: free_port(),
            peer_port: free_port(),
            server: None,
            masks: Vec::new(),
        };
        member.run_server();
        member.masks = member.learn_masks();
        member
    }

    fn run_server(&mut self) {
        let (client, peer) = (format!("http://127.0.0.1:{}", self.client_port), format!("http://127.0.0.1:{}", self.peer_port));
        let log = std::fs::File::create(self.dir.path().join("log")).expect("the log can be written");
        let mut server = runner::command(&self.program);
        for (name, _) in env::vars_os().filter(|(name, _)| runner::is_foreign(name)) {
            server.env_remove(name);
        }
        let server = server
            .args(["--name", "m1", "--data-dir"])
            .arg(self.dir.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("m1={peer}")])
            .stderr(log.try_clone().expect("the log can be shared"))
            .stdout(log)
            .spawn()
            .expect("the server starts");
        self.server = Some(server);
        // etcdctl itself waits for a member that accepts connections, and this read for one that has a leader.
        let ready = self.ctl(&["get", "ready", "--dial-timeout=20s", "--command-timeout=60s"]);
        assert_eq!(ready.code, Some(0), "{ready:?}\n{}", std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
    }

    pub fn kill_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("the server can be killed");
            server.wait().expect("it ends");
        }
    }

    pub fn restart_server(&mut self) {
        self.kill_server();
        self.run_server();
    }

    /// What the server program says of itself.
    pub fn server_version(&self) -> String {
        let output = runner::command(&self.program).arg("--version").output().expect("the server program starts");
        String::from_utf8(output.stdout).expect("it is text")
    }

    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// Ids follow from the ports, which differ from run to run.
    fn learn_masks(&self) -> Vec<(String, &'static str)> {
        let header = self.ctl(&["get", "ready", "-w", "json"]).stdout;
        let number = |name: &str| {
            let at = header.find(name).unwrap_or_else(|| panic!("{name} is in {header}")) + name.len();
            header[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().expect("it is a number")
        };
        let (cluster, member) = (number("\"cluster_id\":"), number("\"member_id\":"));
        vec![
            (cluster.to_string(), "CLUSTER"),
            (member.to_string(), "MEMBER"),
            (format!("{cluster:x}"), "CLUSTERHEX"),
            (format!("{member:x}"), "MEMBERHEX"),
            (self.endpoint(), "ENDPOINT"),
            (format!("127.0.0.1:{}", self.peer_port), "PEER"),
        ]
    }

    fn command<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Command {
        let mut command = runner::command(runner::built("etcdctl", env!("CARGO_BIN_EXE_etcdctl")));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCDCTL_")) {
            command.env_remove(name);
        }
        command.env("ETCDCTL_ENDPOINTS", self.endpoint()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs etcdctl to its end.
    pub fn ctl(&self, args: &[&str]) -> Ran {
        self.ctl_with(args, b"", &[])
    }

    /// With something on stdin and more variables. Endpoints given as a flag or variable take the place of the member's own.
    pub fn ctl_with(&self, args: &[&str], stdin: &[u8], variables: &[(&str, &str)]) -> Ran {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let mut command = self.command(&args);
        if args.iter().any(|arg| arg.to_string_lossy().starts_with("--endpoints")) {
            command.env_remove("ETCDCTL_ENDPOINTS");
        }
        let mut child = command.envs(variables.iter().copied()).stdin(Stdio::piped()).spawn().expect("etcdctl starts");
        // It may end without reading what it was given.
        let _ = child.stdin.take().expect("it is piped").write_all(stdin);
        let output = child.wait_with_output().expect("etcdctl ends");
        Ran { code: output.status.code(), stdout: self.masked(&output.stdout), stderr: self.masked(&output.stderr) }
    }

    /// Runs etcdctl again and again until its output is as wanted.
    #[track_caller]
    pub fn eventually(&self, args: &[&str], is_wanted: impl Fn(&str) -> bool) {
        let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let stdout = self.ctl(args).stdout;
            if is_wanted(&stdout) {
                return;
            }
            assert!(std::time::Instant::now() < give_up, "{args:?} never said what was wanted, at last {stdout:?}");
        }
    }

    /// Starts etcdctl; the test reads its lines.
    pub fn begin(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("etcdctl starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Running { stdin: child.stdin.take(), child, lines }
    }

    pub fn masked(&self, text: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(text).into_owned();
        for (what, with) in &self.masks {
            text = text.replace(what, with);
        }
        text
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill_server();
    }
}

impl Ran {
    /// Succeeded with exactly this on stdout.
    #[track_caller]
    pub fn says(self, stdout: &str) {
        assert_eq!((self.code, &self.stdout[..]), (Some(0), stdout), "stderr: {}", self.stderr);
    }

    /// Failed with this code; stderr, without warnings, begins with this.
    #[track_caller]
    pub fn fails(self, code: i32, stderr: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let errors: String = self.stderr.lines().filter(|line| !line.starts_with("{\"level\"")).map(|line| format!("{line}\n")).collect();
        assert!(errors.starts_with(stderr), "expected {stderr:?}\nbut got {errors:?}");
    }

    /// Numbers that depend on time replaced by N: those that follow one of `names`.
    pub fn with_numbers_masked(self, names: &[&str]) -> Ran {
        self.with_masked(names, |c| c.is_ascii_digit() || c == '.')
    }

    /// Durations as Go writes them (`1m2.5s`, `950ms`, `73µs`) replaced by N, whatever unit a fast or a slow machine makes of them.
    pub fn with_durations_masked(self, names: &[&str]) -> Ran {
        self.with_masked(names, |c| c.is_ascii_digit() || ".hmsµn".contains(c))
    }

    fn with_masked(mut self, names: &[&str], masked: impl Fn(char) -> bool) -> Ran {
        for name in names {
            let mut out = String::new();
            let mut rest = &self.stdout[..];
            while let Some(at) = rest.find(name) {
                let (before, after) = rest.split_at(at + name.len());
                out.push_str(before);
                rest = after.trim_start_matches(&masked);
                assert!(rest.len() < after.len(), "{name:?} has something to mask after it: {after:?}");
                out.push('N');
            }
            self.stdout = out + rest;
        }
        self
    }
}

impl Running {
    pub fn write(&mut self, text: &str) {
        self.stdin.as_mut().expect("it is open").write_all(text.as_bytes()).expect("etcdctl reads");
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The next lines are these.
    #[track_caller]
    pub fn says(&mut self, lines: &[&str]) {
        for expected in lines {
            assert_eq!(self.line(), *expected);
        }
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("stdout is text");
        line.trim_end_matches('\n').to_owned()
    }

    /// Asks it to end, as Ctrl-C does.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it can be signalled");
    }

    /// Waits for its end.
    pub fn end(mut self) -> Option<i32> {
        self.stdin = None;
        self.child.wait().expect("etcdctl ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
