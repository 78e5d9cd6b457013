//! What is generated from the matrix and the results: the support page, the list of processors, one page of HTML.
//!
//! ```text
//!   matrix.toml --+--> platforms/README.md               cargo ci table
//!   results/    --+--> src/server/gate/supported.rs
//!                 +--> report.html                       cargo ci report
//! ```
//!
//! `table --check` writes nothing: it fails where a file on disk is not what would be written, where a result does not add up,
//! and where a tier is declared that neither results nor skips account for.

mod debts;
mod html;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::matrix::{self, Matrix, Suite};
use crate::results::proof::Proof;
use crate::results::{self, Filed, Run, history};
use crate::{git, place};

const PAGE: &str = "platforms/README.md";
const PROCESSORS: &str = "src/server/gate/supported.rs";

/// The matrix with everything that is known about it.
struct Facts {
    matrix: Matrix,
    runs: Vec<Run>,
    /// Results that do not count, and why.
    faults: Vec<String>,
}

impl Facts {
    fn load(checkout: &Path) -> Result<Facts> {
        let matrix = Matrix::load(checkout)?;
        let (runs, faults) = sorted(&matrix, results::load(checkout)?);
        Ok(Facts { matrix, runs, faults })
    }
}

/// Results that count, and what is wrong with the others.
fn sorted(matrix: &Matrix, filed: Vec<Filed>) -> (Vec<Run>, Vec<String>) {
    let (mut runs, mut faults) = (Vec::new(), Vec::new());
    for Filed { path, run } in filed {
        match run {
            Err(error) => faults.push(format!("{path}: {error:#}")),
            Ok(run) if matrix.row(&run.row).is_err() => faults.push(format!("{path}: {} has no row called {}", matrix::FILE, run.row)),
            Ok(run) => runs.push(run),
        }
    }
    (runs, faults)
}

/// Writes the generated files.
pub fn table() -> Result<()> {
    write_table(&place::checkout())
}

/// Says what does not hold, of the results on file or of those of one commit.
pub fn check(standing_for: Option<&str>) -> Result<()> {
    check_table(&place::checkout(), standing_for, Suite::of_tier).map(drop)
}

/// The same for a release of `commit`: what it is not held back by is written to `notes`.
pub fn check_release(commit: &str, notes: &Path) -> Result<()> {
    let rest = check_table(&place::checkout(), Some(commit), Suite::held_back_by)?;
    write(notes, &table::notes(&rest))
}

fn write_table(checkout: &Path) -> Result<()> {
    let facts = Facts::load(checkout)?;
    facts.faults.iter().for_each(|fault| println!("warning: {fault}"));
    for (path, text) in generated(&facts) {
        write_where_changed(&checkout.join(path), &text)?;
    }
    print!("{}", table::summary(&facts, |commit| git::is_same_source(commit, "HEAD")));
    Ok(())
}

