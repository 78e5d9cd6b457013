//! What a person downloads: archives in etcd's layout and under its names, packages, an image, bills of materials, checksums.
//!
//! ```text
//!   programs of the row --+--> etcd-v3.7.1-linux-amd64.tar.gz     etcd's layout: programs, four readmes, Documentation/
//!   dist/docs           --+--> etcd-v3.7.1-linux-amd64.cdx.json   what is inside
//!   help of the host's  --+--> etcd_3.7.1_amd64.deb ..            the same with unit, user, pages and completions
//!   programs                   SHA256SUMS                         over all of them
//! ```
//!
//! One commit makes the same bytes twice: entries are sorted, dates are the commit's, paths of the machine are mapped away.
//! Pages and completions are written by programs of the machine that builds, never by running foreign ones.

pub mod archive;
mod image;
mod manual;
mod materials;
mod packages;
pub mod sums;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::matrix::{Format, Matrix, Route, Row};
use crate::programs::{PACKAGE, Scope};
use crate::run::release;
use crate::shell::Step;
use crate::{build, digest, git, place, setup};
use archive::Entry;

pub use verify::verify;

/// Documents of every archive, by their names there.
const DOCUMENTS: [(&str, &str); 6] = [
    ("README.md", "dist/docs/README.md"),
    ("README-etcdctl.md", "dist/docs/README-etcdctl.md"),
    ("README-etcdutl.md", "dist/docs/README-etcdutl.md"),
    ("READMEv2-etcdctl.md", "dist/docs/READMEv2-etcdctl.md"),
    ("Documentation/README.md", "dist/docs/Documentation.md"),
    ("Documentation/platforms.md", "platforms/README.md"),
];
const SHELLS: [&str; 4] = ["bash", "zsh", "fish", "powershell"];

/// `etcd-v3.7.1-linux-amd64`; clients alone have a name of their own, so that nobody takes them for everything.
fn stem(row: &Row, scope: &Scope, release: &str) -> String {
    let what = if scope.is_whole { "etcd" } else { "etcd-client" };
    format!("{what}-v{release}-{}", row.name())
}

/// Where everything is written.
pub fn folder() -> PathBuf {
    place::target().join("dist")
}

pub fn dist(which: &str, route: Option<Route>, scope: &Scope) -> Result<()> {
    let matrix = Matrix::load(&place::checkout())?;
    let rows: Vec<&Row> = if which == "all" { matrix.rows.iter().collect() } else { vec![matrix.row(which)?] };
    ensure!(!git::is_dirty()? || which != "all", "sources differ from the commit: what is given out is a commit");
    let host = Host::build(scope)?;
    let mut failed = Vec::new();
    for row in rows {
        if let Err(error) = one(row, route, scope, &host) {
            println!("error: {}: {error:#}", row.name());
            failed.push(row.name());
        }
    }
    sums::write(&folder())?;
    println!("{}", folder().join(sums::NAME).display());
    if failed.is_empty() { Ok(()) } else { bail!("not made: {}", failed.join(", ")) }
}

fn one(row: &Row, route: Option<Route>, scope: &Scope, host: &Host) -> Result<()> {
    let recipe = build::build(row, route, scope)?;
    let (release, seconds, output) = (release()?, git::time_of("HEAD")?, folder());
    fs::create_dir_all(&output)?;
    let programs = programs(row, scope, &recipe.programs())?;
    let stem = stem(row, scope, &release);
    let entries = layout(&stem, &programs)?;
    let bytes = match row.archive {
        Format::TarGz => archive::gzip(&archive::tar(&entries, seconds)?)?,
        Format::Zip => archive::zip(&entries, seconds)?,
    };
    write(&output.join(format!("{stem}.{}", row.archive.ending())), &bytes)?;
    write(&output.join(format!("{stem}.cdx.json")), materials::bill(row.triple(), scope, &release, seconds)?.as_bytes())?;
    if row.os == "linux" {
        let stage = host.stage(row, &programs, &release, seconds)?;
        let names: Vec<String> = scope.names();
        let stage =
            packages::Stage { folder: &stage, programs: &names, has_server: scope.is_whole, release: &release, floor: &row.floor, seconds };
        packages::write(row, &stage, &output)?;
    }
    if row.triple().contains("musl") && scope.is_whole {
        let layout = image::layout(row, &programs, &release, seconds, &day(seconds, true))?;
        write(&output.join(format!("{stem}.oci.tar")), &archive::tar(&layout, seconds)?)?;
        write(&output.join(format!("{stem}.rootfs.tar")), &image::root(&programs, seconds)?)?;
    }
    Ok(())
}

