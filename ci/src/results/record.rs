//! What a test runner said, a line a test: the evidence beside each result.
//!
//! ```text
//!   JUnit of nextest --read--> Record --text--> pass     12  spec::restart::a_value_is_there_again
//!                                               fail   3009  crash::kills_lose_nothing
//! ```
//!
//! Lines are sorted by name, so that two records of one suite can be compared by eye.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::Counts;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    tests: Vec<Test>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    name: String,
    verdict: Verdict,
    millis: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Fail,
    /// It passed, but not at once.
    Flaky,
    Skip,
}

const WORDS: [(Verdict, &str); 4] = [(Verdict::Pass, "pass"), (Verdict::Fail, "fail"), (Verdict::Flaky, "flaky"), (Verdict::Skip, "skip")];

impl Record {
    pub fn new() -> Record {
        Record { tests: Vec::new() }
    }

    /// Adds something that passed or failed and is not a test of a runner: a program that was built or started.
    pub fn add(&mut self, name: &str, has_passed: bool, millis: u64) {
        let verdict = if has_passed { Verdict::Pass } else { Verdict::Fail };
        self.tests.push(Test { name: name.replace(char::is_whitespace, "_"), verdict, millis });
        self.tests.sort_by(|a, b| a.name.cmp(&b.name));
    }

    pub fn counts(&self) -> Counts {
        let count = |verdict| self.tests.iter().filter(|test| test.verdict == verdict).count() as u64;
        Counts {
            passed: count(Verdict::Pass) + count(Verdict::Flaky),
            failed: count(Verdict::Fail),
            flaky: count(Verdict::Flaky),
            skipped: count(Verdict::Skip),
        }
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for test in &self.tests {
            let word = WORDS.iter().find(|(verdict, _)| *verdict == test.verdict).map_or("", |(_, word)| word);
            let _ = writeln!(text, "{word:<5} {:>8}  {}", test.millis, test.name);
        }
        text
    }

    pub fn parse(text: &str) -> Result<Record> {
        let mut tests = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let (Some(verdict), Some(millis), Some(name), None) = (words.next(), words.next(), words.next(), words.next()) else {
                bail!("line {} is not a verdict, a time and a name: {line:?}", index + 1);
            };
            let verdict = WORDS.iter().find(|(_, word)| *word == verdict).map(|(verdict, _)| *verdict);
            let verdict = verdict.with_context(|| format!("line {} has no verdict: {line:?}", index + 1))?;
            let millis = millis.parse().with_context(|| format!("line {} has no time: {line:?}", index + 1))?;
            tests.push(Test { name: name.to_owned(), verdict, millis });
        }
        Ok(Record { tests })
    }

    pub fn from_junit(xml: &str) -> Result<Record> {
        let mut reader = Reader::from_str(xml);
        let mut tests: Vec<Test> = Vec::new();
        loop {
            let event = reader.read_event().context("the runner's report is no XML")?;
            match &event {
                Event::Start(tag) | Event::Empty(tag) => match tag.name().as_ref() {
                    b"testcase" => tests.push(Test::from_tag(tag)?),
                    // Nested: the verdict of the case that was opened last.
                    name => {
                        if let (Some(verdict), Some(test)) = (verdict_of(name), tests.last_mut()) {
                            test.verdict = verdict;
                        }
                    }
                },
                Event::Eof => break,
                _ => {}
            }
        }
        ensure!(!tests.is_empty(), "the runner's report names no test");
        tests.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Record { tests })
    }
}

fn verdict_of(tag: &[u8]) -> Option<Verdict> {
    match tag {
        b"failure" | b"error" => Some(Verdict::Fail),
        b"flakyFailure" | b"flakyError" => Some(Verdict::Flaky),
        b"skipped" => Some(Verdict::Skip),
        _ => None,
    }
}

impl Test {
    fn from_tag(tag: &BytesStart<'_>) -> Result<Test> {
        let (mut name, mut class, mut millis) = (String::new(), String::new(), 0);
        for attribute in tag.attributes() {
            let attribute = attribute.context("a test case has a broken attribute")?;
            let value = String::from_utf8_lossy(&attribute.value).into_owned();
            match attribute.key.as_ref() {
                b"name" => name = value,
                b"classname" => class = value,
                b"time" => {
                    let seconds: f64 = value.parse().with_context(|| format!("{value:?} is no time"))?;
                    millis = (seconds * 1000.0).round() as u64;
                }
                _ => {}
            }
        }
        ensure!(!name.is_empty(), "a test case has no name");
        // `etcd::spec` is the test binary `spec`; the package's own library has no second part.
        let binary = class.split_once("::").map_or("lib", |(_, binary)| binary).to_owned();
        Ok(Test { name: format!("{binary}::{name}").replace(char::is_whitespace, "_"), verdict: Verdict::Pass, millis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNIT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="4" failures="1" errors="0">
    <testsuite name="etcd::spec" tests="3" disabled="0" errors="0" failures="1">
        <testcase name="restart::b" classname="etcd::spec" timestamp="x" time="1.2346"/>
        <testcase name="a" classname="etcd::spec" time="0.010">
            <failure type="test failure with exit code 101" message="panicked &quot;&lt;testcase&gt;&quot;">text</failure>
        </testcase>
        <testcase name="c" classname="etcd::spec" time="0.5">
            <flakyFailure timestamp="x" time="0.1" type="test failure"/>
        </testcase>
    </testsuite>
    <testsuite name="etcd" tests="1"><testcase name="wal::d" classname="etcd" time="0"/></testsuite>
</testsuites>"#;

    #[test]
    fn a_report_is_read_with_the_verdict_of_each_test() {
        let record = Record::from_junit(JUNIT).unwrap();
        let wanted = "pass         0  lib::wal::d\nfail        10  spec::a\nflaky      500  spec::c\npass      1235  spec::restart::b\n";
        assert_eq!(record.text(), wanted);
        assert_eq!(record.counts(), Counts { passed: 3, failed: 1, flaky: 1, skipped: 0 });
    }

    #[test]
    fn a_record_is_the_same_after_its_text() {
        let record = Record::from_junit(JUNIT).unwrap();
        assert_eq!(Record::parse(&record.text()).unwrap(), record);
    }

    #[test]
    fn a_report_without_tests_is_no_success() {
        assert!(Record::from_junit("<testsuites></testsuites>").unwrap_err().to_string().contains("names no test"));
        assert!(Record::from_junit("<testsuites><testcase time='1'/></testsuites>").unwrap_err().to_string().contains("no name"));
    }

    #[test]
    fn a_line_that_was_bent_is_refused_with_its_number() {
        for bent in ["pass 1", "good 1 a", "pass x a", "pass 1 a b"] {
            let said = Record::parse(&format!("pass 1 a\n{bent}\n")).unwrap_err().to_string();
            assert!(said.contains("line 2"), "{said}");
        }
    }
}
