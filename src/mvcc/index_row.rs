//! What a restart needs to know of a record without reading it: the value of the `index` keyspace, under the record's revision.
//!
//! ```text
//!   0      1          9          17        25        29
//!   | kind | create   | version  | lease   | length  | key ..        numbers big-endian
//! ```
//!
//! `kind` is 0 for a put and 1 for a tombstone (create, version and lease are 0 then); `length` is the length of the record
//! in the `key` keyspace. The layout's number is the stamp in `local` (`LAYOUT`); a stamp that is not ours is refused at open.
//!
//! Written in the same batch as the record, removed with it. Ours alone: never exported, never hashed.

use bytes::{BufMut, Bytes, BytesMut};

use super::record;

/// The number of this layout, and of everything else that is ours alone.
pub use crate::storage::keyspace::LAYOUT;

const HEAD: usize = 29;
const PUT: u8 = 0;
const TOMBSTONE: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRow<'a> {
    pub is_tombstone: bool,
    pub create: i64,
    pub version: i64,
    pub lease: i64,
    /// Bytes of the record.
    pub length: u32,
    pub key: &'a [u8],
}

impl<'a> IndexRow<'a> {
    pub fn encode(&self) -> Bytes {
        let mut to = BytesMut::with_capacity(HEAD + self.key.len());
        to.put_u8(if self.is_tombstone { TOMBSTONE } else { PUT });
        to.put_i64(self.create);
        to.put_i64(self.version);
        to.put_i64(self.lease);
        to.put_u32(self.length);
        to.put_slice(self.key);
        to.freeze()
    }

    pub fn decode(row: &'a [u8]) -> Option<IndexRow<'a>> {
        let (head, key) = row.split_at_checked(HEAD)?;
        let number = |at: usize| Some(i64::from_be_bytes(head[at..at + 8].try_into().ok()?));
        let is_tombstone = match head[0] {
            PUT => false,
            TOMBSTONE => true,
            _ => return None,
        };
        let length = u32::from_be_bytes(head[25..HEAD].try_into().ok()?);
        Some(IndexRow { is_tombstone, create: number(1)?, version: number(9)?, lease: number(17)?, length, key })
    }

    /// The row that belongs to a record which came from elsewhere (an imported database); `None` when it is not a record.
    pub fn of_record(record: &'a [u8], is_tombstone: bool) -> Option<IndexRow<'a>> {
        let fields = record::decode(record)?;
        let length = u32::try_from(record.len()).ok()?;
        let (create, version, lease) = if is_tombstone { (0, 0, 0) } else { (fields.create, fields.version, fields.lease) };
        Some(IndexRow { is_tombstone, create, version, lease, length, key: fields.key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_golden_bytes() {
        let row = IndexRow { is_tombstone: false, create: 2, version: 3, lease: -1, length: 0x0102, key: b"ab" };
        let golden = b"\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\0\x01\x02ab";
        assert_eq!(row.encode()[..], golden[..]);
        assert_eq!(IndexRow::decode(golden), Some(row));
        let gone = IndexRow { is_tombstone: true, create: 0, version: 0, lease: 0, length: 3, key: b"k" };
        assert_eq!(IndexRow::decode(&gone.encode()), Some(gone));
    }

    #[test]
    fn what_is_not_a_row_is_refused() {
        let row = IndexRow { is_tombstone: false, create: 2, version: 3, lease: 4, length: 5, key: b"" }.encode();
        assert!(IndexRow::decode(&row).is_some());
        assert_eq!(IndexRow::decode(&row[..HEAD - 1]), None);
        let mut other = row.to_vec();
        other[0] = 2;
        assert_eq!(IndexRow::decode(&other), None);
    }

    #[test]
    fn a_record_from_elsewhere_gets_its_row() {
        let record = record::put(&record::Fields { key: b"k", create: 2, modified: 4, version: 2, value: b"v", lease: 9 }).record;
        let row = IndexRow::of_record(&record, false).unwrap();
        assert_eq!(row, IndexRow { is_tombstone: false, create: 2, version: 2, lease: 9, length: record.len() as u32, key: b"k" });
    }
}
