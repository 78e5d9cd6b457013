//! Which rows a change asks for, as JSON for a workflow's matrix.
//!
//! ```text
//!   changed files --> reach (nothing, the clients, the code, the platforms themselves) --> rows and their suites
//! ```
//!
//! Without `--changed-since` every row with a job is there with all its suites: a night, or a release.

use std::io::{ErrorKind, Write};

use anyhow::Result;
use serde::Serialize;

use crate::matrix::{Matrix, Row, RunnerKind, Suite};
use crate::{git, place};

/// A job of the workflow.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Job {
    row: String,
    job: String,
    tier: u8,
    suites: Vec<Suite>,
    /// The same for `test ROW --suite`, but for those that want root.
    suite_words: String,
    /// They mount volumes and fill them.
    root_suite_words: String,
    /// Whether its deb can be installed there: a chroot starts programs of its own processor only.
    deb: bool,
    archive: String,
    /// A machine that starts its archive, where the job does not.
    starts_on: Option<String>,
}

#[derive(Debug, Serialize)]
struct Plan {
    include: Vec<Job>,
}

/// How far a change reaches. The order counts: the furthest of all changed files decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// Words, and results of runs.
    Nothing,
    /// What one machine shows as well as another.
    Code,
    /// What machines may differ in: bytes on disk, systems, builds.
    Platforms,
}

const WORDS: &[&str] = &["platforms/results/", "dist/docs/", "bench/"];
/// Sources that say `cfg` of a system or a processor are all among these: the tests read them.
const DIFFERING: &[&str] = &[
    "platforms/",
    "ci/",
    "ci.sh",
    "dist/",
    ".cargo/",
    ".ci/",
    ".github/",
    ".config/",
    "build.rs",
    "Cargo.toml",
    "Cargo.lock",
    "src/bbolt/",
    "src/ctl/interrupt.rs",
    "src/ctl/snapshot.rs",
    "src/ctl/words.rs",
    "src/go_words.rs",
    "src/metrics/process.rs",
    "src/node/pipeline/",
    "src/node/space.rs",
    "src/node/takeover/",
    "src/release.rs",
    "src/server/gate",
    "src/server/listener.rs",
    "src/server/mod.rs",
    "src/server/signal/",
    "src/storage/",
    "src/utl/",
    "src/wal/",
    "tests/harness/",
];

fn reach(path: &str) -> Reach {
    if path.ends_with(".md") || path == "LICENSE" || WORDS.iter().any(|folder| path.starts_with(folder)) {
        Reach::Nothing
    } else if DIFFERING.iter().any(|folder| path.starts_with(folder)) {
        Reach::Platforms
    } else {
        Reach::Code
    }
}

pub fn plan(changed_since: Option<&str>) -> Result<()> {
    let matrix = Matrix::load(&place::checkout())?;
    let changed = changed_since.map(git::changed_since).transpose()?;
    let plan = Plan { include: jobs(&matrix, changed.as_deref()) };
    print(&mut std::io::stdout().lock(), &plan)
}

