//! Runs other programs in the open: the exact command first, its time afterwards.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A command about to be run.
pub struct Step {
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
}

impl Step {
    pub fn new(program: impl Into<OsString>) -> Step {
        Step { program: program.into(), arguments: Vec::new(), variables: Vec::new() }
    }

    /// The cargo that runs this program, for the same toolchain.
    pub fn cargo() -> Step {
        Step::new("cargo")
    }

    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Step {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub fn var(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Step {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The line that, typed in the checkout, does the same.
    pub fn line(&self) -> String {
        let variables = self.variables.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let words = std::iter::once(&self.program).chain(&self.arguments).map(|word| quoted(word));
        variables.chain(words).collect::<Vec<_>>().join(" ")
    }

    pub fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value))).current_dir(folder);
        // Cargo sets these for the program it runs; left in, they would describe the wrong package to the cargo below.
        for (name, _) in env::vars_os() {
            let spelled = name.to_string_lossy();
            if spelled.starts_with("CARGO_PKG_") || spelled.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Prints the line, runs it with nothing to read, and answers how long it took.
    pub fn run(&self, folder: &Path) -> Result<Duration> {
        println!("\n$ {}", self.line());
        let start = Instant::now();
        let status = self
            .command(folder)
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("failed to start {}", self.program.to_string_lossy()))?;
        let took = start.elapsed();
        if !status.success() {
            bail!("`{}` failed ({status}) after {}", self.line(), seconds(took));
        }
        Ok(took)
    }

    /// The first line of what it prints, when it can be run and succeeds.
    pub fn first_line(&self, folder: &Path) -> Option<String> {
        let done = self.command(folder).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).lines().next().unwrap_or_default().to_owned())
    }
}

pub fn seconds(took: Duration) -> String {
    let whole = took.as_secs();
    if whole < 60 { format!("{:.1} s", took.as_secs_f64()) } else { format!("{} min {:02} s", whole / 60, whole % 60) }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_typed_as_it_is_printed() {
        let step = Step::cargo().args(["test", "--", "two words"]).var("A", "it's");
        assert_eq!(step.line(), r"A='it'\''s' cargo test -- 'two words'");
    }

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let failed = Step::cargo().args(["no-such-command"]).run(Path::new(".")).unwrap_err();
        assert!(failed.to_string().contains("cargo no-such-command"), "{failed}");
    }
}
