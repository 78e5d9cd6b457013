//! What the loader takes and refuses.

use super::*;

const ROW: &str = r#"[[platform]]
name = "linux-s390x"
triple = "s390x-unknown-linux-gnu"
os = "linux"
arch = "s390x"
tier = 2
routes = ["zig"]
suites = ["unit", "integration"]
skips = [{ check = "e2e", reason = "no native runner", owner = "somebody", since = "2026-01-02" }]
runner = { kind = "emulated", program = "qemu-s390x-static" }
cpu = "z10"
floor = "glibc 2.28"
pointer = 64
endian = "big"
archive = "tar.gz"
packages = { deb = "s390x" }
zig = { target = "s390x-linux-gnu.2.28" }
"#;

fn refused(text: &str) -> String {
    Matrix::parse(text).err().map(|error| error.to_string()).unwrap_or_else(|| panic!("it was taken:\n{text}"))
}

fn refused_with(line: &str, other: &str) -> String {
    assert!(ROW.contains(line), "{line}");
    refused(&ROW.replace(line, other))
}

#[test]
fn the_matrix_of_this_checkout_is_sound_and_has_every_row() {
    let matrix = Matrix::load(&crate::place::checkout()).unwrap();
    let names: Vec<(&str, u8)> = matrix.rows.iter().map(|row| (row.name(), row.tier())).collect();
    let wanted = [
        ("linux-amd64", 1),
        ("linux-arm64", 1),
        ("linux-s390x", 2),
        ("linux-ppc64le", 2),
        ("linux-riscv64", 3),
        ("linux-arm", 3),
        ("linux-386", 3),
        ("linux-amd64-musl", 2),
        ("linux-arm64-musl", 2),
        ("darwin-arm64", 2),
        ("darwin-amd64", 3),
        ("windows-amd64", 2),
        ("windows-arm64", 3),
        ("freebsd-amd64", 3),
    ];
    assert_eq!(names, wanted);
}

#[test]
fn the_processors_that_the_server_starts_on_are_etcds() {
    let matrix = Matrix::load(&crate::place::checkout()).unwrap();
    assert_eq!(matrix.supported_processors(), ["amd64", "arm64", "ppc64le", "s390x"]);
}

#[test]
fn what_only_debian_has_is_of_the_route_gcc_alone() {
    let matrix = Matrix::load(&crate::place::checkout()).unwrap();
    for row in &matrix.rows {
        let native = row.native.iter().flat_map(|native| &native.rustflags);
        for flag in row.rustflags.iter().chain(&row.cxxflags).chain(native) {
            assert!(!flag.contains("/usr/") && !flag.contains("-posix"), "{}: {flag}", row.name());
        }
    }
}

#[test]
fn a_sound_row_is_taken() {
    let matrix = Matrix::parse(ROW).unwrap();
    let row = matrix.row("s390x-unknown-linux-gnu").unwrap();
    assert_eq!(
        (row.name(), row.tier(), row.endian, row.triple_word().as_str()),
        ("linux-s390x", 2, Endian::Big, "s390x_unknown_linux_gnu")
    );
    assert_eq!(row.skip(Suite::E2e).unwrap().owner, "somebody");
}

#[test]
fn an_unknown_key_is_refused_with_file_and_line() {
    let said = refused_with("cpu = \"z10\"", "cpus = \"z10\"");
    assert!(said.starts_with("platforms/matrix.toml:11: unknown field `cpus`"), "{said}");
    let said = refused(&format!("{ROW}\n[surprise]\n"));
    assert!(said.starts_with("platforms/matrix.toml:19: unknown field `surprise`"), "{said}");
    let said = refused_with("owner = \"somebody\"", "owner = \"somebody\", by = \"me\"");
    assert!(said.starts_with("platforms/matrix.toml:9: unknown field `by`"), "{said}");
}

#[test]
fn a_triple_that_is_there_twice_is_refused_where_it_is_repeated() {
    let said = refused(&format!("{ROW}{}", ROW.replace("\"linux-s390x\"", "\"linux-s390x-other\"")));
    assert_eq!(said, "platforms/matrix.toml:20: the triple \"s390x-unknown-linux-gnu\" is there twice");
}

#[test]
fn a_skip_without_reason_owner_or_date_is_refused() {
    for field in ["reason = \"no native runner\", ", "owner = \"somebody\", ", ", since = \"2026-01-02\""] {
        let name = field.trim_start_matches(", ").split(' ').next().unwrap();
        let said = refused_with(field, "");
        assert!(said.starts_with(&format!("platforms/matrix.toml:9: missing field `{name}`")), "{said}");
    }
    assert!(refused_with("no native runner", " ").contains(":9: the skip of `e2e` gives no reason"));
    assert!(refused_with("somebody", " ").contains(":9: nobody answers for the skip of `e2e`"));
    assert!(refused_with("2026-01-02", "2026-02-30").contains(":9: the skip of `e2e` is since \"2026-02-30\", which is no day"));
}

