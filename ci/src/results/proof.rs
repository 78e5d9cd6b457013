//! The tier that results prove, and what stands between it and the tier declared.
//!
//! ```text
//!   runs of the row --newest of each suite--> Standing per suite --tiers from the best down--> proven
//! ```
//!
//! A run counts when it was of all programs and of a clean commit. A suite in parts passes when all its parts of one commit do.
//! Tier 1 is proven natively only.

use crate::matrix::{Row, RunnerKind, Skip, Suite};

use super::{Counts, Run};

pub struct Proof<'a> {
    /// None: not even the lowest.
    pub tier: Option<u8>,
    pub suites: Vec<(Suite, Standing<'a>)>,
}

pub enum Standing<'a> {
    Passed(Vec<&'a Run>),
    Failed(Vec<&'a Run>),
    /// Parts that ran, of how many.
    Incomplete(Vec<&'a Run>, u32),
    Missing,
    /// There is nothing that could start it.
    NoRunner,
}

impl<'a> Proof<'a> {
    pub fn of(row: &Row, runs: &'a [Run]) -> Proof<'a> {
        let suites: Vec<(Suite, Standing)> = Suite::ALL.into_iter().map(|suite| (suite, standing(row, suite, runs))).collect();
        let holds = |suite: &Suite, tier: u8| match suites.iter().find(|(other, _)| other == suite) {
            Some((_, Standing::Passed(runs))) => tier > 1 || runs.iter().all(|run| !run.is_emulated),
            Some((_, Standing::NoRunner)) => tier > 1,
            _ => false,
        };
        let tier = (1..=3).find(|tier| Suite::of_tier(*tier).iter().all(|suite| holds(suite, *tier)));
        Proof { tier, suites }
    }

    pub fn standing(&self, suite: Suite) -> &Standing<'a> {
        self.suites.iter().find(|(other, _)| *other == suite).map_or(&Standing::Missing, |(_, standing)| standing)
    }

    /// Skips of what passes: of a tier 1 only natively, since under an emulator it passes as tier 2 promises it.
    pub fn paid(&self, row: &Row) -> Vec<String> {
        let is_paid = |skip: &&Skip| match self.standing(skip.check) {
            Standing::Passed(runs) => row.tier() > 1 || runs.iter().all(|run| !run.is_emulated),
            _ => false,
        };
        let lie = |Skip { check, since, .. }: &Skip| {
            format!("{} skips `{}` since {since}, and it passes: take the skip out", row.name(), check.word())
        };
        row.skips.iter().map(toml::Spanned::get_ref).filter(is_paid).map(lie).collect()
    }

    /// Why the tier declared is not proven by these of its suites; nothing where the page may stand.
    pub fn lies_of(&self, row: &Row, suites: &[Suite]) -> Vec<String> {
        let mut lies = Vec::new();
        for suite in suites {
            let (name, word, tier) = (row.name(), suite.word(), row.tier());
            match (self.standing(*suite), row.skip(*suite)) {
                (Standing::Failed(runs), _) => {
                    let failed: u64 = runs.iter().map(|run| run.counts.failed).sum();
                    lies.push(format!("{name} declares tier {tier}, and `{word}` fails ({failed} failed)"));
                }
                (Standing::Missing, None) => {
                    lies.push(format!("{name} declares tier {tier}, and no result shows `{word}`, nor is it skipped with a reason"))
                }
                (Standing::Incomplete(runs, of), None) => {
                    lies.push(format!("{name} declares tier {tier}, and only {} of {of} parts of `{word}` are on file", runs.len()));
                }
                (Standing::Passed(runs), None) if tier == 1 && runs.iter().any(|run| run.is_emulated) => {
                    lies.push(format!(
                        "{name} declares tier 1, and `{word}` was run under an emulator only, nor is it skipped with a reason"
                    ));
                }
                (Standing::Passed(_) | Standing::NoRunner, None)
                | (Standing::Passed(_) | Standing::Missing | Standing::Incomplete(..) | Standing::NoRunner, Some(_)) => {}
            }
        }
        lies
    }
}

impl Standing<'_> {
    pub fn runs(&self) -> &[&Run] {
        match self {
            Standing::Passed(runs) | Standing::Failed(runs) | Standing::Incomplete(runs, _) => runs,
            Standing::Missing | Standing::NoRunner => &[],
        }
    }

    pub fn counts(&self) -> Counts {
        self.runs().iter().fold(Counts::default(), |sum, run| Counts {
            passed: sum.passed + run.counts.passed,
            failed: sum.failed + run.counts.failed,
            flaky: sum.flaky + run.counts.flaky,
            skipped: sum.skipped + run.counts.skipped,
        })
    }

    pub fn millis(&self) -> u64 {
        self.runs().iter().map(|run| run.millis).sum()
    }
}

fn standing<'a>(row: &Row, suite: Suite, runs: &'a [Run]) -> Standing<'a> {
    let counts = |run: &&Run| run.row == row.name() && run.suite == suite && run.is_whole && !run.is_dirty;
    let newest = runs.iter().filter(counts).max_by(|a, b| a.finished.cmp(&b.finished));
    let Some(newest) = newest else {
        return if suite == Suite::Start && row.runner.kind == RunnerKind::None { Standing::NoRunner } else { Standing::Missing };
    };
    let Some([_, of]) = newest.partition else {
        return if newest.has_passed() { Standing::Passed(vec![newest]) } else { Standing::Failed(vec![newest]) };
    };
    let is_part = |run: &&Run| counts(run) && run.commit == newest.commit && run.partition.is_some_and(|[_, other]| other == of);
    let is_last = |run: &&Run| {
        let is_later = |other: &Run| is_part(&other) && other.partition == run.partition && other.finished > run.finished;
        !runs.iter().any(is_later)
    };
    let parts: Vec<&Run> = runs.iter().filter(is_part).filter(is_last).collect();
    if parts.iter().any(|run| !run.has_passed()) {
        return Standing::Failed(parts);
    }
    let is_there = |part: u32| parts.iter().any(|run| run.partition == Some([part, of]));
    if (1..=of).all(is_there) { Standing::Passed(parts) } else { Standing::Incomplete(parts, of) }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::matrix::Matrix;

    impl Proof<'_> {
        fn lies(&self, row: &Row) -> Vec<String> {
            [self.lies_of(row, Suite::of_tier(row.tier())), self.paid(row)].concat()
        }
    }

    const ROW: &str = r#"[[platform]]
