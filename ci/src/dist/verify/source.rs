//! The source archive: builds `etcdctl` with nothing but itself, and knows its commit.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::source::stem;
use crate::run::release;
use crate::shell::Step;
use crate::{git, place};

/// The server is resolved, which finds any crate that is missing; RocksDB's C++ is not compiled again.
pub fn verify(path: &Path) -> Result<()> {
    let folder = place::target().join("verified-source");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("home"))?;
    Step::new("tar").args(["--extract", "--gzip", "--file"]).args([path]).run(&folder)?;
    let root = folder.join(stem(&release()?));
    // A home of its own, so that no crate comes from one that was fetched before.
    let cargo = |words: &[&str]| {
        let step = Step::cargo().args(words).args(["--locked", "--offline"]);
        step.var("CARGO_HOME", folder.join("home")).var("CARGO_TARGET_DIR", folder.join("target"))
    };
    cargo(&["metadata", "--quiet", "--format-version", "1"]).output_within(&root, Duration::from_secs(120)).and_then(|done| {
        ensure!(done.status.success(), "a crate is missing: {}", String::from_utf8_lossy(&done.stderr).trim());
        Ok(())
    })?;
    for crate_of_server in ["librocksdb-sys", "raft", "mimalloc"] {
        let tree = cargo(&["tree", "--package", "etcd", "--edges", "normal", "--invert", crate_of_server]);
        ensure!(tree.first_line(&root).is_some(), "{crate_of_server} is not among the crates of the server");
    }
    cargo(&["build", "--package", "etcd", "--bin", "etcdctl", "--no-default-features"]).run(&root)?;
    let said = Step::new(folder.join("target/debug/etcdctl")).args(["version"]).output_within(&folder, Duration::from_secs(60))?;
    ensure!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains(&release()?), "etcdctl does not say its release");
    let commit = git::head()?;
    let config = fs::read_to_string(root.join(".cargo/config.toml")).context("the archive has no settings for cargo")?;
    ensure!(config.contains(&commit[..9]), "the archive is of another commit than {commit}");
    fs::remove_dir_all(&folder).context("failed to tidy up")?;
    println!("\nthe source builds with nothing but what is in it");
    Ok(())
}
