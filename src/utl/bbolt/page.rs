//! `bbolt page`: what stands on single pages, or on all.
//!
//! Writes: a paragraph per page. Reads: those pages. A page that cannot be read is said and passed over.

use std::{ffi::OsString, io::Write};

use super::{arguments, file, text};
use crate::{
    bbolt::{self, Contents, Damage, Error, Kind, Meta, Prefix, Raw},
    cli::Failure,
};

/// Shows pages of a database file
#[derive(Debug, clap::Args)]
pub struct Page {
    #[arg(value_name = "bbolt-file> [pageid...", num_args = 0..)]
    words: Vec<OsString>,
    #[arg(long, help = "show all pages")]
    all: bool,
    #[arg(long, default_value = "auto", help = format!("how values are shown: {}", text::FORMATS))]
    format_value: String,
}

const BETWEEN: &str = "===============================================";

impl Page {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let (path, words) = arguments::file_and(self.words, 0)?;
        let ids = arguments::numbers(&words)?;
        if ids.is_empty() && !self.all {
            return Err(Failure::general("page id required"));
        }
        if self.all && !ids.is_empty() {
            return Err(Failure::general("invalid args: either use '--all' or 'pageid...'"));
        }
        let file = file::raw(&path)?;
        if self.all {
            let mut id = 0;
            while id < file.pages() {
                id += 1 + show(&file, id, id == 0, &self.format_value, out)?;
            }
            return Ok(());
        }
        for (index, id) in ids.iter().enumerate() {
            show(&file, *id, index == 0, &self.format_value, out)?;
        }
        Ok(())
    }
}

/// One page, after a line unless it is the first; how many pages overflow.
fn show(file: &Raw<Prefix>, id: u64, is_first: bool, format: &str, out: &mut dyn Write) -> Result<u64, Failure> {
    if !is_first {
        writeln!(out, "{BETWEEN}")?;
    }
    let page = match file.page(id) {
        Ok(page) => page,
        Err(error) => return skip(id, &said(&error), out),
    };
    let (header, size) = (page.header, page.size());
    writeln!(out, "Page ID:    {id}\nPage Type:  {}\nTotal Size: {size} bytes\nOverflow pages: {}", header.kind(), header.overflow)?;
    match page.contents() {
        Ok(Contents::Meta(meta)) => show_meta(&meta, out)?,
        Ok(Contents::Tree(page)) => show_tree(&page, format, out)?,
        Ok(Contents::FreeList(ids)) => {
            writeln!(out, "Item Count: {}\nOverflow: {}\n", ids.len(), header.overflow)?;
            ids.iter().try_for_each(|id| writeln!(out, "{id}"))?;
            writeln!(out)?;
        }
        Ok(Contents::Unknown) => {}
        Err(error) => return skip(id, &said(&error), out),
    }
    Ok(u64::from(header.overflow))
}

// Quirk: the misspelt word is bbolt's (bbolt:cmd/bbolt/command/command_page.go).
fn skip(id: u64, reason: &str, out: &mut dyn Write) -> Result<u64, Failure> {
    writeln!(out, "Prining page {id} failed: {reason}. Continuing...")?;
    Ok(0)
}

/// A page with another's number is common where pages are free, so that is said in bbolt's words.
pub fn said(error: &Error) -> String {
    match error {
        Error::Damaged { page, damage: Damage::WrongId { found }, .. } => {
            format!("error: invalid value due to unexpected Page id: {found} != {page}")
        }
        error => error.to_string(),
    }
}

fn show_meta(meta: &Meta, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "Version:    {}\nPage Size:  {} bytes\nFlags:      {:08x}", meta.version, meta.page_size, meta.flags)?;
    writeln!(out, "Root:       <pgid={}>\nFreelist:   <pgid={}>", meta.root, meta.freelist)?;
    writeln!(out, "HWM:        <pgid={}>\nTxn ID:     {}\nChecksum:   {:016x}\n", meta.pages, meta.txid, meta.checksum)?;
    Ok(())
}

fn show_tree(page: &bbolt::Page, format: &str, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "Item Count: {}\n", page.count())?;
    for index in 0..page.count() {
        let bucket = if page.is_bucket(index) { page.bucket_header(index) } else { None };
        let value = match (page.kind(), bucket) {
            (Kind::Branch, _) => format!("<pgid={}>", page.child(index)).into_bytes(),
            (Kind::Leaf, Some((root, sequence))) => format!("<pgid={root},seq={sequence}>").into_bytes(),
            (Kind::Leaf, None) => text::shown(page.value(index), format)?,
        };
        write!(out, "{}: ", text::key(page.key(index)))?;
        out.write_all(&value)?;
        writeln!(out)?;
    }
    Ok(writeln!(out)?)
}
