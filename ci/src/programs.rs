//! The programs of the product, as cargo knows them: a new one is built, packaged and verified without a word here.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::place;
use crate::shell::Step;

/// The package that they are in.
pub const PACKAGE: &str = "etcd";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub name: String,
    /// It wants RocksDB, and with it a C++ compiler for the row.
    pub needs_server: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    required_features: Vec<String>,
}

/// All of them, by name.
pub fn all() -> Result<Vec<Program>> {
    read(&metadata()?, "bin")
}

fn metadata() -> Result<Vec<u8>> {
    let step = Step::cargo().args(["metadata", "--no-deps", "--format-version", "1", "--locked"]);
    let done = step.command(&place::checkout()).output().context("failed to start cargo")?;
    ensure!(done.status.success(), "`{}` failed: {}", step.line(), String::from_utf8_lossy(&done.stderr).trim());
    Ok(done.stdout)
}

/// The test binaries of the package that a build of this scope has.
pub fn tests(scope: &Scope) -> Result<Vec<String>> {
    let tests = read(&metadata()?, "test")?.into_iter().filter(|test| scope.is_whole || !test.needs_server);
    Ok(tests.map(|test| test.name).collect())
}

fn read(json: &[u8], kind: &str) -> Result<Vec<Program>> {
    let metadata: Metadata = serde_json::from_slice(json).context("cargo metadata is not what it was")?;
    let package =
        metadata.packages.into_iter().find(|package| package.name == PACKAGE).context("the package etcd is not in the workspace")?;
    let bins = package.targets.into_iter().filter(|target| target.kind.iter().any(|other| other == kind));
    let mut programs: Vec<Program> = bins
        .map(|target| Program { name: target.name, needs_server: target.required_features.iter().any(|name| name == "server") })
        .collect();
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// What a build is of: everything, or the clients alone, which need no C++.
#[derive(Clone, Debug)]
pub struct Scope {
    pub programs: Vec<Program>,
    pub is_whole: bool,
}

impl Scope {
    pub fn of(is_client: bool) -> Result<Scope> {
        let mut programs = all()?;
        if is_client {
            programs.retain(|program| !program.needs_server);
        }
        Ok(Scope { programs, is_whole: !is_client })
    }

    pub fn names(&self) -> Vec<String> {
        self.programs.iter().map(|program| program.name.clone()).collect()
    }

    /// For a cargo that builds in this scope.
    pub fn features(&self) -> &'static [&'static str] {
        if self.is_whole { &[] } else { &["--no-default-features"] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_the_binaries_of_the_package() {
        let json = br#"{"packages":[{"name":"ci","targets":[{"name":"ci","kind":["bin"]}]},{"name":"etcd","targets":[
            {"name":"etcd","kind":["lib"]},{"name":"etcdutl","kind":["bin"],"required-features":["server"]},
            {"name":"etcd","kind":["bin"],"required-features":["server"]},{"name":"etcdctl","kind":["bin"]},{"name":"spec","kind":["test"]}]}]}"#;
        let program = |name: &str, needs_server| Program { name: name.into(), needs_server };
        assert_eq!(read(json, "bin").unwrap(), [program("etcd", true), program("etcdctl", false), program("etcdutl", true)]);
    }

    #[test]
    fn this_checkout_has_a_server_and_a_client() {
        let (all, clients) = (Scope::of(false).unwrap(), Scope::of(true).unwrap());
        assert!(all.programs.iter().any(|program| program.name == "etcd" && program.needs_server));
        assert!(clients.names().contains(&"etcdctl".to_owned()) && clients.programs.len() < all.programs.len());
    }
}
