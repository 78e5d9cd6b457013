//! An open database: which meta counts, and pages by number.
//!
//! ```text
//!   meta 0 valid? ---+--> the higher txid --> order, page size, root, pages --> page by number, in bounds
//!   meta 1 valid? ---+    (none valid: not a database; meta 0 unreadable: meta 1 is looked for at every page size)
//! ```
//!
//! Does not look at a page before it is asked for, so opening costs the same for every file.

use std::io;

use super::bucket::Bucket;
use super::error::{BadMeta, Damage, Error, Place};
use super::format::{Format, PAGE_BYTES_MAX, PAGE_BYTES_MIN};
use super::meta::{META_PAGE_BYTES, Meta, NO_FREELIST};
use super::page::{HEADER_BYTES, Header, Page};
use super::source::ReadAt;

/// A database file, as of the newest of its two metas.
#[derive(Debug)]
pub struct Database<S> {
    source: S,
    len: u64,
    format: Format,
    meta: Meta,
    /// The page that `meta` is.
    meta_page: u64,
}

/// A page whose overflow has not been read yet.
pub(super) struct Head {
    pub header: Header,
    place: Place,
    bytes: Vec<u8>,
}

impl Head {
    /// Pages it takes.
    pub fn pages(&self) -> u64 {
        u64::from(self.header.overflow) + 1
    }
}

impl<S: ReadAt> Database<S> {
    pub fn open(source: S) -> Result<Self, Error> {
        let len = source.len();
        let first = meta_at(&source, len, 0)?;
        let second = match &first {
            Ok((meta, _)) => meta_at(&source, len, u64::from(meta.page_size))?,
            Err(_) => second_meta(&source, len)?,
        };
        let ((meta, order), meta_page) = match (first, second) {
            (Ok(first), Ok(second)) if second.0.txid > first.0.txid && second.1 == first.1 => (second, 1),
            (Ok(first), _) => (first, 0),
            (Err(_), Ok(second)) => (second, 1),
            (Err(first), Err(second)) => {
                let (first, second) = (format!("of its first meta page, {first}"), format!("of its second, {second}"));
                return Err(Error::NotADatabase { first, second });
            }
        };
        let format = Format { order, page_size: meta.page_size };
        let database = Database { source, len, format, meta, meta_page };
        database.check_meta()?;
        Ok(database)
    }

    /// What it names has to be in the file.
    fn check_meta(&self) -> Result<(), Error> {
        let pages = self.meta.pages;
        let at = |offset| Place { page: self.meta_page, offset: self.meta_page * u64::from(self.format.page_size) + offset };
        let wanted = u128::from(pages) * u128::from(self.format.page_size);
        if wanted > u128::from(self.len) {
            return Err(at(56).damaged(Damage::Truncated { len: self.len, pages, wanted }));
        }
        if !self.is_data(self.meta.root) {
            return Err(at(32).damaged(Damage::OutOfBounds { to: self.meta.root, pages }));
        }
        if self.meta.freelist != NO_FREELIST && !self.is_data(self.meta.freelist) {
            return Err(at(48).damaged(Damage::OutOfBounds { to: self.meta.freelist, pages }));
        }
        Ok(())
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Bytes of the pages that count; a file may be longer.
    pub fn size(&self) -> u64 {
        self.meta.pages * u64::from(self.format.page_size)
    }

    /// Bytes of the whole source.
    pub fn source_len(&self) -> u64 {
        self.len
    }

    /// The bucket that holds all others.
    pub fn root(&self) -> Bucket<'_, S> {
        Bucket::at_page(self, self.meta.root, self.meta.sequence, self.root_place())
    }

