//! Programs of the machine that builds: they write the manual pages and completions of all rows, so that no foreign one is run for it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::archive::{self, Entry};
use super::{day, manual};
use crate::matrix::Row;
use crate::programs::{PACKAGE, Scope};
use crate::run::release;
use crate::shell::Step;
use crate::{git, place, setup};

/// What `completion` takes, and how such a script ends.
const SHELLS: [(&str, &str); 4] = [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish"), ("powershell", "ps1")];

pub struct Host {
    folder: PathBuf,
    /// `man/etcd.1`, `completions/etcdctl.bash`.
    papers: Vec<Entry>,
}

impl Host {
    /// Where nothing of this machine's own was built.
    pub fn build(scope: &Scope) -> Result<Host> {
        let step = Step::cargo().args(["build", "--locked", "--package", PACKAGE]).args(scope.features());
        let step = scope.names().iter().fold(step, |step, name| step.args(["--bin", name])).var("CARGO_TARGET_DIR", place::target());
        let step = if scope.is_whole { setup::setup(setup::Purpose::Build)?.given_to(step) } else { step };
        step.run(&place::checkout())?;
        Host::of(place::target().join("debug"), scope)
    }

    /// With the programs in `folder`, which this machine can run.
    pub fn of(folder: PathBuf, scope: &Scope) -> Result<Host> {
        let mut host = Host { folder, papers: Vec::new() };
        let (release, date) = (release()?, day(git::time_of("HEAD")?, false));
        for program in scope.names() {
            let mut help = |words: &[String]| host.run(&program, &[words, &["--help".to_owned()]].concat());
            let page = manual::page(&program, &release, &date, &mut help)?;
            let mut papers = vec![Entry::text(format!("man/{program}.1"), page)];
            for (shell, ending) in SHELLS.iter().filter(|_| program != "etcd") {
                let script = host.run(&program, &["completion".to_owned(), shell.to_string()])?;
                ensure!(script.contains(&program), "{program} completion {shell} names nothing of {program}");
                papers.push(Entry::text(format!("completions/{program}.{ending}"), script));
            }
            host.papers.extend(papers);
        }
        Ok(host)
    }

    pub fn papers(&self) -> &[Entry] {
        &self.papers
    }

    /// A folder with everything that a package takes besides `dist/`.
    pub fn stage(&self, row: &Row, programs: &[Entry]) -> Result<PathBuf> {
        let stage = place::row_target(row.name()).join("stage");
        let _ = fs::remove_dir_all(&stage);
        for name in ["bin", "man", "completions"] {
            fs::create_dir_all(stage.join(name))?;
        }
        for program in programs {
            fs::write(stage.join("bin").join(&program.path), &program.bytes)?;
        }
        for paper in &self.papers {
            if paper.path.starts_with("man/") {
                fs::write(stage.join(format!("{}.gz", paper.path)), archive::gzip(&paper.bytes)?)?;
            } else {
                fs::write(stage.join(&paper.path), &paper.bytes)?;
            }
        }
        Ok(stage)
    }

    fn run(&self, program: &str, words: &[String]) -> Result<String> {
        let step = Step::new(self.folder.join(format!("{program}{}", std::env::consts::EXE_SUFFIX))).args(words);
        let done = step.output_within(&self.folder, Duration::from_secs(60))?;
        ensure!(done.status.success(), "`{}` failed: {}", step.line(), String::from_utf8_lossy(&done.stderr).trim());
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}
