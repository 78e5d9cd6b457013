//! The workflows, as actionlint reads them: the one of this machine, or the one that Go fetches.

use std::path::Path;

use anyhow::Result;

use crate::place;
use crate::shell::Step;

const NAME: &str = "actionlint";
/// Pinned, so that the same workflows pass tomorrow.
const PACKAGE: &str = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12";

pub fn lint() -> Result<()> {
    let is_here = Step::new(NAME).args(["--version"]).first_line(Path::new("/")).is_some();
    linter(is_here).run(&place::checkout()).map(drop)
}

fn linter(is_here: bool) -> Step {
    if is_here { Step::new(NAME) } else { Step::new("go").args(["run", PACKAGE]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_fetches_the_linter_where_the_machine_has_none() {
        assert_eq!(linter(true).line(), "actionlint");
        assert_eq!(linter(false).line(), "go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12");
    }
}
