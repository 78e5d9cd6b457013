//! Builds the programs of a row for release, and files that they were built.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::digest;
use crate::dist::loads::Loads;
use crate::matrix::{Route, Row, Suite};
use crate::programs::Scope;
use crate::results::record::Record;
use crate::results::{self, Hashed, Run};
use crate::route::Recipe;
use crate::run::{self, Account};
use crate::runner::{self, Runner};
use crate::shell::seconds;
use crate::{git, place, rocksdb};

/// What an emulated program may take to say its version.
const START_MAX: Duration = Duration::from_secs(120);

/// Compiles and links, and answers with what it was done by.
pub fn build(row: &Row, route: Option<Route>, scope: &Scope) -> Result<Recipe> {
    let recipe = Recipe::new(row, route)?;
    let start = Instant::now();
    let step = recipe.cargo(&["build", "--release"]).args(["--package", crate::programs::PACKAGE]).args(scope.features());
    let step = scope.programs.iter().fold(step, |step, program| step.args(["--bin", &program.name]));
    let step = if scope.is_whole { rocksdb::archive_for(&recipe)?.given_to(step) } else { step };
    let built = step.run(&place::checkout());
    let millis = start.elapsed().as_millis() as u64;
    let (mut record, mut faults) = (Record::new(), Vec::new());
    for program in &scope.programs {
        let path = recipe.programs().join(row.executable(&program.name));
        let fault = if built.is_ok() { fault(row, &path).unwrap_or_else(|error| Some(format!("{error:#}"))) } else { None };
        record.add(&program.name, built.is_ok() && fault.is_none(), millis / scope.programs.len() as u64);
        faults.extend(fault.map(|fault| format!("{}: {fault}", path.display())));
    }
    // A second build of a commit finds everything made, and its time would say nothing.
    if built.is_err() || !faults.is_empty() || !is_on_file(row, scope)? {
        let account = Account { row, suite: Suite::Build, scope, recipe: Some(&recipe), runner: None };
        account.file(&record, start.elapsed(), None, None)?;
    }
    built?;
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    for program in &scope.programs {
        let path = recipe.programs().join(row.executable(&program.name));
        println!("{} {:>12} bytes  {}", digest::of_file(&path)?, path.metadata()?.len(), path.display());
    }
    println!("built {} in {}", row.name(), seconds(start.elapsed()));
    Ok(recipe)
}

/// Whether a build of the sources as they are has passed already.
fn is_on_file(row: &Row, scope: &Scope) -> Result<bool> {
    let now = git::Sources::at_begin()?;
    let is_it = |run: &Run| {
        (run.row.as_str(), run.suite, run.is_whole, &run.commit) == (row.name(), Suite::Build, scope.is_whole, &now.commit)
            && run.has_passed()
            && !run.is_dirty
    };
    Ok(!now.is_dirty && results::load(&place::checkout())?.iter().any(|filed| filed.run.as_ref().is_ok_and(is_it)))
}

/// Why a program that was linked would not start where it is meant to.
fn fault(row: &Row, program: &Path) -> Result<Option<String>> {
    let bytes = fs::read(program).with_context(|| format!("failed to read {}", program.display()))?;
    let loads = Loads::of(&bytes).with_context(|| program.display().to_string())?;
    if let Some(loads) = &loads {
        println!("{}: {loads}", program.display());
    }
    Ok(loads.and_then(|loads| loads.fault(row)))
}

/// Compiles the sources and the tests as far as needs neither RocksDB nor a linker, which tells in a minute or two what a row's
/// pointers, bytes or system make wrong. It proves nothing, so nothing is filed.
pub fn check(row: &Row, route: Option<Route>, scope: &Scope) -> Result<()> {
    let recipe = Recipe::new(row, route)?;
    let step = recipe
        .cargo(&["check", "--package", crate::programs::PACKAGE, "--lib", "--bins", "--tests", "--keep-going"])
        .args(scope.features());
    // Named and never read: what asks for it is the linker.
    step.var("ROCKSDB_LIB_DIR", recipe.programs()).var("ROCKSDB_STATIC", "1").run(&place::checkout()).map(drop)
}

/// Starts each program of `folder` to say its version, and files that they did: those of this commit, and no others.
pub fn start(row: &Row, recipe: Option<&Recipe>, scope: &Scope, folder: &Path, archive: Option<Hashed>) -> Result<()> {
    let commit = git::Sources::at_begin()?.commit;
    let runner = Runner::of(row)?;
    let begun = Instant::now();
    let mut record = Record::new();
    let (mut wrong, mut foreign) = (Vec::new(), None);
    for program in &scope.programs {
        let path = folder.join(row.executable(&program.name));
        let once = Instant::now();
        let said = run::version(&runner.step(&path).var(runner::ARCHITECTURE, &row.arch), program, START_MAX);
        let fault = match &said {
            Err(error) => Some(format!("{}: {error:#}", program.name)),
            Ok(text) => run::version_fault(text, program, row).map(|what| format!("{}: {what}", program.name)),
        };
        foreign = foreign.or_else(|| run::commit_fault(said.as_deref().unwrap_or_default(), program, &commit).filter(|_| fault.is_none()));
        record.add(&program.name, fault.is_none(), once.elapsed().as_millis() as u64);
        wrong.extend(fault);
    }
    match foreign {
        // An archive of another commit is tried as well as one of this; of what was built just now there is no other.
        Some(foreign) if recipe.is_none() => println!("not filed: {foreign}"),
        Some(foreign) => wrong.push(format!("not filed: {foreign}")),
        None => {
            let account = Account { row, suite: Suite::Start, scope, recipe, runner: Some(&runner) };
            account.file(&record, begun.elapsed(), archive, None)?;
        }
    }
    ensure!(wrong.is_empty(), "not every program of {} starts as it should:\n{}", row.name(), wrong.join("\n"));
    println!("{} start ({})", scope.names().join(", "), results::now());
    Ok(())
}
