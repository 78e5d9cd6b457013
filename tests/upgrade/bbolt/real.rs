//! The real library, as a small Go program, and its command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Both programs, built once.
#[derive(Clone)]
pub struct Real {
    program: PathBuf,
    command_line: PathBuf,
}

impl Real {
    /// None if Go is not there and need not be.
    pub fn new() -> Option<Real> {
        static BUILT: OnceLock<Result<Real, String>> = OnceLock::new();
        match BUILT.get_or_init(build).clone() {
            Ok(real) => Some(real),
            Err(reason) => {
                let skipped = std::env::var("ETCD_CLIENTS_SKIP").unwrap_or_default();
                assert!(skipped.split(',').any(|name| name == "go"), "the real bbolt cannot be built: {reason}");
                println!("skipped, as ETCD_CLIENTS_SKIP={skipped} allows: {reason}");
                None
            }
        }
    }

    /// What the program prints; it has to succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let done = output(Command::new(&self.program).args(arguments));
        assert!(done.status.success(), "bolt {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("the listing is text")
    }

    pub fn command_line(&self, arguments: &[&str]) -> Output {
        output(Command::new(&self.command_line).args(arguments))
    }
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn build() -> Result<Real, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade/bbolt/go");
    let outputs = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let built = |name: &str, package: &str| {
        let program = outputs.join(name);
        let mut go = Command::new("go");
        go.current_dir(&sources).args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(package);
        let done = go.output().map_err(|error| format!("{go:?}: {error}"))?;
        if done.status.success() { Ok(program) } else { Err(format!("{go:?}: {}", String::from_utf8_lossy(&done.stderr))) }
    };
    Ok(Real { program: built("go-bolt", ".")?, command_line: built("go-bbolt", "go.etcd.io/bbolt/cmd/bbolt")? })
}
