//! Small stories with known ends, among them the worked example (section 1.1 of the semantics).

use bytes::Bytes;

use super::engine::{Store, decode, event, kvs};
use crate::mvcc::{HistoryError, PutValue};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::RangeRequest;
use crate::wire::mvccpb::{self, KeyValue};

fn kv(key: &str, create: i64, modified: i64, version: i64, value: &str) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(key.as_bytes()),
        create_revision: create,
        mod_revision: modified,
        version,
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease: 0,
    }
}

fn one(key: &'static str) -> RangeRequest {
    RangeRequest { key: Bytes::from(key), ..Default::default() }
}

#[test]
fn the_worked_example_has_its_revisions_and_events() {
    let mut s = Store::new();
    let empty = s.range(&one("a")).unwrap();
    assert_eq!((empty.header.unwrap().revision, empty.count, empty.kvs.len()), (1, 0, 0));
    assert_eq!((s.put("a", "1"), s.get("a", 0)), (2, Ok(Some(kv("a", 2, 2, 1, "1")))));
    assert_eq!((s.put("a", "1"), s.get("a", 0)), (3, Ok(Some(kv("a", 2, 3, 2, "1")))));
    assert_eq!(s.events.len(), 2);

    let (headers, end) = s.txn(|txn| {
        let before = txn.range(&one("a")).unwrap().header.unwrap().revision;
        txn.put("b".into(), PutValue::New("1".into()), 0, false).unwrap();
        let put_b = txn.revision();
        let range_b = txn.range(&one("b")).unwrap();
        assert_eq!(kvs(&range_b), [kv("b", 4, 4, 1, "1")]);
        txn.put("c".into(), PutValue::New("1".into()), 0, false).unwrap();
        [before, put_b, range_b.header.unwrap().revision, txn.revision()]
    });
    assert_eq!((headers, end), ([3, 4, 4, 4], 4));
    assert_eq!(s.events[2..].iter().map(|e| (e.revision.main, e.revision.sub)).collect::<Vec<_>>(), [(4, 0), (4, 1)]);

    assert_eq!(s.delete("zz", ""), (0, 4));
    assert_eq!(s.events.len(), 4);
    assert_eq!(s.delete("a", ""), (1, 5));
    let gone = KeyValue { key: "a".into(), mod_revision: 5, ..Default::default() };
    assert_eq!(event(&s.events[4]), mvccpb::Event { r#type: 1, kv: Some(gone), prev_kv: None });
    assert_eq!((s.put("a", "2"), s.get("a", 0)), (6, Ok(Some(kv("a", 6, 6, 1, "2")))));

    assert_eq!(s.compact(5), Ok(()));
    assert_eq!((s.get("a", 5), s.get("a", 4), s.get("a", 7)), (Ok(None), Err(Error::Compacted), Err(Error::FutureRev)));
    s.sweep();
    let history = s.reader.history(5, 6, usize::MAX, &|key| key == b"a").unwrap();
    assert_eq!(
        history.events.iter().map(|e| (e.revision.main, e.is_delete, e.is_create)).collect::<Vec<_>>(),
        [(5, true, false), (6, false, true)]
    );
    assert!(history.events.iter().all(|e| s.reader.previous(e).unwrap().is_none()));
    assert!(matches!(s.reader.history(4, 6, usize::MAX, &|_| true), Err(HistoryError::Compacted(5))));
    assert_eq!((s.compact(5), s.compact(7)), (Err(Error::Compacted), Err(Error::FutureRev)));

    assert_eq!((s.put_leased("y", "", 77), s.put_leased("x", "", 77)), (7, 8));
    let (_, revoked) = s.txn(|txn| {
        for key in ["x", "y"] {
            assert_eq!(txn.delete_range(key.as_bytes(), b"", false).unwrap()[0].lease, 77);
        }
    });
    assert_eq!(revoked, 9);
    let s = s.restart();
    assert_eq!((s.reader.revision(), s.reader.compact_revision()), (9, 5));
    assert_eq!(s.get("b", 0), Ok(Some(kv("b", 4, 4, 1, "1"))));
}

#[test]
fn an_event_knows_what_was_before_it() {
    let mut s = Store::new();
    s.put("a", "1");
    s.put("a", "2");
    s.delete("a", "");
    let before: Vec<_> = s.events.iter().map(|e| s.reader.previous(e).unwrap().map(|kv| decode(&kv).value)).collect();
    assert_eq!(before, [None, Some("1".into()), Some("2".into())]);
    let read = s.reader.history(2, 4, usize::MAX, &|_| true).unwrap().events;
    let again: Vec<_> = read.iter().map(|e| s.reader.previous(e).unwrap().map(|kv| decode(&kv).value)).collect();
    assert_eq!(again, before);
    assert_eq!(read.iter().map(|e| e.encoded.clone()).collect::<Vec<_>>(), s.events.iter().map(|e| e.encoded.clone()).collect::<Vec<_>>());
}
