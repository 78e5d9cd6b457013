//! `bbolt pages`: a table of all pages.
//!
//! Writes: a line per page, overflow not counted. Reads: the header of every page, and the trees if the free list is not stored.

use std::{ffi::OsString, io::Write};

use super::{arguments, file};
use crate::cli::Failure;

/// Lists the pages of a database file
#[derive(Debug, clap::Args)]
pub struct Pages {
    #[arg(value_name = "bbolt-file", num_args = 0..)]
    words: Vec<OsString>,
}

impl Pages {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let [path] = arguments::exactly(self.words)?;
        let database = file::open(&path)?;
        let about = |error| file::about(&path, error);
        let free = database.free_pages().map_err(about)?;
        writeln!(out, "ID       TYPE       ITEMS  OVRFLW\n======== ========== ====== ======")?;
        let mut id = 0;
        while id < database.meta().pages {
            let header = database.header(id).map_err(about)?;
            if free.has(id) {
                writeln!(out, "{id:<8} {:<10} {:<6} {:<6}", "free", "", "")?;
                id += 1;
                continue;
            }
            let overflow = if header.overflow > 0 { header.overflow.to_string() } else { String::new() };
            writeln!(out, "{id:<8} {:<10} {:<6} {overflow:<6}", header.kind(), header.count)?;
            id += 1 + u64::from(header.overflow);
        }
        Ok(())
    }
}
