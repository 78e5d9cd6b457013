//! Appends to the raft log: encoding, the write, and with a disk behind it the sync.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use etcd::wal::{HardState, LogEntry, Options, RealFileSystem, Wal};
use etcd::wire::raftpb::EntryType;

fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut wal = Wal::create(Arc::new(RealFileSystem), &dir.path().join("wal"), b"bench", Options::default()).expect("a new log");
    let mut next = 1;
    let mut group = c.benchmark_group("log append");
    for count in [1u64, 10, 100] {
        group.throughput(Throughput::Elements(count));
        let mut batch = || {
            let entries: Vec<LogEntry> = (next..next + count)
                .map(|index| LogEntry { kind: EntryType::EntryNormal, term: 2, index, data: Bytes::from(vec![1; 300]) })
                .collect();
            next += count;
            entries
        };
        group.bench_function(format!("{count} entries of 300 B, no sync"), |b| {
            b.iter_batched(
                &mut batch,
                |entries| {
                    let commit = entries.last().map_or(0, |e| e.index);
                    wal.append(&entries, Some(HardState { term: 2, vote: 1, commit })).expect("there is space");
                },
                BatchSize::PerIteration,
            );
        });
        // Segments that are full would otherwise pile up.
        wal.purge(next.saturating_sub(1), 1).expect("old segments can go");
    }
    group.bench_function("1 entry of 300 B and a sync", |b| {
        b.iter(|| {
            let entry = LogEntry { kind: EntryType::EntryNormal, term: 2, index: next, data: Bytes::from(vec![1; 300]) };
            next += 1;
            wal.append(&[entry], Some(HardState { term: 2, vote: 1, commit: next - 1 })).expect("there is space");
            wal.sync().expect("the disk syncs");
        });
    });
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
