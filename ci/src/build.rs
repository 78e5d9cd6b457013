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
use crate::results::{self, Hashed};
use crate::rocksdb;
use crate::route::Recipe;
use crate::run::{self, Account};
use crate::runner::{self, Runner};
use crate::shell::seconds;

/// What an emulated program may take to say its version.
const START_MAX: Duration = Duration::from_secs(120);

/// Compiles and links, and answers with what it was done by.
pub fn build(row: &Row, route: Option<Route>, scope: &Scope) -> Result<Recipe> {
    let recipe = Recipe::new(row, route)?;
    let start = Instant::now();
    let step = recipe.cargo(&["build", "--release"]).args(["--package", crate::programs::PACKAGE]).args(scope.features());
    let step = scope.programs.iter().fold(step, |step, program| step.args(["--bin", &program.name]));
    let step = if scope.is_whole { rocksdb::archive_for(&recipe)?.given_to(step) } else { step };
    let built = step.run(&crate::place::checkout());
    let millis = start.elapsed().as_millis() as u64;
    let (mut record, mut faults) = (Record::new(), Vec::new());
    for program in &scope.programs {
        let path = recipe.programs().join(row.executable(&program.name));
        let fault = if built.is_ok() { fault(row, &path)? } else { None };
        record.add(&program.name, built.is_ok() && fault.is_none(), millis / scope.programs.len() as u64);
        faults.extend(fault.map(|fault| format!("{}: {fault}", path.display())));
    }
    let account = Account { row, suite: Suite::Build, scope, route: recipe.route, runner: "none".into(), is_emulated: false };
    account.file(&record, start.elapsed(), None, None)?;
    built?;
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    for program in &scope.programs {
        let path = recipe.programs().join(row.executable(&program.name));
        println!("{} {:>12} bytes  {}", digest::of_file(&path)?, path.metadata()?.len(), path.display());
    }
    println!("built {} in {}", row.name(), seconds(start.elapsed()));
    Ok(recipe)
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
    step.var("ROCKSDB_LIB_DIR", recipe.programs()).var("ROCKSDB_STATIC", "1").run(&crate::place::checkout()).map(drop)
}

/// Starts each program of `folder` to say its version, and files that they did.
pub fn start(row: &Row, route: Route, scope: &Scope, folder: &Path, archive: Option<Hashed>) -> Result<()> {
    let runner = Runner::of(row)?;
    let begun = Instant::now();
    let mut record = Record::new();
    let mut wrong = Vec::new();
    for program in &scope.programs {
        let path = folder.join(row.executable(&program.name));
        let once = Instant::now();
        let said = run::version(&runner.step(&path).var(runner::ARCHITECTURE, &row.arch), program, START_MAX);
        let fault = match &said {
            Err(error) => Some(format!("{}: {error:#}", program.name)),
            Ok(text) => run::version_fault(text, program, row).map(|what| format!("{}: {what}", program.name)),
        };
        record.add(&program.name, fault.is_none(), once.elapsed().as_millis() as u64);
        wrong.extend(fault);
    }
    let account = Account { row, suite: Suite::Start, scope, route, runner: runner.name.clone(), is_emulated: runner.is_emulated };
    account.file(&record, begun.elapsed(), archive, None)?;
    ensure!(wrong.is_empty(), "not every program of {} starts:\n{}", row.name(), wrong.join("\n"));
    println!("{} start ({})", scope.names().join(", "), results::now());
    Ok(())
}
