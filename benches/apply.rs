//! From committed entries to a written batch: the applier over both engines, without threads or sockets.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use etcd::consensus::{Entry, EntryKind};
use etcd::membership::Identity;
use etcd::node::Applier;
use etcd::state_machine::quota::Quota;
use etcd::state_machine::{self, StateMachine};
use etcd::storage::Engine;
use etcd::storage::memory::MemoryEngine;
use etcd::storage::rocks::{self, RocksEngine};
use etcd::wire::etcdserverpb::{InternalRaftRequest, PutRequest, RequestHeader};
use etcd::wire::raftpb;
use prost::Message;

const KEYS: u64 = 10_000;

fn put(index: u64) -> Entry {
    let put = PutRequest { key: format!("key-{:08}", index % KEYS).into(), value: Bytes::from(vec![7; 256]), ..Default::default() };
    let header = RequestHeader { id: index, ..Default::default() };
    let command = InternalRaftRequest { header: Some(header), put: Some(put), ..Default::default() };
    Entry { index, term: 1, kind: EntryKind::Normal, data: command.encode_to_vec().into() }
}

fn applier(engine: Arc<dyn Engine>) -> Applier {
    let options = state_machine::Options {
        mvcc: etcd::mvcc::Options::default(),
        quota: Quota::from_flag(-1),
        lease_ttl_min: 2,
        learners_max: 1,
        identity: Identity { cluster_id: 1, member_id: 1 },
    };
    let machine = StateMachine::open(engine.clone(), options, &mut |_| ()).expect("an empty engine opens");
    Applier::new(machine, engine)
}

fn apply(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let rocks = RocksEngine::open(&dir.path().join("db"), rocks::Options::default()).expect("a new engine");
    let engines: [(&str, Arc<dyn Engine>); 2] = [("memory", MemoryEngine::new()), ("rocksdb", rocks)];
    let mut group = c.benchmark_group("apply");
    for (name, engine) in engines {
        let mut applier = applier(engine);
        let mut next = 1;
        for count in [1u64, 100] {
            group.throughput(Throughput::Elements(count));
            group.bench_function(format!("{count} puts of 256 B over {name}"), |b| {
                b.iter_batched(
                    || {
                        next += count;
                        (next - count..next).map(put).collect::<Vec<_>>()
                    },
                    |entries| {
                        applier.stage(&entries, &mut |_| raftpb::ConfState::default()).expect("puts apply");
                        applier.write().expect("there is space");
                        let outcome = applier.merge();
                        applier.publish();
                        outcome
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
