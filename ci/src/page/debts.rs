//! Skips as git remembers them: a debt does not become younger by being written down anew.
//!
//! ```text
//!   versions of matrix.toml, the newest first --while one has the skip--> its earliest `since`
//! ```
//!
//! One that was paid and is owed again is a new debt.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::git;
use crate::matrix::{self, Matrix, Suite};

/// What every version of the matrix has had; all else may have changed.
#[derive(Default, Deserialize)]
struct Version {
    #[serde(default)]
    platform: Vec<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    name: String,
    #[serde(default)]
    skips: Vec<Owed>,
}

#[derive(Deserialize)]
struct Owed {
    check: Suite,
    since: String,
}

type Debts = BTreeMap<(String, Suite), String>;

impl Version {
    fn debts(self) -> Debts {
        let of = |platform: Platform| platform.skips.into_iter().map(move |owed| ((platform.name.clone(), owed.check), owed.since));
        self.platform.into_iter().flat_map(of).collect()
    }
}

pub fn findings(checkout: &Path, matrix: &Matrix) -> Vec<String> {
    let versions = git::versions(checkout, matrix::FILE).into_iter();
    let versions: Vec<Debts> = versions.map(|text| toml::from_str::<Version>(&text).unwrap_or_default().debts()).collect();
    let mut findings = Vec::new();
    for row in &matrix.rows {
        for skip in &row.skips {
            let (check, since) = (skip.get_ref().check, &skip.get_ref().since);
            let key = (row.name().to_owned(), check);
            let earliest = versions.iter().map_while(|debts| debts.get(&key)).min();
            if let Some(earliest) = earliest.filter(|earliest| *earliest < since) {
                let (place, word) = (matrix.place(skip), check.word());
                findings.push(format!("{place}: {} skips `{word}` since {since}, and did so since {earliest}", row.name()));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::lies;
    use super::*;
    use crate::shell::Step;

    const SKIPS: &str = r#"skips = [{ check = "e2e", reason = "not today", owner = "somebody", since = "2026-11-24" }]"#;

    #[test]
    fn a_skip_does_not_become_younger_unless_it_was_paid() {
        let checkout = std::env::temp_dir().join(format!("cargo-ci-debts-{}", std::process::id()));
        let _ = fs::remove_dir_all(&checkout);
        fs::create_dir_all(checkout.join("platforms")).unwrap();
        let git = |words: &[&str]| {
            let own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
            assert!(Step::new("git").args(own).args(words).command(&checkout).output().unwrap().status.success(), "{words:?}");
        };
        let commit = |text: &str| {
            fs::write(checkout.join(matrix::FILE), text).unwrap();
            git(&["add", "--all"]);
            git(&["commit", "-q", "--message", "matrix"]);
        };
        let said = |text: &str| findings(&checkout, &Matrix::parse(text).unwrap());
        let owed = format!("{}{SKIPS}\n", lies::ROW);
        let younger = owed.replace("2026-11-24", "2026-12-24");
        git(&["init", "-q"]);
        commit(&owed);
        assert_eq!(said(&owed), [""; 0]);
        let wanted = ["platforms/matrix.toml:16: linux-amd64 skips `e2e` since 2026-12-24, and did so since 2026-11-24"];
        assert_eq!(said(&younger), wanted);
        commit(&younger);
        assert_eq!(said(&younger), wanted);
        commit(lies::ROW);
        commit(&younger);
        assert_eq!(said(&younger), [""; 0]);
        fs::remove_dir_all(&checkout).unwrap();
    }
}
