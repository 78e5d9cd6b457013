//! etcdctl: talks to members of a cluster.

use std::process::ExitCode;

/// A snapshot's blocks are large: the system's allocator gives each back and takes it anew, page by page.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    etcd::ctl::run(std::env::args_os().collect())
}
