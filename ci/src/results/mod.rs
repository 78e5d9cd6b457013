//! Results: what was run, where, and how it ended; one file per (row, suite, commit), with its evidence beside it.
//!
//! ```text
//!   platforms/results/linux-amd64/unit-0b75eba12345.json    counts, time, host, tools; sealed by a digest
//!   platforms/results/linux-amd64/unit-0b75eba12345.tests   the runner's own account, a line a test
//! ```
//!
//! Writes: `cargo ci build`, `test` and `verify`, each its own file. Reads: the page, the report and the check of both.
//! A file that was edited does not add up: the digest covers the counts and the evidence, and the counts are those of the
//! evidence. Who edits all of them at once has to do so to a file that git knows, which is seen too (`history.rs`); results of the
//! workflows are attested besides.

pub mod history;
pub mod proof;
pub mod record;
mod store;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::digest;
use crate::matrix::{Route, Suite};
use record::Record;
pub use store::{FOLDER, Filed, evidence, load, save};

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    /// Of those passed, how many needed a second try.
    pub flaky: u64,
    pub skipped: u64,
}

/// One run of one suite.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub row: String,
    pub suite: Suite,
    pub commit: String,
    /// Sources differed from the commit: it proves nothing.
    pub is_dirty: bool,
    pub programs: Vec<String>,
    /// Whether these were all programs of the product, with all features.
    pub is_whole: bool,
    pub counts: Counts,
    /// `[2, 4]` is the second of four parts.
    pub partition: Option<[u32; 2]>,
    /// 2 where it is the second run of the same on this commit: no run takes the place of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    pub millis: u64,
    /// When it ended, in UTC.
    pub finished: String,
    /// How it was built; nothing where that is not known of what was run.
    pub route: Option<Route>,
    pub runner: String,
    pub is_emulated: bool,
    pub host: String,
    pub tools: BTreeMap<String, String>,
    /// What was run: the archive of tests, or the archive for people. Of a build: what was made of it, where nothing can start that.
    pub archive: Option<Hashed>,
    /// The file of evidence.
    pub record: Hashed,
    /// Over everything above, this field being empty.
    pub digest: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Hashed {
    pub name: String,
    pub sha256: String,
}

impl Run {
    /// The name of its files, without an ending.
    pub fn stem(&self) -> String {
        let part = self.partition.map(|[part, of]| format!("-{part}of{of}")).unwrap_or_default();
        let partial = if self.is_whole { "" } else { "-partial" };
        let repeat = self.repeat.map(|repeat| format!("-{repeat}")).unwrap_or_default();
        format!("{}{partial}{part}-{}{repeat}", self.suite.word(), self.commit.get(..12).unwrap_or(&self.commit))
    }

    pub fn has_passed(&self) -> bool {
        self.counts.failed == 0 && self.counts.passed > 0
    }

    fn seal(&self) -> String {
        let open = Run { digest: String::new(), ..self.clone() };
        digest::of_bytes(&serde_json::to_vec(&open).unwrap_or_default())
    }

    /// Takes the counts from the evidence and closes it.
    pub fn sealed(mut self, record: &Record) -> Run {
        let text = record.text();
        self.counts = record.counts();
        self.record = Hashed { name: format!("{}.tests", self.stem()), sha256: digest::of_bytes(text.as_bytes()) };
        self.digest = self.seal();
        self
    }

    /// Whether the file says what was sealed, and what its evidence says.
    pub fn check(&self, evidence: &str) -> Result<()> {
        ensure!(self.digest == self.seal(), "it was edited: its content does not have the digest that it was sealed with");
        let sha256 = digest::of_bytes(evidence.as_bytes());
        ensure!(self.record.sha256 == sha256, "its evidence {} was edited", self.record.name);
        let counts = Record::parse(evidence)?.counts();
        ensure!(self.counts == counts, "it counts {:?}, its evidence {:?}", self.counts, counts);
        Ok(())
    }
}

