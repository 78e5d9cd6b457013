//! What a writer wrote, a reader reads: every page size, both byte orders, all shapes of buckets.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::{Bucket, ByteOrder, Database, Format, Kind, NO_FREELIST, Page, ReadAt, Sizer};

pub(super) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;
pub(super) type Buckets = BTreeMap<Vec<u8>, Entries>;

/// The file that holds these buckets.
pub(super) fn written(format: Format, buckets: &Buckets) -> Vec<u8> {
    let mut sizer = Sizer::new(format);
    for (name, entries) in buckets {
        sizer.bucket(name);
        entries.iter().for_each(|(key, value)| sizer.entry(key, value.len()));
    }
    let plan = sizer.finish();
    let mut writer = plan.writer(Vec::new());
    for (name, entries) in buckets {
        writer.bucket(name).expect("the bucket is taken");
        entries.iter().for_each(|(key, value)| writer.entry(key, value).expect("the entry is taken"));
    }
    let file = writer.finish().expect("both passes agree");
    assert_eq!(file.len() as u64, plan.file_size());
    file
}

/// All that a file holds in buckets of the root.
pub(super) fn contents<S: ReadAt>(database: &Database<S>) -> Buckets {
    let mut buckets = Buckets::new();
    for name in database.buckets().expect("the root is read") {
        let bucket = database.bucket(&name).expect("the root is read").expect("the bucket is there");
        let mut entries = Entries::new();
        let mut last = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            assert!(last.as_slice() < key, "keys ascend");
            last = key.to_vec();
            entries.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        };
        bucket.scan(b"", &mut visit).expect("the bucket is read");
        buckets.insert(name, entries);
    }
    buckets
}

pub(super) fn findings<S: ReadAt>(database: &Database<S>) -> Vec<String> {
    let mut findings = Vec::new();
    database.check(&mut |finding| findings.push(finding.to_string())).expect("the file is read");
    findings
}

/// bbolt merges the pages that it deletes from, and takes for granted that there is a page to merge with.
fn every_branch_has_two_children<S: ReadAt>(bucket: &Bucket<'_, S>) {
    let mut visit = |page: &Page, _: usize| {
        assert!(page.kind() == Kind::Leaf || page.count() >= 2, "{:?}", page.header());
        Ok(())
    };
    bucket.pages(&mut visit).expect("the bucket is read");
}

fn round_trip(format: Format, buckets: &Buckets) -> Vec<u8> {
    let file = written(format, buckets);
    let database = Database::open(file.as_slice()).expect("the file opens");
    assert_eq!((database.format(), database.meta().freelist, database.size()), (format, NO_FREELIST, file.len() as u64));
    assert_eq!(findings(&database), [""; 0]);
    assert!(contents(&database) == *buckets, "the contents differ");
    let mut seen = Vec::new();
    let mut see = |bucket: &[u8], key: &[u8], value: &[u8]| seen.push((bucket.to_vec(), key.to_vec(), value.to_vec()));
    database.check_entries(&mut |finding| panic!("{finding}"), &mut see).expect("the file is read");
    let entries = |(name, entries): (&Vec<u8>, &Entries)| {
        entries.iter().map(|(key, value)| (name.clone(), key.clone(), value.clone())).collect::<Vec<_>>()
    };
    assert!(seen == buckets.iter().flat_map(entries).collect::<Vec<_>>(), "a check does not show each entry once, in order");
    every_branch_has_two_children(&database.root());
    for name in buckets.keys() {
        every_branch_has_two_children(&database.bucket(name).expect("the root is read").expect("the bucket is there"));
    }
    file
}

fn formats() -> impl Iterator<Item = Format> {
    let orders = [ByteOrder::Little, ByteOrder::Big];
    orders.into_iter().flat_map(|order| (10..=16).map(move |bits| Format { order, page_size: 1 << bits }))
}

fn numbered(count: usize, value: usize) -> Entries {
    (0..count).map(|number| (format!("key {number:07}").into_bytes(), vec![number as u8; value])).collect()
}

/// Buckets of all sizes, from a seed.
pub(super) fn random(seed: u64, entries_max: usize) -> Buckets {
    let mut random = StdRng::seed_from_u64(seed);
    let mut buckets = Buckets::new();
    for _ in 0..random.random_range(0..6) {
        let name = (0..random.random_range(1..20)).map(|_| random.random::<u8>()).collect();
        let count = if random.random_bool(0.3) { random.random_range(0..5) } else { random.random_range(0..=entries_max) };
        let (key_max, value_max) = (1 << random.random_range(3..10), 1 << random.random_range(0..11));
        let mut entries = Entries::new();
        for _ in 0..count {
            let is_large = random.random_bool(0.01);
            let value = random.random_range(0..if is_large { 40_000 } else { value_max });
            let key = (0..random.random_range(1..key_max)).map(|_| random.random::<u8>()).collect();
            entries.insert(key, vec![random.random(); value]);
        }
        buckets.insert(name, entries);
    }
    buckets
}

