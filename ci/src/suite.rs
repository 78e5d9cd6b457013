//! What has to pass: the house rules, formatting, lints, and every test.
//!
//! Cheap checks come first. Tests always run: nothing of a result is kept. The last thing printed is the test runner's own
//! closing line, so the times of the earlier steps are listed before it starts.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::rocksdb::Archive;
use crate::shell::{Step, seconds};
use crate::{place, setup, tidy};

pub fn test(is_quick: bool) -> Result<()> {
    let mut times = Vec::new();
    let start = Instant::now();
    println!("$ cargo ci tidy");
    tidy::tidy()?;
    times.push(("tidy", start.elapsed()));

    let start = Instant::now();
    println!("\n$ cargo ci setup");
    let archive = setup::setup(if is_quick { setup::Purpose::Build } else { setup::Purpose::Tests })?;
    println!("rocksdb: {}", archive.folder.display());
    times.push(("setup", start.elapsed()));

    // Another checkout may share the target directory: its build would replace the binaries that tests here are starting.
    let _held = place::hold(&place::target(), "the shared target directory")?;
    for (name, step) in steps(&archive, is_quick) {
        times.push((name, step.run(&place::checkout())?));
    }
    println!("\n{}", table(&times));
    let last = if is_quick { &["--package", "etcd", "--lib"][..] } else { &["--workspace", "--tests"] };
    product(&archive, &["test", "--locked", "--no-fail-fast"]).args(last).run(&place::checkout()).map(drop)
}

fn steps(archive: &Archive, is_quick: bool) -> Vec<(&'static str, Step)> {
    let mut steps = Vec::new();
    if setup::has_component("rustfmt") {
        steps.push(("format", Step::cargo().args(["fmt", "--all", "--check"])));
    }
    if !is_quick && setup::has_component("clippy") {
        let lints = product(archive, &["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
        steps.push(("lints", lints));
    }
    let build = if is_quick { &["--package", "etcd", "--lib"][..] } else { &["--workspace", "--tests"] };
    steps.push(("build tests", product(archive, &["test", "--locked", "--no-run"]).args(build)));
    steps
}

/// A cargo command that links the archive and builds outside the checkout.
pub fn product(archive: &Archive, arguments: &[&str]) -> Step {
    archive.given_to(Step::cargo().args(arguments)).var("CARGO_TARGET_DIR", place::target())
}

fn table(times: &[(&str, Duration)]) -> String {
    times.iter().map(|(name, took)| format!("{name:<12} {:>12}", seconds(*took))).collect::<Vec<_>>().join("\n")
}
