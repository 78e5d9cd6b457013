//! `bbolt version`: which bbolt the files and answers are those of.
//!
//! Writes: three lines. Reads: nothing.

use std::{ffi::OsString, io::Write};

use crate::{cli::Failure, release};

/// Shows the version of bbolt whose files these are
#[derive(Debug, clap::Args)]
pub struct Version {
    #[arg(hide = true)]
    _ignored: Vec<OsString>,
}

/// Quirk: what bbolt 1.5.0, which etcd 3.7 uses, says of itself (bbolt:version/version.go).
const BBOLT: &str = "1.4.0-alpha.0";

impl Version {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let (rust, os, arch) = (release::RUST_VERSION, release::os(), release::arch());
        Ok(writeln!(out, "bbolt Version: {BBOLT}\nRust Version: {rust}\nRust OS/Arch: {os}/{arch}")?)
    }
}
