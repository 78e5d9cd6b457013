//! Planted lies: a checkout whose page is true, one thing in it made untrue, and what `cargo ci table --check` says to it.
//!
//! The program exits with 0 where `check_table` is Ok and with 1 where it is not (`main.rs`).

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::matrix::Suite;
use crate::results::sample;

pub const ROW: &str = r#"[[platform]]
name = "linux-amd64"
triple = "x86_64-unknown-linux-gnu"
os = "linux"
arch = "amd64"
tier = 2
routes = ["native"]
suites = ["unit", "integration", "e2e", "functional", "stress"]
runner = { kind = "native" }
cpu = "x86-64-v2"
floor = "glibc 2.28"
pointer = 64
endian = "little"
archive = "tar.gz"
packages = {}
"#;
const TIER_2: [Suite; 5] = [Suite::Build, Suite::Start, Suite::Unit, Suite::Integration, Suite::E2e];

/// A folder with a matrix, results of the commit that is checked out here, and the page that is made of both.
struct Checkout(PathBuf);

impl Checkout {
    fn new(name: &str) -> Checkout {
        let path = std::env::temp_dir().join(format!("cargo-ci-lies-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("platforms")).unwrap();
        let checkout = Checkout(path);
        checkout.write(matrix::FILE, ROW);
        TIER_2.iter().for_each(|suite| checkout.file(*suite, 0, "2026-11-24T18:00:00Z"));
        checkout.make_page();
        assert_eq!(checkout.said(), "", "the page is true before a lie is planted");
        checkout
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.0.join(path), text).unwrap();
    }

    /// Files a result, sealed as a run does it.
    fn file(&self, suite: Suite, failed: usize, finished: &str) {
        let mut run = sample::run("linux-amd64", suite, finished);
        if let Ok(head) = git::head() {
            run.commit = head;
        }
        results::save(&self.0, run, &sample::record(3, failed)).unwrap();
    }

    fn make_page(&self) {
        write_table(&self.0).unwrap();
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.0.join(path)).unwrap();
        assert!(text.contains(from), "{from} is not in {path}");
        self.write(path, &text.replace(from, to));
    }

    fn result(&self, suite: Suite, ending: &str) -> PathBuf {
        let folder = self.0.join("platforms/results/linux-amd64");
        let is_it = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(suite.word()) && name.ends_with(ending)
        };
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(is_it).unwrap()
    }

    /// What the check refuses; nothing where it passes.
    fn said(&self) -> String {
        let Err(refused) = check_table(&self.0, None, Suite::of_tier) else { return String::new() };
        let found = Facts::load(&self.0).map(|facts| findings(&self.0, &facts, None, Suite::of_tier).0.join("\n"));
        found.unwrap_or_else(|error| error.to_string()) + &format!("\n{refused:#}")
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_raised_tier_is_refused_even_with_a_page_made_for_it() {
    let checkout = Checkout::new("raised");
    checkout.edit(matrix::FILE, "tier = 2", "tier = 1");
    let wanted = "platforms/matrix.toml:6: linux-amd64 declares tier 1, and no result shows `functional`";
    assert!(checkout.said().contains(wanted), "{}", checkout.said());
    checkout.make_page();
    assert!(checkout.said().contains("and no result shows `stress`"), "{}", checkout.said());
}

#[test]
fn a_tier_raised_on_skips_of_long_ago_is_refused() {
    let checkout = Checkout::new("overdue");
    let skips = ["functional", "stress"]
        .map(|check| format!("{{ check = \"{check}\", reason = \"not today\", owner = \"somebody\", since = \"2020-01-01\" }}"));
    checkout.edit(matrix::FILE, "tier = 2", &format!("tier = 1\nskips = [\n{},\n]", skips.join(",\n")));
    checkout.make_page();
    assert!(checkout.said().contains("platforms/matrix.toml:8: linux-amd64 skips `functional` since 2020-01-01"), "{}", checkout.said());
}

#[test]
fn a_lowered_tier_is_refused_until_the_page_says_so() {
    let checkout = Checkout::new("lowered");
    checkout.edit(matrix::FILE, "tier = 2", "tier = 3");
    assert!(checkout.said().contains("would not be true in"), "{}", checkout.said());
    checkout.make_page();
    assert_eq!(checkout.said(), "");
}

#[test]
fn a_deleted_result_is_refused_with_its_evidence_or_without_and_with_a_page_made_for_it() {
    let checkout = Checkout::new("deleted");
    fs::remove_file(checkout.result(Suite::Integration, ".json")).unwrap();
    assert!(checkout.said().contains("the result was deleted"), "{}", checkout.said());
    fs::remove_file(checkout.result(Suite::Integration, ".tests")).unwrap();
    assert!(checkout.said().contains("linux-amd64 declares tier 2, and no result shows `integration`"), "{}", checkout.said());
    checkout.make_page();
    assert!(checkout.said().contains("and no result shows `integration`"), "{}", checkout.said());
}

#[test]
fn edited_counts_are_refused_in_the_result_in_its_evidence_and_on_the_page() {
    let checkout = Checkout::new("edited");
    let path = checkout.result(Suite::Unit, ".json");
    let (name, text) = (path.strip_prefix(&checkout.0).unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap());
    checkout.edit(&name, "\"passed\": 3", "\"passed\": 300");
    assert!(checkout.said().contains("it was edited"), "{}", checkout.said());
    checkout.make_page();
    assert!(checkout.said().contains("it was edited"), "{}", checkout.said());
    checkout.write(&name, &text);
    checkout.make_page();
    assert_eq!(checkout.said(), "");
    checkout.edit(PAGE, "unit 3", "unit 300");
    assert!(checkout.said().contains("would not be true"), "{}", checkout.said());
    checkout.make_page();
    let evidence = checkout.result(Suite::Unit, ".tests");
    let line = fs::read_to_string(&evidence).unwrap() + "pass 1 lib::more\n";
    fs::write(&evidence, line).unwrap();
    assert!(checkout.said().contains(".tests was edited"), "{}", checkout.said());
}

#[test]
fn a_failing_suite_is_refused_though_it_passed_before() {
    let checkout = Checkout::new("failing");
    // The later run of the same commit counts.
    checkout.file(Suite::E2e, 2, "2026-11-25T18:00:00Z");
    checkout.make_page();
    assert!(checkout.said().contains("linux-amd64 declares tier 2, and `e2e` fails (2 failed)"), "{}", checkout.said());
    let page = fs::read_to_string(checkout.0.join(PAGE)).unwrap();
    assert!(page.contains("| **linux-amd64** | 2 | 3 |"), "proven has changed: {page}");
}
