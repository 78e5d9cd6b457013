//! `bbolt get`: the value of one key.
//!
//! Writes: the value. Reads: the way to it.

use std::{ffi::OsString, io::Write};

use super::{arguments, file, text};
use crate::{cli::Failure, print};

/// Shows the value of a key in a bucket
#[derive(Debug, clap::Args)]
pub struct Get {
    #[arg(value_name = "bbolt-file> <bucket...> <key", num_args = 0..)]
    words: Vec<OsString>,
    #[arg(long, default_value = "ascii-encoded", help = "how the key is given: ascii-encoded|hex")]
    parse_format: String,
    #[arg(long, default_value = "auto", help = format!("how the value is shown: {}", text::FORMATS))]
    format: String,
}

impl Get {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let (path, mut names) = arguments::file_and(self.words, 2)?;
        let key = text::parse(names.pop().unwrap_or_default().as_encoded_bytes(), &self.parse_format)?;
        if key.is_empty() {
            return Err(Failure::general("key is required: key required"));
        }
        let database = file::open(&path)?;
        let bucket = file::bucket(&database, &path, &names)?;
        let Some(value) = bucket.get(&key).map_err(|error| file::about(&path, error))? else {
            let (quoted, hex) = (print::text::quote(&key), text::hex(&key));
            return Err(Failure::general(format!("Error key not found for key: {quoted} hex: \"{hex}\"")));
        };
        out.write_all(&text::shown(&value, &self.format)?)?;
        Ok(out.write_all(b"\n")?)
    }
}
