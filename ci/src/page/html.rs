//! The report: the matrix, what is owed, the history of each row and where the time goes, as one HTML file that needs no other.

use std::fmt::Write as _;

use super::{Facts, took};
use crate::matrix::{Row, Skip, Suite};
use crate::results::Run;
use crate::results::proof::{Proof, Standing};

const STYLE: &str = include_str!("report.css");

pub fn page(facts: &Facts) -> String {
    let mut body = String::from(
        "<h1>Platforms</h1>\n<p>What is promised for each platform, and what runs have shown. A suite counts when it ran with all programs of a clean commit; the newest run decides.</p>\n",
    );
    body.push_str(&tiles(facts));
    body.push_str(&matrix(facts));
    body.push_str(&durations(facts));
    body.push_str(&history(facts));
    body.push_str(&skips(facts));
    let last = facts.runs.last().map_or("no run is on file", |run| run.finished.as_str());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Platforms of etcd</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}<footer>Made by <code>cargo ci report</code>. Last run: {}.</footer>\n</main>\n</body>\n</html>\n",
        escaped(last)
    )
}

fn tiles(facts: &Facts) -> String {
    let rows = &facts.matrix.rows;
    let is_kept = |row: &&Row| Proof::of(row, &facts.runs).tier.is_some_and(|tier| tier <= row.tier());
    let owed: usize = rows.iter().map(|row| row.skips.len()).sum();
    let tests: u64 = facts.runs.iter().map(|run| run.counts.passed + run.counts.failed).sum();
    let tile = |number: String, words: &str| format!("<div class=\"tile\"><b>{number}</b><span>{words}</span></div>");
    format!(
        "<div class=\"tiles\">{}{}{}{}</div>\n",
        tile(rows.len().to_string(), "platforms"),
        tile(rows.iter().filter(is_kept).count().to_string(), "tiers proven as declared"),
        tile(owed.to_string(), "checks owed"),
        tile(tests.to_string(), "tests in results on file"),
    )
}

fn matrix(facts: &Facts) -> String {
    let mut text = String::from("<div class=\"scroll matrix\"><table>\n<thead><tr><th>platform</th><th>declared</th><th>proven</th>");
    Suite::ALL.iter().for_each(|suite| text.push_str(&format!("<th>{}</th>", suite.word())));
    text.push_str("<th>needs</th></tr></thead>\n<tbody>\n");
    for row in &facts.matrix.rows {
        let proof = Proof::of(row, &facts.runs);
        let is_kept = proof.tier.is_some_and(|tier| tier <= row.tier());
        let _ = write!(
            text,
            "<tr><th>{}<small>{} · {}</small></th><td><span class=\"tier\">{}</span></td><td><span class=\"tier {}\">{}</span></td>",
            escaped(row.name()),
            escaped(row.triple()),
            row.runner.kind.word(),
            row.tier(),
            if is_kept { "kept" } else { "owed" },
            proof.tier.map_or_else(|| "none".into(), |tier| tier.to_string())
        );
        for (suite, standing) in &proof.suites {
            text.push_str(&cell(row, *suite, standing, &facts.runs));
        }
        let _ = writeln!(text, "<td class=\"needs\">{}<small>{}</small></td></tr>", escaped(&row.floor), escaped(&row.cpu));
    }
    text + "</tbody></table></div>\n" + LEGEND
}

const LEGEND: &str = "<p class=\"legend\"><span class=\"cell pass\">12</span> tests passed <span class=\"cell fail\">1 failed</span> the newest run is red \
     <span class=\"cell skip\">owed</span> promised, and skipped for a reason below <span class=\"cell\">-</span> not promised. \
     Hold the pointer over a cell for how long it took, or why it is owed.</p>\n";

fn cell(row: &Row, suite: Suite, standing: &Standing<'_>, runs: &[Run]) -> String {
    let counts = standing.counts();
    let partial = runs.iter().rev().find(|run| run.row == row.name() && run.suite == suite && !run.is_whole);
    let (class, words, title) = match standing {
        Standing::Passed(_) => ("pass", counts.passed.to_string(), took(standing.millis())),
        Standing::Failed(_) => ("fail", format!("{} failed", counts.failed), took(standing.millis())),
        Standing::Incomplete(runs, of) => ("skip", format!("{}/{of} parts", runs.len()), String::new()),
        Standing::NoRunner => ("", "no runner".into(), "nothing here could start it".into()),
        Standing::Missing => match (row.skip(suite), partial) {
            (_, Some(run)) => ("skip", format!("{} in part", run.counts.passed), format!("only {}", run.programs.join(", "))),
            (Some(skip), None) => ("skip", "owed".into(), skip.reason.clone()),
            (None, None) => ("", "-".into(), String::new()),
        },
    };
    format!("<td><span class=\"cell {class}\" title=\"{}\">{words}</span></td>", escaped(&title))
}

