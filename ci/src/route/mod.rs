//! How a row is built: a cargo, and the variables that make it build for the row. Everything is in the environment, so that
//! `build`, nextest and RocksDB's own build are the same line with another verb.
//!
//! ```text
//!   Row + Route --> Recipe { target, variables } --> cargo build | cargo nextest archive | the archive of RocksDB
//!     native   nothing but the row's flags
//!     gcc      CC, CXX, AR, linker of the distribution's cross compiler
//!     zig      the same, wrappers around zig for the row's libc floor
//!     cross    the same command inside an image of our own, where it is zig
//! ```
//!
//! The standard library comes with the toolchain where it has one for the triple (`rustup target add`); where not, it is
//! compiled with the program from its source, which a Debian machine has in `rust-web-src`.

pub mod cross;
mod gcc;
pub mod standard;
pub mod zig;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

use crate::matrix::{Route, Row};
use crate::shell::Step;
use crate::{git, place};

pub use standard::Standard;

/// Seen in every program, in place of a folder of the machine that built it.
const NO_MACHINE: [(&str, &str); 3] = [("checkout", "/etcd"), ("registry", "/registry"), ("target", "/target")];

pub struct Recipe {
    pub row: Row,
    pub route: Route,
    variables: Vec<(String, OsString)>,
    /// The C++ compiler, for the name of RocksDB's archive.
    pub compiler: OsString,
    pub cxxflags: Vec<String>,
    /// Whatever else decides what the compiler makes.
    pub compiler_facts: Vec<String>,
}

impl Recipe {
    /// The row's first route that this machine has, or the one asked for.
    pub fn new(row: &Row, asked: Option<Route>) -> Result<Recipe> {
        let route = choose(row, asked)?;
        git::Sources::at_begin()?;
        let mut recipe = Recipe {
            row: row.clone(),
            route,
            variables: Vec::new(),
            compiler: crate::rocksdb::compiler(),
            cxxflags: row.cxxflags.clone(),
            compiler_facts: Vec::new(),
        };
        for (name, value) in &row.vars {
            recipe.set(name, value);
        }
        let mut rustflags = row.rustflags.clone();
        match route {
            Route::Native => {
                rustflags.extend(row.native.iter().flat_map(|native| native.rustflags.iter().cloned()));
                // zig's target says the same, and is a fact already.
                recipe.compiler_facts.extend(row.vars.iter().map(|(name, value)| format!("{name}={value}")));
            }
            Route::Gcc => gcc::prepare(&mut recipe, &mut rustflags)?,
            Route::Zig => zig::prepare(&mut recipe, &mut rustflags)?,
            Route::Cross => {
                ensure!(cross::is_inside(), "the route cross is for build, check, test and dist, which run themselves in its image");
                zig::prepare(&mut recipe, &mut rustflags)?;
            }
        }
        if route != Route::Native {
            recipe.bindgen();
        }
        recipe.standard_library(&mut rustflags)?;
        recipe.flags(rustflags);
        Ok(recipe)
    }

    /// What the C++ compiler calls itself. It is asked in the cache: zig for macOS leaves an empty `a.o` where it is asked, and a
    /// checkout with such a file in it is no commit.
    pub fn compiler_version(&self) -> Option<String> {
        let folder = place::cache();
        fs::create_dir_all(&folder).ok()?;
        Step::new(&self.compiler).args(["--version"]).first_line(&folder)
    }

    fn set(&mut self, name: impl Into<String>, value: impl Into<OsString>) {
        self.variables.push((name.into(), value.into()));
    }

    /// A variable of cargo about the target: `CARGO_TARGET_<TRIPLE>_<name>`.
    fn set_cargo(&mut self, name: &str, value: impl Into<OsString>) {
        let word = self.row.triple_word().to_uppercase();
        self.set(format!("CARGO_TARGET_{word}_{name}"), value);
    }

    /// A variable of the `cc` and `bindgen` crates about the target: `<name>_<triple>`.
    fn set_for_target(&mut self, name: &str, value: impl Into<OsString>) {
        let word = self.row.triple_word();
        self.set(format!("{name}_{word}"), value);
    }

