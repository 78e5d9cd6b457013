//! A container image from static programs, as an OCI layout: no base, no shell, no builder.
//!
//! ```text
//!   oci-layout   index.json -> manifest -> config, one layer (usr/local/bin/*, var/etcd/, var/lib/etcd/)
//!   blobs/sha256/<digest>
//! ```
//!
//! What the image says of itself is what `dist/Containerfile` says; both are made of the same tree.

use anyhow::Result;
use serde_json::{Value, json};

use super::archive::{self, Entry};
use crate::digest;
use crate::matrix::Row;

/// The files of the layout, to be put into one tar that `podman load` and `skopeo` take.
pub fn layout(row: &Row, programs: &[Entry], release: &str, seconds: u64, created: &str) -> Result<Vec<Entry>> {
    let tar = root(programs, seconds)?;
    let layer = archive::gzip(&tar)?;
    let config = json!({
        "architecture": row.arch,
        "os": row.os,
        "created": created,
        "config": {
            "Cmd": ["/usr/local/bin/etcd"],
            "Env": ["PATH=/usr/local/bin"],
            "ExposedPorts": { "2379/tcp": {}, "2380/tcp": {} },
            "WorkingDir": "/var/lib/etcd/",
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest::of_bytes(&tar))] },
        "history": [{ "created": created, "created_by": "cargo ci dist" }],
    });
    let config = serde_json::to_vec(&config)?;
    let described = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": format!("sha256:{}", digest::of_bytes(bytes)), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("application/vnd.oci.image.config.v1+json", &config),
        "layers": [described("application/vnd.oci.image.layer.v1.tar+gzip", &layer)],
    });
    let manifest = serde_json::to_vec(&manifest)?;
    let mut listed = described("application/vnd.oci.image.manifest.v1+json", &manifest);
    listed["platform"] = json!({ "os": row.os, "architecture": row.arch });
    listed["annotations"] = json!({ "org.opencontainers.image.ref.name": format!("v{release}") });
    let index: Value = json!({ "schemaVersion": 2, "manifests": [listed] });
    let blob = |bytes: Vec<u8>| Entry::text(format!("blobs/sha256/{}", digest::of_bytes(&bytes)), bytes);
    Ok(vec![
        Entry::text("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"),
        Entry::text("index.json", serde_json::to_vec(&index)?),
        blob(layer),
        blob(config),
        blob(manifest),
    ])
}

/// The file system of the image: programs on the PATH, and the two folders that etcd's own image has.
pub fn root(programs: &[Entry], seconds: u64) -> Result<Vec<u8>> {
    let mut entries: Vec<Entry> =
        programs.iter().map(|program| Entry::program(format!("usr/local/bin/{}", program.path), program.bytes.clone())).collect();
    // A folder is there because of a file in it; these two hold a note of where the data goes.
    entries.push(Entry::text("var/etcd/.keep", ""));
    entries.push(Entry::text("var/lib/etcd/.keep", ""));
    archive::tar(&entries, seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    #[test]
    fn every_digest_of_the_layout_is_that_of_a_blob() {
        let matrix = Matrix::load(&crate::place::checkout()).unwrap();
        let row = matrix.row("linux-arm64-musl").unwrap();
        let programs = [Entry::program("etcd", vec![1, 2, 3])];
        let made = || layout(row, &programs, "3.7.1", 1_700_000_000, "2023-11-14T22:13:20Z").unwrap();
        let entries = made();
        assert_eq!(entries, made());
        let read = |path: &str| -> Value {
            let entry = entries.iter().find(|entry| entry.path == path).unwrap_or_else(|| panic!("no {path}"));
            serde_json::from_slice(&entry.bytes).unwrap()
        };
        let blob = |value: &Value| format!("blobs/sha256/{}", value["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap());
        let manifest = read(&blob(&read("index.json")["manifests"][0]));
        let config = read(&blob(&manifest["config"]));
        assert_eq!((config["architecture"].as_str(), config["config"]["Cmd"][0].as_str()), (Some("arm64"), Some("/usr/local/bin/etcd")));
        let layer = entries.iter().find(|entry| entry.path == blob(&manifest["layers"][0])).unwrap();
        assert_eq!(manifest["layers"][0]["size"], layer.bytes.len());
        let root = root(&programs, 1_700_000_000).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", digest::of_bytes(&root)));
        assert_eq!(layer.bytes, archive::gzip(&root).unwrap());
    }

    #[test]
    fn the_containerfile_says_of_the_image_what_its_layout_says() {
        let text = std::fs::read_to_string(crate::place::checkout().join("dist/Containerfile")).unwrap();
        let said = |word: &str| text.lines().filter_map(|line| line.strip_prefix(word)).map(str::trim).collect::<Vec<_>>().join(" ");
        let matrix = Matrix::load(&crate::place::checkout()).unwrap();
        let programs = [Entry::program("etcd", vec![1])];
        let entries = layout(matrix.row("linux-amd64-musl").unwrap(), &programs, "3.7.1", 1, "1970-01-01T00:00:01Z").unwrap();
        let config = entries.iter().filter_map(|entry| serde_json::from_slice::<Value>(&entry.bytes).ok());
        let config = config.map(|value| value["config"].clone()).find(|config| config["Cmd"].is_array()).unwrap();
        assert_eq!(said("CMD"), config["Cmd"].to_string());
        assert_eq!(said("ENV"), config["Env"][0]);
        assert_eq!(said("WORKDIR"), config["WorkingDir"]);
        let ports: Vec<&String> = config["ExposedPorts"].as_object().unwrap().keys().collect();
        assert_eq!(said("EXPOSE").split(' ').collect::<Vec<_>>(), ports);
        // The programs are where the command looks for them: at the root of what is added.
        assert_eq!(said("ADD"), "${ROOT} /");
        let root = archive::gzip(&root(&programs, 1).unwrap()).unwrap();
        let path = std::env::temp_dir().join(format!("cargo-ci-{}-root.tar.gz", std::process::id()));
        std::fs::write(&path, root).unwrap();
        let paths: Vec<String> = archive::read(&path).unwrap().into_iter().map(|entry| format!("/{}", entry.path)).collect();
        std::fs::remove_file(&path).unwrap();
        assert!(paths.iter().any(|path| config["Cmd"][0] == *path), "{paths:?}");
    }
}