/// One line. Who reads it may stop reading, `head` for one: that is no fault of the plan.
fn print(out: &mut impl Write, plan: &Plan) -> Result<()> {
    match writeln!(out, "{}", serde_json::to_string(plan)?) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn jobs(matrix: &Matrix, changed: Option<&[String]>) -> Vec<Job> {
    let reach = changed.map(|paths| paths.iter().map(|path| reach(path)).max().unwrap_or(Reach::Nothing));
    matrix.rows.iter().filter_map(|row| job(row, reach)).collect()
}

fn job(row: &Row, reach: Option<Reach>) -> Option<Job> {
    let job = row.job.as_ref()?;
    let is_native = job.is_native;
    let wanted: Vec<Suite> = match reach {
        None => Suite::ALL.to_vec(),
        Some(Reach::Nothing) => return None,
        // A pull request waits for what is quick: natively run suites, and of emulated rows the rooms by themselves.
        Some(Reach::Code) if row.tier() > 1 && row.name() != "linux-s390x" => return None,
        Some(_) if is_native => vec![Suite::Build, Suite::Start, Suite::Unit, Suite::Integration, Suite::E2e, Suite::Functional],
        Some(_) => vec![Suite::Build, Suite::Start, Suite::Unit],
    };
    let can_start = is_native || row.runner.kind != RunnerKind::None;
    let is_run = |suite: &Suite| match suite {
        Suite::Build => true,
        Suite::Start => can_start,
        suite => can_start && row.suites.contains(suite),
    };
    // Jobs run where the row is at home wherever there is such a machine, so a skip of this machine does not hold them back.
    let suites: Vec<Suite> = wanted.into_iter().filter(is_run).collect();
    Some(Job {
        row: row.name().to_owned(),
        job: job.runner.clone(),
        tier: row.tier(),
        suite_words: words(&suites, |suite| !wants_root(suite)),
        root_suite_words: words(&suites, wants_root),
        deb: is_native && row.packages.deb.is_some(),
        suites,
        archive: row.archive.ending().to_owned(),
        starts_on: job.starts_on.clone(),
    })
}

fn wants_root(suite: Suite) -> bool {
    matches!(suite, Suite::Functional | Suite::Stress)
}

fn words(suites: &[Suite], is_wanted: impl Fn(Suite) -> bool) -> String {
    suites.iter().filter(|suite| is_wanted(**suite)).map(|suite| suite.word()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn planned(changed: Option<&[&str]>) -> Vec<Job> {
        let paths = changed.map(|paths| paths.iter().map(ToString::to_string).collect::<Vec<_>>());
        jobs(&Matrix::load(&place::checkout()).unwrap(), paths.as_deref())
    }

    fn names(jobs: &[Job]) -> Vec<&str> {
        jobs.iter().map(|job| job.row.as_str()).collect()
    }

    #[test]
    fn words_and_results_ask_for_nothing() {
        assert!(planned(Some(&["README.md", "platforms/README.md", "platforms/results/linux-amd64/unit-0.json"])).is_empty());
        assert!(planned(Some(&[])).is_empty());
    }

    #[test]
    fn code_asks_for_tier_one_and_the_other_byte_order() {
        let jobs = planned(Some(&["README.md", "src/mvcc/mod.rs"]));
        assert_eq!(names(&jobs), ["linux-amd64", "linux-arm64", "linux-s390x"]);
        assert_eq!((&jobs[0].suite_words[..], &jobs[0].root_suite_words[..]), ("build,start,unit,integration,e2e", "functional"));
        assert_eq!((&jobs[2].suite_words[..], &jobs[2].root_suite_words[..]), ("build,start,unit", ""));
    }

    #[test]
    fn what_machines_differ_in_asks_for_every_row_that_has_a_job() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let with_job = matrix.rows.iter().filter(|row| row.job.is_some()).count();
        for path in ["platforms/matrix.toml", "src/wal/frame.rs", "Cargo.lock", "src/storage/rocks.rs"] {
            assert_eq!(planned(Some(&["src/mvcc/mod.rs", path])).len(), with_job, "{path}");
        }
        assert_eq!(planned(None).len(), with_job);
    }

    /// Whether the text has a `cfg(..)`, `cfg!(..)` or `cfg_attr(..)` that machines answer differently.
    fn differs_by_machine(text: &str) -> bool {
        const FACTS: [&str; 7] = ["unix", "windows", "target_os", "target_family", "target_endian", "target_pointer_width", "target_arch"];
        text.match_indices("cfg").any(|(at, _)| {
            let rest = text[at + 3..].trim_start_matches("_attr").trim_start_matches('!');
            let Some(inside) = rest.strip_prefix('(') else { return false };
            let mut open = 1;
            let end = inside.find(|c| {
                open += i32::from(c == '(') - i32::from(c == ')');
                open == 0
            });
            let mut words = inside[..end.unwrap_or(inside.len())].split(|c: char| c != '_' && !c.is_alphanumeric());
            words.any(|word| FACTS.contains(&word))
        })
    }

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => sources(&entry.path(), found),
                false => found.push(entry.path()),
            }
        }
    }

    #[test]
    fn every_source_that_differs_by_machine_asks_for_all_of_them() {
        let (root, mut paths) = (place::checkout(), Vec::new());
        sources(&root.join("src"), &mut paths);
        let differing = paths.iter().filter(|path| fs::read_to_string(path).is_ok_and(|text| differs_by_machine(&text)));
        let names: Vec<String> = differing.map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/")).collect();
        assert!(names.len() > 10, "{names:?}");
        let missed: Vec<&String> = names.iter().filter(|name| reach(name) != Reach::Platforms).collect();
        assert!(missed.is_empty(), "{missed:?} belong into DIFFERING");
    }

    #[test]
    fn a_cfg_differs_by_machine_where_it_names_a_fact_of_one() {
        for text in
            ["#[cfg(unix)]", "if cfg!(windows) {", "#[cfg(all(\n test,\n not(target_os = \"linux\")\n))]", "#[cfg_attr(windows, a)]"]
        {
            assert!(differs_by_machine(text), "{text}");
        }
        for text in ["#[cfg(test)]", "#[cfg(feature = \"server\")] mod unix;", "let cfg = unix(windows);"] {
            assert!(!differs_by_machine(text), "{text}");
        }
    }

    #[test]
    fn a_reader_that_stops_reading_is_no_failure_and_a_full_disk_is_one() {
        struct Ends(ErrorKind);
        impl Write for Ends {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let plan = Plan { include: planned(None) };
        print(&mut Ends(ErrorKind::BrokenPipe), &plan).unwrap();
        print(&mut Ends(ErrorKind::StorageFull), &plan).unwrap_err();
    }

    #[test]
    fn what_the_job_cannot_start_is_only_built_there() {
        let jobs = planned(None);
        let of = |name: &str| jobs.iter().find(|job| job.row == name).unwrap().suite_words.as_str();
        assert_eq!(of("windows-arm64"), "build");
        assert_eq!(of("darwin-amd64"), "build,start,unit");
        let elsewhere: Vec<&str> = jobs.iter().filter(|job| job.starts_on.is_some()).map(|job| job.row.as_str()).collect();
        assert_eq!(elsewhere, ["windows-arm64"]);
    }

    #[test]
    fn a_night_runs_everything_that_a_row_has() {
        let jobs = planned(None);
        assert_eq!(jobs[0].suites, Suite::ALL);
        assert_eq!(jobs[0].root_suite_words, "functional,stress");
    }

    #[test]
    fn a_deb_is_installed_where_its_processor_is() {
        let jobs = planned(None);
        let names: Vec<&str> = jobs.iter().filter(|job| job.deb).map(|job| job.row.as_str()).collect();
        assert_eq!(names, ["linux-amd64", "linux-arm64"]);
    }
}
