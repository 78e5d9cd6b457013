//! Files with a single thing wrong: a sound one, edited by page and offset.

use super::super::meta::{META_PAGE_BYTES, Meta};
use super::super::{ByteOrder, Database, Format, Sizer};
use super::round_trip::{Buckets, Entries, written};

pub(super) const FORMAT: Format = Format { order: ByteOrder::Little, page_size: 1024 };

/// A file of 1,024-byte pages, little-endian.
#[derive(Clone)]
pub(super) struct Forge {
    pub bytes: Vec<u8>,
}

impl Forge {
    /// `key` has a branch root over leaves; `large` one value with overflow; `small` is inline.
    pub fn new() -> Forge {
        let key: Entries = (0..400).map(|number| (format!("key {number:04}").into_bytes(), vec![b'v'; 40])).collect();
        let large = Entries::from([(b"a".to_vec(), vec![b'l'; 5000]), (b"b".to_vec(), vec![b'l'; 5000])]);
        let small = Entries::from([(b"in".to_vec(), b"line".to_vec())]);
        let buckets = Buckets::from([(b"key".to_vec(), key), (b"large".to_vec(), large), (b"small".to_vec(), small)]);
        Forge { bytes: written(FORMAT, &buckets) }
    }

    /// As `new`, with a bucket `inner` on pages of its own inside of `outer`, and an inline one beside it.
    pub fn nested() -> Forge {
        let make = |root: u64| {
            let numbered = |count: usize| (0..count).map(|number| (format!("{number:03}").into_bytes(), vec![b'v'; 30]));
            let mut outer: Entries = numbered(50).collect();
            outer.insert(b"inner".to_vec(), [root.to_le_bytes(), 7_u64.to_le_bytes()].concat());
            outer.insert(b"inner inline".to_vec(), inline(b"k", b"v"));
            let buckets = Buckets::from([(b"outer".to_vec(), outer), (b"zz".to_vec(), numbered(60).collect())]);
            Forge { bytes: written(FORMAT, &buckets) }
        };
        let root = make(0).bucket_root(b"zz");
        let mut forge = make(root);
        // `zz` leaves the root bucket and comes back as `inner`.
        forge.put_u16(forge.root(), 10, 1);
        for page in 2..forge.pages() {
            for index in 0..forge.u16(page, 10).min(60) {
                let (start, key) = forge.leaf_element(page, index);
                if forge.u16(page, 8) == 2 && forge.at(page, start).starts_with(b"inner") && key < 100 {
                    forge.put_u32(page, 16 + u64::from(index) * 16, 1);
                }
            }
        }
        forge
    }

    /// With a stored free list in one more page at the end, and a free page in front of it.
    pub fn with_freelist(mut self, count: u16, numbers: &[u64]) -> Forge {
        let pages = self.pages();
        let mut list = vec![0; 2048];
        list[1024..1032].copy_from_slice(&(pages + 1).to_le_bytes());
        list[1032..1034].copy_from_slice(&0x10_u16.to_le_bytes());
        list[1034..1036].copy_from_slice(&count.to_le_bytes());
        for (index, number) in numbers.iter().enumerate() {
            list[1040 + index * 8..1048 + index * 8].copy_from_slice(&number.to_le_bytes());
        }
        self.bytes.extend(list);
        self.meta(|meta| (meta.pages, meta.freelist) = (pages + 2, pages + 1));
        self
    }

    pub fn pages(&self) -> u64 {
        self.bytes.len() as u64 / 1024
    }

    fn decoded(&self) -> Meta {
        Meta::decode(&self.bytes[..META_PAGE_BYTES]).expect("the meta is sound").0
    }

    /// Changes what both metas say, checksum included.
    pub fn meta(&mut self, change: impl Fn(&mut Meta)) {
        let sound = self.decoded();
        for id in 0..2 {
            let mut meta = sound.clone();
            meta.txid = 2 - id as u64;
            change(&mut meta);
            let mut encoded = meta.encode(id as u64, ByteOrder::Little);
            encoded.resize(1024, 0);
            self.bytes[id * 1024..(id + 1) * 1024].copy_from_slice(&encoded);
        }
    }

    pub fn root(&self) -> u64 {
        self.decoded().root
    }

    pub fn bucket_root(&self, name: &[u8]) -> u64 {
        let database = Database::open(&self.bytes).expect("the file opens");
        database.bucket(name).expect("the root is read").expect("the bucket is there").root_page()
    }

    fn start(page: u64, offset: u64) -> usize {
        (page * 1024 + offset) as usize
    }

    pub fn at(&self, page: u64, offset: u64) -> &[u8] {
        self.bytes.get(Forge::start(page, offset)..).unwrap_or_default()
    }

    pub fn u16(&self, page: u64, offset: u64) -> u16 {
        ByteOrder::Little.u16(&self.bytes, Forge::start(page, offset))
    }

    /// Where the key of a leaf's element begins in its page, and how long it is.
    pub fn leaf_element(&self, page: u64, index: u16) -> (u64, u32) {
        let element = 16 + u64::from(index) * 16;
        let number = |offset| ByteOrder::Little.u32(&self.bytes, Forge::start(page, element + offset));
        (element + u64::from(number(4)), number(8))
    }

    pub fn put(&mut self, page: u64, offset: u64, bytes: &[u8]) {
        let start = Forge::start(page, offset);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    pub fn put_u16(&mut self, page: u64, offset: u64, number: u16) {
        self.put(page, offset, &number.to_le_bytes());
    }

    pub fn put_u32(&mut self, page: u64, offset: u64, number: u32) {
        self.put(page, offset, &number.to_le_bytes());
    }

    pub fn put_u64(&mut self, page: u64, offset: u64, number: u64) {
        self.put(page, offset, &number.to_le_bytes());
    }
}

/// The value of an inline bucket of one entry.
pub(super) fn inline(key: &[u8], value: &[u8]) -> Vec<u8> {
    inline_element(0, key, value)
}

pub(super) fn inline_element(flags: u32, key: &[u8], value: &[u8]) -> Vec<u8> {
    // Root page and sequence; id, a leaf, one element, no overflow; the element.
    let mut bytes = vec![0; 16 + 8];
    bytes.extend([2, 0, 1, 0, 0, 0, 0, 0]);
    for number in [flags, 16, key.len() as u32, value.len() as u32] {
        bytes.extend(number.to_le_bytes());
    }
    [&bytes, key, value].concat()
}

/// A file whose only bucket has one value, marked as a bucket.
pub(super) fn with_bucket_value(value: &[u8]) -> Forge {
    let mut sizer = Sizer::new(FORMAT);
    sizer.bucket(b"outer");
    sizer.entry(b"deep", value.len());
    sizer.entry(b"filler", 1000);
    let mut writer = sizer.finish().writer(Vec::new());
    writer.bucket(b"outer").expect("the bucket is taken");
    writer.entry(b"deep", value).expect("the entry is taken");
    writer.entry(b"filler", &[0; 1000]).expect("the entry is taken");
    let mut forge = Forge { bytes: writer.finish().expect("both passes agree") };
    forge.put_u32(forge.bucket_root(b"outer"), 16, 1);
    forge
}
