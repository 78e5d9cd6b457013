//! Builds the product for release and runs it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::shell::Step;
use crate::{place, setup, suite};

/// The server, in the folder the user is in.
pub fn run(flags: &[String]) -> Result<()> {
    build(&[])?.run(&place::checkout())?;
    replace(&Step::new(built("etcd")).args(flags))
}

/// `etcdctl`, from the same build as the server: beside a running one there is nothing left to compile, and nothing is printed.
pub fn ctl(arguments: &[String]) -> Result<()> {
    let build = build(&["--quiet"])?;
    let status = build.command(&place::checkout()).status().context("failed to start cargo")?;
    ensure!(status.success(), "`{}` failed ({status})", build.line());
    become_it(&Step::new(built("etcdctl")).args(arguments))
}

fn build(more: &[&str]) -> Result<Step> {
    Ok(suite::product(&setup::setup(setup::Purpose::Build)?, &["build", "--release", "--locked", "--bins"]).args(more))
}

/// The load generator, with our server beside the Go one. `--ours PATH` measures another binary and saves this build.
pub fn versus(arguments: &[String]) -> Result<()> {
    let is_given = arguments.iter().any(|argument| argument == "--ours" || argument.starts_with("--ours="));
    let asks_only = arguments.iter().any(|argument| argument == "--help" || argument == "-h" || argument == "--list");
    if !is_given && !asks_only {
        build(&[])?.run(&place::checkout())?;
    }
    let generator = Step::cargo().args(["build", "--release", "--locked", "--package", "versus"]).var("CARGO_TARGET_DIR", place::target());
    generator.run(&place::checkout())?;
    let generator = Step::new(built("versus")).args(arguments);
    replace(&if is_given || asks_only { generator } else { generator.args(["--ours".into(), built("etcd").into_os_string()]) })
}

fn built(name: &str) -> PathBuf {
    place::target().join("release").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

fn replace(step: &Step) -> Result<()> {
    println!("\n$ {}", step.line());
    become_it(step)
}

/// Becomes the program, so that signals and the exit code are its own.
#[cfg(unix)]
fn become_it(step: &Step) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let here = std::env::current_dir()?;
    Err(step.command(&here).exec()).with_context(|| format!("failed to start {}", step.line()))
}

#[cfg(not(unix))]
fn become_it(step: &Step) -> Result<()> {
    let status = step.command(&std::env::current_dir()?).status().with_context(|| format!("failed to start {}", step.line()))?;
    std::process::exit(status.code().unwrap_or(1));
}