fn generated(facts: &Facts) -> [(&'static str, String); 2] {
    [(PAGE, table::page(facts)), (PROCESSORS, table::processors(&facts.matrix))]
}

/// Fails with what does not hold of the suites that bind a tier, and answers with what does not hold of the others.
fn check_table(checkout: &Path, standing_for: Option<&str>, binding: fn(u8) -> &'static [Suite]) -> Result<Vec<String>> {
    let facts = Facts::load(checkout)?;
    let (mut findings, rest) = findings(checkout, &facts, standing_for, binding);
    for (path, text) in generated(&facts) {
        if fs::read_to_string(checkout.join(path)).unwrap_or_default() != text {
            findings.push(format!("{path} is not what the matrix and the results make of it: run `cargo ci table`"));
        }
    }
    print!("{}", table::summary(&facts, |commit| git::is_same_source(commit, "HEAD")));
    findings.iter().for_each(|finding| println!("error: {finding}"));
    if !findings.is_empty() {
        bail!("the support page would not be true in {} places", findings.len());
    }
    Ok(rest)
}

/// What must not be, and what must not be of suites that are promised and do not bind.
fn findings(checkout: &Path, facts: &Facts, standing_for: Option<&str>, binding: fn(u8) -> &'static [Suite]) -> (Vec<String>, Vec<String>) {
    let (mut findings, mut rest) = (facts.faults.clone(), Vec::new());
    for run in facts.runs.iter().filter(|run| !git::is_in_history(&run.commit)) {
        findings.push(format!("{}/{}: the commit {} is not in the history of this checkout", run.row, run.stem(), run.commit));
    }
    for run in facts.runs.iter().filter(|run| results::is_yet_to_come(&run.finished)) {
        findings.push(format!("{}/{}: it ended on {}, which is not yet", run.row, run.stem(), run.finished));
    }
    findings.extend(history::findings(checkout, &facts.runs, |row| facts.matrix.row(row).is_ok()));
    findings.extend(debts::findings(checkout, &facts.matrix));
    for row in &facts.matrix.rows {
        let proof = Proof::of(row, &facts.runs);
        let (bound, unbound): (Vec<Suite>, Vec<Suite>) =
            Suite::of_tier(row.tier()).iter().partition(|suite| binding(row.tier()).contains(suite));
        findings.extend(proof.lies_of(row, &bound).into_iter().map(|lie| format!("{}: {lie}", facts.matrix.place(&row.tier))));
        findings.extend(proof.paid(row).into_iter().map(|lie| format!("{}: {lie}", facts.matrix.place(&row.tier))));
        rest.extend(proof.lies_of(row, &unbound));
        let is_bound = |suite: &Suite| unbound.is_empty() || bound.contains(suite);
        let comes_after = |later: &str, commit: &str| git::is_ancestor(commit, later) && !git::is_same_source(commit, later);
        for (suite, what) in turned_back(&proof, &facts.runs, comes_after) {
            if is_bound(&suite) { findings.push(what) } else { rest.push(what) }
        }
        for skip in &row.skips {
            let overdue = skip.get_ref().overdue(&results::now());
            findings.extend(overdue.map(|what| format!("{}: {} {what}", facts.matrix.place(skip), row.name())));
        }
        let Some(commit) = standing_for else { continue };
        for run in proof.suites.iter().flat_map(|(_, standing)| standing.runs()).filter(|run| !git::is_same_source(&run.commit, commit)) {
            let what = format!("{}/{}: it is about {}, not about {commit}", run.row, run.stem(), run.commit);
            if is_bound(&run.suite) { findings.push(what) } else { rest.push(what) }
        }
    }
    (findings, rest)
}

/// Suites that pass on a commit and failed on one that came after it: the newest run is of the older sources then.
fn turned_back(proof: &Proof<'_>, runs: &[Run], comes_after: impl Fn(&str, &str) -> bool) -> Vec<(Suite, String)> {
    let counts = |run: &&Run| run.is_whole && !run.is_dirty;
    let mut found = Vec::new();
    for passed in proof.suites.iter().filter_map(|(_, standing)| standing.runs().first().copied()) {
        let of_it = || runs.iter().filter(counts).filter(|run| (&run.row, run.suite) == (&passed.row, passed.suite));
        let is_last = |run: &Run| {
            let is_again = |other: &&Run| (&other.commit, other.partition) == (&run.commit, run.partition);
            !of_it().filter(is_again).any(|other| other.finished > run.finished)
        };
        if let Some(red) = of_it().find(|run| !run.has_passed() && is_last(run) && comes_after(&run.commit, &passed.commit)) {
            let (row, word) = (&passed.row, passed.suite.word());
            found.push((
                passed.suite,
                format!("{row}: `{word}` counts on {}, and failed on {}, which came after it", passed.commit, red.commit),
            ));
        }
    }
    found
}

/// One HTML page of the same facts.
pub fn report(output: Option<PathBuf>) -> Result<()> {
    let facts = Facts::load(&place::checkout())?;
    let path = output.unwrap_or_else(|| place::target().join("report.html"));
    write(&path, &html::page(&facts))?;
    println!("{}", path.display());
    Ok(())
}

fn write_where_changed(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    write(path, text)?;
    println!("wrote {}", path.display());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

/// `61 s`, `3 min 05 s`.
fn took(millis: u64) -> String {
    crate::shell::seconds(std::time::Duration::from_millis(millis))
}

#[cfg(test)]
mod lies;
#[cfg(test)]
mod picture;
#[cfg(test)]
mod tests;
