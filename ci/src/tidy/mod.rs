//! The house rules as tests over the tree.
//!
//! ```text
//!   files of the checkout --read--> Source (code without comments and strings, test lines marked) --rules--> findings
//! ```
//!
//! A finding fails the suite, a warning is printed. The rules are one table in `rules`, the floor plan one in `rooms`.

mod rooms;
mod rules;
mod source;
mod workflows;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::place;
use source::Source;
pub use workflows::lint as lint_workflows;

/// Something a rule has to say about a line of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    line: usize,
    what: String,
}

/// Folders that are nobody's source.
const SKIPPED: &[&str] = &[".git", "target"];

pub fn tidy() -> Result<()> {
    let root = place::checkout();
    let sources = read(&root)?;
    let (mut findings, mut warnings) = (0, 0);
    let mut broken = BTreeSet::new();
    for rule in rules::RULES {
        for source in sources.iter().filter(|source| (rule.applies)(source)) {
            for finding in (rule.check)(source) {
                let word = if rule.is_warning { "warning" } else { "error" };
                println!("{word}: {}:{}: {} [{}]", source.path, finding.line, finding.what, rule.name);
                if rule.is_warning {
                    warnings += 1;
                } else {
                    findings += 1;
                    broken.insert((rule.name, rule.why));
                }
            }
        }
    }
    for (name, why) in broken {
        println!("\n[{name}] {why}");
    }
    println!("tidy: {} files, {} rules, {findings} errors, {warnings} warnings", sources.len(), rules::RULES.len());
    if findings > 0 {
        bail!("the house rules are broken in {findings} places");
    }
    Ok(())
}

/// Every text file of the checkout, with the modules that are only built for tests marked as such.
fn read(root: &Path) -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    walk(root, &mut paths)?;
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        // What is not UTF-8 is not text.
        let bytes = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        sources.push(Source::new(&name, &text));
    }
    let test_modules: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        if test_modules.iter().any(|module| source.path == format!("{module}.rs") || source.path.starts_with(&format!("{module}/"))) {
            source.mark_as_test();
        }
    }
    Ok(sources)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_skipped = SKIPPED.contains(&name.as_str()) || name.ends_with(".etcd");
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_skipped {
            walk(&entry.path(), found)?;
        } else if kind.is_file() && !is_skipped {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_read_with_its_paths_from_the_root() {
        let sources = read(&place::checkout()).unwrap();
        assert!(sources.iter().any(|source| source.path == "ci/src/tidy/mod.rs"));
        assert!(sources.iter().all(|source| !source.path.starts_with("target/")));
    }
}
