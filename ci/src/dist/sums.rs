//! `SHA256SUMS`: `<sha256>  <file>`, one line a file, as etcd's own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::source;
use crate::digest;
use crate::matrix::Matrix;
use crate::run::release;

pub const NAME: &str = "SHA256SUMS";

/// Over all archives of the folder; packages and bills of materials have lines too.
pub fn write(folder: &Path) -> Result<()> {
    let mut names: Vec<String> = fs::read_dir(folder)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with("etcd") && folder.join(name).is_file());
    names.sort();
    let mut text = String::new();
    for name in names {
        text.push_str(&format!("{}  {name}\n", digest::of_file(&folder.join(&name))?));
    }
    fs::write(folder.join(NAME), text).with_context(|| format!("failed to write {NAME} in {}", folder.display()))
}

/// Fails with the name of every archive of a release that the folder lacks. A row of tier 3 goes without its archive where its job
/// failed, and no other row does.
pub fn are_complete(matrix: &Matrix, folder: &Path, failed: &[String]) -> Result<()> {
    let rows = failed.iter().map(|name| matrix.row(name)).collect::<Result<Vec<_>>>()?;
    let is_excused = |name: &str| rows.iter().any(|row| row.tier() == 3 && row.name() == name);
    let release = release()?;
    let planned = matrix.rows.iter().filter(|row| row.job.is_some() && !is_excused(row.name()));
    let mut names: Vec<String> = planned.map(|row| format!("etcd-v{release}-{}.{}", row.name(), row.archive.ending())).collect();
    names.push(format!("{}.tar.gz", source::stem(&release)));
    names.retain(|name| !folder.join(name).is_file());
    ensure!(names.is_empty(), "the release is not complete without {}", names.join(", "));
    Ok(())
}

/// Whether the list beside the file, where there is one, has it with this digest.
pub fn check(file: &Path, sha256: &str) -> Result<()> {
    let Ok(list) = fs::read_to_string(file.with_file_name(NAME)) else { return Ok(()) };
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let line = list.lines().find_map(|line| line.split_once("  ").filter(|(_, listed)| *listed == name));
    let (listed, _) = line.with_context(|| format!("{NAME} does not list {name}"))?;
    ensure!(listed == sha256, "{name} is not the file that {NAME} lists: it has {sha256}, the list {listed}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place;

    #[test]
    fn a_release_lacks_every_archive_but_those_of_tier_three_whose_job_failed() {
        let folder = std::env::temp_dir().join(format!("cargo-ci-complete-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (matrix, release) = (Matrix::load(&place::checkout()).unwrap(), release().unwrap());
        let rows = matrix.rows.iter().filter(|row| row.job.is_some());
        for row in rows.filter(|row| !["linux-s390x", "linux-386"].contains(&row.name())) {
            fs::write(folder.join(format!("etcd-v{release}-{}.{}", row.name(), row.archive.ending())), "bytes").unwrap();
        }
        let missing = |failed: &[&str]| {
            let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
            are_complete(&matrix, &folder, &failed).err().map(|error| error.to_string())
        };
        let lack = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| format!("etcd-v{release}-{name}.tar.gz")).collect();
            Some(format!("the release is not complete without {}", names.join(", ")))
        };
        assert_eq!(missing(&[]), lack(&["linux-s390x", "linux-386", "src"]));
        assert_eq!(missing(&["linux-386", "linux-s390x"]), lack(&["linux-s390x", "src"]));
        assert!(missing(&["linux-68k"]).unwrap().contains("there is no platform"));
        for name in ["linux-s390x", "src"] {
            fs::write(folder.join(format!("etcd-v{release}-{name}.tar.gz")), "bytes").unwrap();
        }
        assert_eq!((missing(&["linux-386"]), missing(&[])), (None, lack(&["linux-386"])));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_was_changed_or_is_not_listed_is_found() {
        let folder = std::env::temp_dir().join(format!("cargo-ci-sums-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("etcd-v1.tar.gz");
        fs::write(&file, "one").unwrap();
        write(&folder).unwrap();
        let text = fs::read_to_string(folder.join(NAME)).unwrap();
        assert_eq!(text, format!("{}  etcd-v1.tar.gz\n", digest::of_bytes(b"one")));
        let checked = |bytes: &[u8], path: &Path| check(path, &digest::of_bytes(bytes)).err().map(|error| error.to_string());
        assert_eq!(checked(b"one", &file), None);
        assert!(checked(b"two", &file).unwrap().contains("is not the file that SHA256SUMS lists"));
        assert!(checked(b"one", &folder.join("etcd-v2.tar.gz")).unwrap().contains("does not list etcd-v2.tar.gz"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