name = "linux-amd64-musl"
triple = "x86_64-unknown-linux-musl"
os = "linux"
arch = "amd64"
tier = 2
routes = ["zig"]
suites = ["unit", "integration", "e2e"]
skips = []
runner = { kind = "native" }
cpu = "x86-64-v2"
floor = "static"
pointer = 64
endian = "little"
archive = "tar.gz"
packages = {}
zig = { target = "x86_64-linux-musl" }
"#;
    const SKIPS: &str = r#"skips = [
    { check = "unit", reason = "not today", owner = "somebody", since = "2026-11-24" },
    { check = "e2e", reason = "not today", owner = "somebody", since = "2026-11-24" },
]"#;

    /// A row of tier 2 with no skips, natively run.
    fn row() -> Row {
        Matrix::parse(ROW).unwrap().rows.remove(0)
    }

    fn skipping() -> Row {
        Matrix::parse(&ROW.replace("skips = []", SKIPS)).unwrap().rows.remove(0)
    }

    fn runs(suites: &[Suite]) -> Vec<Run> {
        suites.iter().map(|suite| sample::sealed("linux-amd64-musl", *suite, 0)).collect()
    }

    const TIER_2: [Suite; 5] = [Suite::Build, Suite::Start, Suite::Unit, Suite::Integration, Suite::E2e];

    #[test]
    fn the_tier_is_the_best_whose_suites_all_passed() {
        let row = row();
        let proven = |suites: &[Suite]| Proof::of(&row, &runs(suites)).tier;
        assert_eq!(proven(&[]), None);
        assert_eq!(proven(&[Suite::Build]), None);
        assert_eq!(proven(&[Suite::Build, Suite::Start]), Some(3));
        assert_eq!(proven(&TIER_2[..4]), Some(3));
        assert_eq!(proven(&TIER_2), Some(2));
        assert_eq!(proven(&Suite::ALL), Some(1));
    }

    #[test]
    fn an_emulator_proves_no_tier_1() {
        let mut runs = runs(&Suite::ALL);
        runs[3].is_emulated = true;
        assert_eq!(Proof::of(&row(), &runs).tier, Some(2));
    }

    #[test]
    fn what_is_declared_and_proven_is_no_lie() {
        assert_eq!(Proof::of(&row(), &runs(&TIER_2)).lies(&row()), [""; 0]);
    }

    #[test]
    fn a_deleted_result_is_a_lie() {
        let mut runs = runs(&TIER_2);
        runs.retain(|run| run.suite != Suite::Integration);
        let proof = Proof::of(&row(), &runs);
        assert_eq!(proof.tier, Some(3));
        assert_eq!(
            proof.lies(&row()),
            ["linux-amd64-musl declares tier 2, and no result shows `integration`, nor is it skipped with a reason"]
        );
    }

    #[test]
    fn a_failing_suite_is_a_lie_with_or_without_a_skip() {
        let mut runs = runs(&TIER_2);
        runs[4] = sample::sealed("linux-amd64-musl", Suite::E2e, 2);
        let proof = Proof::of(&row(), &runs);
        assert_eq!(proof.tier, Some(3));
        let wanted = "linux-amd64-musl declares tier 2, and `e2e` fails (2 failed)".to_owned();
        assert_eq!(proof.lies(&row()), std::slice::from_ref(&wanted));
        assert!(proof.lies(&skipping()).contains(&wanted));
    }

    #[test]
    fn a_raised_tier_is_a_lie() {
        let said = Matrix::parse(&ROW.replace("tier = 2", "tier = 1")).err().unwrap().to_string();
        assert!(said.contains("tier 1 promises `functional`: linux-amd64-musl has to run it"), "{said}");
        let mut raised = row();
        raised.tier = Matrix::parse(&ROW.replace("tier = 2", "tier = 3")).unwrap().rows.remove(0).tier;
        let lies = |row: &Row| Proof::of(row, &runs(&TIER_2[..2])).lies(row).len();
        assert_eq!((lies(&raised), lies(&row())), (0, 3));
    }

    #[test]
    fn a_tier_1_that_only_an_emulator_shows_is_a_lie_unless_it_is_owed_aloud() {
        let first = ROW.replace("tier = 2", "tier = 1").replace("\"e2e\"]", "\"e2e\", \"functional\", \"stress\"]");
        let row = |text: &str| Matrix::parse(text).unwrap().rows.remove(0);
        let mut runs = runs(&Suite::ALL);
        assert_eq!(Proof::of(&row(&first), &runs).lies(&row(&first)), [""; 0]);
        runs[2].is_emulated = true;
        let lies = |row: &Row| Proof::of(row, &runs).lies(row);
        let wanted = "linux-amd64-musl declares tier 1, and `unit` was run under an emulator only, nor is it skipped with a reason";
        assert_eq!(lies(&row(&first)), [wanted]);
        let owed = r#"skips = [{ check = "unit", reason = "no such machine", owner = "somebody", since = "2026-11-24" }]"#;
        assert_eq!(lies(&row(&first.replace("skips = []", owed))), [""; 0]);
    }

    #[test]
    fn a_skip_of_what_passes_is_a_lie() {
        let lies = Proof::of(&skipping(), &runs(&TIER_2)).lies(&skipping());
        assert_eq!(lies.len(), 2, "each skip once: {lies:?}");
        assert!(lies.iter().any(|lie| lie.contains("skips `unit` since 2026-11-24, and it passes: take the skip out")), "{lies:?}");
    }

    #[test]
    fn the_newest_run_decides() {
        let mut runs = runs(&TIER_2);
        let newer = sample::run("linux-amd64-musl", Suite::Unit, "2026-11-25T00:00:00Z").sealed(&sample::record(5, 1));
        runs.insert(0, newer);
        assert_eq!(Proof::of(&row(), &runs).tier, Some(3));
    }

    #[test]
    fn a_dirty_or_partial_run_proves_nothing() {
        for spoil in [|run: &mut Run| run.is_dirty = true, |run: &mut Run| run.is_whole = false] {
            let mut runs = runs(&[Suite::Build, Suite::Start]);
            spoil(&mut runs[0]);
            assert_eq!(Proof::of(&row(), &runs).tier, None);
        }
    }

    #[test]
    fn a_suite_in_parts_needs_all_of_them() {
        let part = |part| Run { partition: Some([part, 2]), ..sample::sealed("linux-amd64-musl", Suite::E2e, 0) };
        let mut runs = runs(&TIER_2[..4]);
        runs.push(part(1));
        let lies = Proof::of(&row(), &runs).lies(&row());
        assert_eq!(lies, ["linux-amd64-musl declares tier 2, and only 1 of 2 parts of `e2e` are on file"]);
        runs.push(part(2));
        assert_eq!(Proof::of(&row(), &runs).tier, Some(2));
    }

    #[test]
    fn what_nothing_can_start_need_not_start() {
        let mut row = row();
        row.runner.kind = RunnerKind::None;
        assert_eq!(Proof::of(&row, &runs(&[Suite::Build])).tier, Some(3));
    }
}
