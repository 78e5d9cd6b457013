//! An archive for people: complete, no younger than its row promises, and its README's walk passes with it alone.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::super::DOCUMENTS;
use super::super::archive::{self, Entry};
use super::super::elf::{Needs, numbers};
use super::super::loads::Loads;
use super::{Floor, walk};
use crate::matrix::{Matrix, Row, RunnerKind};
use crate::programs::Scope;
use crate::results::Hashed;
use crate::run::release;
use crate::runner::Runner;
use crate::{build, place};

pub fn verify(matrix: &Matrix, path: &Path, sha256: String, floor: Floor, must_start: bool) -> Result<()> {
    let name = path.file_name().context("an archive has a name")?.to_string_lossy().into_owned();
    let (row, is_whole) = row_of(matrix, &name)?;
    let scope = Scope::of(!is_whole)?;
    let entries = archive::read(path)?;
    let stem = name.trim_end_matches(&format!(".{}", row.archive.ending())).to_owned();
    check_layout(&stem, row, &scope, &entries)?;
    println!("{name}: {} files", entries.len());
    let programs = programs(&stem, row, &scope, &entries);
    for program in &programs {
        if let Some(loads) = Loads::of(&program.bytes).with_context(|| program.path.clone())? {
            println!("{}: {loads}", program.path);
            let fault = loads.fault(row);
            ensure!(fault.is_none(), "{}: {}", program.path, fault.unwrap_or_default());
        }
    }
    let needs = super::super::needs(&programs)?;
    if let Some(version) = needs.highest("GLIBC_") {
        println!("{name}: needs glibc {version}, promised is {}", row.floor);
    }
    let fault = floor_fault(row, &needs);
    match &fault {
        Some(fault) if floor == Floor::Promised => bail!("{fault}; --any-floor verifies it for this machine alone"),
        Some(fault) => println!("warning: {fault}"),
        None => {}
    }

    let runner = match Runner::of(row) {
        Ok(runner) => runner,
        Err(reason) => {
            ensure!(row.runner.kind == RunnerKind::None && !must_start, "{reason:#}");
            println!("{name}: complete, but not started: {reason:#}");
            let is_kept = is_whole && fault.is_none();
            let server = programs.iter().find(|program| is_kept && program.path == format!("{stem}/{}", row.executable("etcd")));
            return server.map_or(Ok(()), |server| build::given_out(row, &scope, &server.bytes, Hashed { name, sha256 }));
        }
    };
    let folder = place::row_target(row.name()).join("verified");
    let _ = fs::remove_dir_all(&folder);
    unpack(&folder, &entries)?;
    if is_whole {
        let readme = fs::read_to_string(folder.join(&stem).join("README.md"))?;
        let lines = walk::walk(&readme, &folder.join(&stem), row, &runner)?;
        println!("\n{name}: the {lines} lines of its README's walk pass");
    }
    // The page names an archive that keeps what it promises, and no other.
    let archive = fault.is_none().then_some(Hashed { name, sha256 });
    let started = build::start(row, None, &scope, &folder.join(&stem), archive);
    let _ = fs::remove_dir_all(&folder);
    started
}

fn programs(stem: &str, row: &Row, scope: &Scope, entries: &[Entry]) -> Vec<Entry> {
    let names: Vec<String> = scope.names().iter().map(|name| format!("{stem}/{}", row.executable(name))).collect();
    entries.iter().filter(|entry| names.contains(&entry.path)).cloned().collect()
}

/// Whether the programs ask for more than the row promises: `glibc 2.28, linux 4.18`, or `static` for nothing at all.
fn floor_fault(row: &Row, needs: &Needs) -> Option<String> {
    let promised = row.floor.split(',').next().unwrap_or_default();
    if promised == "static" {
        let library = needs.libraries.keys().next()?;
        return Some(format!("{} promises static programs, and one needs {library}", row.name()));
    }
    let (promised, needed) = (promised.strip_prefix("glibc ")?, needs.highest("GLIBC_")?);
    (numbers(&needed) > numbers(promised)).then(|| {
        format!("{} promises to run with glibc {promised}, and its programs need {needed}: the route zig keeps the floor", row.name())
    })
}

/// The row that an archive is for, by its name, and whether it holds all programs.
fn row_of<'a>(matrix: &'a Matrix, name: &str) -> Result<(&'a Row, bool)> {
    let release = release()?;
    for (what, is_whole) in [("etcd", true), ("etcd-client", false)] {
        let of = |row: &&Row| name == format!("{what}-v{release}-{}.{}", row.name(), row.archive.ending());
        if let Some(row) = matrix.rows.iter().find(of) {
            return Ok((row, is_whole));
        }
    }
    bail!("{name} is not the name of an archive of release {release}: that is like etcd-v{release}-linux-amd64.tar.gz")
}

