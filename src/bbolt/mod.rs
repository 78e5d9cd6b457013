//! etcd's database file, the format of the bbolt library: a reader that trusts nothing, and a writer that never goes back (D1, FMT-7, FMT-8).
//!
//! ```text
//!   page 0   meta  txid 2  --+          both name the root bucket, the number of pages and the free pages;
//!   page 1   meta  txid 1  --+          the valid one of the higher txid counts
//!   page 2.. leaves of the first bucket, each branch page after the pages below it, then the next bucket
//!   last     the root bucket: name -> root page of that bucket, or, of a small one, the bucket itself
//!
//!   entries --Sizer--> Plan {pages, root} --Writer--> one sequential stream           (written here)
//!   file --ReadAt--> Database --> Bucket --> scan, get;  --> check --> findings       (read here)
//! ```
//!
//! Writes: `state_machine::snapshot` exports through `Writer`. Reads: its import, and `etcdutl`.
//! Invariant: whatever a file says, a reader answers or refuses with the page and the byte; it allocates no more than the file is
//! long, and a walk visits no page twice.
//! Invariant: a written file has no free page, and every branch page has two children or more, which bbolt relies on when it deletes.
//! Files: `format` numbers and their order, `meta` and `page` the bytes, `source` where they come from, `database` and `bucket` the
//! reader, `walk` the way through a tree, `check` and `freelist` the whole file at once, `raw` single pages of a file that may not open, `pack` which entry goes to which page, `write`
//! the two passes, `error` what is said of a bad file.
//! Does not change a file, lock it, or know what etcd keeps in it.

mod bucket;
mod check;
mod database;
mod error;
mod format;
mod freelist;
mod meta;
mod pack;
mod page;
mod raw;
mod source;
#[cfg(test)]
mod tests;
mod walk;
mod write;

pub use bucket::{Bucket, Item, VisitEntry};
pub use check::{Finding, FreePages};
pub use database::Database;
pub use error::{Damage, Error};
pub use format::{ByteOrder, Format, KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use meta::{Meta, NO_FREELIST};
pub use page::{Header, Kind, Page};
pub use raw::{Contents, Raw, RawPage};
pub use source::{Prefix, ReadAt};
pub use walk::VisitPage;
pub use write::{Plan, Sizer, Writer};
