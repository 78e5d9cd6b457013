//! What `--help` and `--version` print, made from the table of flags.
//!
//! Writes: nothing. Reads: `FLAGS`, the constants of the build.

use std::env::consts;
use std::fmt::Write;

use super::flags::{Category, FLAGS};
use super::gates::GATES;
use super::value::Kind;

/// The etcd release whose behaviour this build matches (D9).
pub const RELEASE: &str = "3.7.1";

/// The commit that was built.
pub const GIT_SHA: &str = env!("ETCD_GIT_SHA");

/// The compiler that built it.
pub const RUST_VERSION: &str = env!("ETCD_RUST_VERSION");

/// The short text: how the program is called. It follows every complaint about a command line.
pub const USAGE: &str = "Usage:

  etcd [flags]
    Run a member.

  etcd --version
    Print the version.

  etcd -h | --help
    Print this text and every flag.

  etcd --config-file <file>
    Take every setting from a YAML or JSON file; flags and variables are then ignored.
    Keys are flag names. Durations are whole nanoseconds there (600000000000 for 10m),
    --heartbeat-interval and --election-timeout whole milliseconds.

";

const CATEGORIES: &[(Category, &str)] = &[
    (Category::Member, "Member"),
    (Category::Clustering, "Clustering"),
    (Category::Security, "Security"),
    (Category::Auth, "Auth"),
    (Category::Monitoring, "Profiling and Monitoring"),
    (Category::Logging, "Logging"),
    (Category::Tracing, "Distributed tracing"),
    (Category::Features, "Features"),
    (Category::Unsafe, "Unsafe feature"),
];

/// Every flag with its default, under its heading.
pub fn flags() -> String {
    let mut out = String::new();
    for (category, title) in CATEGORIES {
        let _ = write!(out, "\n{title}:\n");
        for flag in FLAGS.iter().filter(|flag| flag.category == *category) {
            let _ = write!(out, "  --{} '{}'\n    {}\n", flag.name, flag.default, flag.help);
            if flag.kind == Kind::Gates {
                for gate in GATES {
                    let _ = writeln!(out, "    {}=true|false ({} - default={})", gate.name, gate.stage.label(), gate.is_default_on);
                }
            }
        }
    }
    out.push_str("\nThe unsafe flags can break what consensus promises. Use them for repair and for tests.\n");
    out
}

/// The four lines of `--version`. Scripts take the last word of the first (LOG-1).
pub fn version() -> String {
    format!("etcd Version: {RELEASE}\nGit SHA: {GIT_SHA}\nRust Version: {RUST_VERSION}\nRust OS/Arch: {}/{}\n", os(), arch())
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
    fn every_flag_that_is_not_hidden_is_in_the_help_text() {
        let text = flags();
        for flag in FLAGS {
            let line = format!("\n  --{} '", flag.name);
            assert_eq!(text.contains(&line), flag.category != Category::Hidden, "{}", flag.name);
        }
    }

    #[test]
    fn the_version_is_four_lines_and_the_first_ends_with_the_release() {
        let text = version();
        let starts: Vec<&str> = text.lines().map(|line| line.split_once(": ").unwrap().0).collect();
        assert_eq!(starts, ["etcd Version", "Git SHA", "Rust Version", "Rust OS/Arch"]);
        assert_eq!(text.lines().next().unwrap().split(' ').next_back(), Some(RELEASE));
    }
}
