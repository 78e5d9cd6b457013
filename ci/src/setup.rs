//! Installs what a build or the tests need and the machine lacks, and has RocksDB built.
//!
//! A Debian-like machine, and root or a sudo that asks for no password: `apt-get` brings it. Anywhere else the missing tool is named
//! with its package.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::matrix::{Route, Row};
use crate::rocksdb::{self, Archive};
use crate::route::Recipe;
use crate::shell::Step;
use crate::{apt, place};

/// A tool, how it is recognised, and the package that brings it.
pub struct Tool {
    pub name: &'static str,
    pub needed_for: &'static str,
    pub package: &'static str,
    /// A build does without it.
    is_for_tests: bool,
    is_present: fn() -> bool,
}

/// What the machine is to be made ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Build,
    Tests,
}

const TOOLS: &[Tool] = &[
    Tool { name: "a C++ compiler", needed_for: "RocksDB and the allocator", package: "g++", is_for_tests: false, is_present: has_compiler },
    Tool { name: "libclang", needed_for: "RocksDB's bindings", package: "libclang-dev", is_for_tests: false, is_present: has_libclang },
    #[cfg(target_os = "linux")]
    Tool {
        name: "strace",
        needed_for: "the tests that make system calls fail",
        package: "strace",
        is_for_tests: true,
        is_present: has_strace,
    },
    // Any since 1.21 fetches the one that the client asks for.
    Tool { name: "Go", needed_for: "the tests with etcd's own client", package: "golang-go", is_for_tests: true, is_present: has_go },
    Tool {
        name: "Python with venv",
        needed_for: "the tests with a client in Python",
        package: "python3-venv",
        is_for_tests: true,
        is_present: has_venv,
    },
];

/// Everything that is needed. A second call finds it all and returns at once.
pub fn setup(purpose: Purpose) -> Result<Archive> {
    tools(purpose)?;
    components();
    rocksdb::archive()
}

/// RocksDB for a row, made ahead: it is what takes the time, and it does not change with the sources of the product.
pub fn row(row: &Row, route: Option<Route>) -> Result<Archive> {
    rocksdb::archive_for(&Recipe::new(row, route)?)
}

/// What this machine lacks for a purpose.
pub fn missing(purpose: Purpose) -> Vec<&'static Tool> {
    let needed = TOOLS.iter().filter(|tool| purpose == Purpose::Tests || !tool.is_for_tests);
    needed.filter(|tool| !(tool.is_present)()).collect()
}

fn tools(purpose: Purpose) -> Result<()> {
    let missing = missing(purpose);
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        println!("missing: {} (package {}), needed for {}", tool.name, tool.package, tool.needed_for);
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    if !apt::can_install() {
        bail!("please install: {}", packages.join(" "));
    }
    apt::install(&packages).iter().try_for_each(|step| step.run(Path::new("/")).map(drop))?;
    match missing.iter().find(|tool| !(tool.is_present)()) {
        Some(tool) => bail!("{} is still missing after installing {}", tool.name, tool.package),
        None => Ok(()),
    }
}

/// rustfmt and clippy, where rustup has the toolchain. Without them the suite says which check it could not run.
fn components() {
    for component in ["rustfmt", "clippy"] {
        if !has_component(component) {
            let added = Step::new("rustup").args(["component", "add", component]).run(&place::checkout());
            if let Err(error) = added {
                println!("{component} is missing and could not be added: {error:#}");
            }
        }
    }
}

/// Whether cargo has `rustfmt` or `clippy`.
pub fn has_component(component: &str) -> bool {
    let subcommand = if component == "rustfmt" { "fmt" } else { component };
    Step::cargo().args([subcommand, "--version"]).first_line(&place::checkout()).is_some()
}

fn has_compiler() -> bool {
    Step::new(rocksdb::compiler()).args(["--version"]).first_line(Path::new("/")).is_some()
}

#[cfg(target_os = "linux")]
fn has_strace() -> bool {
    Step::new("strace").args(["--version"]).first_line(Path::new("/")).is_some()
}

fn has_go() -> bool {
    Step::new("go").args(["version"]).first_line(Path::new("/")).is_some()
}

fn has_venv() -> bool {
    Step::new(place::PYTHON).args(["-c", "import ensurepip, venv; print(1)"]).first_line(Path::new("/")).is_some()
}

fn has_libclang() -> bool {
    let named = env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    if named.is_some_and(|path| path.is_file() || holds_libclang(&path)) {
        return true;
    }
    library_folders().iter().any(|folder| holds_libclang(folder))
}

/// The headers of the compiler itself that belong to libclang. It finds them by itself for targets like this machine, not for windows.
pub fn compiler_headers() -> Option<PathBuf> {
    let named = env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let named = named.map(|path| if path.is_file() { path.parent().map(Path::to_path_buf).unwrap_or_default() } else { path });
    let versions = named.into_iter().chain(library_folders()).filter_map(|folder| std::fs::read_dir(folder.join("clang")).ok());
    versions.flatten().flatten().map(|version| version.path().join("include")).find(|headers| headers.join("stdbool.h").is_file())
}

/// Where bindgen looks: the system's library folders and those of each LLVM.
fn library_folders() -> Vec<PathBuf> {
    const ELSEWHERE: [&str; 7] = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/local/opt/llvm/lib",
        "/opt/homebrew/opt/llvm/lib",
        "/Library/Developer/CommandLineTools/usr/lib",
        "C:/Program Files/LLVM/bin",
    ];
    let mut folders: Vec<PathBuf> = ELSEWHERE.iter().map(PathBuf::from).collect();
    for entry in std::fs::read_dir("/usr/lib").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("llvm") {
            folders.push(entry.path().join("lib"));
        } else if name.contains("-linux-") {
            folders.push(entry.path());
        }
    }
    folders
}

fn holds_libclang(folder: &Path) -> bool {
    let is_libclang = |name: &str| {
        matches!(name, "libclang.dylib" | "libclang.dll")
            || name.starts_with("libclang.so")
            || (name.starts_with("libclang-") && name.contains(".so"))
    };
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| is_libclang(&entry.file_name().to_string_lossy()) && !entry.file_name().to_string_lossy().starts_with("libclang-cpp"))
}
