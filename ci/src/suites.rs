//! The suites: compiled once per row into an archive of nextest, run natively or under the row's runner, filed.
//!
//! ```text
//!   cargo nextest archive --target T --> tests.tar.zst --cargo nextest run --profile unit--> junit.xml --> result on file
//! ```
//!
//! A profile (`.config/nextest.toml`) is a suite: its time limits. Emulated ones have a profile of their own, with
//! longer limits; every test has one, so that what hangs is ended and named.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::matrix::{Route, Row, Suite};
use crate::programs::Scope;
use crate::results::Hashed;
use crate::results::record::Record;
use crate::route::Recipe;
use crate::run::Account;
use crate::runner::{self, Runner};
use crate::shell::Step;
use crate::{build, digest, place, rocksdb};

/// Test binaries of each suite; `unit` is what stands beside the code.
const BINARIES: [(Suite, &[&str]); 4] = [
    (Suite::Integration, &["sim", "cost"]),
    (Suite::E2e, &["spec", "cli", "utl", "process", "upgrade", "backup", "clients"]),
    (Suite::Functional, &["crash", "faults"]),
    (Suite::Stress, &["stress"]),
];

/// Tells the tests that what they leave out would be filed as passed: they fail where they cannot run.
const WHOLE: &str = "ETCD_TEST_WHOLE";
/// What lets an operator leave out tests of `cargo ci test`.
const LEAVES_OUT: [&str; 2] = ["ETCD_CLIENTS_SKIP", "ETCD_FAULT_SKIP"];

/// The filter of nextest for a suite, of those binaries that the build has.
fn filter(suite: Suite, there: &[String]) -> Result<String> {
    let Some((_, wanted)) = BINARIES.iter().find(|(other, _)| *other == suite) else {
        return Ok("kind(lib) + kind(bin)".to_owned());
    };
    let found: Vec<String> =
        wanted.iter().filter(|name| there.iter().any(|other| other == *name)).map(|name| format!("binary({name})")).collect();
    ensure!(!found.is_empty(), "no test of `{}` is in this build: it would be of {}", suite.word(), wanted.join(", "));
    Ok(found.join(" + "))
}

/// `2/4` is the second of four parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    pub part: u32,
    pub of: u32,
}

impl std::str::FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Partition, String> {
        let parts = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Partition { part, of }),
            _ => Err(format!("{text:?} is no part like 2/4")),
        }
    }
}

/// cargo-nextest: the one that `doctor` brought, or one on the PATH.
pub fn nextest() -> PathBuf {
    let brought = place::tools().join("bin").join(format!("cargo-nextest{}", std::env::consts::EXE_SUFFIX));
    if brought.exists() { brought } else { "cargo-nextest".into() }
}

/// Runs one suite of a row and files how it ended.
pub fn test(row: &Row, suite: Suite, route: Option<Route>, scope: &Scope, partition: Option<Partition>) -> Result<()> {
    match suite {
        Suite::Build => build::build(row, route, scope).map(drop),
        Suite::Start => {
            let recipe = build::build(row, route, scope)?;
            build::start(row, Some(&recipe), scope, &recipe.programs(), None)
        }
        _ => nextest_suite(row, suite, route, scope, partition),
    }
}

