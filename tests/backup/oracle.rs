//! etcd's own etcdutl, built once, and a server of etcd's on what it restored.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{self, Server, go, runner};

/// None if Go is not there and need not be.
pub fn etcdutl() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| go::build("backup/tools", "go.etcd.io/etcd/etcdutl/v3", "etcdutl-of-etcd")).clone()
}

/// What a tool said on stdout.
pub fn run(tool: &mut Command) -> Result<String, String> {
    let done = tool.output().map_err(|error| format!("{tool:?}: {error}"))?;
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if done.status.success() { Ok(out.into_owned()) } else { Err(format!("{tool:?}: {}\n{out}{err}", done.status)) }
}

/// What etcd's tool says of a snapshot, after it has looked at every page of it.
pub fn status(etcdutl: &Path, snapshot: &Path) -> serde_json::Value {
    let said = run(runner::command(etcdutl).args(["snapshot", "status", "-w", "json"]).arg(snapshot)).expect("etcd's tool takes the file");
    serde_json::from_str(&said).expect("JSON")
}

/// etcd's server on a snapshot that etcd's tool has restored.
pub async fn restored(etcdutl: &Path, snapshot: &Path, more: &[&str]) -> Server {
    let fill = |data: &Path, peer_url: &str| {
        let mut restore = runner::command(etcdutl);
        restore.args(["snapshot", "restore"]).arg(snapshot).arg("--data-dir").arg(data).args(more);
        restore.args(["--initial-advertise-peer-urls", peer_url, "--initial-cluster", &format!("default={peer_url}")]);
        run(&mut restore).expect("etcd's tool restores the file");
    };
    Server::start_on(&harness::reference(), &[], fill).await
}
