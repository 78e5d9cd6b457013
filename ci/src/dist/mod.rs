//! What a person downloads: archives in etcd's layout and under its names, packages, an image, bills of materials, checksums.
//!
//! ```text
//!   programs of the row --+--> etcd-v3.7.1-linux-amd64.tar.gz     etcd's layout: programs, four readmes, Documentation/
//!   dist/docs           --+--> etcd-v3.7.1-linux-amd64.cdx.json   what is inside
//!   help of the host's  --+--> etcd_3.7.1_amd64.deb ..            the same with unit and user
//!   programs              |
//!   commit and crates   --+--> etcd-v3.7.1-src.tar.gz             builds without a network
//!                              SHA256SUMS                         over all of them
//!                              manifests/                         Homebrew, Scoop, winget, Nix, from the sums
//! ```
//!
//! One commit makes the same bytes twice: entries are sorted, dates are the commit's, paths of the machine are mapped away.
//! Pages and completions are written by programs of the machine that builds, never by running foreign ones.

pub mod archive;
mod elf;
mod host;
mod image;
pub mod loads;
mod manifests;
mod manual;
mod materials;
mod packages;
mod source;
mod sums;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::matrix::{Format, Matrix, Route, Row, Suite};
use crate::programs::Scope;
use crate::run::release;
use crate::{build, digest, git, place, route};
use archive::Entry;
use elf::Needs;
use host::Host;

pub use sums::are_complete;
pub use verify::{Floor, verify};

/// Documents of every archive, by their names there.
const DOCUMENTS: [(&str, &str); 6] = [
    ("README.md", "dist/docs/README.md"),
    ("README-etcdctl.md", "dist/docs/README-etcdctl.md"),
    ("README-etcdutl.md", "dist/docs/README-etcdutl.md"),
    ("READMEv2-etcdctl.md", "dist/docs/READMEv2-etcdctl.md"),
    ("Documentation/README.md", "dist/docs/Documentation.md"),
    ("Documentation/platforms.md", "platforms/README.md"),
];

/// `etcd-v3.7.1-linux-amd64`; clients alone have a name of their own, so that nobody takes them for everything.
fn stem(row: &Row, scope: &Scope, release: &str) -> String {
    let what = if scope.is_whole { "etcd" } else { "etcd-client" };
    format!("{what}-v{release}-{}", row.name())
}

/// Where everything is written.
pub fn folder() -> PathBuf {
    place::target().join("dist")
}

/// `all` is every row and the source; `source` is that alone.
pub fn dist(which: &str, route: Option<Route>, scope: &Scope) -> Result<()> {
    let matrix = Matrix::load(&place::checkout())?;
    let mut rows: Vec<&Row> = match which {
        "all" => matrix.rows.iter().filter(|row| is_given_out(row)).collect(),
        "source" => Vec::new(),
        name => vec![matrix.row(name)?],
    };
    let is_source_wanted = matches!(which, "all" | "source");
    ensure!(!git::is_dirty()?, "sources differ from the commit: what is given out is a commit");
    fs::create_dir_all(folder())?;
    let mut failed = Vec::new();
    // The machine's own row comes first: its programs write the pages of all others.
    rows.sort_by_key(|row| !route::is_this_machine(row));
    let mut host = None;
    for row in rows {
        if let Err(error) = one(row, route, scope, &mut host) {
            println!("error: {}: {error:#}", row.name());
            failed.push(row.name());
        }
    }
    if is_source_wanted && let Err(error) = source::write(&folder()) {
        println!("error: the source: {error:#}");
        failed.push("source");
    }
    sums::write(&folder())?;
    println!("{}", folder().join(sums::NAME).display());
    if failed.is_empty() { Ok(()) } else { bail!("not made: {}", failed.join(", ")) }
}

/// Whether a row is a part of everything: one whose build is owed is named and left out.
fn is_given_out(row: &Row) -> bool {
    let owed = row.skip(Suite::Build);
    owed.inspect(|skip| println!("left out: {}: {}", row.name(), skip.reason)).is_none()
}

/// `SHA256SUMS` over a folder, and with the address that its files are to be found at, what package managers make of it.
pub fn sums(folder: &Path, address: Option<&str>) -> Result<()> {
    sums::write(folder)?;
    address.map_or(Ok(()), |address| manifests::write(&Matrix::load(&place::checkout())?, folder, address))
}

