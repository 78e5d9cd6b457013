//! What `--help` prints, made from the table of flags.
//!
//! Writes: nothing. Reads: `FLAGS`.

use std::fmt::Write;

use super::flags::{Category, FLAGS};
use super::gates::GATES;
use super::value::Kind;

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
}
