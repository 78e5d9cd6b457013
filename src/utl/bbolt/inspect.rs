//! `bbolt inspect`: the tree of buckets, with how many keys each has.
//!
//! Writes: JSON, in the layout of Go's encoder. Reads: the whole file, twice: it has to pass the check first (see `stats`).

use std::{ffi::OsString, fmt::Write as _, io::Write, ops::ControlFlow};

use super::{arguments, file};
use crate::{
    bbolt::{Bucket, Error, Item, Prefix},
    cli::Failure,
};

/// Shows the tree of buckets of a database file
#[derive(Debug, clap::Args)]
pub struct Inspect {
    #[arg(value_name = "bbolt-file", num_args = 0..)]
    words: Vec<OsString>,
}

impl Inspect {
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let [path] = arguments::exactly(self.words)?;
        let database = file::open(&path)?;
        file::require_sound(&database, &path)?;
        let mut json = String::new();
        describe(&database.root(), b"root", 0, &mut json).map_err(|error| file::about(&path, error))?;
        Ok(writeln!(out, "{json}")?)
    }
}

/// A bucket, indented but for its first line.
fn describe(bucket: &Bucket<'_, Prefix>, name: &[u8], indent: usize, json: &mut String) -> Result<(), Error> {
    let (mut keys, mut names) = (0_u64, Vec::new());
    bucket.items(b"", &mut |item| {
        match item {
            Item::Entry { .. } => keys += 1,
            Item::Bucket { name } => names.push(name.to_vec()),
        }
        ControlFlow::Continue(())
    })?;
    let margin = " ".repeat(indent);
    push(json, format_args!("{{\n{margin}    \"name\": "));
    push_string(json, name);
    push(json, format_args!(",\n{margin}    \"keyN\": {keys}"));
    for (index, name) in names.iter().enumerate() {
        match index {
            0 => push(json, format_args!(",\n{margin}    \"buckets\": [\n{margin}        ")),
            _ => push(json, format_args!(",\n{margin}        ")),
        }
        // None is missing: the file is sound.
        if let Some(inside) = bucket.bucket(name)? {
            describe(&inside, name, indent + 8, json)?;
        }
    }
    if !names.is_empty() {
        push(json, format_args!("\n{margin}    ]"));
    }
    push(json, format_args!("\n{margin}}}"));
    Ok(())
}

fn push(json: &mut String, text: std::fmt::Arguments<'_>) {
    json.write_fmt(text).expect("a String takes all");
}

/// As Go's encoder does: what HTML would take for its own is escaped, and so is what is not UTF-8.
fn push_string(json: &mut String, bytes: &[u8]) {
    json.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => json.push_str("\\\""),
                '\\' => json.push_str("\\\\"),
                '\n' => json.push_str("\\n"),
                '\r' => json.push_str("\\r"),
                '\t' => json.push_str("\\t"),
                '\x08' => json.push_str("\\b"),
                '\x0c' => json.push_str("\\f"),
                '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => push(json, format_args!("\\u{:04x}", c as u32)),
                c => json.push(c),
            }
        }
        (0..chunk.invalid().len()).for_each(|_| json.push_str("\\ufffd"));
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_go_does() {
        let mut json = String::new();
        push_string(&mut json, b"a\"\\\n\x01<&>\xff\xe2\x80\xa8\xc3\xa4\x7f");
        assert_eq!(json, "\"a\\\"\\\\\\n\\u0001\\u003c\\u0026\\u003e\\ufffd\\u2028\u{e4}\x7f\"");
    }
}
