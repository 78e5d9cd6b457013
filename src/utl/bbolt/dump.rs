//! `bbolt dump`: the bytes of pages in hexadecimal.
//!
//! Writes: lines of 16 bytes; of a run of equal lines the first, and a star. Reads: those pages, without overflow.

use std::{ffi::OsString, io::Write};

use super::{arguments, file, text};
use crate::cli::Failure;

/// Shows pages of a database file in hexadecimal
#[derive(Debug, clap::Args)]
pub struct Dump {
    #[arg(value_name = "bbolt-file> <pageid...", num_args = 0..)]
    words: Vec<OsString>,
}

const LINE: usize = 16;

impl Dump {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let (path, words) = arguments::file_and(self.words, 1)?;
        let ids = arguments::numbers(&words)?;
        if ids.is_empty() {
            return Err(Failure::general("page id required"));
        }
        let file = file::raw(&path)?;
        for (index, id) in ids.into_iter().enumerate() {
            if index > 0 {
                writeln!(out, "===============================================")?;
            }
            let bytes = file.bytes(id).map_err(|error| file::about(&path, error))?;
            dump(id * u64::from(file.format().page_size), &bytes, out)?;
        }
        Ok(())
    }
}

fn dump(start: u64, page: &[u8], out: &mut dyn Write) -> Result<(), Failure> {
    let (mut before, mut is_skipping) = (None, false);
    let last = page.len() / LINE - 1;
    for (index, line) in page.chunks_exact(LINE).enumerate() {
        let address = start + (index * LINE) as u64;
        if before == Some(line) && index != last {
            if !is_skipping {
                writeln!(out, "{address:07x} *")?;
            }
            is_skipping = true;
        } else {
            let groups: Vec<String> = line.chunks_exact(2).map(text::hex).collect();
            writeln!(out, "{address:07x} {}", groups.join(" "))?;
            is_skipping = false;
        }
        before = Some(line);
    }
    Ok(writeln!(out)?)
}