    /// What libclang is to know of the target for RocksDB's C header, which asks for three headers of the compiler itself and for
    /// none of the target's C library.
    fn bindgen(&mut self) {
        let headers = crate::setup::compiler_headers().map(|folder| format!(" -isystem {}", folder.display())).unwrap_or_default();
        self.set_for_target("BINDGEN_EXTRA_CLANG_ARGS", format!("-ffreestanding{headers}"));
    }

    fn standard_library(&mut self, rustflags: &mut Vec<String>) -> Result<()> {
        let standard = Standard::of(self.row.triple());
        match standard {
            Standard::Installed => {}
            Standard::FromSource => {
                self.variables.extend(standard::variables());
                if self.route == Route::Gcc && self.row.gcc.as_ref().is_some_and(|gcc| gcc.start_objects) {
                    rustflags.push(format!("-Lnative={}", standard::start_objects(self.row.triple())?.display()));
                }
            }
            Standard::Missing => {
                bail!("there is no standard library for {}: `cargo ci doctor {}` says how to get it", self.row.triple(), self.row.name())
            }
        }
        Ok(())
    }

    fn flags(&mut self, mut rustflags: Vec<String>) {
        for (what, shown) in NO_MACHINE {
            // The last that fits counts, and a target directory may lie in the checkout.
            let folder = match what {
                "checkout" => place::checkout(),
                "registry" => registry(),
                _ => place::target(),
            };
            rustflags.push(format!("--remap-path-prefix={}={shown}", folder.display()));
        }
        self.set_cargo("RUSTFLAGS", rustflags.join(" "));
        if !self.cxxflags.is_empty() {
            let flags = self.cxxflags.join(" ");
            self.set_for_target("CXXFLAGS", flags);
        }
        // The allocator's C code names the time it was compiled at; the same one always, since cargo does not compile it per commit.
        self.set("SOURCE_DATE_EPOCH", "0");
        self.set("CARGO_PROFILE_RELEASE_DEBUG", "false");
        // What is given out has no symbols, as etcd's; a row that cannot strip says so itself.
        if !self.variables.iter().any(|(name, _)| name == "CARGO_PROFILE_RELEASE_STRIP") {
            self.set("CARGO_PROFILE_RELEASE_STRIP", "symbols");
        }
        self.set("CARGO_TARGET_DIR", place::rows_target());
    }

    /// A cargo command for the row. `verb` may be of several words.
    pub fn cargo(&self, verb: &[&str]) -> Step {
        Step::cargo().args(verb).args(["--locked", "--target", self.row.triple()]).vars(self.variables.clone())
    }

    /// The compiler that cargo is to call.
    pub fn rustc(&self) -> OsString {
        let set = self.variables.iter().find(|(name, _)| name == "RUSTC");
        set.map_or_else(|| "rustc".into(), |(_, program)| program.clone())
    }

    /// Whether zig is its compiler: in the image too.
    pub fn is_zig(&self) -> bool {
        matches!(self.route, Route::Zig | Route::Cross)
    }

    /// A folder for what wraps or completes the row's compilers.
    fn wrappers(&self) -> PathBuf {
        place::cache().join("wrappers").join(format!("{}-{}", self.row.name(), self.route.word()))
    }

    /// Where a release build leaves the programs.
    pub fn programs(&self) -> PathBuf {
        place::rows_target().join(self.row.triple()).join("release")
    }
}

fn choose(row: &Row, asked: Option<Route>) -> Result<Route> {
    let routes = row.routes.get_ref();
    if let Some(route) = asked {
        let words: Vec<&str> = routes.iter().map(|route| route.word()).collect();
        ensure!(routes.contains(&route), "{} is not built by the route {}; it has {}", row.name(), route.word(), words.join(", "));
        return Ok(route);
    }
    let found = routes.iter().find(|route| is_here(row, **route));
    match found {
        Some(route) => Ok(*route),
        None => bail!("no route of {} works on this machine: `cargo ci doctor {}` says what is missing", row.name(), row.name()),
    }
}

/// The route by which the row is given out, where only one will do: a machine's own compiler links its own libc, and zig keeps a floor.
pub fn for_release(row: &Row, asked: Option<Route>) -> Option<Route> {
    let keeps_floor = row.floor.starts_with("glibc") && row.routes.get_ref().contains(&Route::Zig);
    asked.or(keeps_floor.then_some(Route::Zig))
}

