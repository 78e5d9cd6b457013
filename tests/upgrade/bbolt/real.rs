//! The real library, as a small Go program, and its command line.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::harness::{go, runner};

/// Both programs, built once.
#[derive(Clone)]
pub struct Real {
    program: PathBuf,
    command_line: PathBuf,
}

impl Real {
    /// None if Go is not there and need not be.
    pub fn new() -> Option<Real> {
        static BUILT: OnceLock<Option<Real>> = OnceLock::new();
        let build = || {
            let program = go::build("upgrade/bbolt/go", ".", "go-bolt")?;
            Some(Real { program, command_line: go::build("upgrade/bbolt/go", "go.etcd.io/bbolt/cmd/bbolt", "go-bbolt")? })
        };
        BUILT.get_or_init(build).clone()
    }

    /// What the program prints; it has to succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let done = output(runner::command(&self.program).args(arguments));
        assert!(done.status.success(), "bolt {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("the listing is text")
    }

    pub fn command_line(&self, arguments: &[&str]) -> Output {
        output(runner::command(&self.command_line).args(arguments))
    }
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
