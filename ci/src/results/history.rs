//! What git remembers of the results: none may be taken away or changed to hide how a suite ended.
//!
//! ```text
//!   a result that git had, and the folder lacks   --nothing newer that counts in its place--> a finding
//!   a result that differs from when it was filed  -----------------------------------------> a finding
//! ```
//!
//! The results of a row that left the matrix may leave with it.
//!
//! Reads: the history of what is checked out. A shallow checkout remembers less, and finds less.

use std::collections::BTreeMap;
use std::path::Path;

use super::{FOLDER, Run};
use crate::git::text;

/// Why the folder is not what its history says; nothing outside of a checkout of git.
pub fn findings(checkout: &Path, runs: &[Run], is_row: impl Fn(&str) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, before) in changed(checkout) {
        let Some(was) = before.and_then(|text| serde_json::from_str::<Run>(&text).ok()) else { continue };
        let now = runs.iter().find(|run| format!("{FOLDER}/{}/{}.json", run.row, run.stem()) == path);
        match now {
            Some(now) if *now != was => findings.push(format!("{path}: it was changed after it was filed")),
            Some(_) => {}
            None if !is_row(&was.row) || runs.iter().any(|run| is_superseded(&was, run)) => {}
            None => findings.push(format!("{path}: it was deleted, and nothing newer of its suite took its place")),
        }
    }
    findings
}

/// Whether `run` decides in place of `was`: the newest does, and of a suite in parts the newest of each part of its commit.
fn is_superseded(was: &Run, run: &Run) -> bool {
    let is_of_it = (&run.row, run.suite, run.is_whole) == (&was.row, was.suite, was.is_whole);
    let is_in_its_place = run.commit != was.commit || run.partition.is_none() || run.partition == was.partition;
    is_of_it && is_in_its_place && !run.is_dirty && run.finished > was.finished
}

