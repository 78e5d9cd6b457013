//! `bbolt check`: whether every page is used once and all keys are in order.
//!
//! Writes: `OK`, or a line for each thing that is wrong and their number. Reads: the whole file.

use std::{ffi::OsString, io, io::Write};

use super::{arguments, file};
use crate::cli::Failure;

/// Checks a database file for damage
#[derive(Debug, clap::Args)]
pub struct Check {
    #[arg(value_name = "bbolt-file", num_args = 0..)]
    words: Vec<OsString>,
    #[arg(long, default_value_t = 0, help = "check the tree below this page only")]
    from_page: u64,
}

impl Check {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let [path] = arguments::exactly(self.words)?;
        let database = file::open(&path)?;
        let (from, pages) = (self.from_page, database.meta().pages);
        let (mut count, mut written): (u64, io::Result<()>) = (0, Ok(()));
        let mut say = |line: String| {
            count += 1;
            if written.is_ok() {
                written = writeln!(out, "{line}");
            }
        };
        let checked = match from {
            0 => database.check(&mut |finding| say(finding.to_string())),
            from if from < 2 || from >= pages => {
                say(format!("page ID ({from}) out of range [2, {pages})"));
                Ok(())
            }
            from => database.check_below(from, &mut |finding| say(finding.to_string())),
        };
        written?;
        checked.map_err(|error| file::about(&path, error))?;
        if count > 0 {
            writeln!(out, "{count} errors found")?;
            return Err(Failure::general("invalid value"));
        }
        Ok(writeln!(out, "OK")?)
    }
}
