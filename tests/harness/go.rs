//! Builds a Go program for a test, for the platform under test: bbolt's files have the byte order of whoever wrote them. It is started
//! as one of ours is, behind the runner.
//!
//! A toolchain that is missing is a failure, since a test that did not run proves nothing; `ETCD_CLIENTS_SKIP=go` accepts it, and the
//! reason is printed.

use etcd::release;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The program, or None if Go is not there and need not be. `folder` is below `tests/` and holds a `go.mod`.
pub fn build(folder: &str, package: &str, name: &str) -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut go = Command::new("go");
    go.env("GOOS", release::os()).env("GOARCH", release::arch());
    go.current_dir(sources).args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(package);
    let reason = match go.output() {
        Ok(done) if done.status.success() => return Some(program),
        Ok(done) => format!("{go:?}: {}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => format!("{go:?}: {error}"),
    };
    let skipped = std::env::var("ETCD_CLIENTS_SKIP").unwrap_or_default();
    assert!(skipped.split(',').any(|toolchain| toolchain == "go"), "{package} cannot be built: {reason}");
    println!("skipped, as ETCD_CLIENTS_SKIP={skipped} allows: {reason}");
    None
}
