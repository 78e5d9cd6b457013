//! The meta page: where the root bucket is, how many pages count, and which of the two metas is newer (FMT-7, FMT-8).
//!
//! ```text
//!   0                16       20        24         28      32      40         48         56     64     72        80
//!   | page header    | magic  | version | page size| flags | root  | sequence | freelist | pages| txid | checksum |
//!     id, flags 4      u32      u32 = 2   u32        u32     u64     u64        u64        u64    u64    FNV-1a 64 of 16..72
//! ```
//!
//! All numbers are in the file's byte order; the magic number is what tells it.
//! Does not judge whether what it names is there.

use super::error::BadMeta;
use super::format::{ByteOrder, Format};
use super::page::{HEADER_BYTES, Header, META_FLAG};

const MAGIC: u32 = 0xED0C_DAED;
pub(super) const VERSION: u32 = 2;
/// Header and meta.
pub(super) const META_PAGE_BYTES: usize = HEADER_BYTES + 64;

/// The free list is not stored: a page is free if nothing refers to it. etcd writes so.
pub const NO_FREELIST: u64 = u64::MAX;

/// What a meta page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub version: u32,
    pub page_size: u32,
    pub flags: u32,
    /// Root page of the root bucket.
    pub root: u64,
    pub sequence: u64,
    /// Page of the free list, or `NO_FREELIST`.
    pub freelist: u64,
    /// Pages that count, from page 0; bbolt's high water mark.
    pub pages: u64,
    pub txid: u64,
    pub checksum: u64,
}

impl Meta {
    /// Reads the page at the beginning of `bytes`, in whatever order it is.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Meta, ByteOrder), BadMeta> {
        let meta = bytes.get(HEADER_BYTES..META_PAGE_BYTES).ok_or(BadMeta::Missing)?;
        let order = Meta::order(bytes).ok_or(BadMeta::Magic)?;
        let found = Meta::of_page(bytes, order);
        if found.version != VERSION {
            return Err(BadMeta::Version(found.version));
        }
        if found.checksum != fnv_1a(&meta[..56]) {
            return Err(BadMeta::Checksum);
        }
        let format = Format { order, page_size: found.page_size };
        if format.is_valid() { Ok((found, order)) } else { Err(BadMeta::PageSize(found.page_size)) }
    }

    /// The order in which a page of 80 bytes or more has the magic number.
    pub(super) fn order(bytes: &[u8]) -> Option<ByteOrder> {
        [ByteOrder::Little, ByteOrder::Big].into_iter().find(|order| order.u32(bytes, HEADER_BYTES) == MAGIC)
    }

    /// What stands in a page of 80 bytes or more, whether it is valid or not.
    pub(super) fn of_page(bytes: &[u8], order: ByteOrder) -> Meta {
        let meta = &bytes[HEADER_BYTES..META_PAGE_BYTES];
        Meta {
            version: order.u32(meta, 4),
            page_size: order.u32(meta, 8),
            flags: order.u32(meta, 12),
            root: order.u64(meta, 16),
            sequence: order.u64(meta, 24),
            freelist: order.u64(meta, 32),
            pages: order.u64(meta, 40),
            txid: order.u64(meta, 48),
            checksum: order.u64(meta, 56),
        }
    }

    /// The beginning of page `id`, with the checksum of what it says; zeros follow it.
    pub(super) fn encode(&self, id: u64, order: ByteOrder) -> Vec<u8> {
        let mut page = Vec::with_capacity(META_PAGE_BYTES);
        Header { id, flags: META_FLAG, count: 0, overflow: 0 }.encode(order, &mut page);
        for number in [MAGIC, self.version, self.page_size, self.flags] {
            order.put_u32(&mut page, number);
        }
        for number in [self.root, self.sequence, self.freelist, self.pages, self.txid] {
            order.put_u64(&mut page, number);
        }
        let checksum = fnv_1a(&page[HEADER_BYTES..]);
        order.put_u64(&mut page, checksum);
        page
    }
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
