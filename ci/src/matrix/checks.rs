//! What the types cannot say: names told once, facts that agree with each other, skips that explain themselves.
//!
//! Each finding is a place in the text and a sentence.

use toml::Spanned;

use super::{Endian, Route, Row, RunnerKind, Suite};

type Finding = (usize, String);

/// Every compiler of that system takes the oldest one that its program is for from here.
const MACOS_FLOOR: &str = "MACOSX_DEPLOYMENT_TARGET";

pub fn all(rows: &[Spanned<Row>]) -> Vec<Finding> {
    let mut findings = twice(rows, "triple", |row| &row.triple);
    findings.extend(twice(rows, "name", |row| &row.name));
    for row in rows {
        findings.extend(of_row(row.span().start, row.get_ref()));
    }
    findings.sort();
    findings
}

fn twice(rows: &[Spanned<Row>], key: &str, of: impl Fn(&Row) -> &Spanned<String>) -> Vec<Finding> {
    let values: Vec<&Spanned<String>> = rows.iter().map(|row| of(row.get_ref())).collect();
    let is_again = |index: usize| values[..index].iter().any(|earlier| earlier.get_ref() == values[index].get_ref());
    let again = (0..values.len()).filter(|index| is_again(*index));
    again.map(|index| (values[index].span().start, format!("the {key} {:?} is there twice", values[index].get_ref()))).collect()
}

fn of_row(at: usize, row: &Row) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !(1..=3).contains(&row.tier()) {
        findings.push((row.tier.span().start, format!("tier {} of {}: there are tiers 1, 2 and 3", row.tier(), row.name())));
    }
    let words = format!("{}-{}", row.os, row.arch);
    let rest = row.name().strip_prefix(&words);
    if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
        findings.push((row.name.span().start, format!("the name {:?} does not begin with os and arch: {words}", row.name())));
    }
    if let Some(what) = triple_fault(row) {
        findings.push((row.triple.span().start, what));
    }
    findings.extend(route_faults(row));
    findings.extend(runner_fault(row).map(|what| (at, what)));
    findings.extend(job_fault(row).map(|what| (at, what)));
    findings.extend(package_fault(row).map(|what| (at, what)));
    findings.extend(skip_faults(at, row));
    findings
}

/// Two rows of one processor must not write the same package, and each kind belongs to systems of one libc.
fn package_fault(row: &Row) -> Option<String> {
    let (is_musl, packages) = (row.triple().contains("musl"), &row.packages);
    let is_wrong = if is_musl { packages.deb.is_some() || packages.rpm.is_some() } else { packages.apk.is_some() };
    is_wrong.then(|| format!("{}: apk is for musl, deb and rpm are for glibc", row.name()))
}

/// The words that every name of the row is made of have to be those of its triple.
fn triple_fault(row: &Row) -> Option<String> {
    let triple = row.triple();
    let processor = triple.split('-').next().unwrap_or_default();
    let (arch, pointer, endian) = match processor {
        "x86_64" => ("amd64", 64, Endian::Little),
        "aarch64" => ("arm64", 64, Endian::Little),
        "s390x" => ("s390x", 64, Endian::Big),
        "powerpc64le" => ("ppc64le", 64, Endian::Little),
        "riscv64gc" => ("riscv64", 64, Endian::Little),
        "armv7" => ("arm", 32, Endian::Little),
        "i686" => ("386", 32, Endian::Little),
        _ => return Some(format!("the processor of {triple} is not known here: add its words to ci/src/matrix/checks.rs")),
    };
    let os = ["linux", "darwin", "windows", "freebsd"].into_iter().find(|os| triple.contains(os)).unwrap_or("unknown");
    if (row.os.as_str(), row.arch.as_str()) != (os, arch) {
        return Some(format!("{triple} is {os}/{arch}, not {}/{}", row.os, row.arch));
    }
    if (*row.pointer.get_ref(), row.endian) != (pointer, endian) {
        return Some(format!("{triple} has pointers of {pointer} bits and is {endian:?}-endian"));
    }
    triple
        .contains("musl")
        .then(|| !row.name().ends_with("-musl"))
        .filter(|is_wrong| *is_wrong)
        .map(|_| format!("{triple} is a musl row: its name ends with -musl, so that its archive does not take the other one's place"))
}

fn route_faults(row: &Row) -> Vec<Finding> {
    let (routes, at) = (row.routes.get_ref(), row.routes.span().start);
    let mut findings = Vec::new();
    if routes.is_empty() {
        findings.push((at, format!("{} has no route: nothing builds it", row.name())));
    }
    if routes.contains(&Route::Zig) != row.zig.is_some() {
        findings.push((at, format!("{}: the route zig and the table zig belong together", row.name())));
    }
    if routes.contains(&Route::Gcc) != row.gcc.is_some() {
        findings.push((at, format!("{}: the route gcc and the table gcc belong together", row.name())));
    }
    // zig takes a target without a version for one of its own choice, years newer.
    let floor = ["glibc ", "macOS "].into_iter().find_map(|libc| row.floor.strip_prefix(libc)?.split(',').next());
    if let (Some(zig), Some(version)) = (&row.zig, floor)
        && !zig.target.ends_with(&format!(".{version}"))
    {
        findings.push((at, format!("{}: zig's target {:?} does not name the floor {version}", row.name(), zig.target)));
    }
    let of_macos = row.floor.strip_prefix("macOS ");
    if of_macos != row.vars.get(MACOS_FLOOR).map(String::as_str) {
        findings.push((at, format!("{}: its variable {MACOS_FLOOR} does not name the floor {:?}", row.name(), row.floor)));
    }
    findings
}

fn runner_fault(row: &Row) -> Option<String> {
    let needs_program = matches!(row.runner.kind, RunnerKind::Loader | RunnerKind::Emulated | RunnerKind::Wine);
    (needs_program == row.runner.program.is_empty()).then(|| {
        format!(
            "{}: a runner that is {} {}",
            row.name(),
            row.runner.kind.word(),
            if needs_program { "needs a program" } else { "has no program" }
        )
    })
}

/// Where it is built natively it is started there.
fn job_fault(row: &Row) -> Option<String> {
    let job = row.job.as_ref().filter(|job| job.is_native)?;
    let other = job.starts_on.as_ref()?;
    Some(format!("{} starts on its own job {}, and on {other} besides: one of the two is meant", row.name(), job.runner))
}

fn skip_faults(at: usize, row: &Row) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (index, skip) in row.skips.iter().enumerate() {
        let start = skip.span().start;
        findings.extend(skip.get_ref().fault().map(|what| (start, what)));
        let check = skip.get_ref().check;
        if row.skips[..index].iter().any(|earlier| earlier.get_ref().check == check) {
            findings.push((start, format!("{} skips `{}` twice", row.name(), check.word())));
        }
        if !Suite::of_tier(row.tier()).contains(&check) {
            findings.push((start, format!("tier {} does not promise `{}`: nothing is skipped", row.tier(), check.word())));
        }
    }
    // `start` is not promised where nothing can start it, and the page says so by itself.
    let is_run = |suite: &Suite| matches!(suite, Suite::Build | Suite::Start) || row.suites.contains(suite);
    for suite in Suite::of_tier(row.tier()).iter().filter(|suite| !is_run(suite) && row.skip(**suite).is_none()) {
        findings.push((
            at,
            format!("tier {} promises `{}`: {} has to run it or to skip it with a reason", row.tier(), suite.word(), row.name()),
        ));
    }
    findings
}
