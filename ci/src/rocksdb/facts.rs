//! Everything that decides the bytes of RocksDB's archive, one fact a line; their hash is the name of its folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::compiler::{TESTS_ONLY, is_refused};
use crate::place;
use crate::route::Recipe;
use crate::shell::Step;

/// Variables of cargo and of the C++ build that change what is made.
const VARIABLES: &[&str] =
    &["CXX", "CXXFLAGS", "CXXSTDLIB", "ROCKSDB_CXX_STD", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"];

/// The package of the lock file, as cargo resolves it for this checkout.
pub struct Package {
    version: String,
    features: Vec<String>,
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    resolve: MetadataResolve,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    name: String,
    version: String,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct MetadataResolve {
    nodes: Vec<MetadataNode>,
}

#[derive(Deserialize)]
struct MetadataNode {
    id: String,
    features: Vec<String>,
}

impl Package {
    pub fn find() -> Result<Package> {
        let step = Step::cargo().args(["metadata", "--format-version", "1", "--locked"]);
        let done = step.command(&place::checkout()).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        ensure!(done.status.success(), "`{}` failed ({})", step.line(), done.status);
        let metadata: Metadata = serde_json::from_slice(&done.stdout).context("cargo metadata is not what it was")?;
        let package = metadata.packages.into_iter().find(|package| package.name == "librocksdb-sys");
        let package = package.context("librocksdb-sys is not in the lock file")?;
        let node = metadata.resolve.nodes.into_iter().find(|node| node.id == package.id);
        let mut features = node.map(|node| node.features).unwrap_or_default();
        features.sort();
        let folder = package.manifest_path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Package { version: package.version, features, folder })
    }

    pub fn source_files(&self) -> usize {
        fs::read_to_string(self.folder.join("rocksdb_lib_sources.txt")).map_or(0, |list| list.lines().count())
    }
}

/// Everything that decides the archive's bytes, one fact a line.
pub fn of(package: &Package) -> String {
    let checkout = place::checkout();
    let first_line = |step: Step| step.first_line(&checkout).unwrap_or_default();
    let host = Step::new("rustc").args(["-vV"]).command(&checkout).output().map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
    let host = host.unwrap_or_default().lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned)).unwrap_or_default();
    let mut facts = vec![
        format!("librocksdb-sys {}", package.version),
        format!("features {}", package.features.join(" ")),
        format!("host {host}"),
        format!("compiler {}", first_line(Step::new(super::compiler()).args(["--version"]))),
    ];
    for name in VARIABLES {
        if let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) {
            facts.push(format!("{name}={}", value.to_string_lossy()));
        }
    }
    // Flags that cargo takes from the checkout's own configuration.
    let config = fs::read_to_string(checkout.join(".cargo/config.toml")).unwrap_or_default();
    facts.extend(config.lines().filter(|line| line.contains("rustflags") || line.contains("target-")).map(str::to_owned));
    facts.join("\n") + "\n"
}

/// The same for a row: its triple in place of the host, its compiler and flags in place of the machine's.
pub fn of_row(package: &Package, recipe: &Recipe) -> String {
    let compiler = recipe.compiler_version().unwrap_or_default();
    let mut facts = vec![
        format!("librocksdb-sys {}", package.version),
        format!("features {}", package.features.join(" ")),
        format!("target {}", recipe.row.triple()),
        format!("compiler {compiler}"),
    ];
    facts.extend(recipe.cxxflags.iter().chain(&recipe.compiler_facts).cloned());
    if is_refused(&recipe.row) {
        facts.push(format!("without {TESTS_ONLY}"));
    }
    facts.join("\n") + "\n"
}

/// The folder of an archive that is made of these.
pub fn name(facts: &str) -> String {
    format!("{:016x}", hash(facts.as_bytes()))
}

/// FNV-1a: the same name for the same facts with every toolchain.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_changes_with_the_facts() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_ne!(hash(b"compiler 12"), hash(b"compiler 13"));
    }
}
