//! The database of a real server: read, written anew, and put in the place of its own.

use std::fs::File;
use std::ops::ControlFlow;

use etcd::bbolt::{Database, NO_FREELIST};

use super::changes_hands::{Buckets, listing, write};
use crate::real_server::{Addresses, RealServer};

#[tokio::test]
async fn the_real_server_goes_on_with_its_database_written_anew() {
    let home = tempfile::tempdir().expect("a directory");
    let addresses = Addresses::free("m1");
    let server = RealServer::start(home.path(), &addresses, &["--snapshot-count", "10"]);
    let sizes = [0, 1, 100, 4000, 70_000, 1_000_000];
    for round in 0..20_u8 {
        for size in sizes {
            server.put(&format!("key {size}"), vec![round; size]).await;
        }
    }
    server.stop().await;

    let path = home.path().join("member/snap/db");
    let database = Database::open(File::open(&path).expect("the file is there")).expect("the file opens");
    assert_eq!(database.meta().freelist, NO_FREELIST);
    let mut buckets = Buckets::new();
    for name in database.buckets().expect("the root is read") {
        let bucket = database.bucket(&name).expect("the root is read").expect("the bucket is there");
        let entries = buckets.entry(name).or_default();
        let mut visit = |key: &[u8], value: &[u8]| {
            entries.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        };
        bucket.scan(b"", &mut visit).expect("the bucket is read");
    }
    let before = listing(&path);
    write(&path, database.format().page_size, &buckets);
    assert!(listing(&path) == before, "the contents differ");

    let server = RealServer::start(home.path(), &addresses, &[]);
    for size in sizes {
        assert_eq!(server.get(&format!("key {size}")).await, Some(vec![19; size]));
    }
    server.put("after", "all").await;
    server.stop().await;
    assert!(listing(&path) != before);
}
