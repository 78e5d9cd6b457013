//! Programs of the platform under test, on the machine that tests them.
//!
//! ```text
//!   ETCD_TEST_RUNNER="qemu-s390x-static -L /usr/s390x-linux-gnu"  +  etcd  ->  qemu-s390x-static -L .. etcd
//!   nothing                                                       +  etcd  ->  etcd
//! ```
//!
//! Nothing in the kernel starts a foreign program by itself, so whatever a test starts goes through here.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The words before a program, separated by spaces.
const VARIABLE: &str = "ETCD_TEST_RUNNER";

pub fn words() -> Vec<String> {
    // wine is a whole system to its programs, a test among them, and starts their children itself.
    let words = if cfg!(windows) { String::new() } else { std::env::var(VARIABLE).unwrap_or_default() };
    words.split_whitespace().map(str::to_owned).collect()
}

/// A command that runs `program`, behind its runner.
pub fn command(program: impl AsRef<Path>) -> Command {
    match words().split_first() {
        None => Command::new(program.as_ref()),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program.as_ref());
            command
        }
    }
}

/// Whether a program that is not there fails in the child that was to become it, and not in its parent: qemu starts a child as a
/// fork, where the system itself shares the parent's memory with it until then.
pub fn is_spawning_by_fork() -> bool {
    is_emulated()
}

/// Whether what the system counts of a server's process is in part what an emulator did for it.
pub fn is_emulated() -> bool {
    words().first().is_some_and(|program| program.contains("qemu"))
}

/// Whether a variable is one that a server under test must not see: settings of the tests, or of whoever runs them. What lets a
/// server start on a processor that nobody promised to test is none of these.
pub fn is_foreign(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with("ETCD_") && name != "ETCD_UNSUPPORTED_ARCH"
}

/// Where a program of this build is: the archive that the tests run from says so, and cargo said where it was built.
pub fn built(name: &str, compiled: &str) -> PathBuf {
    std::env::var_os(format!("NEXTEST_BIN_EXE_{name}")).map_or_else(|| PathBuf::from(compiled), PathBuf::from)
}
