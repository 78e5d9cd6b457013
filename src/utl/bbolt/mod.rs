//! `bbolt`: looks into a database file, by buckets and keys, or by pages when it is broken.
//!
//! ```text
//!   buckets keys get inspect stats check pages info   the file opens: locked for reading, and found to be a database
//!   page page-item dump                               single pages, whatever state the file is in
//! ```
//!
//! Writes: stdout, in the words of bbolt's own command (etcd-io/bbolt, cmd/bbolt), which `tests/upgrade` compares with. Reads: one file.
//! What is wrong with a damaged file is said in our words, with the page and the byte.
//! Files: a file per command; `file` opens, `text` shows bytes, `arguments` counts words.

mod arguments;
mod buckets;
mod check;
mod dump;
mod file;
mod get;
mod info;
mod inspect;
mod keys;
mod page;
mod page_item;
mod pages;
mod stats;
mod text;
mod version;

use std::io::{BufWriter, Write};

use clap::Subcommand;

use crate::cli::Failure;

/// Looks into a database file
#[derive(Debug, clap::Args)]
pub struct Bbolt {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Buckets(buckets::Buckets),
    Check(check::Check),
    Dump(dump::Dump),
    Get(get::Get),
    Info(info::Info),
    Inspect(inspect::Inspect),
    Keys(keys::Keys),
    Page(page::Page),
    PageItem(page_item::PageItem),
    Pages(pages::Pages),
    Stats(stats::Stats),
    Version(version::Version),
}

impl Bbolt {
    pub fn run(self) -> Result<(), Failure> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let done = self.command.run(&mut out);
        // What was found before a failure is shown too.
        out.flush()?;
        done
    }
}

impl Command {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Command::Buckets(buckets) => buckets.run(out),
            Command::Check(check) => check.run(out),
            Command::Dump(dump) => dump.run(out),
            Command::Get(get) => get.run(out),
            Command::Info(info) => info.run(out),
            Command::Inspect(inspect) => inspect.run(out),
            Command::Keys(keys) => keys.run(out),
            Command::Page(page) => page.run(out),
            Command::PageItem(item) => item.run(out),
            Command::Pages(pages) => pages.run(out),
            Command::Stats(stats) => stats.run(out),
            Command::Version(version) => version.run(out),
        }
    }
}
