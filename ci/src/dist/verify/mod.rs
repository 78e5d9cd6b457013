//! Takes what is given out as a person would, and tries it: by the kind of file.
//!
//! ```text
//!   etcd-v3.7.1-linux-amd64.tar.gz    sum, layout, floor, the walk of its README, versions     archive
//!   etcd-v3.7.1-src.tar.gz            builds with nothing but what is in it                    source
//!   etcd_3.7.1_amd64.deb              a clean Debian: install, run, upgrade, remove, purge     deb
//!   etcd-3.7.1-1.x86_64.rpm, .apk     listed, and linted where there is a linter               listing
//! ```

mod archive;
#[cfg(unix)]
mod deb;
mod listing;
mod source;
mod walk;

use std::path::Path;

use anyhow::{Context, Result};

use super::sums;
use crate::digest;
use crate::matrix::Matrix;
use crate::place;

/// Whether programs have to run on the oldest system that the row promises, or only on this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    Promised,
    Any,
}

/// `must_start`: programs that nothing here could start are not enough.
pub fn verify(path: &Path, floor: Floor, must_start: bool) -> Result<()> {
    // Steps run in folders of their own.
    let path = &path.canonicalize().with_context(|| format!("failed to open {}", path.display()))?;
    let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
    let sha256 = digest::of_file(path)?;
    sums::check(path, &sha256)?;
    println!("{sha256}  {name}");
    match name.rsplit('.').next() {
        #[cfg(unix)]
        Some("deb") => deb::verify(path),
        Some("rpm" | "apk") => listing::verify(path),
        _ if name.ends_with("-src.tar.gz") => source::verify(path),
        _ => archive::verify(&Matrix::load(&place::checkout())?, path, sha256, floor, must_start),
    }
}
