//! What was measured, as a table to read, JSON to keep, and a picture.
//!
//! ```text
//!   Row (one load, one side) --add--> Report --+--> table: theirs, ours, ours/theirs, floor
//!                                              +--> versus.json: all of it, with the conditions
//!                                              +--> versus.svg: a bar for each ratio, around 1
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{fs, thread};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::server::Place;

/// A thing that is measured.
struct Metric {
    name: &'static str,
    unit: &'static str,
    better: Better,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
    /// Says something of the run, not of the server.
    Neither,
}

const fn metric(name: &'static str, unit: &'static str, better: Better) -> Metric {
    Metric { name, unit, better }
}

/// In the order they are printed.
const METRICS: &[Metric] = &[
    metric("rate", "op/s", Better::More),
    metric("p50", "us", Better::Less),
    metric("p99", "us", Better::Less),
    metric("longest", "us", Better::Less),
    metric("cpu", "us/op", Better::Less),
    metric("switches", "1/op", Better::Less),
    metric("client cpu", "us/op", Better::Neither),
    metric("took", "ms", Better::Less),
    metric("first answer", "ms", Better::Less),
    metric("start cpu", "ms", Better::Less),
    metric("late, last", "ms", Better::Less),
    metric("late, most", "ms", Better::Less),
    metric("idle cpu", "ms/s", Better::Less),
    metric("rss peak", "MiB", Better::Less),
    metric("rss", "MiB", Better::Less),
    metric("rss anonymous", "MiB", Better::Less),
    metric("rss grown", "MiB", Better::Less),
    metric("rss anonymous grown", "MiB", Better::Less),
    metric("written", "KiB/1000", Better::Less),
];

/// One load on one side.
#[derive(Serialize)]
pub struct Row {
    pub load: String,
    values: BTreeMap<&'static str, f64>,
}

impl Row {
    pub fn new(load: &str) -> Row {
        Row { load: load.to_owned(), values: BTreeMap::new() }
    }

    pub fn set(&mut self, metric: &'static str, value: f64) {
        debug_assert!(METRICS.iter().any(|known| known.name == metric), "{metric} has no line in METRICS");
        self.values.insert(metric, value);
    }

    pub fn unset(&mut self, metric: &'static str) {
        self.values.remove(metric);
    }
}

#[derive(Serialize)]
pub struct Report {
    theirs: String,
    ours: String,
    data: String,
    cores: usize,
    seconds: f64,
    rounds: usize,
    units: BTreeMap<&'static str, &'static str>,
    /// Loads in the order they ran.
    loads: Vec<Sides>,
}

/// A load on every side it ran on, with a value of each metric for each round.
#[derive(Serialize)]
struct Sides {
    load: String,
    sides: BTreeMap<&'static str, BTreeMap<&'static str, Vec<f64>>>,
}

impl Sides {
    /// The median round.
    fn value(&self, side: &str, metric: &str) -> Option<f64> {
        let mut rounds = self.sides.get(side)?.get(metric)?.clone();
        rounds.sort_by(f64::total_cmp);
        let middle = rounds.get(rounds.len() / 2)?;
        Some(if rounds.len() % 2 == 0 { f64::midpoint(rounds[rounds.len() / 2 - 1], *middle) } else { *middle })
    }

    fn ratio(&self, metric: &str) -> Option<f64> {
        let (theirs, ours) = (self.value("theirs", metric)?, self.value("ours", metric)?);
        (theirs > 0.0).then_some(ours / theirs)
    }
}

impl Report {
    pub fn new(theirs: &Path, ours: &Path, place: &Place, seconds: f64, rounds: usize) -> Report {
        let data = match place {
            Place::Memory => "memory".to_owned(),
            Place::Disk(folder) => folder.display().to_string(),
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let units = METRICS.iter().map(|metric| (metric.name, metric.unit)).collect();
        Report { theirs: version(theirs), ours: version(ours), data, cores, seconds, rounds, units, loads: Vec::new() }
    }

    pub fn add(&mut self, side: &'static str, rows: Vec<Row>) {
        for row in rows {
            let known = self.loads.iter().position(|sides| sides.load == row.load);
            let at = known.unwrap_or_else(|| {
                self.loads.push(Sides { load: row.load.clone(), sides: BTreeMap::new() });
                self.loads.len() - 1
            });
            let side = self.loads[at].sides.entry(side).or_default();
            row.values.into_iter().for_each(|(metric, value)| side.entry(metric).or_default().push(value));
        }
    }

    pub fn table(&self) -> String {
        let mut out = format!(
            "\ntheirs: {}\nours:   {}\n{} cores shared by server and client, loopback, data in {}, {} s a load, median of {} rounds\n",
            self.theirs, self.ours, self.cores, self.data, self.seconds, self.rounds
        );
        for sides in &self.loads {
            let _ = writeln!(out, "\n{:<48} {:>12} {:>12} {:>12} {:>12}", sides.load, "theirs", "ours", "ours/theirs", "floor");
            for metric in METRICS {
                let cells = ["theirs", "ours", "floor"].map(|side| sides.value(side, metric.name));
                if cells.iter().all(Option::is_none) {
                    continue;
                }
                let [theirs, ours, floor] = cells.map(|value| value.map_or("-".to_owned(), number));
                let ratio = sides.ratio(metric.name).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
                let name = format!("{}, {}", metric.name, metric.unit);
                let _ = writeln!(out, "  {name:<46} {theirs:>12} {ours:>12} {ratio:>12} {floor:>12}");
            }
        }
        out
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        for (name, text) in [("versus.json", serde_json::to_string_pretty(self)?), ("versus.svg", self.picture())] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
            println!("\nwrote {}", path.display());
        }
        Ok(())
    }

