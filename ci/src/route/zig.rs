//! zig as C compiler, C++ compiler, archiver and linker, against the libc floor of the row.
//!
//! ```text
//!   wrappers/<row>-zig/cc    exec cargo-zigbuild zig cc -- -target s390x-linux-gnu.2.28 "$@"
//! ```
//!
//! cargo-zigbuild's `zig cc` drops or rewrites the arguments of rustc and the cc crate that zig would refuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use super::{Recipe, script};
use crate::place;
use crate::shell::Step;

/// Pinned: another zig is another compiler, and another archive of RocksDB.
pub const PACKAGES: [&str; 2] = ["ziglang==0.17.0", "cargo-zigbuild==0.24.0"];

fn tool() -> PathBuf {
    place::python_tools().join("cargo-zigbuild")
}

/// The wrappers are scripts of a shell, which Windows starts for nobody.
pub const CAN_BE_HERE: bool = cfg!(unix);

/// Those versions and no others: the results name them, and so does the archive of RocksDB.
pub fn is_here() -> bool {
    // Asked of every row, and one answer a process, but for a doctor who has just brought it.
    static IS_HERE: OnceLock<()> = OnceLock::new();
    let says = |step: Step, package: &str| {
        let said = step.first_line(Path::new("/")).unwrap_or_default();
        package.split_once("==").is_some_and(|(_, version)| said.split(' ').any(|word| word == version))
    };
    let asked = || {
        let zig = Step::new(place::python_tools().join("python")).args(["-m", "ziglang", "version"]);
        says(zig, PACKAGES[0]) && says(Step::new(tool()).args(["--version"]), PACKAGES[1])
    };
    if CAN_BE_HERE && IS_HERE.get().is_none() && asked() {
        IS_HERE.get_or_init(|| ());
    }
    IS_HERE.get().is_some()
}

pub fn prepare(recipe: &mut Recipe, rustflags: &mut Vec<String>) -> Result<()> {
    let zig = recipe.row.zig.clone().context("the row has no table zig")?;
    let folder = recipe.wrappers();
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let bin = place::python_tools();
    for (name, verb, arguments) in [
        ("cc", "cc", format!("-- -target {} ", zig.target)),
        ("c++", "c++", format!("-- -target {} ", zig.target)),
        ("ar", "ar", "-- ".to_owned()),
        ("ranlib", "ranlib", "-- ".to_owned()),
    ] {
        let bin = bin.display();
        script(&folder.join(name), &format!("#!/bin/sh\nPATH={bin}:$PATH exec {bin}/cargo-zigbuild zig {verb} {arguments}\"$@\"\n"))?;
    }
    recipe.set_for_target("CC", folder.join("cc"));
    recipe.set_for_target("CXX", folder.join("c++"));
    recipe.set_for_target("AR", folder.join("ar"));
    recipe.set_for_target("RANLIB", folder.join("ranlib"));
    recipe.set_cargo("LINKER", folder.join("cc"));
    // zig writes symbols for a debugger unless told not to: ten times the archive, in every program that links it.
    recipe.cxxflags.push("-g0".into());
    // libc++ of zig goes in with the link itself; the cc crate would name the distribution's libstdc++.
    recipe.set_for_target("CXXSTDLIB", "c++");
    // The same for RocksDB's crate, which reads this name only, and only where it links an archive.
    recipe.set("CXXSTDLIB", "c++");
    for (name, value) in &zig.vars {
        recipe.set(name, value);
    }
    for library in &zig.empty_libraries {
        let path = folder.join(format!("lib{library}.a"));
        fs::write(&path, b"!<arch>\n").with_context(|| format!("failed to write {}", path.display()))?;
    }
    if !zig.empty_libraries.is_empty() {
        rustflags.push(format!("-Lnative={}", folder.display()));
    }
    ensure!(is_here(), "zig is missing: `cargo ci doctor {} --fix` brings it", recipe.row.name());
    recipe.compiler = folder.join("c++").into();
    recipe.compiler_facts.push(format!("zig target {}", zig.target));
    recipe.compiler_facts.extend(PACKAGES.iter().map(ToString::to_string));
    Ok(())
}
