//! The pages, and what they are made of. Lies that are planted in them: `lies.rs`.

use super::*;
use crate::matrix::Suite;
use crate::results::{Hashed, sample};

const MATRIX: &str = r#"[[platform]]
name = "linux-riscv64"
triple = "riscv64gc-unknown-linux-gnu"
os = "linux"
arch = "riscv64"
tier = 3
routes = ["zig"]
suites = ["unit"]
runner = { kind = "emulated", program = "qemu-riscv64-static" }
cpu = "rv64gc"
floor = "glibc 2.31, <or later>"
pointer = 64
endian = "little"
archive = "tar.gz"
packages = {}
zig = { target = "riscv64-linux-gnu.2.31" }
"#;

fn facts(suites: &[(Suite, usize)]) -> Facts {
    let runs = suites.iter().map(|(suite, failed)| sample::sealed("linux-riscv64", *suite, *failed)).collect();
    Facts { matrix: Matrix::parse(MATRIX).unwrap(), runs, faults: Vec::new() }
}

#[test]
fn the_page_tells_what_is_declared_proven_and_by_what() {
    let page = table::page(&facts(&[(Suite::Build, 0), (Suite::Start, 0), (Suite::Unit, 2)]));
    let line = page.lines().find(|line| line.contains("**linux-riscv64**")).unwrap();
    assert!(
        line.starts_with("| **linux-riscv64** | 3 | 3 | build 3, start 3, **unit 2 failed of 5** | native | `0123456789ab` | 2026-11-24 |"),
        "{line}"
    );
    assert!(page.contains("## What a tier promises") && page.contains("## Results on file"));
}

#[test]
fn an_older_commit_does_not_outdo_a_later_failure() {
    let of = |commit: &str, day: u32, failed| {
        let run = sample::run("linux-riscv64", Suite::Start, &format!("2026-11-{day}T18:00:00Z"));
        Run { commit: commit.repeat(40), ..run }.sealed(&sample::record(3, failed))
    };
    let said = |runs: Vec<Run>| {
        let matrix = Matrix::parse(MATRIX).unwrap();
        let proof = Proof::of(&matrix.rows[0], &runs);
        turned_back(&proof, &runs, |later, commit| later > commit).into_iter().map(|(_, what)| what).collect::<String>()
    };
    let wanted = format!("linux-riscv64: `start` counts on {}, and failed on {}, which came after it", "a".repeat(40), "b".repeat(40));
    assert_eq!(said(vec![of("b", 24, 1), of("a", 25, 0)]), wanted);
    assert_eq!(said(vec![of("b", 24, 1), of("b", 25, 0), of("a", 26, 0)]), "", "it was run again, and passed");
    assert_eq!(said(vec![of("a", 24, 1), of("b", 25, 0)]), "", "the later commit counts");
}

#[test]
fn a_result_of_a_day_to_come_is_a_finding() {
    let mut facts = facts(&[(Suite::Build, 0)]);
    facts.runs[0].finished = "9999-01-01T00:00:00Z".into();
    let said = findings(Path::new("/"), &facts, None, Suite::of_tier).0;
    assert!(said.iter().any(|what| what.ends_with("it ended on 9999-01-01T00:00:00Z, which is not yet")), "{said:?}");
}

#[test]
fn a_release_is_held_back_as_the_policy_says_and_tells_the_rest() {
    let text = fs::read_to_string(place::checkout().join(matrix::FILE)).unwrap();
    let matrix = || Matrix::parse(&text).unwrap();
    let of = |row: &str, suite, failed| {
        let runs = vec![sample::run(row, suite, "2026-11-27T18:00:00Z").sealed(&sample::record(3, failed))];
        let facts = Facts { matrix: matrix(), runs, faults: Vec::new() };
        let (bound, rest) = findings(Path::new("/"), &facts, None, Suite::held_back_by);
        let names = |found: Vec<String>| found.iter().filter(|what| what.contains(row) && what.contains("fails")).count();
        (names(bound), names(rest))
    };
    assert_eq!(of("linux-amd64", Suite::Stress, 1), (1, 0));
    assert_eq!((of("linux-s390x", Suite::Build, 1), of("linux-s390x", Suite::E2e, 1)), ((1, 0), (0, 1)));
    assert_eq!((of("linux-arm", Suite::Build, 1), of("linux-arm", Suite::Build, 0)), ((0, 1), (0, 0)));
    assert!(table::notes(&["a falls".into(), "b too".into()]).ends_with("\n\n- a falls\n- b too\n"));
    assert!(table::notes(&[]).starts_with("Every suite"));
}

