//! etcdctl: talks to members of a cluster.

use std::process::ExitCode;

fn main() -> ExitCode {
    etcd::ctl::run(std::env::args_os().collect())
}
