//! The standard library of a triple: with the toolchain, from source, or not there.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::place;
use crate::shell::Step;

/// Debian's compiler, which has the source of its library in a package.
pub const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const COMPILER: &str = "/usr/bin/rustc";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    Installed,
    FromSource,
    Missing,
}

impl Standard {
    pub fn of(triple: &str) -> Standard {
        let folder = Step::new("rustc").args(["--print", "target-libdir", "--target", triple]).first_line(&place::checkout());
        if folder.is_some_and(|folder| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())) {
            return Standard::Installed;
        }
        let sysroot = Step::new(COMPILER).args(["--print", "sysroot"]).first_line(Path::new("/"));
        match sysroot {
            Some(root) if source(&root).is_dir() => Standard::FromSource,
            _ => Standard::Missing,
        }
    }
}

fn source(sysroot: &str) -> PathBuf {
    Path::new(sysroot).join("lib/rustlib/src/rust/library/std")
}

/// For a cargo that compiles the library with the program. It is Debian's cargo and compiler: rustup's would answer first.
pub fn variables() -> Vec<(String, OsString)> {
    let mut path = OsString::from("/usr/bin:");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    vec![
        ("PATH".into(), path),
        ("CARGO".into(), "/usr/bin/cargo".into()),
        ("RUSTC".into(), COMPILER.into()),
        ("RUSTC_BOOTSTRAP".into(), "1".into()),
        ("CARGO_UNSTABLE_BUILD_STD".into(), "std,panic_abort,panic_unwind".into()),
    ]
}

/// The two objects of a windows program that a library built from source does not bring.
pub fn start_objects(triple: &str) -> Result<PathBuf> {
    let folder = place::cache().join("wrappers").join(format!("start-{triple}"));
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let sysroot = Step::new(COMPILER).args(["--print", "sysroot"]).first_line(Path::new("/")).context("Debian's rustc is gone")?;
    for name in ["rsbegin", "rsend"] {
        let object = folder.join(format!("{name}.o"));
        if object.exists() {
            continue;
        }
        let source = Path::new(&sysroot).join(format!("lib/rustlib/src/rust/library/rtstartup/{name}.rs"));
        let step = Step::new(COMPILER).args(["--crate-type", "rlib", "--emit", "obj", "--target", triple, "-o"]).args([&object, &source]);
        step.var("RUSTC_BOOTSTRAP", "1").run(Path::new("/"))?;
    }
    Ok(folder)
}
