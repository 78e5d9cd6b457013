//! `platforms/matrix.toml`: the facts about each platform, read and checked.
//!
//! ```text
//!   matrix.toml --serde (unknown keys refused)--> Matrix --rules (a line each)--> Matrix, or `file:line: what`
//! ```
//!
//! Writes: nothing. Reads: the one file. Everything that builds, tests, packages or prints a platform takes a `Row` from here.

mod checks;
mod skip;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use toml::Spanned;

pub use skip::Skip;

/// Where it is, from the root of the checkout.
pub const FILE: &str = "platforms/matrix.toml";

pub struct Matrix {
    pub rows: Vec<Row>,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    platform: Vec<Spanned<Row>>,
}

/// One platform.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Row {
    /// The words of its archive: `linux-amd64`, `linux-arm64-musl`.
    pub name: Spanned<String>,
    pub triple: Spanned<String>,
    /// Go's word for the system.
    pub os: String,
    /// Go's word for the processor.
    pub arch: String,
    /// The tier declared.
    pub tier: Spanned<u8>,
    /// Preferred first.
    pub routes: Spanned<Vec<Route>>,
    pub suites: Vec<Suite>,
    #[serde(default)]
    pub skips: Vec<Spanned<Skip>>,
    pub runner: Runner,
    pub cpu: String,
    #[serde(default)]
    pub rustflags: Vec<String>,
    #[serde(default)]
    pub cxxflags: Vec<String>,
    pub floor: String,
    pub pointer: Spanned<u8>,
    pub endian: Endian,
    pub archive: Format,
    pub packages: Packages,
    /// What the workflows build it on; a row without is built nowhere but by hand.
    pub job: Option<Job>,
    /// Variables of its builds, whichever route.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    pub native: Option<Native>,
    pub zig: Option<Zig>,
    pub gcc: Option<Gcc>,
}

/// How a row is built.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// The machine's own compilers, for itself.
    Native,
    /// zig's C and C++, against a libc floor of our choice.
    Zig,
    /// A cross compiler of the distribution.
    Gcc,
    /// An image of our own (`platforms/images/`).
    Cross,
}

/// What can be run on a row. The order is that of the page.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// The programs are compiled and linked.
    Build,
    /// Each of them says its version.
    Start,
    Unit,
    Integration,
    E2e,
    Functional,
    Stress,
}

