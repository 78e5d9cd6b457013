//! `bbolt buckets`: the names of the buckets at the root.
//!
//! Writes: a line per bucket. Reads: the root bucket.

use std::{ffi::OsString, io::Write};

use super::{arguments, file};
use crate::{bbolt::Item, cli::Failure};

/// Lists the buckets of a database file
#[derive(Debug, clap::Args)]
pub struct Buckets {
    #[arg(value_name = "bbolt-file", num_args = 0..)]
    words: Vec<OsString>,
}

impl Buckets {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let [path] = arguments::exactly(self.words)?;
        let database = file::open(&path)?;
        file::show_items(&database.root(), &path, out, |item, out| match item {
            Item::Bucket { name } => Ok(out.write_all(&[name, b"\n"].concat())?),
            Item::Entry { .. } => Ok(()),
        })
    }
}
