//! A check that is promised and not done, said aloud.

use serde::Deserialize;

use super::Suite;

/// How long a check may be owed.
const DAYS_MAX: i64 = 90;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    pub check: Suite,
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// The day it began: `2026-11-24`.
    pub since: String,
}

impl Skip {
    /// What is wrong with it.
    pub fn fault(&self) -> Option<String> {
        let check = self.check.word();
        if self.reason.trim().len() < 8 {
            return Some(format!("the skip of `{check}` gives no reason that a reader could weigh"));
        }
        if self.owner.trim().is_empty() {
            return Some(format!("nobody answers for the skip of `{check}`: owner is empty"));
        }
        (!is_day(&self.since)).then(|| format!("the skip of `{check}` is since {:?}, which is no day like 2026-11-24", self.since))
    }
}

impl Skip {
    /// Why it may not stand on this day, given as `2026-11-24...`: a debt that nobody paid, or one that has not begun.
    pub fn overdue(&self, now: &str) -> Option<String> {
        let (check, since) = (self.check.word(), &self.since);
        let form = time::macros::format_description!("[year]-[month]-[day]");
        let day = |text: &str| time::Date::parse(text, &form).ok();
        let age = (day(now.get(..10)?)? - day(since)?).whole_days();
        match age {
            ..0 => Some(format!("skips `{check}` since {since}, which is not yet")),
            0..=DAYS_MAX => None,
            _ => Some(format!("skips `{check}` since {since}, {age} days: it is run within {DAYS_MAX}, or the row moves down")),
        }
    }
}

fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |text: &str, len: usize| if text.len() == len { text.parse::<u16>().ok() } else { None };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else { return false };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u16::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_overdue_after_ninety_days_and_before_it_begins() {
        let since = |since: &str| Skip { check: Suite::E2e, reason: "not today".into(), owner: "somebody".into(), since: since.into() };
        assert_eq!(since("2026-11-24").overdue("2026-11-24T00:00:00Z"), None);
        assert_eq!(since("2026-11-24").overdue("2027-02-22T00:00:00Z"), None);
        let said = since("2026-11-24").overdue("2027-02-23T00:00:00Z").unwrap();
        assert_eq!(said, "skips `e2e` since 2026-11-24, 91 days: it is run within 90, or the row moves down");
        assert!(since("2026-11-25").overdue("2026-11-24T00:00:00Z").unwrap().ends_with("which is not yet"));
    }

    #[test]
    fn a_day_is_one_of_the_calendar() {
        assert!(is_day("2026-11-24") && is_day("2028-02-29"));
        for wrong in ["2026-11-31", "2026-02-29", "2026-13-01", "2026-00-10", "26-11-24", "2026-11", "today", "2026-11-24-1", "2026-1-24"] {
            assert!(!is_day(wrong), "{wrong}");
        }
    }
}
