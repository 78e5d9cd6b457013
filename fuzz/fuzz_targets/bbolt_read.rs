//! Any bytes as a database file: reading ends, with an answer or an error.
//!
//! The room is taken in by path: it imports nothing, so no C++ library has to be built for this.

#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;

#[path = "../../src/bbolt/mod.rs"]
#[expect(unused, reason = "the target reads, and the room also writes")]
mod bbolt;

fuzz_target!(|bytes: &[u8]| {
    read_raw(bytes);
    let _ = read(bytes);
});

/// Every page for itself.
fn read_raw(bytes: &[u8]) {
    let Ok(raw) = bbolt::Raw::open(bytes) else { return };
    let pages = bytes.len() as u64 / u64::from(raw.format().page_size);
    for id in 0..=pages {
        let Ok(page) = raw.page(id) else { continue };
        if let Ok(bbolt::Contents::Tree(tree)) = page.contents() {
            assert!((0..tree.count()).map(|index| tree.key(index).len() + tree.value(index).len()).sum::<usize>() <= bytes.len());
        }
    }
}

fn read(bytes: &[u8]) -> Result<(), bbolt::Error> {
    let database = bbolt::Database::open(bytes)?;
    database.check(&mut |finding| {
        let _ = finding.to_string();
    })?;
    if let Ok(free) = database.free_pages() {
        assert!(!free.has(0) && !free.has(1) && !free.has(database.meta().pages), "a page that cannot be free");
    }
    for name in database.buckets()?.iter().take(20) {
        let Some(bucket) = database.bucket(name)? else { continue };
        let mut visited = 0;
        bucket.scan(b"", &mut |key, value| {
            visited += key.len() + value.len();
            ControlFlow::Continue(())
        })?;
        assert!(visited <= bytes.len(), "a scan visits no byte twice");
        bucket.get(name)?;
    }
    Ok(())
}
