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

/// The fewest digits that a server names its commit by.
const SHORT_COMMIT_LEN: usize = 7;

/// Compiles and links, and answers with what it was done by.
pub fn build(row: &Row, route: Option<Route>, scope: &Scope) -> Result<Recipe> {
    let recipe = Recipe::new(row, route)?;
    let start = Instant::now();
    let step = recipe.cargo(&["build", "--release"]).args(["--package", crate::programs::PACKAGE]).args(scope.features());
    let step = scope.programs.iter().fold(step, |step, program| step.args(["--bin", &program.name]));
    let step = if scope.is_whole { rocksdb::archive_for(&recipe)?.given_to(step) } else { step };
    let built = step.run(&place::checkout());
    let (record, faults) = examine(row, scope, &recipe.programs(), built.is_ok(), start.elapsed());
    // A second build of a commit finds everything made, and its time would say nothing.
    if built.is_err() || !faults.is_empty() || on_file(row, scope)?.is_none() {
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

/// A verdict for each program that a build of `took` should have left in `folder`, and what is wrong with those that are not right.
fn examine(row: &Row, scope: &Scope, folder: &Path, is_built: bool, took: Duration) -> (Record, Vec<String>) {
    let millis = took.as_millis() as u64 / scope.programs.len().max(1) as u64;
    let (mut record, mut faults) = (Record::new(), Vec::new());
    for program in &scope.programs {
        let path = folder.join(row.executable(&program.name));
        let fault = if is_built { fault(row, &path).unwrap_or_else(|error| Some(format!("{error:#}"))) } else { None };
        record.add(&program.name, is_built && fault.is_none(), millis);
        faults.extend(fault.map(|fault| format!("{}: {fault}", path.display())));
    }
    (record, faults)
}

/// The newest build of the sources as they are that has passed already.
fn on_file(row: &Row, scope: &Scope) -> Result<Option<Run>> {
    let now = git::Sources::at_begin()?;
    let is_it = |run: &Run| {
        (run.row.as_str(), run.suite, run.is_whole, &run.commit) == (row.name(), Suite::Build, scope.is_whole, &now.commit)
            && run.has_passed()
            && !run.is_dirty
    };
    let filed = if now.is_dirty { Vec::new() } else { results::load(&place::checkout())? };
    Ok(filed.into_iter().filter_map(|filed| filed.run.ok()).rfind(is_it))
}

/// Files which archive was made of the build on file. A start says so where there is something to start the programs; where there is
/// nothing, the page knows the archive from here alone.
pub fn given_out(row: &Row, scope: &Scope, server: &[u8], archive: Hashed) -> Result<()> {
    let commit = git::Sources::at_begin()?.commit;
    let Some(build) = on_file(row, scope)? else {
        println!("not filed: no build of {commit} is on file; `cargo ci build {}` files one", row.name());
        return Ok(());
    };
    if !names_commit(server, &commit) {
        println!("not filed: the server does not name {commit}, which is checked out: verify it on its own commit");
    } else if build.archive.as_ref() != Some(&archive) {
        let record = results::evidence(&place::checkout(), &build)?;
        let run = Run { archive: Some(archive), repeat: None, ..build };
        println!("filed with its archive: {}", results::save(&place::checkout(), run, &record)?.1.display());
    }
    Ok(())
}

/// Whether a server that cannot be asked was made of `commit`: it carries the first digits of it.
fn names_commit(server: &[u8], commit: &str) -> bool {
    let digits = commit.as_bytes().get(..SHORT_COMMIT_LEN).unwrap_or(b"not a commit");
    server.windows(digits.len()).any(|window| window == digits)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use crate::programs::Program;

    fn scope() -> Scope {
        let program = |name: &str| Program { name: name.into(), needs_server: name == "etcd" };
        Scope { programs: vec![program("etcd"), program("etcdctl")], is_whole: true }
    }

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("cargo-ci-build-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_program_that_a_good_build_did_not_leave_has_failed() {
        let (matrix, folder) = (Matrix::load(&place::checkout()).unwrap(), Folder::new("missing"));
        let row = matrix.row("linux-amd64").unwrap();
        fs::write(folder.0.join("etcdctl"), "neither of macOS nor of Windows").unwrap();
        let (record, faults) = examine(row, &scope(), &folder.0, true, Duration::from_millis(8));
        assert_eq!(record.text(), "fail         4  etcd\npass         4  etcdctl\n");
        assert_eq!(faults.len(), 1);
        assert!(faults[0].contains(&format!("failed to read {}", folder.0.join("etcd").display())), "{faults:?}");
    }

    #[test]
    fn of_a_build_that_failed_no_program_has_passed() {
        let (matrix, folder) = (Matrix::load(&place::checkout()).unwrap(), Folder::new("failed"));
        let row = matrix.row("linux-amd64").unwrap();
        // Left by an earlier build.
        fs::write(folder.0.join("etcd"), "").unwrap();
        let (record, faults) = examine(row, &scope(), &folder.0, false, Duration::ZERO);
        assert_eq!((record.counts().passed, record.counts().failed, faults.len()), (0, 2, 0));
    }

    #[test]
    fn a_server_that_cannot_be_asked_is_known_by_the_commit_in_it() {
        let commit = "01dbc19aa00000000000";
        assert!(names_commit(b"..\x0001dbc19aa\x00..", commit));
        assert!(!names_commit(b"..\x0001dbc18aa\x00..", commit));
        assert!(!names_commit(b"", commit) && !names_commit(b"01dbc", "01dbc"));
    }

    /// A server of another commit in `folder`, which starts and says what a server says.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn a_server_of_another_commit_fails_the_build_that_left_it_and_is_not_filed_from_an_archive() {
        use std::os::unix::fs::PermissionsExt as _;
        let Ok(_) = git::head() else { return };
        let (matrix, folder) = (Matrix::load(&place::checkout()).unwrap(), Folder::new("foreign"));
        let row = matrix.row("linux-amd64").unwrap();
        let scope = Scope { programs: vec![Program { name: "etcd".into(), needs_server: true }], is_whole: true };
        let release = run::release().unwrap();
        let text = format!("#!/bin/sh\necho 'etcd Version: {release}\nGit SHA: 0123456789\nRust OS/Arch: linux/amd64'\n");
        fs::write(folder.0.join("etcd"), text).unwrap();
        fs::set_permissions(folder.0.join("etcd"), fs::Permissions::from_mode(0o755)).unwrap();
        let recipe = Recipe::new(row, Some(Route::Native)).unwrap();
        let said = start(row, Some(&recipe), &scope, &folder.0, None).unwrap_err().to_string();
        assert!(said.contains("not filed: it is of the commit \"0123456789\""), "{said}");
        start(row, None, &scope, &folder.0, None).expect("an archive of another commit is tried as well");
    }
}
