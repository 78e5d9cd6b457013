//! `bbolt page-item`: one key and its value, by the page and the place on it.
//!
//! Writes: the key, the value. Reads: one page.

use std::{ffi::OsString, io::Write};

use super::{arguments, file, page, text};
use crate::{
    bbolt::{Contents, Kind},
    cli::Failure,
};

/// Shows one item of a page
#[derive(Debug, clap::Args)]
pub struct PageItem {
    #[arg(value_name = "bbolt-file> <pageid> <itemid", num_args = 0..)]
    words: Vec<OsString>,
    #[arg(long, help = "show the key alone")]
    key_only: bool,
    #[arg(long, help = "show the value alone")]
    value_only: bool,
    #[arg(long, default_value = "auto", help = format!("how they are shown: {}", text::FORMATS))]
    format: String,
}

impl PageItem {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let [path, page_id, item] = arguments::exactly(self.words)?;
        let (page_id, item) = (arguments::number(&page_id)?, arguments::number(&item)?);
        if self.key_only && self.value_only {
            return Err(Failure::general("the --key-only or --value-only flag may be set, but not both"));
        }
        let found = file::raw(&path)?.page(page_id).map_err(|error| Failure::general(page::said(&error)))?;
        let (header, count) = (found.header, u64::from(found.header.count));
        if item >= count {
            return Err(Failure::general(format!("leafPageElement: expected item index less than {count}, but got {item}")));
        }
        let contents = found.contents().map_err(|error| file::about(&path, error))?;
        let leaf = match contents {
            Contents::Tree(page) if page.kind() == Kind::Leaf => page,
            _ => {
                return Err(Failure::general(format!("leafPageElement: expected page type of 'leaf', but got '{}'", header.kind())));
            }
        };
        let index = item as usize;
        for (is_shown, bytes) in [(!self.value_only, leaf.key(index)), (!self.key_only, leaf.value(index))] {
            if is_shown {
                out.write_all(&text::shown(bytes, &self.format)?)?;
                writeln!(out)?;
            }
        }
        Ok(())
    }
}
