//! A page of a tree, checked whole before anything of it is used (FMT-7, FMT-8).
//!
//! ```text
//!   0     8       10      12         16
//!   | id  | flags | count | overflow | element 0 | element 1 | ... | key 0, value 0 | key 1, value 1 | ...
//!
//!   flags     1 branch, 2 leaf, 4 meta, 0x10 free list
//!   overflow  how many pages more, right after this one, belong to it
//!   leaf element    flags u32 (1: the value is a bucket), pos u32, key size u32, value size u32
//!   branch element  pos u32, key size u32, page u64; the key is the first one below that page
//!   pos       from the element's own first byte to its key
//!   bucket    root page u64, sequence u64; if the root is 0 a leaf page follows and is the bucket (inline)
//! ```
//!
//! Invariant: of a `Page` every element lies inside of it, after the element table, behind the element before it and with a larger
//! key. So what a page says is never more than the page.

use super::error::{Damage, Error, Place};
use super::format::ByteOrder;

pub(super) const HEADER_BYTES: usize = 16;
pub(super) const ELEMENT_BYTES: usize = 16;
/// Root page and sequence, in front of an inline bucket's page.
pub(super) const BUCKET_BYTES: usize = 16;

pub(super) const BRANCH_FLAG: u16 = 1;
pub(super) const LEAF_FLAG: u16 = 2;
pub(super) const META_FLAG: u16 = 4;
pub(super) const FREELIST_FLAG: u16 = 0x10;
/// Of a leaf element: the value is a bucket.
pub(super) const BUCKET_ELEMENT: u32 = 1;

/// The first bytes of any page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub id: u64,
    pub flags: u16,
    pub count: u16,
    pub overflow: u32,
}

impl Header {
    /// From a slice of at least 16 bytes.
    pub(super) fn decode(order: ByteOrder, bytes: &[u8]) -> Header {
        Header { id: order.u64(bytes, 0), flags: order.u16(bytes, 8), count: order.u16(bytes, 10), overflow: order.u32(bytes, 12) }
    }

    /// Only branches and leaves are parts of a tree.
    pub(super) fn check_tree(&self, place: Place) -> Result<(), Error> {
        match self.flags {
            BRANCH_FLAG | LEAF_FLAG => Ok(()),
            flags => Err(place.plus(8).damaged(Damage::WrongKind { wanted: "branch or leaf", flags })),
        }
    }

    pub(super) fn encode(&self, order: ByteOrder, out: &mut Vec<u8>) {
        order.put_u64(out, self.id);
        order.put_u16(out, self.flags);
        order.put_u16(out, self.count);
        order.put_u32(out, self.overflow);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Branch,
    Leaf,
}

/// A branch or leaf page, or the page inside of an inline bucket.
#[derive(Clone, Debug)]
pub struct Page {
    order: ByteOrder,
    place: Place,
    kind: Kind,
    count: usize,
    bytes: Vec<u8>,
}

/// One element, as offsets into its page.
#[derive(Clone, Copy)]
struct Element {
    start: usize,
    key: usize,
    value: usize,
}

impl Page {
    /// Takes the whole page, overflow included, which begins at `place`.
    pub(super) fn parse(order: ByteOrder, place: Place, bytes: Vec<u8>) -> Result<Page, Error> {
        let header = Header::decode(order, &bytes);
        header.check_tree(place)?;
        let kind = if header.flags == BRANCH_FLAG { Kind::Branch } else { Kind::Leaf };
        let count = usize::from(header.count);
        if HEADER_BYTES + count * ELEMENT_BYTES > bytes.len() {
            let damage = Damage::TooManyElements { count: count as u64, size: bytes.len() as u64 };
            return Err(place.plus(10).damaged(damage));
        }
        if kind == Kind::Branch && count == 0 {
            return Err(place.plus(10).damaged(Damage::NoChildren));
        }
        let page = Page { order, place, kind, count, bytes };
        page.check_elements()?;
        Ok(page)
    }