fn check_layout(stem: &str, row: &Row, scope: &Scope, entries: &[Entry]) -> Result<()> {
    let find = |path: &str| entries.iter().find(|entry| entry.path == format!("{stem}/{path}"));
    for name in scope.names() {
        let name = row.executable(&name);
        let program = find(&name).with_context(|| format!("{name} is not in the archive"))?;
        ensure!(program.is_executable, "{name} is in the archive, but not to be executed");
    }
    for (name, _) in DOCUMENTS {
        ensure!(find(name).is_some_and(|entry| !entry.bytes.is_empty()), "{name} is not in the archive, or is empty");
    }
    let stray = entries.iter().find(|entry| !entry.path.starts_with(&format!("{stem}/")));
    ensure!(stray.is_none(), "{} is outside of the archive's one folder", stray.map_or("", |entry| &entry.path));
    Ok(())
}

fn unpack(folder: &Path, entries: &[Entry]) -> Result<()> {
    for entry in entries {
        let path = folder.join(&entry.path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(&path, &entry.bytes).with_context(|| format!("failed to write {}", path.display()))?;
        #[cfg(unix)]
        if entry.is_executable {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::Program;

    const STEM: &str = "etcd-v3.7.1-linux-amd64";

    fn scope() -> Scope {
        Scope { programs: vec![Program { name: "etcd".into(), needs_server: true }], is_whole: true }
    }

    fn entries() -> Vec<Entry> {
        let mut entries: Vec<Entry> = DOCUMENTS.iter().map(|(name, _)| Entry::text(format!("{STEM}/{name}"), "words")).collect();
        entries.push(Entry::program(format!("{STEM}/etcd"), vec![1]));
        entries
    }

    fn said(entries: &[Entry]) -> String {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        check_layout(STEM, matrix.row("linux-amd64").unwrap(), &scope(), entries).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_whole_archive_passes_and_any_file_less_does_not() {
        assert_eq!(said(&entries()), "");
        for index in 0..entries().len() {
            let mut less = entries();
            let gone = less.remove(index);
            assert!(said(&less).contains(gone.path.strip_prefix(&format!("{STEM}/")).unwrap()), "{}", gone.path);
        }
    }

    #[test]
    fn a_program_that_cannot_be_executed_and_a_stray_file_are_found() {
        let mut entries = entries();
        entries.last_mut().unwrap().is_executable = false;
        assert_eq!(said(&entries), "etcd is in the archive, but not to be executed");
        entries.last_mut().unwrap().is_executable = true;
        entries.push(Entry::text("elsewhere/a", "b"));
        assert_eq!(said(&entries), "elsewhere/a is outside of the archive's one folder");
    }

    #[test]
    fn programs_that_need_more_than_the_row_promises_are_found() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let needs = |version: &str| Needs { libraries: [("libc.so.6".into(), [format!("GLIBC_{version}")].into())].into() };
        let fault = |name: &str, needs: &Needs| floor_fault(matrix.row(name).unwrap(), needs).unwrap_or_default();
        assert_eq!(fault("linux-amd64", &needs("2.28")), "");
        assert!(
            fault("linux-amd64", &needs("2.34")).starts_with("linux-amd64 promises to run with glibc 2.28, and its programs need 2.34")
        );
        assert_eq!(fault("linux-amd64-musl", &Needs::default()), "");
        assert!(fault("linux-amd64-musl", &needs("2.4")).contains("promises static programs, and one needs libc.so.6"));
        assert_eq!(fault("darwin-arm64", &Needs::default()), "");
    }

    #[test]
    fn an_archive_is_known_by_its_name() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let release = release().unwrap();
        let found = |name: String| row_of(&matrix, &name).ok().map(|(row, is_whole)| (row.name().to_owned(), is_whole));
        assert_eq!(found(format!("etcd-v{release}-linux-amd64-musl.tar.gz")), Some(("linux-amd64-musl".into(), true)));
        assert_eq!(found(format!("etcd-client-v{release}-darwin-arm64.zip")), Some(("darwin-arm64".into(), false)));
        assert_eq!(found(format!("etcd-v{release}-darwin-arm64.tar.gz")), None);
        assert_eq!(found("etcd-v0.0.1-linux-amd64.tar.gz".into()), None);
    }
}
