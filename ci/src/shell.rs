//! Runs other programs in the open: the exact command first, its time afterwards.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A command about to be run.
#[derive(Clone)]
pub struct Step {
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    removed: Vec<String>,
}

impl Step {
    pub fn new(program: impl Into<OsString>) -> Step {
        Step { program: program.into(), arguments: Vec::new(), variables: Vec::new(), removed: Vec::new() }
    }

    /// The cargo that runs this program, for the same toolchain.
    pub fn cargo() -> Step {
        Step::new("cargo")
    }

    /// The same variables and arguments for another program, with words of its own before the arguments.
    pub fn replaced(mut self, program: impl Into<OsString>, words: &[&str]) -> Step {
        self.program = program.into();
        self.arguments.splice(0..0, words.iter().map(OsString::from));
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Step {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub fn vars(mut self, variables: impl IntoIterator<Item = (String, OsString)>) -> Step {
        self.variables.extend(variables);
        self
    }

    pub fn var(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Step {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Whoever runs it may have set this: the program does not see it.
    pub fn without(mut self, name: impl Into<String>) -> Step {
        self.removed.push(name.into());
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
        for name in &self.removed {
            command.env_remove(name);
        }
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

    /// Prints the line, runs it for at most `limit`, and answers what it wrote. One that hangs is ended and named.
    pub fn output_within(&self, folder: &Path, limit: Duration) -> Result<Output> {
        println!("\n$ {}", self.line());
        let mut command = self.command(folder);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {}", self.program.to_string_lossy()))?;
        // Read on threads of their own: a program that fills a pipe would wait for us for ever.
        let readers = (child.stdout.take().map(read_all), child.stderr.take().map(read_all));
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > limit {
                let _ = child.kill();
                let _ = child.wait();
                bail!("`{}` hangs: it was ended after {}", self.line(), seconds(limit));
            }
            thread::sleep(Duration::from_millis(20));
        };
        let text = |reader: Option<thread::JoinHandle<Vec<u8>>>| reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
        Ok(Output { status, stdout: text(readers.0), stderr: text(readers.1) })
    }

    /// The first line of what it prints, when it can be run and succeeds.
    pub fn first_line(&self, folder: &Path) -> Option<String> {
        let done = self.command(folder).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).lines().next().unwrap_or_default().to_owned())
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
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
    fn what_hangs_is_ended_and_named() {
        let said = Step::new("sleep").args(["600"]).output_within(Path::new("/"), Duration::from_millis(50)).unwrap_err();
        assert!(said.to_string().contains("`sleep 600` hangs"), "{said}");
    }

    #[test]
    fn a_full_pipe_does_not_hang() {
        let done = Step::new("head").args(["-c", "300000", "/dev/zero"]).output_within(Path::new("/"), Duration::from_secs(60)).unwrap();
        assert_eq!(done.stdout.len(), 300_000);
    }

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let failed = Step::cargo().args(["no-such-command"]).run(Path::new(".")).unwrap_err();
        assert!(failed.to_string().contains("cargo no-such-command"), "{failed}");
    }
}
