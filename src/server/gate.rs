//! Whether the server starts on this processor: where nobody promised to run the tests, only when it is asked to by name.
//!
//! ```text
//!   processor on the list of tiers 1 and 2 ──────────────► start
//!   ETCD_UNSUPPORTED_ARCH = the processor's name ────────► one line (info), start
//!   anything else ───────────────────────────────────────► one line (error), code 1
//! ```
//!
//! Writes: one line on stderr, before there is a log. Reads: the variables it is handed, the generated list.
//! Quirk: it comes before everything else, `--version` and `--help` included (server/etcdmain/etcd.go, `checkSupportArch`).

mod supported;

use super::log;
use crate::release;

const VARIABLE: &str = "ETCD_UNSUPPORTED_ARCH";

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Listed,
    Asked,
    Refused,
}

/// True when the server may go on.
pub fn pass(env: &[(String, String)]) -> bool {
    let arch = release::arch();
    let asked = env.iter().find(|(name, _)| name == VARIABLE).map(|(_, value)| value.as_str());
    let caller = concat!("server/gate.rs:", line!());
    match verdict(arch, asked) {
        Verdict::Listed => true,
        Verdict::Asked => {
            log::early("info", caller, "running etcd on unsupported architecture since ETCD_UNSUPPORTED_ARCH is set", ("arch", arch));
            true
        }
        Verdict::Refused => {
            let message = "Refusing to run etcd on unsupported architecture since ETCD_UNSUPPORTED_ARCH is not set";
            log::early("error", caller, message, ("arch", arch));
            false
        }
    }
}

fn verdict(arch: &str, asked: Option<&str>) -> Verdict {
    match asked {
        _ if supported::PROCESSORS.contains(&arch) => Verdict::Listed,
        Some(name) if name == arch => Verdict::Asked,
        _ => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_processor_starts_whatever_the_variable_says() {
        for arch in ["amd64", "arm64", "ppc64le", "s390x"] {
            assert_eq!(verdict(arch, None), Verdict::Listed, "{arch}");
            assert_eq!(verdict(arch, Some("riscv64")), Verdict::Listed, "{arch}");
        }
    }

    #[test]
    fn any_other_processor_starts_when_asked_by_its_name() {
        for arch in ["riscv64", "386", "arm", "loong64", "ppc64"] {
            assert_eq!(verdict(arch, Some(arch)), Verdict::Asked, "{arch}");
            assert_eq!(verdict(arch, None), Verdict::Refused, "{arch}");
            for other in ["", "amd64", "true", "RISCV64"] {
                assert_eq!(verdict(arch, Some(other)), Verdict::Refused, "{arch} asked as {other:?}");
            }
        }
    }
}
