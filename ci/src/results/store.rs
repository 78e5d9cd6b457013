//! The folder of results: every file read and checked, one file written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Run;
use super::record::Record;

pub const FOLDER: &str = "platforms/results";

/// A file of the folder, and what is wrong with it.
pub struct Filed {
    /// From the root of the checkout.
    pub path: String,
    pub run: Result<Run>,
}

/// Every result on file, oldest first. A file that does not add up is there as an error.
pub fn load(checkout: &Path) -> Result<Vec<Filed>> {
    let root = checkout.join(FOLDER);
    let mut paths = Vec::new();
    if root.exists() {
        for row in fs::read_dir(&root).with_context(|| format!("failed to list {}", root.display()))? {
            let row = row?.path();
            if row.is_dir() {
                let files = fs::read_dir(&row).with_context(|| format!("failed to list {}", row.display()))?;
                paths.extend(files.flatten().map(|entry| entry.path()));
            }
        }
    }
    paths.sort();
    let mut filed: Vec<Filed> = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| Filed { path: shown(checkout, path), run: read(path) })
        .collect();
    filed.extend(paths.iter().filter(|path| is_stray(path)).map(|path| Filed {
        path: shown(checkout, path),
        run: Err(anyhow::anyhow!("it is no result and belongs to none: the result was deleted, or a file is in the wrong place")),
    }));
    filed.sort_by_key(|filed| filed.run.as_ref().map(|run| run.finished.clone()).unwrap_or_default());
    Ok(filed)
}

fn shown(checkout: &Path, path: &Path) -> String {
    path.strip_prefix(checkout).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn is_stray(path: &Path) -> bool {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => false,
        Some("tests") => !path.with_extension("json").exists(),
        _ => true,
    }
}

fn read(path: &Path) -> Result<Run> {
    let text = fs::read_to_string(path).context("it cannot be read")?;
    let run: Run = serde_json::from_str(&text).context("it is no result")?;
    let is_in_place = path.file_stem().is_some_and(|stem| *stem == *run.stem())
        && path.parent().and_then(Path::file_name).is_some_and(|folder| *folder == *run.row);
    anyhow::ensure!(is_in_place, "it is in the wrong place: it is about {}/{}", run.row, run.stem());
    let evidence = path.with_extension("tests");
    let evidence = fs::read_to_string(&evidence).with_context(|| format!("its evidence {} is gone", run.record.name))?;
    run.check(&evidence)?;
    Ok(run)
}

/// The runner's own account beside a result of this folder.
pub fn evidence(checkout: &Path, run: &Run) -> Result<Record> {
    let path = checkout.join(FOLDER).join(&run.row).join(&run.record.name);
    Record::parse(&fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?)
}

/// Seals the run over its evidence and files both, beside earlier runs of the same suite and commit.
pub fn save(checkout: &Path, mut run: Run, record: &Record) -> Result<(Run, PathBuf)> {
    let folder = checkout.join(FOLDER).join(&run.row);
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let path_of = |run: &Run| folder.join(format!("{}.json", run.stem()));
    while path_of(&run).exists() {
        run.repeat = Some(run.repeat.unwrap_or(1) + 1);
    }
    let run = run.sealed(record);
    let path = path_of(&run);
    // Crash: between the two writes the new evidence does not fit the old result, and the check says so.
    let write = |path: &Path, text: String| fs::write(path, text).with_context(|| format!("failed to write {}", path.display()));
    write(&path.with_extension("tests"), record.text())?;
    write(&path, serde_json::to_string_pretty(&run)? + "\n")?;
    Ok((run, path))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::matrix::Suite;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("cargo-ci-store-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn faults(&self) -> Vec<String> {
            let filed = load(&self.0).unwrap();
            filed.into_iter().filter_map(|filed| Some(format!("{}: {:#}", filed.path, filed.run.err()?))).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn saved(folder: &Folder, suite: Suite) -> PathBuf {
        save(&folder.0, sample::run("linux-amd64", suite, "2026-11-24T18:00:00Z"), &sample::record(2, 0)).unwrap().1
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = Folder::new("saved");
        saved(&folder, Suite::Unit);
        saved(&folder, Suite::E2e);
        let suites: Vec<Suite> = load(&folder.0).unwrap().into_iter().map(|filed| filed.run.unwrap().suite).collect();
        assert_eq!(suites.len(), 2);
        assert!(suites.contains(&Suite::Unit) && suites.contains(&Suite::E2e));
    }

    #[test]
    fn a_folder_that_is_not_there_is_empty() {
        assert!(load(&Folder::new("none").0.join("nothing")).unwrap().is_empty());
    }

    #[test]
    fn a_count_edited_in_the_file_is_told_with_its_path() {
        let folder = Folder::new("edited");
        let path = saved(&folder, Suite::Unit);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"passed\": 2", "\"passed\": 200")).unwrap();
        assert_eq!(
            folder.faults(),
            [
                "platforms/results/linux-amd64/unit-0123456789ab.json: it was edited: its content does not have the digest that it was sealed with"
            ]
        );
    }

    #[test]
    fn evidence_without_its_result_is_told() {
        let folder = Folder::new("deleted");
        fs::remove_file(saved(&folder, Suite::Unit)).unwrap();
        assert!(folder.faults()[0].contains("unit-0123456789ab.tests: it is no result and belongs to none: the result was deleted"));
    }

    #[test]
    fn a_result_without_its_evidence_is_told() {
        let folder = Folder::new("bare");
        fs::remove_file(saved(&folder, Suite::Unit).with_extension("tests")).unwrap();
        assert!(folder.faults()[0].contains("its evidence unit-0123456789ab.tests is gone"));
    }

    #[test]
    fn a_result_moved_to_another_row_is_told() {
        let folder = Folder::new("moved");
        saved(&folder, Suite::Unit);
        let root = folder.0.join(FOLDER);
        fs::rename(root.join("linux-amd64"), root.join("linux-s390x")).unwrap();
        assert!(folder.faults()[0].contains("it is about linux-amd64/unit-0123456789ab"));
    }
}
