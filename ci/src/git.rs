//! What git knows of this checkout.

use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;

use anyhow::{Context, Result};

use crate::place;
use crate::shell::Step;

/// What a result is about is everything but the results themselves and the page made from them.
const NOT_SOURCE: [&str; 4] = [".", ":!platforms/results", ":!platforms/README.md", ":!platforms/report.html"];

fn git(arguments: &[&str]) -> Step {
    Step::new("git").args(arguments)
}

fn says_yes(step: &Step) -> bool {
    step.command(&place::checkout()).output().is_ok_and(|done| done.status.success())
}

/// The sources as they were when this process began: what a long build is of, whatever is committed meanwhile.
pub struct Sources {
    pub commit: String,
    pub is_dirty: bool,
}

impl Sources {
    /// The first call decides; later ones see whether anything has changed since.
    pub fn at_begin() -> Result<Sources> {
        static BEGIN: OnceLock<(String, bool)> = OnceLock::new();
        let now = (head()?, is_dirty()?);
        let (commit, was_dirty) = BEGIN.get_or_init(|| now.clone());
        Ok(Sources { commit: commit.clone(), is_dirty: *was_dirty || now.1 || !is_same_source(commit, &now.0) })
    }
}

/// The commit that is checked out.
pub fn head() -> Result<String> {
    git(&["rev-parse", "HEAD"]).first_line(&place::checkout()).context("this is no checkout of git: a result has to name a commit")
}

/// Whether a source differs from the commit that is checked out.
pub fn is_dirty() -> Result<bool> {
    let step = git(&["status", "--porcelain", "--"]).args(NOT_SOURCE);
    let done = step.command(&place::checkout()).output().context("failed to start git")?;
    Ok(!done.status.success() || !done.stdout.is_empty())
}

/// Whether everything that a result could be about is the same in both.
pub fn is_same_source(commit: &str, other: &str) -> bool {
    says_yes(&git(&["diff", "--quiet", commit, other, "--"]).args(NOT_SOURCE))
}

/// Whether `commit` is part of what is checked out. A shallow checkout does not know, and says yes.
pub fn is_in_history(commit: &str) -> bool {
    let is_shallow = git(&["rev-parse", "--is-shallow-repository"]).first_line(&place::checkout()).as_deref() == Some("true");
    is_shallow || is_ancestor(commit, "HEAD")
}

/// Whether `commit` is `other`, or a part of what it is made of.
pub fn is_ancestor(commit: &str, other: &str) -> bool {
    says_yes(&git(&["merge-base", "--is-ancestor", commit, other]))
}

/// Seconds since 1970 of the commit: what makes an archive of it the same twice.
pub fn time_of(commit: &str) -> Result<u64> {
    let line = git(&["show", "--no-patch", "--format=%ct", commit]).first_line(&place::checkout());
    line.and_then(|line| line.parse().ok()).with_context(|| format!("there is no commit {commit}"))
}

/// A file as the commit that is checked out has it.
pub fn at_head(path: &str) -> Result<Vec<u8>> {
    let done = git(&["show", &format!("HEAD:{path}")]).command(&place::checkout()).output().context("failed to start git")?;
    anyhow::ensure!(done.status.success(), "HEAD has no {path}");
    Ok(done.stdout)
}

/// Paths that differ from where the checkout parted from `commit`, the work tree included: what others did since is no change of ours.
pub fn changed_since(commit: &str) -> Result<Vec<String>> {
    let step = git(&["diff", "--name-only", "--merge-base", commit, "--"]);
    let done = step.command(&place::checkout()).output().context("failed to start git")?;
    anyhow::ensure!(done.status.success(), "there is no commit {commit:?} to compare with");
    Ok(String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect())
}

/// The text of a file in every commit that changed it, the newest first; nothing outside of a checkout of git.
pub fn versions(checkout: &Path, path: &str) -> Vec<String> {
    let commits = text(checkout, &["log", "--format=%H", "--", path]).unwrap_or_default();
    commits.lines().filter_map(|commit| text(checkout, &["show", &format!("{commit}:{path}")])).collect()
}

/// What git says in a checkout; nothing where it fails.
pub fn text(checkout: &Path, words: &[&str]) -> Option<String> {
    let done = git(words).command(checkout).stdin(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}
