//! What stands before a program of a row on this machine.
//!
//! ```text
//!   s390x     qemu-s390x-static -L /usr/s390x-linux-gnu PROGRAM
//!   windows   env WINEPREFIX=.. /usr/lib/wine/wine64 PROGRAM
//!   here      PROGRAM
//! ```
//!
//! Cargo and nextest take it as `CARGO_TARGET_<TRIPLE>_RUNNER`; tests that start a server themselves read `ETCD_TEST_RUNNER`,
//! because there is nothing in the kernel that would start a foreign program for them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::matrix::{Row, RunnerKind};
use crate::shell::Step;
use crate::{place, route};

/// Read by `tests/harness/runner.rs`: words before the program, separated by spaces.
pub const VARIABLE: &str = "ETCD_TEST_RUNNER";

/// Lets the server start on a processor that nobody promised to test; on all others it changes nothing.
pub const ARCHITECTURE: &str = "ETCD_UNSUPPORTED_ARCH";

#[derive(Clone, Debug)]
pub struct Runner {
    pub words: Vec<String>,
    /// For a result: `native`, `emulated by qemu-s390x-static 7.2`.
    pub name: String,
    pub is_emulated: bool,
}

impl Runner {
    /// How programs of the row run on this machine: natively where it is the row's own.
    pub fn of(row: &Row) -> Result<Runner> {
        if route::is_this_machine(row) {
            return Ok(Runner { words: Vec::new(), name: "native".into(), is_emulated: false });
        }
        let words = match row.runner.kind {
            RunnerKind::Native => bail!("{} runs natively, and this machine is another", row.name()),
            RunnerKind::None => bail!("nothing on this machine could start a program of {}", row.name()),
            RunnerKind::Loader | RunnerKind::Emulated => [vec![row.runner.program.clone()], row.runner.args.clone()].concat(),
            RunnerKind::Wine => wine(row)?,
        };
        let version = Step::new(&row.runner.program).args(["--version"]).first_line(Path::new("/"));
        if version.is_none() {
            bail!("{} is missing: `cargo ci doctor {}` says how to get it", row.runner.program, row.name());
        }
        let program = Path::new(&row.runner.program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Runner { words, name: format!("{} ({program})", row.runner.kind.word()), is_emulated: row.is_emulated() })
    }

    /// The program as a step, behind its runner.
    pub fn step(&self, program: &Path) -> Step {
        match self.words.split_first() {
            None => Step::new(program),
            Some((first, rest)) => Step::new(first).args(rest).args([program]),
        }
    }
}

/// wine in a folder of its own, with the one library that wine 8 lacks and Rust's standard library and Go's runtime import. Go looks
/// for it among the system's own alone.
fn wine(row: &Row) -> Result<Vec<String>> {
    let prefix = place::cache().join("wine/prefix");
    let system = prefix.join("drive_c/windows/system32");
    fs::create_dir_all(&system).with_context(|| format!("failed to create {}", system.display()))?;
    random_numbers(row, &system)?;
    Ok(vec!["env".into(), format!("WINEPREFIX={}", prefix.display()), "WINEDEBUG=-all".into(), row.runner.program.clone()])
}

const RANDOM_NUMBERS: &str = r"/* Random numbers by the name under which Rust's and Go's libraries ask for them. For tests under wine; never shipped. */
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) { return SystemFunction036(buffer, (ULONG)length); }
";

fn random_numbers(row: &Row, folder: &Path) -> Result<()> {
    let library: PathBuf = folder.join("bcryptprimitives.dll");
    let Some(gcc) = row.gcc.as_ref().filter(|_| !library.exists()) else { return Ok(()) };
    let source = folder.join("random.c");
    fs::write(&source, RANDOM_NUMBERS)?;
    let compiler = format!("{}gcc{}", gcc.prefix, gcc.suffix);
    Step::new(compiler).args(["-shared", "-O1", "-o"]).args([&library, &source]).args(["-ladvapi32"]).run(folder).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    #[test]
    fn the_program_comes_after_its_runner() {
        let runner = Runner { words: vec!["qemu-x".into(), "-L".into(), "/sys".into()], name: String::new(), is_emulated: true };
        assert_eq!(runner.step(Path::new("/a/etcd")).args(["--version"]).line(), "qemu-x -L /sys /a/etcd --version");
    }

    #[test]
    fn every_row_of_the_machine_runs_there_with_nothing_before_its_programs() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        for row in matrix.rows.iter().filter(|row| route::is_this_machine(row)) {
            let runner = Runner::of(row).unwrap();
            assert_eq!((runner.words.len(), runner.is_emulated), (0, false), "{}", row.name());
        }
    }

    #[test]
    fn a_row_without_a_runner_says_so() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let row = matrix.rows.iter().find(|row| row.runner.kind == RunnerKind::None && !route::is_this_machine(row)).unwrap();
        let said = Runner::of(row).unwrap_err().to_string();
        assert_eq!(said, format!("nothing on this machine could start a program of {}", row.name()));
    }
}
