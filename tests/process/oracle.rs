//! etcd's own server, to compare with.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub fn binary() -> &'static Path {
    etcd_bin_vendored::etcd_bin_path().expect("the vendored server runs on this platform")
}

/// Runs it to its end.
pub fn run(words: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(words).env_clear().env("TZ", "UTC").envs(env.iter().copied()).stdin(Stdio::null());
    command.output().expect("the vendored server starts")
}

/// A server of one member, stopped when dropped.
pub struct Server {
    child: Child,
    pub client: String,
    pub metrics: String,
    _dir: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Server {
        // Ports are free to be taken between the choice and the start, so servers of this process start one after another.
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().expect("a directory");
        let ports: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let [client, peer, metrics] = [0, 1, 2].map(|at| ports[at].local_addr().expect("bound").to_string());
        drop(ports);
        let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
        let child = Command::new(binary())
            .args(["--name=a", "--log-level=error", "--data-dir"])
            .arg(dir.path().join("data"))
            .args([format!("--listen-client-urls={client_url}"), format!("--advertise-client-urls={client_url}")])
            .args([format!("--listen-peer-urls={peer_url}"), format!("--initial-advertise-peer-urls={peer_url}")])
            .args([format!("--initial-cluster=a={peer_url}"), format!("--listen-metrics-urls=http://{metrics}")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the vendored server starts");
        let server = Server { child, client, metrics, _dir: dir };
        let give_up = Instant::now() + Duration::from_secs(60);
        // The version of the storage is the last thing a new server decides.
        while !ask(&server.client, "GET", "/version").is_some_and(|answer| answer.contains("\"storage\":\"3.7.0\"")) {
            assert!(Instant::now() < give_up, "the vendored server serves within a minute");
            std::thread::yield_now();
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own, of HTTP 1.0 so that the body comes in one piece; the whole answer as text. None while nobody listens or answers.
pub fn ask(address: &str, method: &str, path: &str) -> Option<String> {
    let answer = ask_with(address, method, path, &[], b"")?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// The same with headers and a body.
pub fn ask_with(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n").into_bytes();
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").ok()?;
    }
    if !body.is_empty() {
        write!(request, "Content-Length: {}\r\n", body.len()).ok()?;
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    stream.write_all(&request).ok()?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    // etcd's peer listener closes a connection late, so the length that it tells is believed.
    while !is_whole(&answer, method) {
        match stream.read(&mut buffer).ok()? {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    Some(answer)
}

fn is_whole(answer: &[u8], method: &str) -> bool {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| method == "HEAD" || answer.len() >= end + 4 + length)
}
