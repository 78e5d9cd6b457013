//! The bill of materials of a row: every crate that is in its programs, in CycloneDX's JSON.
//!
//! From `cargo metadata` for the row's triple and features; what only builds or tests bring is left out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::programs::{PACKAGE, Scope};
use crate::shell::Step;
use crate::{digest, place};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

pub fn bill(triple: &str, scope: &Scope, release: &str, seconds: u64) -> Result<String> {
    let step = Step::cargo().args(["metadata", "--format-version", "1", "--locked", "--filter-platform", triple]).args(scope.features());
    let done = step.command(&place::checkout()).output().context("failed to start cargo")?;
    ensure!(done.status.success(), "`{}` failed: {}", step.line(), String::from_utf8_lossy(&done.stderr).trim());
    of_metadata(&done.stdout, triple, release, seconds)
}

fn of_metadata(json: &[u8], triple: &str, release: &str, seconds: u64) -> Result<String> {
    let metadata: Metadata = serde_json::from_slice(json).context("cargo metadata is not what it was")?;
    let packages: BTreeMap<&str, &Package> = metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let links: BTreeMap<&str, Vec<&str>> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| {
            // A kind of nothing is an ordinary dependency; "build" and "dev" leave nothing in a program.
            let linked = node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            (node.id.as_str(), linked.map(|dep| dep.pkg.as_str()).collect())
        })
        .collect();
    let root = metadata.packages.iter().find(|package| package.name == PACKAGE && package.source.is_none());
    let root = root.with_context(|| format!("the package {PACKAGE} is not in the workspace"))?;
    let mut reached = BTreeSet::new();
    let mut next = vec![root.id.as_str()];
    while let Some(id) = next.pop() {
        if reached.insert(id) {
            next.extend(links.get(id).into_iter().flatten());
        }
    }
    let reference = |package: &Package| format!("pkg:cargo/{}@{}", package.name, package.version);
    let mut inside: Vec<&Package> = reached.iter().filter_map(|id| packages.get(id).copied()).collect();
    inside.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let component = |package: &&&Package| {
        let licenses: Vec<Value> = package.license.iter().map(|license| json!({ "expression": license.replace('/', " OR ") })).collect();
        json!({ "type": "library", "bom-ref": reference(package), "name": package.name, "version": package.version, "purl": reference(package), "licenses": licenses })
    };
    let components: Vec<Value> = inside.iter().filter(|package| package.id != root.id).map(|package| component(&package)).collect();
    let dependency = |package: &&Package| {
        let mut on: Vec<String> = links
            .get(package.id.as_str())
            .into_iter()
            .flatten()
            .filter_map(|id| packages.get(id))
            .map(|package| reference(package))
            .collect();
        on.sort();
        on.dedup();
        json!({ "ref": reference(package), "dependsOn": on })
    };
    let dependencies: Vec<Value> = inside.iter().map(dependency).collect();
    let made = time::OffsetDateTime::from_unix_timestamp(seconds as i64)?;
    let form = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": serial(&format!("{triple} {release} {components:?}")),
        "version": 1,
        "metadata": {
            "timestamp": made.format(&form)?,
            "component": { "type": "application", "bom-ref": reference(root), "name": "etcd", "version": release, "properties": [{ "name": "triple", "value": triple }] },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// A UUID that follows from the content, so that the same bill has the same number.
fn serial(content: &str) -> String {
    let hex = digest::of_bytes(content.as_bytes());
    format!("urn:uuid:{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Value {
        let package = |name: &str, source: Value| json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0", "source": source });
        let on = |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        json!({
            "packages": [package("etcd", Value::Null), package("bytes", json!("r")), package("cc", json!("r")), package("tempfile", json!("r")), package("memchr", json!("r"))],
            "resolve": { "nodes": [
                { "id": "etcd", "deps": [on("bytes", Value::Null), on("cc", json!("build")), on("tempfile", json!("dev"))] },
                { "id": "bytes", "deps": [on("memchr", Value::Null)] },
                { "id": "cc", "deps": [] }, { "id": "tempfile", "deps": [] }, { "id": "memchr", "deps": [] },
            ] },
        })
    }

    fn billed() -> Value {
        let text = of_metadata(metadata().to_string().as_bytes(), "x86_64-unknown-linux-musl", "3.7.1", 1_700_000_000).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_linked_is_on_the_bill_and_what_only_builds_or_tests_is_not() {
        let bill = billed();
        let names: Vec<&str> = bill["components"].as_array().unwrap().iter().map(|component| component["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["bytes", "memchr"]);
        assert_eq!(bill["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bill["dependencies"][1]["dependsOn"], json!(["pkg:cargo/bytes@1.0.0"]));
        assert_eq!(bill["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    }

    #[test]
    fn the_same_content_has_the_same_number() {
        assert_eq!(billed(), billed());
        let serial = billed()["serialNumber"].as_str().unwrap().to_owned();
        assert_eq!(serial.len(), "urn:uuid:".len() + 36);
    }
}
