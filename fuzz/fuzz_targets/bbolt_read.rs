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
    let _ = read(bytes);
});

fn read(bytes: &[u8]) -> Result<(), bbolt::Error> {
    let database = bbolt::Database::open(bytes)?;
    database.check(&mut |finding| {
        let _ = finding.to_string();
    })?;
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
