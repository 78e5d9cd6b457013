//! What a run leaves behind: its result on file, with the machine and the tools it was made with.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::matrix::{Row, Suite};
use crate::programs::{Program, Scope};
use crate::results::record::Record;
use crate::results::{self, Counts, Hashed, Run};
use crate::route::Recipe;
use crate::runner::Runner;
use crate::shell::{Step, seconds};
use crate::{git, place};

/// What is known of a run before it begins.
pub struct Account<'a> {
    pub row: &'a Row,
    pub suite: Suite,
    pub scope: &'a Scope,
    /// What it was built by, where that is known.
    pub recipe: Option<&'a Recipe>,
    /// What started it; nothing did for a build.
    pub runner: Option<&'a Runner>,
}

impl Account<'_> {
    /// Files the run with its evidence, and says where.
    pub fn file(&self, record: &Record, took: Duration, archive: Option<Hashed>, partition: Option<[u32; 2]>) -> Result<Run> {
        let sources = git::Sources::at_begin()?;
        let run = Run {
            row: self.row.name().to_owned(),
            suite: self.suite,
            commit: sources.commit,
            is_dirty: sources.is_dirty,
            programs: self.scope.names(),
            is_whole: self.scope.is_whole,
            counts: Counts::default(),
            partition,
            repeat: None,
            millis: took.as_millis() as u64,
            finished: results::now(),
            route: self.recipe.map(|recipe| recipe.route),
            runner: self.runner.map_or_else(|| "none".into(), |runner| runner.name.clone()),
            is_emulated: self.runner.is_some_and(|runner| runner.is_emulated),
            host: host(),
            tools: self.tools(),
            archive,
            record: Hashed::default(),
            digest: String::new(),
        };
        let (run, path) = results::save(&place::checkout(), run, record)?;
        let counts = run.counts;
        let shown = path.strip_prefix(place::checkout()).unwrap_or(&path).display().to_string();
        println!("{}: {} passed, {} failed in {} -> {shown}", self.suite.word(), counts.passed, counts.failed, seconds(took));
        if run.is_dirty {
            println!("warning: the sources are no commit, or changed meanwhile, so this result proves nothing: commit, and run it again");
        }
        Ok(run)
    }

    /// The compilers of the build and what started it, each with its version.
    fn tools(&self) -> BTreeMap<String, String> {
        let checkout = place::checkout();
        let mut tools = BTreeMap::new();
        let mut ask = |name: &str, step: Step| tools.extend(step.first_line(&checkout).map(|line| (name.to_owned(), line)));
        if let Some(recipe) = self.recipe {
            ask("rustc", Step::new(recipe.rustc()).args(["--version"]));
        }
        if let Some(runner) = self.runner.filter(|runner| !runner.words.is_empty()) {
            ask(&runner.name, Step::new(&self.row.runner.program).args(["--version"]));
        }
        if !matches!(self.suite, Suite::Build | Suite::Start) {
            ask("nextest", Step::new(crate::suites::nextest()).args(["nextest", "--version"]));
        }
        tools.extend(self.recipe.and_then(Recipe::compiler_version).map(|line| ("c++".to_owned(), line)));
        for fact in self.recipe.iter().flat_map(|recipe| &recipe.compiler_facts) {
            // `ziglang==0.17.0`, `zig target s390x-linux-gnu.2.28`.
            if let Some((name, value)) = fact.split_once("==").or_else(|| fact.rsplit_once(' ')) {
                tools.insert(name.to_owned(), value.to_owned());
            }
        }
        tools
    }
}

fn host() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} {}, {processors} processors", std::env::consts::OS, std::env::consts::ARCH)
}

/// What a program says of itself: a server has a flag for it, the tools have a command.
pub fn version(step: &Step, program: &Program, limit: Duration) -> Result<String> {
    let word = if program.name == "etcd" { "--version" } else { "version" };
    let step = step.clone().args([word]);
    let done = step.output_within(Path::new("/"), limit)?;
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr).into_owned());
    ensure!(done.status.success(), "`{}` failed ({}): {}", step.line(), done.status, stderr.trim());
    print!("{stdout}");
    Ok(stdout)
}

/// The words of the row have to be those of the program; a server of an untested processor has to be the one that was asked for.
pub fn version_fault(text: &str, program: &Program, row: &Row) -> Option<String> {
    let release = release().ok()?;
    if !text.contains(&release) {
        return Some(format!("it does not say that it is {release}: {text:?}"));
    }
    let words = format!("{}/{}", row.os, row.arch);
    (program.name == "etcd" && !text.contains(&words)).then(|| format!("it does not say that it is for {words}: {text:?}"))
}

/// Why these programs are not those of the sources that a result would be about. The server alone says what it was made of.
pub fn commit_fault(text: &str, program: &Program, commit: &str) -> Option<String> {
    if program.name != "etcd" {
        return None;
    }
    let sha = text.lines().find_map(|line| line.strip_prefix("Git SHA: ")).unwrap_or_default().trim();
    (sha.len() < 7 || !commit.starts_with(sha) && !git::is_same_source(sha, commit))
        .then(|| format!("it is of the commit {sha:?}, and a result would be about {commit}: check that one out, and verify it there"))
}

/// The release of etcd that is announced, and that archives are named after.
pub fn release() -> Result<String> {
    let path = place::checkout().join("src/release.rs");
    let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("pub const VERSION: &str = \"")).context("src/release.rs names no VERSION")?;
    Ok(line.trim_end_matches("\";").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    #[test]
    fn the_release_is_three_numbers() {
        assert_eq!(release().unwrap().split('.').filter(|part| part.parse::<u16>().is_ok()).count(), 3);
    }

    #[test]
    fn a_server_of_other_sources_is_found_out_and_the_tools_do_not_say() {
        let server = Program { name: "etcd".into(), needs_server: true };
        let client = Program { name: "etcdctl".into(), needs_server: false };
        let Ok(head) = git::head() else { return };
        let said = |sha: &str| commit_fault(&format!("etcd Version: 3.7.1\nGit SHA: {sha}\n"), &server, &head);
        assert_eq!(said(&head[..9]), None);
        assert!(said("0123456789").unwrap().contains("it is of the commit \"0123456789\""));
        assert!(said("").is_some() && said(&head[..6]).is_some(), "no commit, or too little of one");
        assert_eq!(commit_fault("etcdctl version: 3.7.1\n", &client, &head), None);
    }

    #[test]
    fn a_program_of_another_platform_or_release_is_found_out() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let row = matrix.row("linux-s390x").unwrap();
        let server = Program { name: "etcd".into(), needs_server: true };
        let client = Program { name: "etcdctl".into(), needs_server: false };
        let release = release().unwrap();
        let text = format!("etcd Version: {release}\nRust OS/Arch: linux/s390x\n");
        assert_eq!(version_fault(&text, &server, row), None);
        assert!(version_fault(&text.replace("s390x", "amd64"), &server, row).unwrap().contains("for linux/s390x"));
        assert!(version_fault(&text.replace(&release, "0.0.1"), &client, row).unwrap().contains(&release));
        assert_eq!(version_fault(&format!("etcdctl version: {release}\n"), &client, row), None);
    }
}
