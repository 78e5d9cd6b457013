//! `bbolt stats`: how many pages and bytes the buckets take.
//!
//! Writes: the sums over the buckets whose names begin as wanted. Reads: the whole file, twice: pages that are used twice would be
//! counted without end, so a file has to pass the check first.

use std::{ffi::OsString, io::Write};

use super::{arguments, file};
use crate::{
    bbolt::{Bucket, Error, Kind, Prefix},
    cli::Failure,
};

/// Shows how the pages of a database file are used
#[derive(Debug, clap::Args)]
pub struct Stats {
    #[arg(value_name = "bbolt-file> [prefix", num_args = 0..)]
    words: Vec<OsString>,
}

#[derive(Clone, Copy, Default)]
struct Kindred {
    pages: u64,
    overflow: u64,
    bytes: u64,
    used: u64,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    branch: Kindred,
    leaf: Kindred,
    keys: u64,
    depth: u64,
    buckets: u64,
    inline: u64,
    inline_used: u64,
}

impl Stats {
    pub fn run(mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if !(1..=2).contains(&self.words.len()) {
            return Err(Failure::general(format!("accepts between 1 and 2 arg(s), received {}", self.words.len())));
        }
        let prefix = self.words.split_off(1).pop().unwrap_or_default();
        let [path] = arguments::exactly(self.words)?;
        let database = file::open(&path)?;
        let page_size = u64::from(database.format().page_size);
        file::require_sound(&database, &path)?;
        let (mut sums, mut count) = (Sums::default(), 0);
        let about = |error| file::about(&path, error);
        for name in database.buckets().map_err(about)? {
            let Some(bucket) = database.bucket(&name).map_err(about)? else { continue };
            if name.starts_with(prefix.as_encoded_bytes()) {
                sums.add(&of_bucket(&bucket, page_size).map_err(about)?);
                count += 1;
            }
        }
        show(&sums, count, out)
    }
}

/// A bucket and those inside of it, at most as deep as the check allows.
fn of_bucket(bucket: &Bucket<'_, Prefix>, page_size: u64) -> Result<Sums, Error> {
    let is_inline = bucket.root_page() == 0;
    let (mut sums, mut inside) = (Sums { buckets: 1, inline: u64::from(is_inline), ..Sums::default() }, Sums::default());
    bucket.pages(&mut |page, depth| {
        let (used, overflow) = (page.used() as u64, u64::from(page.header().overflow));
        sums.depth = sums.depth.max(depth as u64 + 1);
        let is_leaf = page.kind() == Kind::Leaf;
        if is_leaf {
            sums.keys += page.count() as u64;
        }
        if is_leaf && is_inline {
            sums.inline_used += used;
            return Ok(());
        }
        let kindred = if is_leaf { &mut sums.leaf } else { &mut sums.branch };
        kindred.pages += 1;
        kindred.overflow += overflow;
        kindred.bytes += (1 + overflow) * page_size;
        kindred.used += used;
        for index in (0..page.count()).filter(|index| page.is_bucket(*index)) {
            inside.add(&of_bucket(&bucket.inside(page, index)?, page_size)?);
        }
        Ok(())
    })?;
    sums.depth += inside.depth;
    sums.add(&inside);
    Ok(sums)
}

impl Kindred {
    fn add(&mut self, other: &Kindred) {
        self.pages += other.pages;
        self.overflow += other.overflow;
        self.bytes += other.bytes;
        self.used += other.used;
    }
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.branch.add(&other.branch);
        self.leaf.add(&other.leaf);
        self.keys += other.keys;
        self.depth = self.depth.max(other.depth);
        self.buckets += other.buckets;
        self.inline += other.inline;
        self.inline_used += other.inline_used;
    }
}

/// As bbolt reckons it, in single precision.
fn percent(part: u64, whole: u64) -> i64 {
    if whole == 0 { 0 } else { (part as f32 * 100.0 / whole as f32) as i64 }
}

fn show(sums: &Sums, count: u64, out: &mut dyn Write) -> Result<(), Failure> {
    let Sums { branch, leaf, .. } = sums;
    writeln!(out, "Aggregate statistics for {count} buckets\n\nPage count statistics")?;
    writeln!(out, "\tNumber of logical branch pages: {}", branch.pages)?;
    writeln!(out, "\tNumber of physical branch overflow pages: {}", branch.overflow)?;
    writeln!(out, "\tNumber of logical leaf pages: {}", leaf.pages)?;
    writeln!(out, "\tNumber of physical leaf overflow pages: {}", leaf.overflow)?;
    writeln!(out, "Tree statistics\n\tNumber of keys/value pairs: {}", sums.keys)?;
    writeln!(out, "\tNumber of levels in B+tree: {}\nPage size utilization", sums.depth)?;
    for (name, kindred) in [("branch", branch), ("leaf", leaf)] {
        writeln!(out, "\tBytes allocated for physical {name} pages: {}", kindred.bytes)?;
        writeln!(out, "\tBytes actually used for {name} data: {} ({}%)", kindred.used, percent(kindred.used, kindred.bytes))?;
    }
    writeln!(out, "Bucket statistics\n\tTotal number of buckets: {}", sums.buckets)?;
    writeln!(out, "\tTotal number on inlined buckets: {} ({}%)", sums.inline, percent(sums.inline, sums.buckets))?;
    writeln!(out, "\tBytes used for inlined buckets: {} ({}%)", sums.inline_used, percent(sums.inline_used, leaf.used))?;
    Ok(())
}
