//! The source archive: a commit with the crates that it needs, for machines that may not fetch any.
//!
//! ```text
//!   git archive HEAD ----------------------------+
//!   cargo vendor --locked: vendor/ --------------+--> etcd-v3.7.1-src.tar.gz --cargo build --offline--> the programs
//!     what only tests bring: name and number     |
//!   .cargo/config.toml: vendor/, the commit -----+
//! ```
//!
//! Crates that are in no program are kept as a name, because the lock file asks for them: their code is for tests, and one of them
//! carries whole programs of others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::archive::{self, Entry};
use crate::run::release;
use crate::shell::Step;
use crate::{git, place};

/// What distributions build for: crates of other systems are kept as a name too.
const SYSTEMS: &str = "linux";

pub fn stem(release: &str) -> String {
    format!("etcd-v{release}-src")
}

pub fn write(output: &Path) -> Result<()> {
    let (release, seconds) = (release()?, git::time_of("HEAD")?);
    let stem = stem(&release);
    let mut entries = of_commit(&stem)?;
    let vendored = place::target().join("vendor");
    let _ = fs::remove_dir_all(&vendored);
    let step = Step::cargo().args(["vendor", "--quiet", "--locked", "--versioned-dirs"]).args([&vendored]);
    println!("\n$ {}", step.line());
    // What it prints is the configuration that is written below.
    let done = step.command(&place::checkout()).stdin(Stdio::null()).output().context("failed to start cargo")?;
    ensure!(done.status.success(), "`{}` failed: {}", step.line(), String::from_utf8_lossy(&done.stderr).trim());
    let linked = linked()?;
    let mut names: Vec<_> = fs::read_dir(&vendored)?.collect::<std::io::Result<_>>()?;
    names.sort_by_key(fs::DirEntry::file_name);
    let mut kept = 0;
    for folder in names {
        let name = folder.file_name().to_string_lossy().into_owned();
        let is_linked = linked.contains(&name);
        kept += usize::from(is_linked);
        let files = if is_linked { whole(&folder.path())? } else { name_only(&folder.path())? };
        entries.extend(files.into_iter().map(|file| Entry { path: format!("{stem}/vendor/{name}/{}", file.path), ..file }));
    }
    entries.retain(|entry| entry.path != format!("{stem}/.cargo/config.toml"));
    let config = format!("{}\n{}", fs::read_to_string(place::checkout().join(".cargo/config.toml"))?, config(&git::head()?));
    entries.push(Entry::text(format!("{stem}/.cargo/config.toml"), config));
    println!("{stem}: {} files, {kept} crates whole", entries.len());
    super::write(&output.join(format!("{stem}.tar.gz")), &archive::gzip(&archive::tar(&entries, seconds)?)?)?;
    fs::remove_dir_all(&vendored).context("failed to tidy up")
}

fn of_commit(stem: &str) -> Result<Vec<Entry>> {
    let path = place::target().join(format!("{stem}-commit.tar.gz"));
    let step = Step::new("git").args(["archive", "--format=tar.gz", &format!("--prefix={stem}/"), "--output"]).args([&path]).args(["HEAD"]);
    step.run(&place::checkout())?;
    let entries = archive::read(&path)?;
    fs::remove_file(&path)?;
    Ok(entries)
}

