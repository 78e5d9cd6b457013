//! Single pages of a file that may be too broken to open: only the first meta page's magic number and page size are relied on.
//!
//! Does not follow a reference from one page to another.

use super::ByteOrder;
use super::error::{Damage, Error, Place};
use super::format::Format;
use super::freelist::numbers;
use super::meta::{META_PAGE_BYTES, Meta};
use super::page::{BRANCH_FLAG, BUCKET_BYTES, FREELIST_FLAG, HEADER_BYTES, Header, LEAF_FLAG, META_FLAG, Page};
use super::source::ReadAt;

#[derive(Debug)]
pub struct Raw<S> {
    source: S,
    len: u64,
    format: Format,
    pages: u64,
}

/// A whole page, overflow included.
#[derive(Debug)]
pub struct RawPage {
    pub header: Header,
    order: ByteOrder,
    place: Place,
    bytes: Vec<u8>,
}

/// What a page is by its flags.
#[derive(Debug)]
pub enum Contents {
    /// Valid or not.
    Meta(Meta),
    Tree(Page),
    FreeList(Vec<u64>),
    Unknown,
}

impl<S: ReadAt> Raw<S> {
    pub fn open(source: S) -> Result<Raw<S>, Error> {
        let len = source.len();
        let mut bytes = [0; META_PAGE_BYTES];
        let place = Place { page: 0, offset: 0 };
        source.read_at(0, &mut bytes).map_err(|error| place.io(error))?;
        let no_magic = || place.plus(HEADER_BYTES).damaged(Damage::NoMagic);
        let order = Meta::order(&bytes).ok_or_else(no_magic)?;
        let meta = Meta::of_page(&bytes, order);
        let format = Format { order, page_size: meta.page_size };
        if !format.is_valid() {
            return Err(place.plus(24).damaged(Damage::PageSize { found: meta.page_size }));
        }
        Ok(Raw { source, len, format, pages: meta.pages })
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// As the first meta says, which need not be true.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The bytes of one page, without overflow.
    pub fn bytes(&self, id: u64) -> Result<Vec<u8>, Error> {
        self.read(id, 1)
    }

    pub fn page(&self, id: u64) -> Result<RawPage, Error> {
        let mut bytes = self.read(id, 1)?;
        let header = Header::decode(self.format.order, &bytes);
        let place = self.place(id);
        if header.id != id {
            return Err(place.damaged(Damage::WrongId { found: header.id }));
        }
        if header.overflow > 0 {
            let pages = self.len / u64::from(self.format.page_size);
            if u64::from(header.overflow) >= pages.saturating_sub(id) {
                return Err(place.plus(12).damaged(Damage::OverflowTooLarge { overflow: header.overflow, pages }));
            }
            bytes = self.read(id, u64::from(header.overflow) + 1)?;
        }
        Ok(RawPage { header, order: self.format.order, place, bytes })
    }

    fn place(&self, id: u64) -> Place {
        Place { page: id, offset: id.saturating_mul(u64::from(self.format.page_size)) }
    }

    /// Pages that are in the file: no more is allocated than it has.
    fn read(&self, id: u64, count: u64) -> Result<Vec<u8>, Error> {
        let (place, size) = (self.place(id), count * u64::from(self.format.page_size));
        if place.offset.saturating_add(size) > self.len {
            return Err(place.io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let mut bytes = vec![0; size as usize];
        self.source.read_at(place.offset, &mut bytes).map_err(|error| place.io(error))?;
        Ok(bytes)
    }
}

impl RawPage {
    /// Bytes, overflow included.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn contents(&self) -> Result<Contents, Error> {
        match self.header.flags {
            META_FLAG => Ok(Contents::Meta(Meta::of_page(&self.bytes, self.order))),
            BRANCH_FLAG | LEAF_FLAG => Ok(Contents::Tree(Page::parse(self.order, self.place, self.bytes.clone())?)),
            FREELIST_FLAG => Ok(Contents::FreeList(numbers(self.order, self.place, &self.bytes)?)),
            _ => Ok(Contents::Unknown),
        }
    }
}

impl Header {
    /// What kind of page it is, in bbolt's words.
    pub fn kind(&self) -> String {
        match self.flags {
            BRANCH_FLAG => "branch".to_owned(),
            LEAF_FLAG => "leaf".to_owned(),
            META_FLAG => "meta".to_owned(),
            FREELIST_FLAG => "freelist".to_owned(),
            flags => format!("unknown<{flags:02x}>"),
        }
    }
}

impl Page {
    /// Root page and sequence of the bucket that an element is; None if it is too short to be one.
    pub fn bucket_header(&self, index: usize) -> Option<(u64, u64)> {
        let value = self.value(index);
        (value.len() >= BUCKET_BYTES).then(|| (self.order().u64(value, 0), self.order().u64(value, 8)))
    }
}