/// Results that were changed or deleted since they were filed, each with what it was before the first time.
fn changed(checkout: &Path) -> BTreeMap<String, Option<String>> {
    let show = |revision: &str, path: &str| text(checkout, &["show", &format!("{revision}:{path}")]);
    let is_result = |path: &&str| path.ends_with(".json");
    // From the newest change, which may not be committed yet, back to the first, which is the one that stays.
    let now = text(checkout, &["diff", "--no-renames", "--diff-filter=MD", "--name-only", "HEAD", "--", FOLDER]).unwrap_or_default();
    let mut found: BTreeMap<_, _> = now.lines().filter(is_result).map(|path| (path.to_owned(), show("HEAD", path))).collect();
    // A merge is compared with each of its parents, and none is left out because another one says the same.
    let log = ["log", "-m", "--full-history", "--no-renames", "--diff-filter=MD", "--format=parents %P", "--name-only", "--", FOLDER];
    let mut parents = Vec::new();
    for line in text(checkout, &log).unwrap_or_default().lines() {
        match line.strip_prefix("parents ") {
            Some(hashes) => parents = hashes.split(' ').map(str::to_owned).collect(),
            None if is_result(&line) => {
                found.insert(line.to_owned(), parents.iter().find_map(|parent| show(parent, line)));
            }
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::matrix::Suite;
    use crate::results::{self, sample};
    use crate::shell::Step;

    /// A repository with one failed and, if asked, one later result of a suite, committed one by one.
    struct Repository(PathBuf);

    impl Repository {
        fn new(name: &str) -> Repository {
            let path = std::env::temp_dir().join(format!("cargo-ci-history-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            let repository = Repository(path);
            repository.git(&["init", "-q"]);
            repository.file("2026-11-24T18:00:00Z", 1);
            repository
        }

        fn git(&self, words: &[&str]) {
            let own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
            assert!(Step::new("git").args(own).args(words).command(&self.0).output().unwrap().status.success(), "{words:?}");
        }

        fn commit(&self) {
            self.git(&["add", "--all"]);
            self.git(&["commit", "-q", "--message", "results"]);
        }

        fn file(&self, finished: &str, failed: usize) -> PathBuf {
            self.file_of(sample::run("linux-amd64", Suite::Unit, finished), failed)
        }

        fn file_of(&self, run: Run, failed: usize) -> PathBuf {
            let (_, path) = results::save(&self.0, run, &sample::record(3, failed)).unwrap();
            self.commit();
            path
        }

        fn runs(&self) -> Vec<Run> {
            results::load(&self.0).unwrap().into_iter().filter_map(|filed| filed.run.ok()).collect()
        }

        fn said(&self) -> String {
            findings(&self.0, &self.runs(), |row| row == "linux-amd64").join("\n")
        }
    }

    impl Drop for Repository {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const FIRST: &str = "platforms/results/linux-amd64/unit-0123456789ab.json";

    #[test]
    fn a_red_result_may_not_be_taken_away_to_show_an_older_green_one() {
        let repository = Repository::new("deleted");
        let red = repository.file("2026-11-25T18:00:00Z", 1);
        assert_eq!(repository.said(), "");
        fs::remove_file(&red).unwrap();
        let wanted = "unit-0123456789ab-2.json: it was deleted, and nothing newer of its suite took its place";
        assert!(repository.said().contains(wanted), "{}", repository.said());
        repository.commit();
        assert!(repository.said().contains(wanted), "{}", repository.said());
        let newer = sample::run("linux-amd64", Suite::Unit, "2026-11-26T18:00:00Z");
        repository.file_of(Run { commit: "c".repeat(40), ..newer }, 0);
        assert_eq!(repository.said(), "");
    }

    #[test]
    fn what_counts_for_nothing_takes_no_results_place() {
        let later = |spoil: fn(&mut Run)| {
            let mut run = sample::run("linux-amd64", Suite::Unit, "2026-11-26T18:00:00Z");
            spoil(&mut run);
            run
        };
        let was = later(|run| run.partition = Some([2, 4])).sealed(&sample::record(1, 1));
        let is_superseded = |spoil| is_superseded(&Run { finished: "2026-11-25T18:00:00Z".into(), ..was.clone() }, &later(spoil));
        assert!(is_superseded(|run| run.partition = Some([2, 4])));
        assert!(is_superseded(|_| {}), "the whole suite, of the same commit");
        assert!(
            is_superseded(|run| (run.partition, run.commit) = (Some([1, 4]), "c".repeat(40))),
            "another commit's parts count, and its own do not"
        );
        assert!(!is_superseded(|run| run.partition = Some([1, 4])), "another part of the same commit");
        assert!(!is_superseded(|run| run.is_dirty = true));
        assert!(!is_superseded(|run| run.is_whole = false));
        assert!(!is_superseded(|run| run.suite = Suite::E2e));
    }

    #[test]
    fn a_merge_hides_no_deletion() {
        let wanted = format!("{FIRST}: it was deleted, and nothing newer of its suite took its place");
        // What the merge itself takes away is in neither of its parents.
        let repository = Repository::new("merge");
        repository.git(&["switch", "-q", "--create", "other"]);
        repository.git(&["commit", "-q", "--allow-empty", "--message", "other"]);
        repository.git(&["switch", "-q", "-"]);
        repository.git(&["commit", "-q", "--allow-empty", "--message", "own"]);
        repository.git(&["merge", "-q", "--no-commit", "other"]);
        fs::remove_file(repository.0.join(FIRST)).unwrap();
        repository.commit();
        assert_eq!(repository.said(), wanted);
        // A branch that never had it, whose side the merge takes.
        let repository = Repository::new("ours");
        repository.git(&["branch", "--move", "first"]);
        repository.git(&["switch", "-q", "--orphan", "other"]);
        repository.git(&["commit", "-q", "--allow-empty", "--message", "other"]);
        repository.git(&["merge", "-q", "--strategy", "ours", "--allow-unrelated-histories", "--message", "merge", "first"]);
        assert_eq!(repository.said(), wanted);
    }

    #[test]
    fn neither_a_merge_nor_a_second_change_hides_the_first() {
        let wanted = format!("{FIRST}: it was changed after it was filed");
        let change = |repository: &Repository, passed| {
            fs::remove_file(repository.0.join(FIRST)).unwrap();
            let run = sample::run("linux-amd64", Suite::Unit, "2026-11-24T18:00:00Z");
            results::save(&repository.0, run, &sample::record(passed, 0)).unwrap();
        };
        let repository = Repository::new("merged-change");
        repository.git(&["branch", "other"]);
        change(&repository, 4);
        repository.commit();
        repository.git(&["switch", "-q", "other"]);
        repository.git(&["commit", "-q", "--allow-empty", "--message", "other"]);
        repository.git(&["switch", "-q", "-"]);
        repository.git(&["merge", "-q", "--no-ff", "--message", "merge", "other"]);
        assert_eq!(repository.said(), wanted);
        // Written down in another form, which says the same.
        let text = fs::read_to_string(repository.0.join(FIRST)).unwrap();
        fs::write(repository.0.join(FIRST), text + "\n").unwrap();
        assert_eq!(repository.said(), wanted);
        repository.commit();
        assert_eq!(repository.said(), wanted);
    }

    #[test]
    fn results_leave_with_their_row() {
        let repository = Repository::new("left");
        fs::remove_file(repository.0.join(FIRST)).unwrap();
        repository.commit();
        assert_eq!(findings(&repository.0, &[], |_| false), [""; 0]);
        assert_eq!(findings(&repository.0, &[], |_| true).len(), 1);
    }

    #[test]
    fn a_result_that_was_superseded_may_go() {
        let repository = Repository::new("superseded");
        repository.file("2026-11-25T18:00:00Z", 0);
        fs::remove_file(repository.0.join(FIRST)).unwrap();
        repository.commit();
        assert_eq!(repository.said(), "");
    }

    #[test]
    fn a_result_that_was_sealed_anew_is_found_committed_or_not_whatever_time_it_names() {
        for (name, finished) in [("sealed", "2026-11-24T18:00:00Z"), ("sealed-later", "2026-11-25T18:00:00Z")] {
            let repository = Repository::new(name);
            fs::remove_file(repository.0.join(FIRST)).unwrap();
            let run = sample::run("linux-amd64", Suite::Unit, finished);
            results::save(&repository.0, run, &sample::record(4, 0)).unwrap();
            let wanted = format!("{FIRST}: it was changed after it was filed");
            assert_eq!(repository.said(), wanted);
            repository.commit();
            assert_eq!(repository.said(), wanted);
        }
    }
}
