//! etcdutl: works on files that no member has open.

use std::process::ExitCode;

fn main() -> ExitCode {
    etcd::utl::run(std::env::args_os().collect())
}
