//! `bbolt info`: the page size.
//!
//! Writes: one line. Reads: the meta pages.

use std::{ffi::OsString, io::Write};

use super::{arguments, file};
use crate::cli::Failure;

/// Shows the page size of a database file
#[derive(Debug, clap::Args)]
pub struct Info {
    #[arg(value_name = "bbolt-file", num_args = 0..)]
    words: Vec<OsString>,
}

impl Info {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let [path] = arguments::exactly(self.words)?;
        Ok(writeln!(out, "Page Size: {}", file::open(&path)?.format().page_size)?)
    }
}
