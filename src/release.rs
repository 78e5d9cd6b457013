//! Which etcd this is: the release whose behaviour it matches, and the build (D9).
//!
//! Writes: nothing. Reads: what the build passed in. Every room may import this one.

use std::env::consts;

/// The etcd release whose behaviour this build matches.
pub const VERSION: &str = "3.7.1";

/// The cluster version that a cluster of such members agrees on.
pub const CLUSTER_VERSION: &str = "3.7.0";

/// The version of the API that the tools speak.
pub const API_VERSION: &str = "3.7";

/// This program's own number, for its logs.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// The commit that was built.
pub const GIT_SHA: &str = env!("ETCD_GIT_SHA");

/// The compiler that built it.
pub const RUST_VERSION: &str = env!("ETCD_RUST_VERSION");

/// The four lines of `etcd --version`. Scripts take the last word of the first (LOG-1).
pub fn lines() -> String {
    format!("etcd Version: {VERSION}\nGit SHA: {GIT_SHA}\nRust Version: {RUST_VERSION}\nRust OS/Arch: {}/{}\n", os(), arch())
}

/// The operating system by Go's name for it.
pub fn os() -> &'static str {
    match consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

/// The processor by Go's name for it.
pub fn arch() -> &'static str {
    match (consts::ARCH, cfg!(target_endian = "little")) {
        ("x86_64", _) => "amd64",
        ("aarch64", _) => "arm64",
        ("x86", _) => "386",
        ("powerpc64", true) => "ppc64le",
        ("powerpc64", false) => "ppc64",
        ("loongarch64", _) => "loong64",
        ("mips64", true) => "mips64le",
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_four_lines_and_the_first_ends_with_the_release() {
        let text = lines();
        let starts: Vec<&str> = text.lines().map(|line| line.split_once(": ").unwrap().0).collect();
        assert_eq!(starts, ["etcd Version", "Git SHA", "Rust Version", "Rust OS/Arch"]);
        assert_eq!(text.lines().next().unwrap().split(' ').next_back(), Some(VERSION));
    }

    #[test]
    fn the_cluster_version_is_the_release_without_its_patch() {
        assert_eq!(VERSION.rsplit_once('.').unwrap().0, CLUSTER_VERSION.strip_suffix(".0").unwrap());
        assert_eq!(VERSION.rsplit_once('.').unwrap().0, API_VERSION);
    }
}