fn nextest_suite(row: &Row, suite: Suite, route: Option<Route>, scope: &Scope, partition: Option<Partition>) -> Result<()> {
    ensure!(
        row.suites.contains(&suite),
        "{} does not run `{}`: see its line `suites` in {}",
        row.name(),
        suite.word(),
        crate::matrix::FILE
    );
    let runner = Runner::of(row)?;
    let recipe = Recipe::new(row, route)?;
    let filter = filter(suite, &crate::programs::tests(scope)?)?;
    let archive = compile(&recipe, scope)?;
    let profile = if runner.is_emulated { format!("{}-emulated", suite.word()) } else { suite.word().to_owned() };
    // Rows share the folder of a profile.
    let _held = place::hold(&place::checkout().join("target/nextest").join(&profile), &format!("`{profile}`"))?;
    let junit = place::checkout().join("target/nextest").join(&profile).join("junit.xml");
    let _ = fs::remove_file(&junit);
    let unpacked = place::row_target(row.name()).join("unpacked");
    let _ = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked)?;

    let step = Step::new(nextest()).args(["nextest", "run", "--no-fail-fast", "--profile", &profile, "--archive-file"]).args([&archive]);
    let step = step.args(["--extract-to"]).args([&unpacked]).args(["--workspace-remap"]).args([place::checkout()]).args(["-E", &filter]);
    let step = match partition {
        Some(Partition { part, of }) => step.args(["--partition", &format!("hash:{part}/{of}")]),
        None => step,
    };
    let step = under(step, row, &runner);
    let start = Instant::now();
    let ended = step.run(&place::checkout());
    let took = start.elapsed();
    let _ = fs::remove_dir_all(&unpacked);

    let xml = fs::read_to_string(&junit);
    let xml = match (xml, &ended) {
        (Ok(xml), _) => xml,
        (Err(_), Err(error)) => anyhow::bail!("{error:#}"),
        (Err(error), Ok(_)) => return Err(error).with_context(|| format!("nextest left no {}", junit.display())),
    };
    let mut record = Record::from_junit(&xml)?;
    if let Err(error) = &ended {
        // Where no test failed, the run itself did: what it left out has not passed.
        let is_told = record.counts().failed > 0;
        println!("error: {error:#}");
        if !is_told {
            record.add("the_run_as_a_whole", false, took.as_millis() as u64);
        }
    }
    let hashed = Hashed { name: "tests.tar.zst".into(), sha256: digest::of_file(&archive)? };
    let account = Account { row, suite, scope, recipe: Some(&recipe), runner: Some(&runner) };
    let run = account.file(&record, took, Some(hashed), partition.map(|Partition { part, of }| [part, of]))?;
    ended?;
    ensure!(run.has_passed(), "`{}` of {} failed", suite.word(), row.name());
    Ok(())
}

/// The runner for nextest and, where a test starts programs itself, for the test.
fn under(step: Step, row: &Row, runner: &Runner) -> Step {
    let step = step.var(runner::ARCHITECTURE, &row.arch).var(WHOLE, "1");
    let step = LEAVES_OUT.iter().fold(step, |step, name| step.without(*name));
    if runner.words.is_empty() {
        return step;
    }
    let words = runner.words.join(" ");
    step.var(format!("CARGO_TARGET_{}_RUNNER", row.triple_word().to_uppercase()), &words).var(runner::VARIABLE, &words)
}

/// The archive of all tests of the row, compiled once; cargo sees for itself what is up to date.
fn compile(recipe: &Recipe, scope: &Scope) -> Result<PathBuf> {
    let name = if scope.is_whole { "tests.tar.zst" } else { "tests-of-clients.tar.zst" };
    let archive = place::row_target(recipe.row.name()).join(name);
    fs::create_dir_all(place::row_target(recipe.row.name()))?;
    let cargo = recipe.cargo(&[]).replaced(nextest(), &["nextest", "archive"]);
    let step = cargo.args(["--package", crate::programs::PACKAGE]).args(scope.features()).args(["--archive-file"]).args([&archive]);
    let step = if scope.is_whole { rocksdb::archive_for(recipe)?.given_to(step) } else { step };
    step.run(&place::checkout())?;
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_of_so_many() {
        assert_eq!("2/4".parse(), Ok(Partition { part: 2, of: 4 }));
        for wrong in ["0/4", "5/4", "2", "a/b", "", "2/4/6"] {
            assert!(wrong.parse::<Partition>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_suite_is_of_the_binaries_that_a_build_has() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(filter(Suite::Unit, &[]).unwrap(), "kind(lib) + kind(bin)");
        assert_eq!(filter(Suite::E2e, &names(&["cli", "sim", "spec"])).unwrap(), "binary(spec) + binary(cli)");
        assert!(filter(Suite::Stress, &names(&["cli"])).unwrap_err().to_string().contains("no test of `stress` is in this build"));
    }

    #[test]
    fn every_test_binary_of_the_package_is_of_one_suite() {
        for name in crate::programs::tests(&Scope::of(false).unwrap()).unwrap() {
            assert_eq!(BINARIES.iter().filter(|(_, names)| names.contains(&name.as_str())).count(), 1, "{name}");
        }
    }

    #[test]
    fn every_suite_has_its_profile_with_a_time_limit_native_and_emulated() {
        let text = fs::read_to_string(place::checkout().join(".config/nextest.toml")).unwrap();
        let config: toml::Table = text.parse().unwrap();
        let profiles = config["profile"].as_table().unwrap();
        for suite in Suite::ALL.into_iter().filter(|suite| !matches!(suite, Suite::Build | Suite::Start)) {
            for name in [suite.word().to_owned(), format!("{}-emulated", suite.word())] {
                let profile = profiles.get(&name).unwrap_or_else(|| panic!("no profile {name}"));
                let limit = &profile["slow-timeout"];
                assert!(limit["terminate-after"].as_integer().is_some_and(|times| times > 0), "{name} lets a test hang");
            }
        }
    }
}