fn one(row: &Row, route: Option<Route>, scope: &Scope, host: &mut Option<Host>) -> Result<()> {
    let recipe = build::build(row, route::for_release(row, route), scope)?;
    let host = match host {
        Some(host) => host,
        None if route::is_this_machine(row) => host.insert(Host::of(recipe.programs(), scope)?),
        None => host.insert(Host::build(scope)?),
    };
    let (release, seconds, output) = (release()?, git::time_of("HEAD")?, folder());
    let programs = programs(row, scope, &recipe.programs())?;
    let needs = needs(&programs)?;
    let stem = stem(row, scope, &release);
    let entries = layout(&stem, &programs, host.papers())?;
    let bytes = match row.archive {
        Format::TarGz => archive::gzip(&archive::tar(&entries, seconds)?)?,
        Format::Zip => archive::zip(&entries, seconds)?,
    };
    write(&output.join(format!("{stem}.{}", row.archive.ending())), &bytes)?;
    write(&output.join(format!("{stem}.cdx.json")), materials::bill(row.triple(), scope, &release, seconds)?.as_bytes())?;
    if row.os == "linux" {
        let (stage, names) = (host.stage(row, &programs)?, scope.names());
        let (has_server, is_wide) = (scope.is_whole, *row.pointer.get_ref() == 64);
        let stage = packages::Stage { folder: &stage, programs: &names, has_server, release: &release, needs: &needs, is_wide, seconds };
        packages::write(row, &stage, &output)?;
    }
    if row.triple().contains("musl") && scope.is_whole {
        let layout = image::layout(row, &programs, &release, seconds, &day(seconds, true))?;
        write(&output.join(format!("{stem}.oci.tar")), &archive::tar(&layout, seconds)?)?;
        write(&output.join(format!("{stem}.rootfs.tar")), &image::root(&programs, seconds)?)?;
    }
    Ok(())
}

/// What all programs together ask of the system.
fn needs(programs: &[Entry]) -> Result<Needs> {
    programs.iter().try_fold(Needs::default(), |needs, program| {
        let own = Needs::of(&program.bytes).with_context(|| program.path.clone())?;
        Ok(needs.join(own.unwrap_or_default()))
    })
}

fn programs(row: &Row, scope: &Scope, folder: &Path) -> Result<Vec<Entry>> {
    let read = |name: &String| {
        let path = folder.join(row.executable(name));
        let bytes = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        Ok(Entry::program(row.executable(name), bytes))
    };
    scope.names().iter().map(read).collect()
}

/// etcd's layout: one folder named like the archive. Manual pages and completions lie among the documents.
fn layout(stem: &str, programs: &[Entry], papers: &[Entry]) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = programs.iter().map(|entry| Entry { path: format!("{stem}/{}", entry.path), ..entry.clone() }).collect();
    for (name, source) in DOCUMENTS {
        // The support page of the work tree may be younger than the commit: that is no change of the sources.
        entries.push(Entry::text(format!("{stem}/{name}"), git::at_head(source)?));
    }
    entries.extend(papers.iter().map(|paper| Entry { path: format!("{stem}/Documentation/{}", paper.path), ..paper.clone() }));
    entries.push(Entry::text(format!("{stem}/LICENSE"), git::at_head("LICENSE")?));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_etcds_layout() {
        let entries = layout("etcd-v3.7.1-linux-amd64", &[Entry::program("etcd", vec![1])], &[Entry::text("man/etcd.1", "x")]).unwrap();
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.strip_prefix("etcd-v3.7.1-linux-amd64/").unwrap()).collect();
        for wanted in [
            "etcd",
            "README.md",
            "README-etcdctl.md",
            "README-etcdutl.md",
            "READMEv2-etcdctl.md",
            "Documentation/README.md",
            "Documentation/man/etcd.1",
            "LICENSE",
        ] {
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
    fn a_row_whose_build_is_owed_is_no_part_of_everything() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let left_out: Vec<&str> = matrix.rows.iter().filter(|row| !is_given_out(row)).map(Row::name).collect();
        assert!(left_out.contains(&"freebsd-amd64") && !left_out.contains(&"linux-amd64"), "{left_out:?}");
    }

    #[test]
    fn a_day_is_the_commits() {
        assert_eq!((day(1_700_000_000, false).as_str(), day(1_700_000_000, true).as_str()), ("2023-11-14", "2023-11-14T22:13:20Z"));
    }
}