#[test]
fn the_archive_is_the_one_that_started_or_was_built_where_nothing_can_start_it() {
    let mut facts = facts(&[(Suite::Build, 0), (Suite::Start, 0)]);
    let archive = |facts: &Facts| {
        let page = table::page(facts);
        let line = page.lines().find(|line| line.contains("**linux-riscv64**")).unwrap();
        line.rsplit_once("| `").unwrap().1.trim_end_matches(" |").to_owned()
    };
    let named = |sha256: &str| Some(Hashed { name: "etcd-v3.7.1-linux-riscv64.tar.gz".into(), sha256: sha256.into() });
    assert_eq!(archive(&facts), "etcd-vX.Y.Z-linux-riscv64.tar.gz`");
    facts.runs[0].archive = named("b11d");
    assert_eq!(archive(&facts), "etcd-v3.7.1-linux-riscv64.tar.gz` `b11d`");
    facts.runs[1].archive = named("57a7");
    assert_eq!(archive(&facts), "etcd-v3.7.1-linux-riscv64.tar.gz` `57a7`");
    // A night starts the programs and gives nothing out.
    for suite in [Suite::Build, Suite::Start] {
        let run = sample::run("linux-riscv64", suite, "2026-11-25T18:00:00Z");
        facts.runs.push(Run { commit: "c".repeat(40), ..run }.sealed(&sample::record(3, 0)));
    }
    assert_eq!(archive(&facts), "etcd-v3.7.1-linux-riscv64.tar.gz` `57a7` of `0123456789ab`");
}

#[test]
fn a_terminal_is_told_whether_results_are_of_these_sources() {
    let mut facts = facts(&[(Suite::Build, 0), (Suite::Start, 0)]);
    facts.runs[1] = Run { commit: "c".repeat(40), ..facts.runs[1].clone() };
    let line = |is_current: &dyn Fn(&str) -> bool| table::summary(&facts, is_current).lines().nth(1).unwrap().to_owned();
    assert_eq!(line(&|_| true), "linux-riscv64             3       3    these  build 3, start 3");
    assert_eq!(line(&|commit| commit.starts_with('c')), "linux-riscv64             3       3    mixed  build 3, start 3");
    assert_eq!(line(&|_| false), "linux-riscv64             3       3    older  build 3, start 3");
}

#[test]
fn a_deleted_result_changes_the_page() {
    let whole = table::page(&facts(&[(Suite::Build, 0), (Suite::Start, 0), (Suite::Unit, 0)]));
    let without = table::page(&facts(&[(Suite::Build, 0), (Suite::Start, 0)]));
    assert_ne!(whole, without);
}

#[test]
fn a_run_of_some_programs_is_told_apart() {
    let mut facts = facts(&[(Suite::Build, 0)]);
    facts.runs[0].is_whole = false;
    let page = table::page(&facts);
    assert!(page.contains("| **linux-riscv64** | 3 | none | nothing yet |"), "{page}");
    assert!(page.contains("## Ran in part"));
}

#[test]
fn a_result_of_a_row_that_is_gone_is_a_fault() {
    let filed =
        vec![Filed { path: "platforms/results/linux-vax/unit-0.json".into(), run: Ok(sample::sealed("linux-vax", Suite::Unit, 0)) }];
    let (runs, faults) = sorted(&Matrix::parse(MATRIX).unwrap(), filed);
    assert!(runs.is_empty());
    assert_eq!(faults, ["platforms/results/linux-vax/unit-0.json: platforms/matrix.toml has no row called linux-vax"]);
}

#[test]
fn a_commit_of_elsewhere_is_a_finding() {
    let said = findings(Path::new("."), &facts(&[(Suite::Build, 0), (Suite::Start, 0)]), None, Suite::of_tier).0;
    // A checkout that is no repository, or a shallow one, cannot know.
    if git::head().is_ok() && !git::is_in_history("0123456789abcdef0123456789abcdef01234567") {
        assert!(said[0].contains("is not in the history of this checkout"), "{said:?}");
    }
}

#[test]
fn the_list_of_processors_is_a_file_of_rust() {
    let matrix = Matrix::load(&place::checkout()).unwrap();
    assert!(table::processors(&matrix).ends_with("pub const PROCESSORS: &[&str] = &[\"amd64\", \"arm64\", \"ppc64le\", \"s390x\"];\n"));
}

#[test]
fn the_files_in_the_tree_are_those_that_would_be_generated() {
    let facts = Facts::load(&place::checkout()).unwrap();
    let read = |path: &str| fs::read_to_string(place::checkout().join(path)).unwrap();
    assert_eq!(read(PROCESSORS), table::processors(&facts.matrix), "run `cargo ci table`");
}

#[test]
fn the_report_is_one_file_and_its_texts_are_escaped() {
    let page = html::page(&facts(&[(Suite::Build, 0), (Suite::Unit, 1)]));
    assert!(page.contains("glibc 2.31, &lt;or later&gt;") && !page.contains("<or later>"));
    assert!(page.contains("1 failed"));
    for outside in ["http:", "https:", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}