fn programs(row: &Row, scope: &Scope, folder: &Path) -> Result<Vec<Entry>> {
    let read = |name: &String| {
        let path = folder.join(row.executable(name));
        let bytes = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        Ok(Entry::program(row.executable(name), bytes))
    };
    scope.names().iter().map(read).collect()
}

/// etcd's layout: one folder named like the archive.
fn layout(stem: &str, programs: &[Entry]) -> Result<Vec<Entry>> {
    let checkout = place::checkout();
    let mut entries: Vec<Entry> = programs.iter().map(|entry| Entry { path: format!("{stem}/{}", entry.path), ..entry.clone() }).collect();
    for (name, source) in DOCUMENTS {
        let text = fs::read(checkout.join(source)).with_context(|| format!("failed to read {source}"))?;
        entries.push(Entry::text(format!("{stem}/{name}"), text));
    }
    entries.push(Entry::text(format!("{stem}/LICENSE"), fs::read(checkout.join("LICENSE"))?));
    Ok(entries)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("failed to write {}", path.display()))?;
    println!("{}  {}", digest::of_bytes(bytes), path.display());
    Ok(())
}

fn day(seconds: u64, with_time: bool) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let date = format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day());
    if with_time { format!("{date}T{:02}:{:02}:{:02}Z", at.hour(), at.minute(), at.second()) } else { date }
}

/// Programs of this machine, which write the pages and completions of all rows.
struct Host {
    folder: PathBuf,
    programs: Vec<String>,
}

impl Host {
    fn build(scope: &Scope) -> Result<Host> {
        let step = Step::cargo().args(["build", "--locked", "--package", PACKAGE]).args(scope.features());
        let step = scope.names().iter().fold(step, |step, name| step.args(["--bin", name])).var("CARGO_TARGET_DIR", place::target());
        let step = if scope.is_whole { setup::setup(setup::Purpose::Build)?.given_to(step) } else { step };
        step.run(&place::checkout())?;
        Ok(Host { folder: place::target().join("debug"), programs: scope.names() })
    }

    /// A folder with everything that a package takes besides `dist/`.
    fn stage(&self, row: &Row, programs: &[Entry], release: &str, seconds: u64) -> Result<PathBuf> {
        let stage = place::row_target(row.name()).join("stage");
        let _ = fs::remove_dir_all(&stage);
        for name in ["bin", "man", "completions"] {
            fs::create_dir_all(stage.join(name))?;
        }
        for program in programs {
            fs::write(stage.join("bin").join(&program.path), &program.bytes)?;
        }
        for program in &self.programs {
            let mut help = |words: &[String]| self.says(program, words);
            let page = manual::page(program, release, &day(seconds, false), &mut help)?;
            fs::write(stage.join(format!("man/{program}.1.gz")), archive::gzip(page.as_bytes())?)?;
        }
        for shell in SHELLS {
            let script = self.run("etcdctl", &["completion".to_owned(), shell.to_owned()])?;
            fs::write(stage.join(format!("completions/etcdctl.{shell}")), script)?;
        }
        Ok(stage)
    }

    fn says(&self, program: &str, words: &[String]) -> Result<String> {
        self.run(program, &[words, &["--help".to_owned()]].concat())
    }

    fn run(&self, program: &str, words: &[String]) -> Result<String> {
        let step = Step::new(self.folder.join(format!("{program}{}", std::env::consts::EXE_SUFFIX))).args(words);
        let done = step.output_within(&self.folder, Duration::from_secs(60))?;
        ensure!(done.status.success(), "`{}` failed: {}", step.line(), String::from_utf8_lossy(&done.stderr).trim());
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_etcds_layout() {
        let entries = layout("etcd-v3.7.1-linux-amd64", &[Entry::program("etcd", vec![1])]).unwrap();
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.strip_prefix("etcd-v3.7.1-linux-amd64/").unwrap()).collect();
        for wanted in
            ["etcd", "README.md", "README-etcdctl.md", "README-etcdutl.md", "READMEv2-etcdctl.md", "Documentation/README.md", "LICENSE"]
        {
            assert!(paths.contains(&wanted), "{wanted}");
        }
    }

    #[test]
    fn clients_alone_are_not_called_etcd() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let row = matrix.row("windows-amd64").unwrap();
        let scope = |is_whole| Scope { programs: Vec::new(), is_whole };
        assert_eq!(stem(row, &scope(true), "3.7.1"), "etcd-v3.7.1-windows-amd64");
        assert_eq!(stem(row, &scope(false), "3.7.1"), "etcd-client-v3.7.1-windows-amd64");
    }

    #[test]
    fn a_day_is_the_commits() {
        assert_eq!((day(1_700_000_000, false).as_str(), day(1_700_000_000, true).as_str()), ("2023-11-14", "2023-11-14T22:13:20Z"));
    }
}
