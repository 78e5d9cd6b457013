//! An rpm or apk: listed, compared with what a package has to hold, and linted where the machine has a linter.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::matrix::Matrix;
use crate::place;
use crate::programs::Scope;
use crate::run::release;
use crate::shell::Step;

const LIMIT: Duration = Duration::from_secs(120);
const SETTINGS: &str = "etc/etcd/etcd.conf.yml";

pub fn verify(path: &Path) -> Result<()> {
    let is_rpm = path.extension().is_some_and(|ending| ending == "rpm");
    let list = if is_rpm { rpm(path)? } else { apk(path)? };
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
        Ok(done) => {
            let text = String::from_utf8_lossy(&done.stdout).into_owned();
            print!("{text}{}", String::from_utf8_lossy(&done.stderr));
            let errors = lint_errors(&text);
            ensure!(errors.is_empty(), "rpmlint finds what may not be:\n{}", errors.join("\n"));
        }
        Err(reason) => println!("not linted: {reason:#}"),
    }
    query(&["--list"])
}

/// Errors, not warnings; but that nobody has signed it, which whoever gives it out does.
fn lint_errors(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains(": E: ") && !line.trim_end().ends_with("E: no-signature")).collect()
}

/// There is no linter of such packages outside of Alpine: what it would look at is looked at here.
fn apk(path: &Path) -> Result<String> {
    let tar = |words: &[&str]| said(&Step::new("tar").args(["--gzip", "--ignore-zeros", "--file"]).args([path]).args(words));
    let info = tar(&["--extract", "--to-stdout", ".PKGINFO"])?;
    print!("{info}");
    let matrix = Matrix::load(&place::checkout())?;
    let processors: Vec<&str> = matrix.rows.iter().filter_map(|row| row.packages.apk.as_deref()).collect();
    let faults = apk_faults(&info, &tar(&["--list", "--verbose", "--numeric-owner"])?, &release()?, &processors);
    ensure!(faults.is_empty(), "the package is not as it should be:\n{}", faults.join("\n"));
    tar(&["--list"])
}

/// What is wrong with what it says of itself, and with the owners and modes of its files.
fn apk_faults(info: &str, list: &str, release: &str, processors: &[&str]) -> Vec<String> {
    let field = |name: &str| info.lines().find_map(|line| line.split_once(" = ").filter(|(key, _)| *key == name)).map(|(_, value)| value);
    let mut faults = Vec::new();
    let mut ask = |name: &str, is_right: &dyn Fn(&str) -> bool| {
        if !field(name).is_some_and(is_right) {
            faults.push(format!("{name} is {:?}", field(name)));
        }
    };
    ask("pkgname", &|name| name == "etcd");
    ask("pkgver", &|version| version.split_once("-r").is_some_and(|(version, build)| version == release && build.parse::<u32>().is_ok()));
    ask("arch", &|arch| processors.contains(&arch));
    ask("license", &|license| license == "Apache-2.0");
    for name in ["pkgdesc", "maintainer", "datahash"] {
        ask(name, &|value| !value.is_empty());
    }
    // `-rwxr-xr-x 0/0  1234 2026-11-24 18:00 usr/bin/etcd`
    for line in list.lines().filter(|line| line.contains(" usr/") || line.contains(" etc/")) {
        let mut words = line.split_whitespace();
        let (mode, owner) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_program = line.contains(" usr/bin/etcd");
        if owner != "0/0" || mode.as_bytes().get(8) == Some(&b'w') || is_program && !mode.ends_with("x") {
            faults.push(format!("the owner or the mode is wrong: {line}"));
        }
    }
    faults
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_linter_counts_and_a_missing_signature_does_not() {
        let said = "etcd.x86_64: W: no-url-tag\netcd.x86_64: E: no-signature\n 1 packages; 1 errors, 12 warnings\n";
        assert_eq!(lint_errors(said), [""; 0]);
        let said = format!("{said}etcd.x86_64: E: zero-length /usr/bin/etcd\n");
        assert_eq!(lint_errors(&said), ["etcd.x86_64: E: zero-length /usr/bin/etcd"]);
    }

    const INFO: &str = "# made\npkgname = etcd\npkgver = 3.7.1-r1\narch = x86_64\npkgdesc = a store\nlicense = Apache-2.0\nmaintainer = a\ndatahash = 0f\n";
    const LIST: &str = "-rw-r--r-- 0/0  9 2026-11-24 18:00 .PKGINFO\n-rwxr-xr-x 0/0  9 2026-11-24 18:00 usr/bin/etcd\n";

    #[test]
    fn an_apk_says_what_it_is_and_its_files_are_roots() {
        let faults = |info: &str, list: &str| apk_faults(info, list, "3.7.1", &["x86_64", "aarch64"]);
        assert_eq!(faults(INFO, LIST), [""; 0]);
        for (was, is, wanted) in [
            ("= etcd\n", "= etc\n", "pkgname is Some(\"etc\")"),
            ("3.7.1-r1", "3.7.1", "pkgver is Some(\"3.7.1\")"),
            ("x86_64", "amd64", "arch is Some(\"amd64\")"),
            ("datahash", "hash", "datahash is None"),
            ("Apache-2.0", "MIT", "license is Some(\"MIT\")"),
        ] {
            assert_eq!(faults(&INFO.replace(was, is), LIST), [wanted]);
        }
        for (was, is) in [("-x 0/0", "-x 0/5"), ("rwxr-xr-x", "rwxr-xrwx"), ("rwxr-xr-x", "rw-r--r--")] {
            assert_eq!(faults(INFO, &LIST.replace(was, is)).len(), 1, "{is}");
        }
    }
}