#[test]
fn a_promise_that_is_neither_kept_nor_skipped_is_refused() {
    let said = refused_with("\"unit\", ", "");
    assert_eq!(said, "platforms/matrix.toml:1: tier 2 promises `unit`: linux-s390x has to run it or to skip it with a reason");
}

#[test]
fn a_skip_of_what_was_never_promised_is_refused() {
    assert!(refused_with("check = \"e2e\"", "check = \"stress\"").contains(":9: tier 2 does not promise `stress`"));
}

#[test]
fn words_that_are_not_those_of_the_triple_are_refused() {
    assert!(refused_with("\"big\"", "\"little\"").contains(":3: s390x-unknown-linux-gnu has pointers of 64 bits and is Big-endian"));
    assert!(refused_with("os = \"linux\"", "os = \"darwin\"").contains("s390x-unknown-linux-gnu is linux/s390x, not darwin/s390x"));
    assert!(refused_with("unknown-linux-gnu\"", "unknown-linux-musl\"").contains("its name ends with -musl"));
}

#[test]
fn a_tier_beyond_three_is_refused() {
    assert!(refused_with("tier = 2", "tier = 4").contains(":6: tier 4 of linux-s390x: there are tiers 1, 2 and 3"));
}

#[test]
fn a_route_without_its_facts_is_refused() {
    assert!(refused_with("[\"zig\"]", "[\"zig\", \"gcc\"]").contains(":7: linux-s390x: the route gcc and the table gcc belong together"));
    assert!(refused_with("program = \"qemu-s390x-static\"", "args = []").contains("needs a program"));
}

#[test]
fn a_target_of_zig_without_the_floor_is_refused() {
    for other in ["s390x-linux-gnu", "s390x-linux-gnu.2.36"] {
        let wanted = format!(":7: linux-s390x: zig's target {other:?} does not name the floor 2.28");
        assert!(refused_with("s390x-linux-gnu.2.28", other).ends_with(&wanted));
    }
}

#[test]
fn a_floor_of_macos_is_named_for_every_route_or_refused() {
    let row = ROW.replace("s390x-unknown-linux-gnu", "aarch64-apple-darwin").replace("linux-s390x\"\ntriple", "darwin-arm64\"\ntriple");
    let row = row.replace("os = \"linux\"\narch = \"s390x\"", "os = \"darwin\"\narch = \"arm64\"").replace("\"big\"", "\"little\"");
    let row =
        row.replace("{ deb = \"s390x\" }", "{}").replace("glibc 2.28", "macOS 11.0").replace("s390x-linux-gnu.2.28", "aarch64-macos.11.0");
    assert!(refused(&row).ends_with("darwin-arm64: its variable MACOSX_DEPLOYMENT_TARGET does not name the floor \"macOS 11.0\""));
    let vars = |version: &str| format!("{row}vars = {{ MACOSX_DEPLOYMENT_TARGET = \"{version}\" }}\n");
    assert!(refused(&vars("12.0")).contains("MACOSX_DEPLOYMENT_TARGET"));
    Matrix::parse(&vars("11.0")).unwrap();
}

#[test]
fn a_job_that_starts_its_programs_needs_no_other_machine_for_it() {
    let job =
        |is_native| format!("packages = {{ deb = \"s390x\" }}\njob = {{ runner = \"z\", is-native = {is_native}, starts-on = \"y\" }}");
    let line = "packages = { deb = \"s390x\" }";
    assert!(refused_with(line, &job(true)).contains("linux-s390x starts on its own job z, and on y besides"));
    Matrix::parse(&ROW.replace(line, &job(false))).unwrap();
}

#[test]
fn a_package_of_the_other_libc_is_refused() {
    assert!(
        refused_with("{ deb = \"s390x\" }", "{ apk = \"s390x\" }").ends_with(":1: linux-s390x: apk is for musl, deb and rpm are for glibc")
    );
}

#[test]
fn all_findings_are_told_at_once() {
    let said = refused(&ROW.replace("tier = 2", "tier = 0").replace("somebody", ""));
    assert!(said.lines().count() >= 2, "{said}");
}

#[test]
fn a_platform_that_is_not_there_is_told_with_those_that_are() {
    let said = Matrix::parse(ROW).unwrap().row("linux-sparc").err().unwrap().to_string();
    assert_eq!(said, "there is no platform \"linux-sparc\"; there are linux-s390x");
}
