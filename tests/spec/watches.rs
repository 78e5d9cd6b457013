//! What a watcher is told, where the shape of responses counts: fragments, expiry, streams that are half closed.

use bytes::Bytes;
use etcd::wire::{
    etcdserverpb::{DeleteRangeRequest, LeaseGrantRequest, LeaseTimeToLiveRequest, PutRequest, WatchCreateRequest, WatchResponse},
    mvccpb::event::EventType,
};

use crate::{
    harness::watching::{Seen, WatchStream},
    pair::{Pair, Side},
};

/// Revision of the header, and for each event its kind, key and whether it has a prev_kv.
type Shape = (i64, bool, Vec<(i32, Bytes, bool)>);

fn shape(response: &WatchResponse) -> Shape {
    let events = response.events.iter().map(|event| {
        let key = event.kv.as_ref().map(|kv| kv.key.clone()).unwrap_or_default();
        (event.r#type, key, event.prev_kv.is_some())
    });
    (response.header.as_ref().map_or(0, |header| header.revision), response.fragment, events.collect())
}

fn deletes(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| matches!(seen, Seen::Event(event) if event.r#type() == EventType::Delete)).count()
}

/// Deletes six large keys in one revision: with their old values the response exceeds what one message may hold (WAT-16).
async fn delete_large(side: &mut Side, fragment: bool) -> Vec<Shape> {
    for n in 0..6 {
        let value = Bytes::from(vec![b'v'; 900_000]);
        side.clients.kv.put(PutRequest { key: format!("large/{n}").into(), value, ..Default::default() }).await.expect("a put");
    }
    let mut stream = WatchStream::open(&side.clients.watch);
    let (key, range_end) = (Bytes::from("large/"), Bytes::from("large0"));
    let request = WatchCreateRequest { key: key.clone(), range_end: range_end.clone(), prev_kv: true, fragment, ..Default::default() };
    let id = stream.create(request).await;
    stream.raw = Some(Vec::new());
    side.clients.kv.delete_range(DeleteRangeRequest { key, range_end, ..Default::default() }).await.expect("a delete");
    stream.until(id, |seen| deletes(seen) == 6).await;
    stream.raw.take().expect("responses were kept").iter().map(shape).collect()
}

#[tokio::test]
async fn a_large_response_is_cut_into_the_same_fragments() {
    let mut pair = Pair::start(&[]).await;
    for is_fragmented in [true, false] {
        let (ours, reference) = tokio::join!(delete_large(&mut pair.ours, is_fragmented), delete_large(&mut pair.reference, is_fragmented));
        assert_eq!(ours, reference);
        assert_eq!(ours.len() > 1, is_fragmented, "{ours:?}");
    }
    pair.conclude();
}

/// A lease that nobody keeps alive ends: all its keys go in one revision, in order, for watchers as for readers (LSE-23).
async fn expire(side: &mut Side) -> Vec<Shape> {
    let mut stream = WatchStream::open(&side.clients.watch);
    let id =
        stream.create(WatchCreateRequest { key: b"\0"[..].into(), range_end: b"\0"[..].into(), prev_kv: true, ..Default::default() }).await;
    let granted = side.clients.lease.lease_grant(LeaseGrantRequest { id: 5, ttl: 1 }).await.expect("a grant").into_inner();
    assert_eq!(granted.ttl, 2, "the least TTL (LSE-2)");
    for key in ["z", "m", "a"] {
        side.clients.kv.put(PutRequest { key: key.into(), lease: 5, ..Default::default() }).await.expect("a put");
    }
    stream.raw = Some(Vec::new());
    stream.until(id, |seen| deletes(seen) == 3).await;
    let life = side.clients.lease.lease_time_to_live(LeaseTimeToLiveRequest { id: 5, keys: true }).await.expect("an answer").into_inner();
    assert_eq!((life.ttl, life.granted_ttl, life.keys.len()), (-1, 0, 0), "the lease is gone (LSE-18)");
    let responses = stream.raw.take().expect("responses were kept");
    responses.iter().map(shape).filter(|(_, _, events)| events.iter().any(|(kind, ..)| *kind == EventType::Delete as i32)).collect()
}

#[tokio::test]
async fn an_expired_lease_takes_its_keys_in_one_revision() {
    let mut pair = Pair::start(&[]).await;
    let (ours, reference) = tokio::join!(expire(&mut pair.ours), expire(&mut pair.reference));
    assert_eq!(ours, reference);
    let keys: Vec<_> = ours[0].2.iter().map(|(_, key, has_previous)| (key.clone(), *has_previous)).collect();
    assert_eq!((ours.len(), ours[0].0), (1, 5));
    assert_eq!(keys, [("a".into(), true), ("m".into(), true), ("z".into(), true)]);
    pair.conclude();
}

/// A client that says no more goes on hearing (WAT-1): the JSON gateway depends on it.
#[tokio::test]
async fn a_half_closed_stream_goes_on_delivering() {
    let mut pair = Pair::start(&[]).await;
    for side in [&mut pair.ours, &mut pair.reference] {
        let mut stream = WatchStream::open(&side.clients.watch);
        let id = stream.create(WatchCreateRequest { key: "a".into(), ..Default::default() }).await;
        stream.half_close();
        for value in ["1", "2"] {
            side.clients.kv.put(PutRequest { key: "a".into(), value: value.into(), ..Default::default() }).await.expect("a put");
        }
        stream.until(id, |seen| seen.len() == 3).await;
    }
    pair.conclude();
}
