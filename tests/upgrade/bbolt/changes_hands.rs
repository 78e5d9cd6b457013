//! Files in both directions, compared by their whole contents.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use etcd::bbolt::{Bucket, ByteOrder, Database, Format, Item, NO_FREELIST, Prefix, ReadAt, Sizer};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::real::Real;

pub type Buckets = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// bbolt reads its own host's order only.
const PAGE_SIZES: [u32; 7] = [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// As the Go program lists it.
fn list<S: ReadAt>(bucket: &Bucket<'_, S>, path: &str, out: &mut String) {
    let mut visit = |item: Item<'_>| {
        match item {
            Item::Entry { key, value } => {
                let _ = writeln!(out, "entry {path} {} {} {:016x}", hex(key), value.len(), fnv_1a(value));
            }
            Item::Bucket { name } => {
                let inside = bucket.bucket(name).expect("the bucket is read").expect("the bucket is there");
                let path = format!("{path}/{}", hex(name));
                let _ = writeln!(out, "bucket {path} {}", inside.sequence());
                list(&inside, &path, out);
            }
        }
        ControlFlow::Continue(())
    };
    bucket.items(b"", &mut visit).expect("the bucket is read");
}

pub fn listing(path: &Path) -> String {
    let source = Prefix::whole(File::open(path).expect("the file is there")).expect("the file is read");
    let database = Database::open(source).expect("the file opens");
    database.check(&mut |finding| panic!("{finding}")).expect("the file is read");
    let mut out = String::new();
    list(&database.root(), "", &mut out);
    out
}

pub fn write(path: &Path, page_size: u32, buckets: &Buckets) {
    let format = Format { order: ByteOrder::native(), page_size };
    let mut sizer = Sizer::new(format);
    for (name, entries) in buckets {
        sizer.bucket(name);
        entries.iter().for_each(|(key, value)| sizer.entry(key, value.len()));
    }
    let plan = sizer.finish();
    let mut writer = plan.writer(std::io::BufWriter::new(File::create(path).expect("the file is made")));
    for (name, entries) in buckets {
        writer.bucket(name).expect("the bucket is taken");
        entries.iter().for_each(|(key, value)| writer.entry(key, value).expect("the entry is taken"));
    }
    writer.finish().expect("both passes agree").into_inner().expect("the file is written");
    assert_eq!(std::fs::metadata(path).expect("the file is there").len(), plan.file_size());
}

/// etcd's shape of a database: empty buckets, small ones, one of many revisions, one of large values, keys up to bbolt's limit.
pub fn buckets(seed: u64) -> Buckets {
    let mut random = StdRng::seed_from_u64(seed);
    let mut buckets = Buckets::from([(b"alarm".to_vec(), BTreeMap::new()), (b"auth".to_vec(), BTreeMap::new())]);
    let revisions = (0..random.random_range(1..6000_u64)).map(|main| {
        let key = [&main.to_be_bytes(), b"_".as_slice(), &0_u64.to_be_bytes()].concat();
        (key, vec![random.random(); random.random_range(20..300)])
    });
    buckets.insert(b"key".to_vec(), revisions.collect());
    let large = (0..random.random_range(1..8_u8)).map(|number| (vec![number; 20], vec![number; random.random_range(0..1_500_000)]));
    buckets.insert(b"large".to_vec(), large.collect());
    let mut long = BTreeMap::new();
    for _ in 0..random.random_range(0..40) {
        let len = if random.random_bool(0.2) { 32_768 } else { random.random_range(1..3000) };
        long.insert((0..len).map(|_| random.random()).collect(), vec![1; random.random_range(0..40)]);
    }
    buckets.insert(b"long".to_vec(), long);
    buckets.insert(b"meta".to_vec(), BTreeMap::from([(b"consistent_index".to_vec(), vec![0; 8]), (b"term".to_vec(), Vec::new())]));
    buckets
}

/// A directory and paths inside of it.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Files {
        Files(tempfile::tempdir().expect("a directory"))
    }

    pub fn path(&self, name: &str) -> (PathBuf, String) {
        let path = self.0.path().join(name);
        let text = path.to_str().expect("the path is text").to_owned();
        (path, text)
    }
}

#[test]
fn what_bbolt_made_is_read_whole() {
    let Some(real) = Real::new() else { return };
    for (seed, page_size) in PAGE_SIZES.into_iter().enumerate() {
        for freelist in ["array", "hashmap", "none"] {
            println!("seed {seed}, pages of {page_size} bytes, free list {freelist}");
            let files = Files::new();
            let (path, text) = files.path("made");
            real.run(&["make", &text, &page_size.to_string(), freelist, &seed.to_string()]);
            let database = Database::open(File::open(&path).expect("the file is there")).expect("the file opens");
            assert_eq!(database.format(), Format { order: ByteOrder::native(), page_size });
            assert_eq!(database.meta().freelist == NO_FREELIST, freelist == "none");
            assert!(listing(&path) == real.run(&["list", &text]), "the contents differ");
        }
    }
}

#[test]
fn what_we_wrote_is_opened_checked_and_changed_by_bbolt() {
    let Some(real) = Real::new() else { return };
    for (seed, page_size) in (0..3_u64).flat_map(|seed| PAGE_SIZES.map(|page_size| (seed, page_size))) {
        println!("seed {seed}, pages of {page_size} bytes");
        let files = Files::new();
        let (path, text) = files.path("written");
        write(&path, page_size, &buckets(seed));
        let ours = listing(&path);
        assert!(ours == real.run(&["list", &text]), "the contents differ");
        let checked = real.command_line(&["check", &text]);
        assert_eq!(String::from_utf8_lossy(&checked.stdout), "OK\n", "{}", String::from_utf8_lossy(&checked.stderr));
        // Deletes merge pages, puts split them: what bbolt takes for granted of a tree is there.
        let changed = real.run(&["work", &text, &seed.to_string()]);
        assert!(changed != ours && changed == listing(&path), "the contents differ after changes");
    }
}

#[test]
fn what_we_wrote_is_as_small_as_what_bbolt_compacts() {
    let Some(real) = Real::new() else { return };
    for page_size in [1024, 4096, 65_536] {
        let files = Files::new();
        let ((path, text), (_, target)) = (files.path("written"), files.path("compacted"));
        write(&path, page_size, &buckets(9));
        let ours = std::fs::metadata(&path).expect("the file is there").len();
        let theirs: u64 = real.run(&["compact", &text, &target]).trim().parse().expect("a size");
        println!("pages of {page_size} bytes: {ours} bytes, compacted by bbolt {theirs}");
        assert!(ours <= theirs + theirs / 20, "pages of {page_size} bytes: {ours} bytes, compacted by bbolt {theirs}");
    }
}
