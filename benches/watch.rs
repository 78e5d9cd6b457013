//! Fan-out of one event to many watchers: hub, queues, and the encoding of every response.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etcd::mvcc::{Event, Previous, Revision};
use etcd::watch::{Body, EventBatch, Hub, Options, StreamId};
use etcd::wire::etcdserverpb::WatchCreateRequest;
use etcd::wire::hot::WatchResponse;
use etcd::wire::mvccpb::{self, KeyValue};
use prost::Message;

const VALUE_LEN: usize = 256;

struct Shape {
    name: &'static str,
    streams: usize,
    watchers_per_stream: usize,
    keys: usize,
}

const SHAPES: [Shape; 3] = [
    Shape { name: "1 key x 1000 watchers on 100 streams", streams: 100, watchers_per_stream: 10, keys: 1 },
    Shape { name: "1 key x 1000 watchers on 1 stream", streams: 1, watchers_per_stream: 1000, keys: 1 },
    Shape { name: "1000 keys x 10 watchers on 100 streams", streams: 100, watchers_per_stream: 100, keys: 1000 },
];

fn key(number: usize) -> Bytes {
    format!("/registry/key{number:06}").into()
}

fn event(revision: i64, key: Bytes) -> Event {
    let kv = KeyValue {
        key: key.clone(),
        mod_revision: revision,
        version: revision,
        value: vec![b'x'; VALUE_LEN].into(),
        ..KeyValue::default()
    };
    let encoded = mvccpb::Event { kv: Some(kv), ..mvccpb::Event::default() }.encode_to_vec().into();
    Event { key, revision: Revision { main: revision, sub: 0 }, is_delete: false, is_create: false, encoded, prev: Previous::None }
}

fn open(shape: &Shape) -> (Hub, Vec<StreamId>) {
    let mut hub = Hub::new(1, Options::default());
    let mut watcher = 0;
    let mut streams = Vec::new();
    for _ in 0..shape.streams {
        let stream = hub.open_stream(Duration::ZERO, Duration::ZERO, false);
        for _ in 0..shape.watchers_per_stream {
            hub.create(stream, &WatchCreateRequest { key: key(watcher % shape.keys), ..WatchCreateRequest::default() }, -1);
            watcher += 1;
        }
        hub.take(stream, &mut VecDeque::new());
        streams.push(stream);
    }
    hub.take_ready();
    (hub, streams)
}

/// Takes from every ready stream and encodes what it is sent.
fn drain(hub: &mut Hub, taken: &mut VecDeque<etcd::watch::Message>, wire: &mut Vec<u8>) {
    for stream in hub.take_ready() {
        hub.take(stream, taken);
        wire.clear();
        for message in taken.drain(..) {
            if let Body::Events { events, .. } = message.body {
                let response = WatchResponse { watch_id: message.watch_id, events, ..WatchResponse::default() };
                response.encode(wire).expect("a vector grows");
            }
        }
        black_box(wire.len());
    }
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("watch fan-out");
    for shape in &SHAPES {
        let (mut hub, streams) = open(shape);
        assert_eq!(streams.len(), shape.streams);
        let (mut revision, mut taken, mut wire) = (1, VecDeque::new(), Vec::new());
        group.throughput(Throughput::Elements((shape.streams * shape.watchers_per_stream / shape.keys) as u64));
        group.bench_function(shape.name, |bencher| {
            bencher.iter(|| {
                revision += 1;
                let event = event(revision, key(revision as usize % shape.keys));
                hub.offer(Arc::new(EventBatch::new(vec![event], revision, revision)));
                drain(&mut hub, &mut taken, &mut wire);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