    /// Takes the page of an inline bucket, of 16 bytes or more: a leaf without overflow.
    pub(super) fn parse_inline(order: ByteOrder, place: Place, bytes: Vec<u8>) -> Result<Page, Error> {
        let flags = Header::decode(order, &bytes).flags;
        if flags != LEAF_FLAG {
            return Err(place.plus(8).damaged(Damage::WrongKind { wanted: "leaf", flags }));
        }
        Page::parse(order, place, bytes)
    }

    fn check_elements(&self) -> Result<(), Error> {
        let size = self.bytes.len() as u64;
        let mut from = (HEADER_BYTES + self.count * ELEMENT_BYTES) as u64;
        for index in 0..self.count {
            let at = HEADER_BYTES + index * ELEMENT_BYTES;
            let (pos, key, value) = self.sizes(at);
            let start = at as u64 + u64::from(pos);
            let end = start + u64::from(key) + u64::from(value);
            if start < from || end > size {
                return Err(self.place.plus(at).damaged(Damage::ElementOutside { index, start, end, from, size }));
            }
            if key == 0 {
                return Err(self.place.plus(at).damaged(Damage::EmptyKey { index }));
            }
            if index > 0 && self.key(index - 1) >= self.key(index) {
                return Err(self.place.plus(at).damaged(Damage::KeyOrder { index }));
            }
            from = end;
        }
        Ok(())
    }

    /// Position, key size and value size of the element that begins at `at`.
    fn sizes(&self, at: usize) -> (u32, u32, u32) {
        let number = |field: usize| self.order.u32(&self.bytes, at + field * 4);
        match self.kind {
            Kind::Leaf => (number(1), number(2), number(3)),
            Kind::Branch => (number(0), number(1), 0),
        }
    }

    fn element(&self, index: usize) -> Element {
        let at = HEADER_BYTES + index * ELEMENT_BYTES;
        let (pos, key, value) = self.sizes(at);
        Element { start: at + pos as usize, key: key as usize, value: value as usize }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn header(&self) -> Header {
        Header::decode(self.order, &self.bytes)
    }

    pub fn key(&self, index: usize) -> &[u8] {
        let element = self.element(index);
        &self.bytes[element.start..element.start + element.key]
    }

    /// Of a leaf; of a branch it is empty.
    pub fn value(&self, index: usize) -> &[u8] {
        let element = self.element(index);
        let start = element.start + element.key;
        &self.bytes[start..start + element.value]
    }

    /// The flags of a leaf's element.
    pub fn flags(&self, index: usize) -> u32 {
        match self.kind {
            Kind::Leaf => self.order.u32(&self.bytes, HEADER_BYTES + index * ELEMENT_BYTES),
            Kind::Branch => 0,
        }
    }

    pub fn is_bucket(&self, index: usize) -> bool {
        self.flags(index) & BUCKET_ELEMENT != 0
    }

    /// The page that a branch's element refers to.
    pub fn child(&self, index: usize) -> u64 {
        self.order.u64(&self.bytes, HEADER_BYTES + index * ELEMENT_BYTES + 8)
    }

    /// Bytes up to the end of the last element.
    pub fn used(&self) -> usize {
        let last = self.count.checked_sub(1).map(|last| self.element(last));
        last.map_or(HEADER_BYTES, |last| last.start + last.key + last.value)
    }

    pub(super) fn order(&self) -> ByteOrder {
        self.order
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Where the number of a branch's child stands in the file.
    pub(super) fn child_place(&self, index: usize) -> Place {
        self.place.plus(HEADER_BYTES + index * ELEMENT_BYTES + 8)
    }

    /// Where a value stands in the file.
    pub(super) fn value_place(&self, index: usize) -> Place {
        let element = self.element(index);
        self.place.plus(element.start + element.key)
    }

    /// The first element whose key is not below `key`.
    pub(super) fn first_at_or_above(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The child below which `key` is, if it is anywhere.
    pub(super) fn child_for(&self, key: &[u8]) -> usize {
        let at = self.first_at_or_above(key);
        if at < self.count && self.key(at) == key { at } else { at.saturating_sub(1) }
    }
}
