//! What is said of a file that is not what it should be; the caller, who knows the path, puts it in front.

use std::io;

use super::format::{PAGE_BYTES_MAX, PAGE_BYTES_MIN};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a bbolt database: {first}; and {second}")]
    NotADatabase { first: String, second: String },
    #[error("page {page}, byte {offset}: {damage}")]
    Damaged { page: u64, offset: u64, damage: Damage },
    #[error("page {page}, byte {offset}: cannot read: {source}")]
    Io { page: u64, offset: u64, source: io::Error },
}

/// Where in the file something was found: the page, and the byte from the beginning of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub page: u64,
    pub offset: u64,
}

impl Place {
    pub fn damaged(self, damage: Damage) -> Error {
        Error::Damaged { page: self.page, offset: self.offset, damage }
    }

    pub fn io(self, source: io::Error) -> Error {
        Error::Io { page: self.page, offset: self.offset, source }
    }

    /// A place further on in the same page.
    pub fn plus(self, bytes: usize) -> Place {
        Place { page: self.page, offset: self.offset.saturating_add(bytes as u64) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("the file ends at byte {len}, but its meta page counts {pages} pages, which is {wanted} bytes: the end is missing")]
    Truncated { len: u64, pages: u64, wanted: u128 },
    #[error("it refers to page {to}, but pages of data are 2 to {last}", last = pages.saturating_sub(1))]
    OutOfBounds { to: u64, pages: u64 },
    #[error("the first meta page has no magic number")]
    NoMagic,
    #[error("the page size {found} is no power of two from {PAGE_BYTES_MIN} to {PAGE_BYTES_MAX}")]
    PageSize { found: u32 },
    #[error("it says that it is page {found}")]
    WrongId { found: u64 },
    #[error("it is no {wanted} page: its flags are {flags:#06x}")]
    WrongKind { wanted: &'static str, flags: u16 },
    #[error("it claims {overflow} pages after it, but the file's last page is {last}", last = pages.saturating_sub(1))]
    OverflowTooLarge { overflow: u32, pages: u64 },
    #[error("it counts {count} elements, more than its {size} bytes can hold")]
    TooManyElements { count: u64, size: u64 },
    #[error("element {index} lies at bytes {start} to {end} of the page, outside of {from} to {size}")]
    ElementOutside { index: usize, start: u64, end: u64, from: u64, size: u64 },
    #[error("element {index} has an empty key")]
    EmptyKey { index: usize },
    #[error("key {index} is not above the key before it")]
    KeyOrder { index: usize },
    #[error("its keys are not between the keys that the page above it says")]
    KeyBounds,
    #[error("a branch page without children")]
    NoChildren,
    #[error("more pages are referred to than the file has: pages form a cycle or overlap")]
    Revisited,
    #[error("page {page} is referred to more than once")]
    SharedPage { page: u64 },
    #[error("more than {max} levels deep")]
    TooDeep { max: usize },
    #[error("the value of the bucket element {index} has {len} bytes, too few for a bucket")]
    ShortBucket { index: usize, len: usize },
    #[error("the free list names page {id}, but pages of data are 2 to {last}", last = pages.saturating_sub(1))]
    FreeOutOfBounds { id: u64, pages: u64 },
    #[error("page {id} is in use and in the free list")]
    FreeInUse { id: u64 },
    #[error("page {id} is twice in the free list")]
    FreeTwice { id: u64 },
    #[error("page {id} is neither in use nor in the free list")]
    Lost { id: u64 },
}

/// Why a meta page is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadMeta {
    #[error("it lies beyond the end of the file")]
    Missing,
    #[error("it has no magic number")]
    Magic,
    #[error("it is of version {0}, and only 2 is known")]
    Version(u32),
    #[error("its checksum does not match")]
    Checksum,
    #[error("its page size {0} is no power of two from {PAGE_BYTES_MIN} to {PAGE_BYTES_MAX}, or not where its pages are")]
    PageSize(u32),
}