/// Whether the machine has what the route needs, apart from the standard library.
pub fn is_here(row: &Row, route: Route) -> bool {
    match route {
        Route::Native => is_native(row, host()),
        Route::Zig => zig::is_here(),
        Route::Gcc => gcc::is_here(row),
        Route::Cross => cross::is_inside(),
    }
}

/// Whether programs of the row run on this machine as they are: a static one asks for no libc, and any of Windows for none of its own.
pub fn is_this_machine(row: &Row) -> bool {
    is_machine_of(row, host())
}

/// The system and the processor decide, not the last word of the triple: Rust's own tools on Windows are `-msvc`, the rows `-gnu`.
fn is_machine_of(row: &Row, host: &str) -> bool {
    let processor = |triple: &str| triple.split('-').next().unwrap_or_default().to_owned();
    processor(host) == processor(row.triple()) && host.contains(&row.os)
}

/// Whether the machine's own compilers make programs of the row: of its own triple, and on Windows those of mingw besides.
fn is_native(row: &Row, host: &str) -> bool {
    host == row.triple() || (row.os == "windows" && is_machine_of(row, host))
}

/// The triple of this machine's Rust.
pub fn host() -> &'static str {
    // Asked of every row, and one answer a process.
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let said = Step::new("rustc").args(["-vV"]).command(&place::checkout()).output();
        let said = said.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
        said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned()
    })
}

/// A program of a few words that calls a compiler.
pub fn script(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn registry() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    home.unwrap_or_default().join("registry").join("src")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    #[test]
    fn a_route_that_the_row_does_not_have_is_refused_with_those_it_has() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let said = choose(matrix.row("linux-386").unwrap(), Some(Route::Gcc)).unwrap_err().to_string();
        assert_eq!(said, "linux-386 is not built by the route gcc; it has zig, cross");
    }

    #[cfg(unix)]
    #[test]
    fn a_compiler_that_is_asked_for_its_version_leaves_nothing_in_the_checkout() {
        let row = Matrix::load(&place::checkout()).unwrap().rows.remove(0);
        let folder = std::env::temp_dir().join(format!("cargo-ci-{}-asked", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let compiler = folder.join("c++");
        script(&compiler, "#!/bin/sh\npwd\n").unwrap();
        let (variables, cxxflags, compiler_facts) = Default::default();
        let recipe = Recipe { row, route: Route::Zig, variables, compiler: compiler.into(), cxxflags, compiler_facts };
        assert_eq!(recipe.compiler_version().map(PathBuf::from), Some(place::cache().canonicalize().unwrap()));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_machine_is_its_system_and_its_processor() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let here = |host: &str| {
            let rows = matrix.rows.iter().filter(|row| is_machine_of(row, host));
            rows.map(|row| (row.name(), is_native(row, host))).collect::<Vec<_>>()
        };
        assert_eq!(here("x86_64-pc-windows-msvc"), [("windows-amd64", true)]);
        assert_eq!(here("aarch64-pc-windows-msvc"), [("windows-arm64", true)]);
        assert_eq!(here("aarch64-unknown-linux-gnu"), [("linux-arm64", true), ("linux-arm64-musl", false)]);
        assert_eq!(here("aarch64-apple-darwin"), [("darwin-arm64", true)]);
        assert_eq!(here(""), []);
    }

    #[test]
    fn what_is_given_out_keeps_the_floor_of_glibc_unless_another_route_is_asked_for() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let of = |name: &str, asked| for_release(matrix.row(name).unwrap(), asked);
        assert_eq!(of("linux-amd64", None), Some(Route::Zig));
        assert_eq!(of("linux-amd64", Some(Route::Native)), Some(Route::Native));
        assert_eq!(of("darwin-arm64", None), None);
    }

    #[test]
    fn the_line_of_a_row_can_be_typed_and_names_its_target_and_flags() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let Some(host) = matrix.rows.iter().find(|row| is_here(row, Route::Native)) else { return };
        let line = Recipe::new(host, Some(Route::Native)).unwrap().cargo(&["build", "--release"]).line();
        assert!(line.contains(&format!("cargo build --release --locked --target {}", host.triple())), "{line}");
        assert!(line.contains("RUSTFLAGS=") && line.contains("--remap-path-prefix="), "{line}");
    }
}
