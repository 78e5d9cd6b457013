//! Sound files with random damage: whatever it is, reading ends, with an answer or an error, after no more than the file's bytes.
//!
//! ```text
//!   BBOLT_FUZZ_SECONDS=600 cargo test --lib bbolt::tests::mutations      as long as wanted, instead of a fixed number
//!   BBOLT_FUZZ_SEED=17 ...                                               that one again
//! ```

use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::{ByteOrder, Contents, Database, Error, Format, Raw, ReadAt};
use super::forge::Forge;
use super::round_trip::{random, written};

/// Files of the run that CI has.
const RUNS: u64 = 3000;

/// Counts what is read.
struct Counted<'a> {
    bytes: &'a [u8],
    read: Cell<u64>,
}

impl ReadAt for Counted<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        assert!(buf.len() <= self.bytes.len(), "a buffer of {} bytes for a file of {}", buf.len(), self.bytes.len());
        self.read.set(self.read.get() + buf.len() as u64);
        self.bytes.read_at(offset, buf)
    }
}

/// Reads every page for itself, as one does with a file that cannot be opened.
fn read_raw(bytes: &[u8]) {
    let Ok(raw) = Raw::open(bytes) else { return };
    let pages = bytes.len() as u64 / u64::from(raw.format().page_size);
    for id in (0..pages + 2).chain([raw.pages(), u64::MAX]) {
        assert_eq!(raw.bytes(id).is_ok(), id < pages, "page {id} of {pages}");
        let Ok(page) = raw.page(id) else { continue };
        assert!(page.size() <= bytes.len() && !page.header.kind().is_empty());
        match page.contents() {
            Ok(Contents::Tree(tree)) => {
                let inside = |index| tree.key(index).len() + tree.value(index).len() + usize::from(tree.bucket_header(index).is_some());
                let all: usize = (0..tree.count()).map(inside).sum();
                assert!(tree.used() <= page.size() && all <= page.size() + tree.count(), "page {id}");
            }
            Ok(Contents::FreeList(ids)) => assert!(ids.len() * 8 <= page.size(), "page {id}"),
            Ok(Contents::Meta(_) | Contents::Unknown) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Reads a file in every way; true if nothing was wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<bool, Error> {
    let source = Counted { bytes, read: Cell::new(0) };
    let database = Database::open(&source)?;
    let len = bytes.len() as u64;
    let pass = |what: &str, passes: u64| {
        let read = source.read.replace(0);
        assert!(read <= passes * len, "{what} read {read} bytes of a file of {len}");
    };
    pass("opening", 20);
    let mut findings = 0;
    database.check(&mut |finding| {
        // What is said of it has to be sayable.
        findings += usize::from(!finding.to_string().is_empty());
    })?;
    pass("the check", 2);
    let free = database.free_pages();
    pass("the free pages", 2);
    let pages = database.meta().pages;
    assert!(
        free.is_err() || !free.is_ok_and(|free| [0, 1, pages, u64::MAX].into_iter().any(|id| free.has(id))),
        "a page that cannot be free"
    );
    for root in [2, pages / 2, pages - 1, pages] {
        database.check_below(root.max(2), &mut |finding| {
            findings += usize::from(root == database.meta().root && !finding.to_string().is_empty())
        })?;
        pass("the check of a part", 2);
    }
    let names = database.buckets()?;
    pass("the root", 1);
    for name in names.iter().take(20) {
        let Some(bucket) = database.bucket(name)? else { continue };
        pass("finding a bucket", 1);
        let mut visited = 0;
        let mut middle = Vec::new();
        let scanned = bucket.scan(b"", &mut |key, value| {
            visited += (key.len() + value.len()) as u64;
            if visited < len / 2 {
                middle = key.to_vec();
            }
            ControlFlow::Continue(())
        });
        pass("a scan", 1);
        assert!(visited <= len, "a scan of a file of {len} bytes visited {visited}");
        scanned?;
        bucket.get(&middle)?;
        pass("a get", 1);
        for inside in bucket.buckets()?.iter().take(5) {
            if let Some(inside) = bucket.bucket(inside)? {
                inside.scan(&middle, &mut |_, _| ControlFlow::Continue(()))?;
            }
        }
        pass("nested buckets", 20);
    }
    Ok(findings == 0)
}

/// One change of those that hurt.
fn mutate(bytes: &mut Vec<u8>, page_size: usize, random: &mut StdRng) {
    let pages = (bytes.len() / page_size).max(1);
    let page = random.random_range(0..pages) * page_size;
    let number: u64 = match random.random_range(0..5) {
        0 => random.random_range(0..pages as u64 + 2),
        1 => u64::MAX - random.random_range(0..3),
        2 => random.random_range(0..70_000),
        3 => 1 << random.random_range(0..64),
        _ => random.random(),
    };
    let mut put = |offset: usize, number: &[u8]| {
        if let Some(place) = bytes.get_mut(offset..offset + number.len()) {
            place.copy_from_slice(number);
        }
    };
    match random.random_range(0..10) {
        0 => put(page, &number.to_le_bytes()),
        1 => put(page + 8, &(number as u16).to_le_bytes()),
        2 => put(page + 10, &(number as u16).to_le_bytes()),
        3 => put(page + 12, &(number as u32).to_le_bytes()),
        4 => put(page + 16 + random.random_range(0..60) * 4, &(number as u32).to_le_bytes()),
        5 => put(page + 24 + random.random_range(0..30) * 16, &number.to_le_bytes()),
        6 => {
            let at = random.random_range(0..bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        7 => {
            // One page over another, sometimes with the number it then should have.
            let other = random.random_range(0..pages) * page_size;
            if other + page_size <= bytes.len() && page + page_size <= bytes.len() {
                bytes.copy_within(other..other + page_size, page);
                if random.random() {
                    bytes[page..page + 8].copy_from_slice(&((page / page_size) as u64).to_le_bytes());
                }
            }
        }
        8 if random.random_bool(0.2) => bytes.truncate(random.random_range(0..=bytes.len())),
        _ => {
            let at = random.random_range(0..bytes.len().max(1));
            let end = (at + random.random_range(0..64)).min(bytes.len());
            let byte = random.random();
            bytes[at.min(end)..end].fill(byte);
        }
    }
}

/// Damage to a meta page is found by its checksum; for what lies behind, it is made right again.
fn mend_metas(bytes: &mut [u8], page_size: usize) {
    for page in [0, page_size] {
        if let Some(meta) = bytes.get_mut(page + 16..page + 80) {
            let sum =
                meta[..56].iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
            meta[56..].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

#[test]
fn a_damaged_file_is_read_or_refused() {
    let (seconds, seed) = (number("BBOLT_FUZZ_SECONDS").map(Duration::from_secs), number("BBOLT_FUZZ_SEED"));
    let pages = Forge::new().pages();
    let mut sound: Vec<(usize, Vec<u8>)> =
        [Forge::new(), Forge::nested(), Forge::new().with_freelist(1, &[pages])].map(|forge| (1024, forge.bytes)).into();
    for (seed, page_size) in [(1, 1024), (2, 2048), (3, 4096), (4, 16_384)] {
        sound.push((page_size, written(Format { order: ByteOrder::Little, page_size: page_size as u32 }, &random(seed, 300))));
    }
    let started = Instant::now();
    let first = seed.unwrap_or_else(rand::random);
    let (mut runs, mut read_well, mut refused) = (0, 0_u64, 0_u64);
    while seed.map_or_else(|| seconds.map_or(runs < RUNS, |seconds| started.elapsed() < seconds), |_| runs == 0) {
        let seed = first.wrapping_add(runs);
        let mut random = StdRng::seed_from_u64(seed);
        let (page_size, bytes) = &sound[random.random_range(0..sound.len())];
        let mut bytes = bytes.clone();
        (0..random.random_range(1..6)).for_each(|_| mutate(&mut bytes, *page_size, &mut random));
        if random.random_bool(0.8) {
            mend_metas(&mut bytes, *page_size);
        }
        let began = Instant::now();
        let reads = || {
            read_raw(&bytes);
            read(&bytes)
        };
        match std::panic::catch_unwind(reads) {
            Ok(Ok(is_sound)) => read_well += u64::from(is_sound),
            Ok(Err(error)) => refused += u64::from(!error.to_string().is_empty()),
            Err(_) => panic!("again: BBOLT_FUZZ_SEED={seed}"),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "too slow; again: BBOLT_FUZZ_SEED={seed}");
        runs += 1;
    }
    println!("{runs} files from seed {first}: {refused} refused, {read_well} without a finding");
    assert!(runs < RUNS || (refused > runs / 10 && read_well > runs / 50), "the damage is too large or too small to prove anything");
}
