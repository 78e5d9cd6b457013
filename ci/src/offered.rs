//! What of a folder is tried: the files that somebody would download and that this machine can take apart.
//!
//! ```text
//!   target/dist --> etcd-v3.7.1-linux-amd64.tar.gz, etcd-3.7.1-1.x86_64.rpm     and not: bills of materials, images, SHA256SUMS
//!                   etcd_3.7.1_amd64.deb                                        only when it is named: it wants root, and its processor
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const ENDINGS: [&str; 4] = [".tar.gz", ".zip", ".rpm", ".apk"];

/// A file is itself; a folder is what it offers, by name.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(of_folder(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn of_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("etcd") && ENDINGS.iter().any(|ending| name.ends_with(ending))
    });
    files.sort();
    ensure!(!files.is_empty(), "{} holds nothing to try", folder.display());
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_archives_and_packages_and_an_empty_one_is_a_mistake() {
        let folder = std::env::temp_dir().join(format!("cargo-ci-offered-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert!(files(std::slice::from_ref(&folder)).unwrap_err().to_string().contains("holds nothing to try"));
        for name in ["etcd-v1-linux-amd64.tar.gz", "etcd-v1-linux-amd64.cdx.json", "etcd-1.rpm", "etcd_1.deb", "SHA256SUMS", "a.zip"] {
            fs::write(folder.join(name), "bytes").unwrap();
        }
        let deb = folder.join("etcd_1.deb");
        let found = files(&[folder.clone(), deb.clone()]).unwrap();
        assert_eq!(found, [folder.join("etcd-1.rpm"), folder.join("etcd-v1-linux-amd64.tar.gz"), deb]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