/// `2026-11-24T18:00:00Z`.
const MOMENT: &[time::format_description::BorrowedFormatItem<'_>] =
    time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// Now, in UTC and to the second.
pub fn now() -> String {
    time::OffsetDateTime::now_utc().format(MOMENT).unwrap_or_default()
}

/// Whether nothing can have ended then, or it is no moment. Clocks of machines may differ by an hour.
pub fn is_yet_to_come(finished: &str) -> bool {
    let latest = time::OffsetDateTime::now_utc() + time::Duration::HOUR;
    time::PrimitiveDateTime::parse(finished, MOMENT).map_or(true, |moment| moment.assume_utc() > latest)
}

#[cfg(test)]
pub mod sample {
    //! Runs for the tests of what reads them.

    use super::*;

    pub fn record(passed: usize, failed: usize) -> Record {
        let mut record = Record::new();
        (0..passed).for_each(|number| record.add(&format!("good::{number}"), true, 5));
        (0..failed).for_each(|number| record.add(&format!("bad::{number}"), false, 7));
        record
    }

    pub fn run(row: &str, suite: Suite, finished: &str) -> Run {
        Run {
            row: row.to_owned(),
            suite,
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            is_dirty: false,
            programs: vec!["etcd".to_owned(), "etcdctl".to_owned()],
            is_whole: true,
            counts: Counts::default(),
            partition: None,
            repeat: None,
            millis: 61_000,
            finished: finished.to_owned(),
            route: Some(Route::Native),
            runner: "native".to_owned(),
            is_emulated: false,
            host: "linux x86_64, 2 processors".to_owned(),
            tools: BTreeMap::from([("rustc".to_owned(), "rustc 1.95.0".to_owned())]),
            archive: None,
            record: Hashed::default(),
            digest: String::new(),
        }
    }

    pub fn sealed(row: &str, suite: Suite, failed: usize) -> Run {
        run(row, suite, "2026-11-24T18:00:00Z").sealed(&record(3, failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_run_adds_up() {
        let record = sample::record(3, 1);
        let run = sample::run("linux-amd64", Suite::Unit, "2026-11-24T18:00:00Z").sealed(&record);
        run.check(&record.text()).unwrap();
        assert_eq!((run.counts.passed, run.counts.failed, run.has_passed()), (3, 1, false));
        assert_eq!(run.record.name, "unit-0123456789ab.tests");
    }

    #[test]
    fn edited_counts_are_caught_even_with_a_new_digest() {
        let record = sample::record(3, 1);
        let mut run = sample::run("linux-amd64", Suite::Unit, "2026-11-24T18:00:00Z").sealed(&record);
        run.counts.failed = 0;
        assert!(run.check(&record.text()).unwrap_err().to_string().contains("it was edited"));
        run.digest = run.seal();
        assert!(run.check(&record.text()).unwrap_err().to_string().contains("its evidence Counts"));
    }

    #[test]
    fn edited_evidence_is_caught() {
        let record = sample::record(3, 1);
        let run = sample::run("linux-amd64", Suite::Unit, "2026-11-24T18:00:00Z").sealed(&record);
        let edited = record.text().replace("fail", "pass");
        assert!(run.check(&edited).unwrap_err().to_string().contains("unit-0123456789ab.tests was edited"));
    }

    #[test]
    fn every_field_is_under_the_seal() {
        let run = sample::sealed("linux-amd64", Suite::Unit, 0);
        let json = serde_json::to_value(&run).unwrap();
        for (name, value) in json.as_object().unwrap() {
            let mut edited = json.clone();
            edited[name] = match value {
                serde_json::Value::Bool(is) => (!is).into(),
                serde_json::Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
                serde_json::Value::String(text) if name == "suite" => {
                    assert_eq!(text, "unit");
                    "e2e".into()
                }
                serde_json::Value::String(_) if name == "route" => "zig".into(),
                serde_json::Value::String(text) => format!("{text}0").into(),
                serde_json::Value::Array(_) => serde_json::json!(["etcd"]),
                serde_json::Value::Null if name == "route" => "zig".into(),
                serde_json::Value::Null if name == "partition" => serde_json::json!([1, 2]),
                serde_json::Value::Null => serde_json::json!({ "name": "a", "sha256": "b" }),
                serde_json::Value::Object(_) if name == "counts" => {
                    serde_json::json!({ "passed": 9, "failed": 0, "flaky": 0, "skipped": 0 })
                }
                serde_json::Value::Object(_) if name == "record" => serde_json::json!({ "name": "a", "sha256": "b" }),
                serde_json::Value::Object(_) => serde_json::json!({}),
            };
            let edited: Run = serde_json::from_value(edited).unwrap();
            assert!(edited.check(&sample::record(3, 0).text()).is_err(), "{name} may be edited");
        }
    }

    #[test]
    fn nothing_ended_tomorrow() {
        assert!(!is_yet_to_come(&now()) && !is_yet_to_come("2026-11-24T18:00:00Z"));
        assert!(is_yet_to_come("9999-01-01T00:00:00Z") && is_yet_to_come("2026-11-24"));
    }

    #[test]
    fn a_run_of_nothing_has_not_passed() {
        let run = sample::run("linux-amd64", Suite::Unit, "2026-11-24T18:00:00Z").sealed(&Record::new());
        assert!(!run.has_passed());
    }
}