/// Names and numbers of the crates that a build for any Linux takes, as `cargo vendor` calls their folders.
fn linked() -> Result<BTreeSet<String>> {
    let mut linked = BTreeSet::new();
    for row in crate::matrix::Matrix::load(&place::checkout())?.rows.iter().filter(|row| row.os == SYSTEMS) {
        let step =
            Step::cargo().args(["tree", "--workspace", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
        let step = step.args(["--exclude", "versus", "--target", row.triple()]);
        let done = step.command(&place::checkout()).stdin(Stdio::null()).output().context("failed to start cargo")?;
        ensure!(done.status.success(), "`{}` failed: {}", step.line(), String::from_utf8_lossy(&done.stderr).trim());
        linked.extend(String::from_utf8_lossy(&done.stdout).lines().filter_map(folder_of));
    }
    ensure!(linked.len() > 50, "cargo tree is not what it was: {linked:?}");
    Ok(linked)
}

/// `bytes v1.12.0` is in `bytes-1.12.0`.
fn folder_of(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    Some(format!("{name}-{version}"))
}

fn whole(folder: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut next = vec![folder.to_owned()];
    while let Some(at) = next.pop() {
        for entry in fs::read_dir(&at).with_context(|| format!("failed to list {}", at.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                next.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            entries.push(Entry { path: name, is_executable: is_executable(&path), bytes: fs::read(&path)? });
        }
    }
    Ok(entries)
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> bool {
    false
}

/// Enough for cargo to find what the lock file names: the manifest, an empty library, the sum of the crate.
fn name_only(folder: &Path) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(folder.join("Cargo.toml")).with_context(|| format!("{} has no manifest", folder.display()))?;
    let mut manifest: toml::Table = text.parse().with_context(|| format!("the manifest of {}", folder.display()))?;
    for target in ["bin", "example", "test", "bench"] {
        manifest.remove(target);
    }
    if let Some(package) = manifest.get_mut("package").and_then(toml::Value::as_table_mut) {
        package.insert("build".into(), false.into());
        package.remove("links");
    }
    let library = manifest.entry("lib").or_insert_with(|| toml::Table::new().into());
    if let Some(library) = library.as_table_mut() {
        library.insert("path".into(), "lib.rs".into());
    }
    let sums: Value = serde_json::from_str(&fs::read_to_string(folder.join(".cargo-checksum.json"))?)?;
    let sums = serde_json::json!({ "files": {}, "package": sums["package"] });
    Ok(vec![
        Entry::text("Cargo.toml", toml::to_string(&manifest)?),
        Entry::text("lib.rs", ""),
        Entry::text(".cargo-checksum.json", sums.to_string()),
    ])
}

/// Cargo's own settings, the crates beside it, and the commit, which is in no repository there.
fn config(commit: &str) -> String {
    let commit = commit.get(..9).unwrap_or(commit);
    format!(
        "# Of the source archive: nothing is fetched.\n[source.crates-io]\nreplace-with = \"vendor\"\n\n[source.vendor]\ndirectory = \"vendor\"\n\n\
         [net]\noffline = true\n\n[env]\nETCD_GIT_SHA = \"{commit}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_in_the_folder_that_cargo_vendor_calls_it() {
        assert_eq!(folder_of("bytes v1.12.0"), Some("bytes-1.12.0".into()));
        assert_eq!(folder_of("zstd-sys v2.0.16+zstd.1.5.7 (*)"), Some("zstd-sys-2.0.16+zstd.1.5.7".into()));
        assert_eq!(folder_of(""), None);
    }

    #[test]
    fn a_crate_of_tests_is_kept_as_a_name() {
        let folder = std::env::temp_dir().join(format!("cargo-ci-source-{}", std::process::id()));
        fs::create_dir_all(folder.join("src")).unwrap();
        let manifest = "[package]\nname = \"a\"\nversion = \"1.0.0\"\nbuild = \"build.rs\"\nlinks = \"a\"\n[[bin]]\nname = \"b\"\npath = \"src/b.rs\"\n";
        for (name, text) in [
            ("Cargo.toml", manifest),
            ("src/lib.rs", "code"),
            (".cargo-checksum.json", "{\"files\":{\"src/lib.rs\":\"0\"},\"package\":\"1234\"}"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let entries = name_only(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let text = |name: &str| String::from_utf8(entries.iter().find(|entry| entry.path == name).unwrap().bytes.clone()).unwrap();
        assert_eq!(entries.len(), 3);
        assert!(text("Cargo.toml").contains("version = \"1.0.0\"") && !text("Cargo.toml").contains("src/b.rs"));
        assert!(text("Cargo.toml").contains("build = false") && !text("Cargo.toml").contains("links"));
        assert_eq!(text(".cargo-checksum.json"), "{\"files\":{},\"package\":\"1234\"}");
    }

    #[test]
    fn the_settings_are_cargos() {
        let config: toml::Table = config("0123456789abcdef").parse().unwrap();
        assert_eq!(config["env"]["ETCD_GIT_SHA"].as_str(), Some("012345678"));
        assert_eq!(config["source"]["crates-io"]["replace-with"].as_str(), Some("vendor"));
    }
}
