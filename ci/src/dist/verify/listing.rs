//! An rpm or apk: listed, compared with what a package has to hold, and linted where the machine has a linter.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::programs::Scope;
use crate::shell::Step;

const LIMIT: Duration = Duration::from_secs(120);
const SETTINGS: &str = "etc/etcd/etcd.conf.yml";

pub fn verify(path: &Path) -> Result<()> {
    let is_rpm = path.extension().is_some_and(|ending| ending == "rpm");
    let list =
        if is_rpm { rpm(path)? } else { said(&Step::new("tar").args(["--list", "--gzip", "--ignore-zeros", "--file"]).args([path]))? };
    let files: Vec<&str> = list.lines().map(|line| line.trim_start_matches('/')).collect();
    for wanted in wanted()? {
        ensure!(files.contains(&wanted.as_str()), "{} is not in the package:\n{list}", wanted);
    }
    println!("\n{}: all of it is there, {} entries", path.display(), files.len());
    Ok(())
}

/// What it says of itself, what it needs, and its files.
fn rpm(path: &Path) -> Result<String> {
    let query = |words: &[&str]| said(&Step::new("rpm").args(["--query", "--package"]).args(words).args([path]));
    print!("{}{}", query(&["--info"])?, query(&["--requires"])?);
    let kept = query(&["--configfiles"])?;
    ensure!(kept.trim() == format!("/{SETTINGS}"), "{SETTINGS} is not kept by an upgrade: {kept:?}");
    let scripts = query(&["--scripts"])?;
    for wanted in ["postinstall", "preuninstall", "postuninstall"] {
        ensure!(scripts.contains(wanted), "it has no {wanted} script");
    }
    match Step::new("rpmlint").args([path]).output_within(Path::new("/"), LIMIT) {
        Ok(done) => print!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)),
        Err(reason) => println!("not linted: {reason:#}"),
    }
    query(&["--list"])
}

fn said(step: &Step) -> Result<String> {
    let done = step.output_within(Path::new("/"), LIMIT).context("its own tool is needed to look into it")?;
    ensure!(done.status.success(), "`{}` failed: {}", step.line(), String::from_utf8_lossy(&done.stderr).trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn wanted() -> Result<Vec<String>> {
    let programs = Scope::of(false)?.names();
    let mut wanted: Vec<String> = programs.iter().map(|name| format!("usr/bin/{name}")).collect();
    wanted.extend(programs.iter().map(|name| format!("usr/share/man/man1/{name}.1.gz")));
    for tool in programs.iter().filter(|name| *name != "etcd") {
        wanted.push(format!("usr/share/bash-completion/completions/{tool}"));
        wanted.push(format!("usr/share/zsh/site-functions/_{tool}"));
        wanted.push(format!("usr/share/fish/vendor_completions.d/{tool}.fish"));
    }
    for file in ["usr/lib/systemd/system/etcd.service", "usr/lib/sysusers.d/etcd.conf", "usr/lib/tmpfiles.d/etcd.conf", SETTINGS] {
        wanted.push(file.to_owned());
    }
    Ok(wanted)
}