/// What stands before a program of the row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runner {
    pub kind: RunnerKind,
    #[serde(default)]
    pub program: String,
    #[serde(default)]
    pub args: Vec<String>,
    /// Debian's packages that bring it.
    #[serde(default)]
    pub install: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RunnerKind {
    Native,
    /// A loader of another libc: the processor itself runs the program.
    Loader,
    Emulated,
    Wine,
    None,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Endian {
    Little,
    Big,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Format {
    #[serde(rename = "tar.gz")]
    TarGz,
    #[serde(rename = "zip")]
    Zip,
}

/// The processor's word in each kind of package.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    pub deb: Option<String>,
    pub rpm: Option<String>,
    pub apk: Option<String>,
}

/// A machine of the workflows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Job {
    pub runner: String,
    /// Whether its programs start there as they are.
    #[serde(default)]
    pub is_native: bool,
    /// A machine that they start on, where the one that builds them is none.
    pub starts_on: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Native {
    pub rustflags: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Zig {
    /// With the libc floor: `s390x-linux-gnu.2.28`.
    pub target: String,
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// Archives that the link asks for and that have nothing to give.
    #[serde(default)]
    pub empty_libraries: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gcc {
    /// Before `gcc`, `g++` and `ar`.
    pub prefix: String,
    /// After `gcc` and `g++`.
    #[serde(default)]
    pub suffix: String,
    pub install: Vec<String>,
    #[serde(default)]
    pub rustflags: Vec<String>,
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// Whether a standard library built here lacks the objects a program starts with.
    #[serde(default)]
    pub start_objects: bool,
}

impl Matrix {
    pub fn load(checkout: &Path) -> Result<Matrix> {
        let path = checkout.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        Matrix::parse(&text)
    }

    /// Every finding at once, a line each, so that a person mends them in one go.
    pub fn parse(text: &str) -> Result<Matrix> {
        let read: Text = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            anyhow!("{FILE}:{line}: {}", error.message())
        })?;
        let findings = checks::all(&read.platform);
        if findings.is_empty() {
            return Ok(Matrix { rows: read.platform.into_iter().map(Spanned::into_inner).collect(), text: text.to_owned() });
        }
        let lines: Vec<String> = findings.into_iter().map(|(at, what)| format!("{FILE}:{}: {what}", line_of(text, at))).collect();
        Err(anyhow!("{}", lines.join("\n")))
    }

    /// `platforms/matrix.toml:17`, for a finding about something of it.
    pub fn place<T>(&self, of: &Spanned<T>) -> String {
        format!("{FILE}:{}", line_of(&self.text, of.span().start))
    }

    pub fn row(&self, name: &str) -> Result<&Row> {
        let found = self.rows.iter().find(|row| row.name() == name || row.triple() == name);
        found.with_context(|| {
            let names: Vec<&str> = self.rows.iter().map(Row::name).collect();
            format!("there is no platform {name:?}; there are {}", names.join(", "))
        })
    }

    /// The processors that the server starts on without being asked twice: those whose tests somebody promised to run.
    pub fn supported_processors(&self) -> Vec<&str> {
        let mut found: Vec<&str> = self.rows.iter().filter(|row| row.tier() <= 2).map(|row| row.arch.as_str()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Row {
    pub fn name(&self) -> &str {
        self.name.get_ref()
    }

    pub fn triple(&self) -> &str {
        self.triple.get_ref()
    }

    pub fn tier(&self) -> u8 {
        *self.tier.get_ref()
    }

    /// The triple as it stands in names of variables of the `cc` and `bindgen` crates.
    pub fn triple_word(&self) -> String {
        self.triple().replace(['-', '.'], "_")
    }

    pub fn skip(&self, suite: Suite) -> Option<&Skip> {
        self.skips.iter().map(Spanned::get_ref).find(|skip| skip.check == suite)
    }

    pub fn is_emulated(&self) -> bool {
        matches!(self.runner.kind, RunnerKind::Emulated | RunnerKind::Wine)
    }

    pub fn executable(&self, program: &str) -> String {
        if self.os == "windows" { format!("{program}.exe") } else { program.to_owned() }
    }
}

impl Route {
    pub fn word(self) -> &'static str {
        match self {
            Route::Native => "native",
            Route::Zig => "zig",
            Route::Gcc => "gcc",
            Route::Cross => "cross",
        }
    }
}

impl Suite {
    pub const ALL: [Suite; 7] = [Suite::Build, Suite::Start, Suite::Unit, Suite::Integration, Suite::E2e, Suite::Functional, Suite::Stress];

    pub fn word(self) -> &'static str {
        match self {
            Suite::Build => "build",
            Suite::Start => "start",
            Suite::Unit => "unit",
            Suite::Integration => "integration",
            Suite::E2e => "e2e",
            Suite::Functional => "functional",
            Suite::Stress => "stress",
        }
    }

    /// What a tier promises.
    pub fn of_tier(tier: u8) -> &'static [Suite] {
        match tier {
            1 => &Suite::ALL,
            2 => &[Suite::Build, Suite::Start, Suite::Unit, Suite::Integration, Suite::E2e],
            _ => &[Suite::Build, Suite::Start],
        }
    }

    /// What a release waits for, of what the tier promises; the rest is told in its notes.
    pub fn held_back_by(tier: u8) -> &'static [Suite] {
        match tier {
            1 => &Suite::ALL,
            2 => &[Suite::Build, Suite::Start],
            _ => &[],
        }
    }
}

impl RunnerKind {
    pub fn word(self) -> &'static str {
        match self {
            RunnerKind::Native => "native",
            RunnerKind::Loader => "native, through a loader",
            RunnerKind::Emulated => "emulated",
            RunnerKind::Wine => "emulated by wine",
            RunnerKind::None => "none",
        }
    }
}

impl Format {
    pub fn ending(self) -> &'static str {
        match self {
            Format::TarGz => "tar.gz",
            Format::Zip => "zip",
        }
    }
}

/// Lines count from 1.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests;
