//! Two passes over the same sorted entries: one that only counts, and one that writes from the first byte to the last.
//!
//! ```text
//!   Sizer:  bucket, entry (key, length of the value) ... finish --> Plan {file size, root page}
//!   Writer: meta, meta | bucket, entry (key, value) ...  finish --> the sink, after exactly that many bytes
//! ```
//!
//! The metas stand first and name the root, which comes last: hence the first pass, which needs no value. No byte is written twice, so
//! the sink may be a socket; memory is one partly filled page per level.
//! Names of buckets, and keys in a bucket, ascend. The second pass repeats the calls of the first: a difference is an error, at the
//! latest in `finish`. What was written before an error is not a database, and the caller throws it away.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use super::format::{Format, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use super::meta::{Meta, NO_FREELIST, VERSION};
use super::pack::{Nowhere, Packer, Run, Sink};

/// The first pass.
pub struct Sizer {
    format: Format,
    packer: Packer<Nowhere>,
    calls: DefaultHasher,
}

impl Sizer {
    pub fn new(format: Format) -> Self {
        // A format that does not exist is refused by the writer; nothing is sized for it.
        let sized = if format.is_valid() { format } else { Format { page_size: 4096, ..format } };
        Sizer { format, packer: Packer::new(sized, Nowhere), calls: DefaultHasher::new() }
    }

    pub fn bucket(&mut self, name: &[u8]) {
        name.hash(&mut self.calls);
        let Ok(()) = self.packer.bucket(name);
    }

    pub fn entry(&mut self, key: &[u8], value_len: usize) {
        (key, value_len).hash(&mut self.calls);
        let Ok(()) = self.packer.entry(key, b"", value_len);
    }

    pub fn finish(mut self) -> Plan {
        let Ok(root) = self.packer.finish();
        Plan { format: self.format, pages: self.packer.pages(), root, calls: self.calls.finish() }
    }
}

/// What the first pass found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    format: Format,
    pages: u64,
    root: u64,
    calls: u64,
}

impl Plan {
    pub fn file_size(&self) -> u64 {
        self.pages * u64::from(self.format.page_size)
    }

    pub fn writer<W: io::Write>(self, out: W) -> Writer<W> {
        let pages = Pages { out, written: 0, limit: self.pages, head: Vec::new() };
        Writer { plan: self, packer: Packer::new(self.format, pages), calls: DefaultHasher::new(), last: Last::Nothing }
    }
}

/// The second pass.
pub struct Writer<W> {
    plan: Plan,
    packer: Packer<Pages<W>>,
    calls: DefaultHasher,
    last: Last,
}

/// The call before, for the order.
enum Last {
    Nothing,
    Bucket(Vec<u8>),
    /// The bucket, and the key.
    Entry(Vec<u8>, Vec<u8>),
}

impl<W: io::Write> Writer<W> {
    pub fn bucket(&mut self, name: &[u8]) -> io::Result<()> {
        if name.is_empty() || name.len() > KEY_BYTES_MAX {
            return Err(bad(format!("a bucket's name has 1 to {KEY_BYTES_MAX} bytes, not {}", name.len())));
        }
        match std::mem::replace(&mut self.last, Last::Bucket(name.to_vec())) {
            Last::Nothing => self.metas()?,
            Last::Bucket(before) | Last::Entry(before, _) if before.as_slice() >= name => {
                return Err(bad(format!("bucket {} comes after {}", name.escape_ascii(), before.escape_ascii())));
            }
            _ => {}
        }
        name.hash(&mut self.calls);
        self.packer.bucket(name)
    }

    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(bad(format!("a key has 1 to {KEY_BYTES_MAX} bytes, not {}", key.len())));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(bad(format!("a value has at most {VALUE_BYTES_MAX} bytes, not {}", value.len())));
        }
        match &mut self.last {
            Last::Nothing => return Err(bad("an entry before the first bucket".to_owned())),
            Last::Bucket(name) => self.last = Last::Entry(std::mem::take(name), key.to_vec()),
            Last::Entry(_, before) if before.as_slice() >= key => {
                return Err(bad(format!("key {} comes after {}", key.escape_ascii(), before.escape_ascii())));
            }
            Last::Entry(_, before) => {
                before.clear();
                before.extend_from_slice(key);
            }
        }
        (key, value.len()).hash(&mut self.calls);
        self.packer.entry(key, value, value.len())
    }

    /// Flushes nothing: that is the sink's.
    pub fn finish(mut self) -> io::Result<W> {
        if let Last::Nothing = self.last {
            self.metas()?;
        }
        let root = self.packer.finish()?;
        let pages = self.packer.pages();
        if (pages, root, self.calls.finish()) != (self.plan.pages, self.plan.root, self.plan.calls) {
            return Err(bad(format!(
                "the second pass differs from the first: {pages} pages instead of {}, or other keys",
                self.plan.pages
            )));
        }
        Ok(self.packer.sink.out)
    }

    /// Both metas name the same tree; the one that bbolt would write next is that of the lower txid.
    fn metas(&mut self) -> io::Result<()> {
        let Plan { format, pages, root, .. } = self.plan;
        if !format.is_valid() {
            return Err(bad(format!("{} is no page size: a power of two from 1024 to 65536 is", format.page_size)));
        }
        for (id, txid) in [(0, 2), (1, 1)] {
            let page_size = format.page_size;
            let meta = Meta { version: VERSION, page_size, flags: 0, root, sequence: 0, freelist: NO_FREELIST, pages, txid, checksum: 0 };
            self.packer.sink.put(format, 1, [&meta.encode(id, format.order), &[]])?;
        }
        Ok(())
    }
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Pages in the order of their numbers.
struct Pages<W> {
    out: W,
    written: u64,
    limit: u64,
    /// Header and elements of one page, kept for its memory.
    head: Vec<u8>,
}

impl<W: io::Write> Pages<W> {
    /// The parts of so many pages; what they leave is zeros.
    fn put(&mut self, format: Format, pages: u64, parts: [&[u8]; 2]) -> io::Result<()> {
        if self.written + pages > self.limit {
            return Err(bad(format!("the second pass differs from the first: it has more than {} pages", self.limit)));
        }
        let mut left = format.page_bytes() * pages as usize;
        for part in parts {
            self.out.write_all(part)?;
            left -= part.len();
        }
        while left > 0 {
            let zeros = left.min(ZEROS.len());
            self.out.write_all(&ZEROS[..zeros])?;
            left -= zeros;
        }
        self.written += pages;
        Ok(())
    }
}

const ZEROS: [u8; 4096] = [0; 4096];

impl<W: io::Write> Sink for Pages<W> {
    type Error = io::Error;
    const HAS_VALUES: bool = true;

    fn page(&mut self, format: Format, id: u64, page: Run<'_>) -> io::Result<()> {
        let overflow = page.overflow(format);
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        page.encode_head(format.order, id, overflow, &mut head);
        let done = self.put(format, u64::from(overflow) + 1, [&head, page.data()]);
        self.head = head;
        done
    }
}