    /// The names of the root's buckets, in order.
    pub fn buckets(&self) -> Result<Vec<Vec<u8>>, Error> {
        self.root().buckets()
    }

    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'_, S>>, Error> {
        self.root().bucket(name)
    }

    /// The first bytes of a page that counts, whatever it is.
    pub fn header(&self, id: u64) -> Result<Header, Error> {
        let place = Place { page: id, offset: id.saturating_mul(u64::from(self.format.page_size)) };
        if id >= self.meta.pages {
            return Err(place.damaged(Damage::OutOfBounds { to: id, pages: self.meta.pages }));
        }
        let mut bytes = [0; HEADER_BYTES];
        self.source.read_at(place.offset, &mut bytes).map_err(|error| place.io(error))?;
        Ok(Header::decode(self.format.order, &bytes))
    }

    pub(super) fn root_place(&self) -> Place {
        Place { page: self.meta_page, offset: self.meta_page * u64::from(self.format.page_size) + 32 }
    }

    /// Neither a meta page nor beyond the end.
    pub(super) fn is_data(&self, id: u64) -> bool {
        id >= 2 && id < self.meta.pages
    }

    /// Pages but the metas.
    pub(super) fn data_pages(&self) -> u64 {
        self.meta.pages - 2
    }

    pub(super) fn place_of(&self, id: u64) -> Place {
        Place { page: id, offset: id * u64::from(self.format.page_size) }
    }

    /// The first part of page `id`, which `from` refers to; the rest is read only when the caller has seen how much it would be.
    pub(super) fn head(&self, id: u64, from: Place) -> Result<Head, Error> {
        let pages = self.meta.pages;
        if !self.is_data(id) {
            return Err(from.damaged(Damage::OutOfBounds { to: id, pages }));
        }
        let place = self.place_of(id);
        let mut bytes = vec![0; self.format.page_bytes()];
        self.source.read_at(place.offset, &mut bytes).map_err(|error| place.io(error))?;
        let header = Header::decode(self.format.order, &bytes);
        if header.id != id {
            return Err(place.damaged(Damage::WrongId { found: header.id }));
        }
        if u64::from(header.overflow) >= pages - id {
            return Err(place.plus(12).damaged(Damage::OverflowTooLarge { overflow: header.overflow, pages }));
        }
        Ok(Head { header, place, bytes })
    }

    /// The whole of a page.
    pub(super) fn body(&self, head: Head) -> Result<Vec<u8>, Error> {
        let Head { header, place, mut bytes } = head;
        if header.overflow > 0 {
            let first = bytes.len();
            let rest = first.saturating_mul(header.overflow as usize);
            bytes.try_reserve_exact(rest).map_err(|_| place.io(io::ErrorKind::OutOfMemory.into()))?;
            bytes.resize(first + rest, 0);
            self.source.read_at(place.offset + first as u64, &mut bytes[first..]).map_err(|error| place.io(error))?;
        }
        Ok(bytes)
    }

    /// A whole branch or leaf page.
    pub(super) fn tree_page(&self, head: Head) -> Result<Page, Error> {
        let place = head.place;
        // The kind is looked at before the rest is read.
        head.header.check_tree(place)?;
        Page::parse(self.format.order, place, self.body(head)?)
    }
}

/// The meta page at `offset`.
fn meta_at<S: ReadAt>(source: &S, len: u64, offset: u64) -> Result<Result<(Meta, super::ByteOrder), BadMeta>, Error> {
    if offset.saturating_add(META_PAGE_BYTES as u64) > len {
        return Ok(Err(BadMeta::Missing));
    }
    let mut bytes = [0; META_PAGE_BYTES];
    let place = Place { page: u64::from(offset > 0), offset };
    source.read_at(offset, &mut bytes).map_err(|error| place.io(error))?;
    let found = Meta::decode(&bytes);
    Ok(match found {
        Ok((meta, _)) if offset > 0 && u64::from(meta.page_size) != offset => Err(BadMeta::PageSize(meta.page_size)),
        found => found,
    })
}

/// The second meta page of a file whose first says nothing, so the page size is not known either.
fn second_meta<S: ReadAt>(source: &S, len: u64) -> Result<Result<(Meta, super::ByteOrder), BadMeta>, Error> {
    let mut why = BadMeta::Magic;
    let mut size = PAGE_BYTES_MIN;
    while size <= PAGE_BYTES_MAX {
        match meta_at(source, len, u64::from(size))? {
            Ok(found) => return Ok(Ok(found)),
            Err(BadMeta::Missing | BadMeta::Magic) => {}
            Err(reason) => why = reason,
        }
        size *= 2;
    }
    Ok(Err(if len < (HEADER_BYTES + META_PAGE_BYTES) as u64 { BadMeta::Missing } else { why }))
}