fn durations(facts: &Facts) -> String {
    let mut newest: Vec<&Run> = Vec::new();
    for run in facts.runs.iter().rev() {
        let is_newer =
            |other: &&Run| (&other.row, other.suite, other.is_whole, other.partition) == (&run.row, run.suite, run.is_whole, run.partition);
        if !newest.iter().any(is_newer) {
            newest.push(run);
        }
    }
    newest.sort_by_key(|run| std::cmp::Reverse(run.millis));
    let Some(longest) = newest.first().map(|run| run.millis.max(1)) else { return String::new() };
    let mut text = String::from("<h2>Where the time goes</h2>\n<div class=\"bars\">\n");
    for run in newest.iter().take(30) {
        let (class, percent) = (if run.has_passed() { "" } else { "fail" }, run.millis as f64 * 100.0 / longest as f64);
        let _ = writeln!(
            text,
            "<div class=\"bar\"><span>{} · {}{}</span><i class=\"{class}\" style=\"width:{percent:.1}%\"></i><span>{}</span></div>",
            escaped(&run.row),
            run.suite.word(),
            if run.is_whole { "" } else { " (part)" },
            took(run.millis)
        );
    }
    text + "</div>\n"
}

fn history(facts: &Facts) -> String {
    let mut text = String::from(
        "<h2>History</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>platform</th><th>runs, oldest first</th><th>last</th></tr></thead>\n<tbody>\n",
    );
    for row in &facts.matrix.rows {
        let runs: Vec<&Run> = facts.runs.iter().filter(|run| run.row == row.name()).collect();
        let Some(last) = runs.last() else { continue };
        let _ = write!(text, "<tr><th>{}</th><td><div class=\"dots\">", escaped(row.name()));
        for run in &runs[runs.len().saturating_sub(60)..] {
            let class = [if run.has_passed() { "" } else { " fail" }, if run.is_whole && !run.is_dirty { "" } else { " part" }].concat();
            let title = format!(
                "{} {}: {} passed, {} failed, {}",
                run.suite.word(),
                run.commit.get(..12).unwrap_or_default(),
                run.counts.passed,
                run.counts.failed,
                took(run.millis)
            );
            let _ = write!(text, "<span class=\"dot{class}\" title=\"{}\"></span>", escaped(&title));
        }
        let _ = writeln!(
            text,
            "</div></td><td>{}<small>{} · {}</small></td></tr>",
            last.finished.get(..10).unwrap_or_default(),
            last.suite.word(),
            escaped(&last.host)
        );
    }
    text + "</tbody></table></div>\n"
}

/// Checks of a row that are owed for one reason share a line.
fn skips(facts: &Facts) -> String {
    let mut text = String::from(
        "<h2>Promised and not done</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>platform</th><th>checks</th><th>why</th><th>who answers</th><th>since</th></tr></thead>\n<tbody>\n",
    );
    let mut is_any = false;
    for row in &facts.matrix.rows {
        let mut left: Vec<&Skip> = row.skips.iter().map(toml::Spanned::get_ref).collect();
        while let Some(first) = left.first().copied() {
            let is_alike = |skip: &&Skip| (&skip.reason, &skip.owner, &skip.since) == (&first.reason, &first.owner, &first.since);
            let (alike, others): (Vec<&Skip>, Vec<&Skip>) = left.into_iter().partition(is_alike);
            let checks: String = alike.iter().map(|skip| format!("<span class=\"check\">{}</span>", skip.check.word())).collect();
            let (name, why, owner) = (escaped(row.name()), escaped(&first.reason), escaped(&first.owner));
            let _ = writeln!(
                text,
                "<tr><th>{name}</th><td class=\"checks\">{checks}</td><td class=\"why\">{why}</td><td>{owner}</td><td>{}</td></tr>",
                escaped(&first.since)
            );
            (left, is_any) = (others, true);
        }
    }
    if is_any {
        text + "</tbody></table></div>\n"
    } else {
        "<h2>Promised and not done</h2>\n<p>Nothing: every promise is kept.</p>\n".to_owned()
    }
}

/// Text that is no markup, in an element or in a quoted attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