    /// A bar for each ratio, on a scale of powers of two around 1: to the right ours has more, green is better.
    fn picture(&self) -> String {
        const LINE: usize = 16;
        const MIDDLE: f64 = 680.0;
        const OCTAVE: f64 = 50.0;
        let (mut body, mut y) = (String::new(), 60);
        for sides in &self.loads {
            let _ = writeln!(body, r#"<text x="10" y="{}" font-weight="bold">{}</text>"#, y + 12, escaped(&sides.load));
            y += LINE;
            for metric in METRICS.iter().filter(|metric| metric.better != Better::Neither) {
                let Some(ratio) = sides.ratio(metric.name).filter(|ratio| *ratio > 0.0) else { continue };
                let len = ratio.log2().clamp(-5.0, 5.0) * OCTAVE;
                let is_better = (ratio >= 1.0) == (metric.better == Better::More);
                let colour = if is_better { "#2a9d5c" } else { "#c8553d" };
                let values = ["theirs", "ours"].map(|side| sides.value(side, metric.name).map_or_else(String::new, number));
                let _ =
                    writeln!(body, r#"<text x="24" y="{}">{}, {}: {} / {}</text>"#, y + 12, metric.name, metric.unit, values[1], values[0]);
                let _ = writeln!(
                    body,
                    r#"<rect x="{:.1}" y="{}" width="{:.1}" height="{}" fill="{colour}"/><text x="{}" y="{}">{ratio:.2}</text>"#,
                    MIDDLE + len.min(0.0),
                    y + 2,
                    len.abs().max(1.0),
                    LINE - 4,
                    MIDDLE + 5.5 * OCTAVE,
                    y + 12
                );
                y += LINE;
            }
            y += LINE / 2;
        }
        let mut scale = String::new();
        for octave in -5..=5 {
            let x = MIDDLE + f64::from(octave) * OCTAVE;
            let name = if octave < 0 { format!("1/{}", 1 << -octave) } else { format!("{}", 1 << octave) };
            let _ = writeln!(
                scale,
                r##"<line x1="{x}" y1="48" x2="{x}" y2="{y}" stroke="#ddd"/><text x="{x}" y="42" text-anchor="middle">{name}</text>"##
            );
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1020\" height=\"{}\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"20\" font-size=\"14\">ours / theirs: {} / {}</text>\n\
             <text x=\"10\" y=\"42\">green: ours is better</text>\n{scale}{body}</svg>\n",
            y + 10,
            escaped(&self.ours),
            escaped(&self.theirs)
        )
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// What a server says of itself, else its path.
fn version(path: &Path) -> String {
    let said = std::process::Command::new(path).arg("--version").output().ok().filter(|done| done.status.success());
    let said = said.map(|done| String::from_utf8_lossy(&done.stdout).lines().take(3).collect::<Vec<_>>().join(", "));
    said.filter(|text| !text.is_empty()).unwrap_or_else(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new(Path::new("a"), Path::new("b"), &Place::Memory, 1.0, 1);
        for (side, rate) in [("theirs", 200.0), ("ours", 300.0), ("floor", 900.0)] {
            let mut row = Row::new("put < get");
            row.set("rate", rate);
            report.add(side, vec![row]);
        }
        report
    }

    #[test]
    fn a_line_has_both_sides_their_ratio_and_the_floor() {
        let table = report().table();
        let line = table.lines().find(|line| line.contains("rate")).unwrap();
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells[2..], ["200", "300", "1.50", "900"]);
    }

    #[test]
    fn a_side_that_did_not_run_is_a_dash_and_has_no_ratio() {
        let mut report = Report::new(Path::new("a"), Path::new("b"), &Place::Memory, 1.0, 1);
        let mut row = Row::new("put");
        row.set("rate", 5.0);
        report.add("theirs", vec![row]);
        let table = report.table();
        let line = table.lines().find(|line| line.contains("rate")).unwrap();
        assert_eq!(line.split_whitespace().skip(2).collect::<Vec<_>>(), ["5.00", "-", "-", "-"]);
    }

    #[test]
    fn the_median_round_is_shown() {
        let mut report = report();
        for rate in [1.0, 210.0] {
            let mut row = Row::new("put < get");
            row.set("rate", rate);
            report.add("theirs", vec![row]);
        }
        assert_eq!(report.loads[0].value("theirs", "rate"), Some(200.0));
        report.add("theirs", vec![Row { load: "put < get".into(), values: [("rate", 220.0)].into() }]);
        assert_eq!(report.loads[0].value("theirs", "rate"), Some(205.0));
    }

    #[test]
    fn the_picture_stands_alone_and_escapes_names() {
        let picture = report().picture();
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
        assert!(picture.contains("put &lt; get") && picture.contains("1.50"));
    }
}
