//! The stored list of free pages, of a file that has one.
//!
//! ```text
//!   | header, flags 0x10, count | page u64 | page u64 | ...          count < 0xFFFF
//!   | header, count = 0xFFFF | number u64 | page u64 | page u64 ...  otherwise
//! ```
//!
//! etcd does not store it. Does not compare it with what is in use: `check` does.

use super::database::Database;
use super::error::{Damage, Error, Place};
use super::format::ByteOrder;
use super::meta::NO_FREELIST;
use super::page::{FREELIST_FLAG, HEADER_BYTES, Header};
use super::source::ReadAt;

const ID_BYTES: usize = 8;

/// Where the list lies, and what is in it.
pub(super) struct FreeList {
    pub place: Place,
    /// Pages that the list itself takes.
    pub pages: u64,
    pub ids: Vec<u64>,
}

impl<S: ReadAt> Database<S> {
    /// None if none is stored.
    pub(super) fn free_list(&self) -> Result<Option<FreeList>, Error> {
        let id = self.meta().freelist;
        if id == NO_FREELIST {
            return Ok(None);
        }
        let head = self.head(id, self.root_place().plus(16))?;
        let (place, header, order) = (self.place_of(id), head.header, self.format().order);
        if header.flags != FREELIST_FLAG {
            return Err(place.plus(8).damaged(Damage::WrongKind { wanted: "free list", flags: header.flags }));
        }
        let pages = head.pages();
        let ids = numbers(order, place, &self.body(head)?)?;
        Ok(Some(FreeList { place, pages, ids }))
    }
}

/// The numbers in a whole page of the list.
pub(super) fn numbers(order: ByteOrder, place: Place, page: &[u8]) -> Result<Vec<u64>, Error> {
    let (count, start) = match Header::decode(order, page).count {
        0xFFFF => (order.u64(page, HEADER_BYTES), HEADER_BYTES + ID_BYTES),
        count => (u64::from(count), HEADER_BYTES),
    };
    let room = (page.len() - start) / ID_BYTES;
    if count > room as u64 {
        return Err(place.plus(10).damaged(Damage::TooManyElements { count, size: page.len() as u64 }));
    }
    Ok((0..count as usize).map(|index| order.u64(page, start + index * ID_BYTES)).collect())
}
