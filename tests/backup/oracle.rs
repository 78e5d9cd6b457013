//! etcd's own etcdutl, built once, and a server of etcd's on what it restored.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{self, Server};

/// None if it may be left out and cannot be built.
pub fn etcdutl() -> Option<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(build) {
        Ok(program) => Some(program.clone()),
        Err(reason) => {
            let skipped = std::env::var("ETCD_CLIENTS_SKIP").unwrap_or_default();
            assert!(skipped.split(',').any(|name| name == "go"), "etcdutl cannot be built: {reason}");
            println!("skipped, as ETCD_CLIENTS_SKIP={skipped} allows: {reason}");
            None
        }
    }
}

fn build() -> Result<PathBuf, String> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcdutl-of-etcd");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backup/tools");
    let mut go = Command::new("go");
    go.current_dir(sources).args(["build", "-buildvcs=false", "-o"]).arg(&program).arg("go.etcd.io/etcd/etcdutl/v3");
    run(&mut go)?;
    Ok(program)
}

/// What a tool said on stdout.
pub fn run(tool: &mut Command) -> Result<String, String> {
    let done = tool.output().map_err(|error| format!("{tool:?}: {error}"))?;
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if done.status.success() { Ok(out.into_owned()) } else { Err(format!("{tool:?}: {}\n{out}{err}", done.status)) }
}

/// What etcd's tool says of a snapshot, after it has looked at every page of it.
pub fn status(etcdutl: &Path, snapshot: &Path) -> serde_json::Value {
    let said = run(Command::new(etcdutl).args(["snapshot", "status", "-w", "json"]).arg(snapshot)).expect("etcd's tool takes the file");
    serde_json::from_str(&said).expect("JSON")
}

/// etcd's server on a snapshot that etcd's tool has restored.
pub async fn restored(etcdutl: &Path, snapshot: &Path, more: &[&str]) -> Server {
    let fill = |data: &Path, peer_url: &str| {
        let mut restore = Command::new(etcdutl);
        restore.args(["snapshot", "restore"]).arg(snapshot).arg("--data-dir").arg(data).args(more);
        restore.args(["--initial-advertise-peer-urls", peer_url, "--initial-cluster", &format!("default={peer_url}")]);
        run(&mut restore).expect("etcd's tool restores the file");
    };
    Server::start_on(&harness::reference(), &[], fill).await
}
