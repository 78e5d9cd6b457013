//! Reads of the key index and its ready-made values: no sockets, no disk.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use etcd::mvcc::{self, PutValue, Reader, Step, Writer};
use etcd::storage::memory::MemoryEngine;
use etcd::storage::{Batch, Engine};
use etcd::wire::etcdserverpb::RangeRequest;
use etcd::wire::hot::RangeResponse;

const KEYS: u64 = 200_000;

fn key(n: u64) -> Bytes {
    Bytes::from(format!("/registry/pods/namespace/{n:012}"))
}

fn filled() -> (Writer, Reader, Arc<dyn Engine>) {
    let engine: Arc<dyn Engine> = MemoryEngine::new();
    let (mut writer, reader) = mvcc::open(engine.clone(), mvcc::Options::default(), &mut |_| ()).expect("an empty engine opens");
    let value = Bytes::from(vec![7; 256]);
    for chunk in (0..KEYS).collect::<Vec<_>>().chunks(1000) {
        let mut batch = Batch::default();
        for &n in chunk {
            let mut txn = writer.begin(&mut batch);
            txn.put(key(n), PutValue::New(value.clone()), 0, false).expect("memory does not fail");
            txn.end();
        }
        engine.write(&batch).expect("memory does not fail");
        writer.merge();
        writer.take_events();
        writer.publish();
    }
    (writer, reader, engine)
}

fn read(reader: &Reader, request: &RangeRequest) -> RangeResponse {
    let mut scan = reader.scan(request).expect("the revision is there");
    loop {
        match scan.step(512).expect("nothing is compacted") {
            Step::Done(response) => return response,
            Step::More => {}
            Step::Read => scan.read().expect("memory does not fail"),
        }
    }
}

fn range(c: &mut Criterion) {
    let (_writer, reader, _engine) = filled();
    let point = RangeRequest { key: key(KEYS / 2), ..Default::default() };
    c.bench_function("get one key of 200k", |b| b.iter(|| black_box(read(&reader, &point))));
    let page = RangeRequest { key: key(KEYS / 2), range_end: Bytes::from_static(b"/registry/pods0"), limit: 500, ..Default::default() };
    c.bench_function("page of 500 out of 200k", |b| b.iter(|| black_box(read(&reader, &page))));
    let pinned = RangeRequest { revision: reader.revision() - 1000, ..page };
    c.bench_function("page of 500 at an older revision", |b| b.iter(|| black_box(read(&reader, &pinned))));
    let count = RangeRequest { key: Bytes::from_static(b"/"), range_end: Bytes::from_static(b"0"), count_only: true, ..Default::default() };
    c.bench_function("count 200k", |b| b.iter(|| black_box(read(&reader, &count))));
}

criterion_group!(benches, range);
criterion_main!(benches);