#[test]
fn a_file_without_buckets_is_read() {
    for format in formats() {
        assert_eq!(round_trip(format, &Buckets::new()).len(), 3 * format.page_size as usize);
    }
}

#[test]
fn the_bytes_are_those_drawn_in_either_order() {
    // Page size, flags, root, sequence, free list, pages, txid; then the checksum.
    let little = "00000000000000000400000000000000 edda0ced02000000 0004000000000000 0200000000000000 0000000000000000 \
                  ffffffffffffffff 0300000000000000 0200000000000000";
    let big = "00000000000000000004000000000000 ed0cdaed00000002 0000040000000000 0000000000000002 0000000000000000 \
               ffffffffffffffff 0000000000000003 0000000000000002";
    // A leaf of one element: a bucket at byte 16 of the element, name `b`, 16 + 34 bytes: root 0, sequence 0, a leaf, `k`, `v`.
    let little_root = "02000000000000000200010000000000 01000000100000000100000032000000 62 00000000000000000000000000000000 \
                       00000000000000000200010000000000 00000000100000000100000001000000 6b 76";
    let big_root = "00000000000000020002000100000000 00000001000000100000000100000032 62 00000000000000000000000000000000 \
                    00000000000000000002000100000000 00000000000000100000000100000001 6b 76";
    for (order, meta, root) in [(ByteOrder::Little, little, little_root), (ByteOrder::Big, big, big_root)] {
        let buckets = Buckets::from([(b"b".to_vec(), Entries::from([(b"k".to_vec(), b"v".to_vec())]))]);
        let file = written(Format { order, page_size: 1024 }, &buckets);
        println!("{order:?}");
        assert_eq!(hex(&file[..72]), meta.replace(' ', ""));
        assert_eq!(hex(&file[2048..2048 + root.replace(' ', "").len() / 2]), root.replace(' ', ""));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn small_buckets_are_kept_inline() {
    for format in formats() {
        let buckets = Buckets::from([(b"empty".to_vec(), Entries::new()), (b"one".to_vec(), numbered(1, 10))]);
        assert_eq!(round_trip(format, &buckets).len(), 3 * format.page_size as usize);
    }
}

#[test]
fn thousands_of_entries_are_read_in_every_format() {
    for format in formats() {
        let buckets =
            Buckets::from([(b"a".to_vec(), numbered(5000, 30)), (b"b".to_vec(), Entries::new()), (b"c".to_vec(), numbered(40, 0))]);
        round_trip(format, &buckets);
    }
}

#[test]
fn values_that_fill_many_pages_are_read() {
    for format in formats() {
        let mut entries = numbered(20, 3_000);
        entries.insert(b"key 0000003 is large".to_vec(), vec![7; 1_200_000]);
        entries.insert(b"large too".to_vec(), vec![8; 1_048_576]);
        round_trip(format, &Buckets::from([(b"key".to_vec(), entries)]));
    }
}

#[test]
fn keys_of_32_kib_are_read() {
    for format in formats() {
        let entries = (0..30_u8).map(|number| (vec![number + 1; 32_768], vec![number; 5])).collect();
        round_trip(format, &Buckets::from([(vec![b'n'; 32_768], entries)]));
    }
}

#[test]
fn thousands_of_buckets_are_read() {
    for format in formats() {
        let buckets = (0..2000).map(|number| (format!("bucket {number:05}").into_bytes(), numbered(number % 4, 5))).collect();
        round_trip(format, &buckets);
    }
}

#[test]
fn random_buckets_are_read() {
    for (seed, format) in (0..6).flat_map(|seed| formats().map(move |format| (seed, format))) {
        println!("seed {seed}, {format:?}");
        round_trip(format, &random(seed, 800));
    }
}

#[test]
fn a_scan_begins_at_any_key_and_ends_when_it_is_told() {
    let buckets = Buckets::from([(b"key".to_vec(), numbered(3000, 20))]);
    let file = written(Format::default(), &buckets);
    let database = Database::open(&file).expect("the file opens");
    let bucket = database.bucket(b"key").expect("the root is read").expect("the bucket is there");
    let entries = &buckets[b"key".as_slice()];
    for number in (0..3000).step_by(37) {
        for from in [format!("key {number:07}"), format!("key {number:07} and more"), format!("key {number:06}")] {
            let mut found = Vec::new();
            let mut visit = |key: &[u8], _: &[u8]| {
                found.push(key.to_vec());
                if found.len() == 200 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            bucket.scan(from.as_bytes(), &mut visit).expect("the bucket is read");
            let wanted: Vec<_> = entries.range(from.clone().into_bytes()..).take(200).map(|(key, _)| key.clone()).collect();
            assert!(found == wanted, "from {from}");
        }
    }
}

#[test]
fn a_key_is_got_and_one_that_is_not_there_is_not() {
    let buckets = Buckets::from([(b"key".to_vec(), numbered(3000, 20)), (b"small".to_vec(), numbered(2, 3))]);
    let file = written(Format::default(), &buckets);
    let database = Database::open(&file).expect("the file opens");
    assert!(database.bucket(b"nothing").expect("the root is read").is_none());
    for (name, entries) in &buckets {
        let bucket = database.bucket(name).expect("the root is read").expect("the bucket is there");
        for (key, value) in entries {
            assert_eq!(bucket.get(key).expect("the bucket is read").as_ref(), Some(value));
            assert_eq!(bucket.get(&[key.as_slice(), b"x"].concat()).expect("the bucket is read"), None);
        }
        assert_eq!(bucket.get(b"").expect("the bucket is read"), None);
    }
}

/// Counts what it takes.
#[derive(Clone, Default)]
struct Counting(std::rc::Rc<std::cell::Cell<u64>>);

impl std::io::Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.set(self.0.get() + bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_holds_no_more_than_a_page_per_level() {
    let format = Format::default();
    let key = |number: u32| [b"key", number.to_be_bytes().as_slice()].concat();
    let count = 60_000;
    let mut sizer = Sizer::new(format);
    sizer.bucket(b"key");
    (0..count).for_each(|number| sizer.entry(&key(number), 50));
    let plan = sizer.finish();
    let out = Counting::default();
    let mut writer = plan.writer(out.clone());
    writer.bucket(b"key").expect("the bucket is taken");
    let mut given = 0;
    for number in 0..count {
        writer.entry(&key(number), &[b'v'; 50]).expect("the entry is taken");
        given += 16 + 7 + 50;
        let held = given - out.0.get().min(given);
        assert!(held <= 3 * 4096, "{held} bytes are held after {number} entries");
    }
    writer.finish().expect("both passes agree");
    assert_eq!(out.0.get(), plan.file_size());
}

#[test]
fn a_second_pass_that_differs_is_refused() {
    let mut sizer = Sizer::new(Format::default());
    sizer.bucket(b"a");
    sizer.entry(b"k", 3);
    let plan = sizer.finish();
    let attempt = |bucket: &[u8], key: &[u8], value: &[u8]| {
        let mut writer = plan.writer(Vec::new());
        writer.bucket(bucket)?;
        writer.entry(key, value)?;
        writer.finish()
    };
    assert!(attempt(b"a", b"k", b"123").is_ok());
    for (bucket, key, value) in [("b", "k", "123"), ("a", "l", "123"), ("a", "k", "12"), ("a", "", "123"), ("", "k", "123")] {
        assert!(attempt(bucket.as_bytes(), key.as_bytes(), value.as_bytes()).is_err(), "{bucket} {key} {value}");
    }
    let large = attempt(b"a", b"k", &vec![0; 100_000]).expect_err("more pages");
    assert!(large.to_string().contains("more than 3 pages"), "{large}");
}

#[test]
fn keys_and_buckets_have_to_ascend() {
    let plan = Sizer::new(Format::default()).finish();
    let mut writer = plan.writer(Vec::new());
    assert!(writer.entry(b"k", b"").is_err());
    writer.bucket(b"b").expect("the bucket is taken");
    writer.entry(b"k", b"").expect("the entry is taken");
    assert_eq!(writer.entry(b"k", b"").expect_err("twice").to_string(), "key k comes after k");
    assert_eq!(writer.bucket(b"a").expect_err("descends").to_string(), "bucket a comes after b");
}

#[test]
fn a_page_size_that_does_not_exist_is_refused() {
    for page_size in [0, 512, 4095, 131_072] {
        let plan = Sizer::new(Format { page_size, ..Format::default() }).finish();
        let refused = plan.writer(Vec::new()).finish().expect_err("no page size");
        assert!(refused.to_string().contains("page size"), "{refused}");
    }
}
