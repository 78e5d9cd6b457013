//! `bbolt keys`: the keys in a bucket, and the names of the buckets inside of it.
//!
//! Writes: a line per key. Reads: one bucket.

use std::{ffi::OsString, io::Write};

use super::{arguments, file, text};
use crate::{bbolt::Item, cli::Failure};

/// Lists the keys of a bucket
#[derive(Debug, clap::Args)]
pub struct Keys {
    #[arg(value_name = "bbolt-file> <bucket", num_args = 0..)]
    words: Vec<OsString>,
    #[arg(long, short = 'f', default_value = "auto", help = format!("how keys are shown: {}", text::FORMATS))]
    format: String,
}

impl Keys {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let (path, names) = arguments::file_and(self.words, 1)?;
        let database = file::open(&path)?;
        let bucket = file::bucket(&database, &path, &names)?;
        file::show_items(&bucket, &path, out, |item, out| {
            let (Item::Entry { key, .. } | Item::Bucket { name: key }) = item;
            out.write_all(&text::shown(key, &self.format)?)?;
            Ok(out.write_all(b"\n")?)
        })
    }
}
