//! The stored record of a change, written by hand so that one allocation of exact size holds record, event and key.
//!
//! ```text
//!   put     12 len | 0a len key  10 create  18 mod  20 version  2a len value  30 lease     proto3: zero fields are left out
//!                  '---------------------------- record ------------------------------'    (HSH-4: equal bytes on all members)
//!
//!   delete  08 01  12 len | 0a len key | 18 mod
//!                         '-- record --'                                                   REV-10, EVT-2
//!   '------------------------------- event: mvccpb.Event --------------------------'
//! ```
//!
//! Holds: the record is byte for byte what etcd stores; the event is the same `mvccpb.Event` that etcd sends without `prev_kv`.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};

const EVENT_TYPE: u8 = 0x08;
const EVENT_KV: u8 = 0x12;
const DELETE: u8 = 1;

const KEY: u8 = 0x0a;
const CREATE: u8 = 0x10;
const MODIFIED: u8 = 0x18;
const VERSION: u8 = 0x20;
const VALUE: u8 = 0x2a;
const LEASE: u8 = 0x30;

/// A change in its three encoded forms, slices of one allocation.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub event: Bytes,
    pub record: Bytes,
    pub key: Bytes,
}

/// What a `mvccpb.KeyValue` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    pub key: &'a [u8],
    pub create: i64,
    pub modified: i64,
    pub version: i64,
    pub value: &'a [u8],
    pub lease: i64,
}

impl Fields<'_> {
    fn encoded_len(&self) -> usize {
        bytes_len(self.key)
            + number_len(self.create)
            + number_len(self.modified)
            + number_len(self.version)
            + bytes_len(self.value)
            + number_len(self.lease)
    }

    fn encode_to(&self, to: &mut BytesMut) {
        put_bytes(to, KEY, self.key);
        put_number(to, CREATE, self.create);
        put_number(to, MODIFIED, self.modified);
        put_number(to, VERSION, self.version);
        put_bytes(to, VALUE, self.value);
        put_number(to, LEASE, self.lease);
    }

    /// The `KeyValue` alone, in an allocation of exact size.
    pub fn encode(&self) -> Bytes {
        let mut to = BytesMut::with_capacity(self.encoded_len());
        self.encode_to(&mut to);
        to.freeze()
    }
}

/// A put, ready to be stored and sent.
pub fn put(fields: &Fields<'_>) -> Encoded {
    let kv = fields.encoded_len();
    let start = 1 + encoded_len_varint(kv as u64);
    let mut to = BytesMut::with_capacity(start + kv);
    to.put_u8(EVENT_KV);
    encode_varint(kv as u64, &mut to);
    fields.encode_to(&mut to);
    slices(to, start, start + kv, fields.key)
}

/// A tombstone of `key`, ready to be stored and sent.
pub fn tombstone(key: &[u8], main: i64) -> Encoded {
    let record = bytes_len(key);
    let kv = record + number_len(main);
    let start = 3 + encoded_len_varint(kv as u64);
    let mut to = BytesMut::with_capacity(start + kv);
    to.put_slice(&[EVENT_TYPE, DELETE, EVENT_KV]);
    encode_varint(kv as u64, &mut to);
    put_bytes(&mut to, KEY, key);
    put_number(&mut to, MODIFIED, main);
    slices(to, start, start + record, key)
}

/// The event that a stored put or tombstone stands for.
pub fn event_of(record: &[u8], tombstone_at: Option<i64>) -> Bytes {
    if let Some(main) = tombstone_at {
        return tombstone(key_of(record).unwrap_or_default(), main).event;
    }
    let mut to = BytesMut::with_capacity(1 + encoded_len_varint(record.len() as u64) + record.len());
    to.put_u8(EVENT_KV);
    encode_varint(record.len() as u64, &mut to);
    to.put_slice(record);
    to.freeze()
}

fn slices(encoded: BytesMut, record: usize, record_end: usize, key: &[u8]) -> Encoded {
    debug_assert_eq!(encoded.len(), encoded.capacity());
    let event = encoded.freeze();
    let key_start = record + 1 + encoded_len_varint(key.len() as u64);
    let key = if key.is_empty() { Bytes::new() } else { event.slice(key_start..key_start + key.len()) };
    Encoded { record: event.slice(record..record_end), key, event }
}

fn number_len(number: i64) -> usize {
    if number == 0 { 0 } else { 1 + encoded_len_varint(number as u64) }
}

fn bytes_len(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { 1 + encoded_len_varint(bytes.len() as u64) + bytes.len() }
}

fn put_number(to: &mut BytesMut, tag: u8, number: i64) {
    if number != 0 {
        to.put_u8(tag);
        encode_varint(number as u64, to);
    }
}

fn put_bytes(to: &mut BytesMut, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        to.put_u8(tag);
        encode_varint(bytes.len() as u64, to);
        to.put_slice(bytes);
    }
}

/// Reads a record; `None` when the bytes are not one.
pub fn decode(record: &[u8]) -> Option<Fields<'_>> {
    let mut fields = Fields::default();
    let mut rest = record;
    while let Some((&tag, after)) = rest.split_first() {
        rest = after;
        let number = take_varint(&mut rest)?;
        let mut bytes = || {
            let (bytes, after) = rest.split_at_checked(usize::try_from(number).ok()?)?;
            rest = after;
            Some(bytes)
        };
        match tag {
            KEY => fields.key = bytes()?,
            VALUE => fields.value = bytes()?,
            CREATE => fields.create = number as i64,
            MODIFIED => fields.modified = number as i64,
            VERSION => fields.version = number as i64,
            LEASE => fields.lease = number as i64,
            _ => return None,
        }
    }
    Some(fields)
}

/// The key of a record without reading on.
pub fn key_of(record: &[u8]) -> Option<&[u8]> {
    // A record of nothing: what etcdutl leaves at a bumped revision (FMT-5).
    let Some((&tag, mut rest)) = record.split_first() else { return Some(&[]) };
    let len = take_varint(&mut rest)?;
    (tag == KEY).then(|| rest.get(..usize::try_from(len).ok()?)).flatten()
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::wire::mvccpb;

    fn message(fields: &Fields<'_>) -> mvccpb::KeyValue {
        mvccpb::KeyValue {
            key: Bytes::copy_from_slice(fields.key),
            create_revision: fields.create,
            mod_revision: fields.modified,
            version: fields.version,
            value: Bytes::copy_from_slice(fields.value),
            lease: fields.lease,
        }
    }

    #[test]
    fn a_record_has_the_golden_bytes() {
        let fields = Fields { key: b"k", create: 2, modified: 300, version: 3, value: b"v", lease: 5 };
        let encoded = put(&fields);
        assert_eq!(encoded.record[..], *b"\x0a\x01k\x10\x02\x18\xac\x02\x20\x03\x2a\x01v\x30\x05");
        assert_eq!(encoded.key[..], *b"k");
        let gone = tombstone(b"k", 4);
        assert_eq!(gone.record[..], *b"\x0a\x01k");
        assert_eq!(gone.event[..], *b"\x08\x01\x12\x05\x0a\x01k\x18\x04");
    }

    #[test]
    fn a_truncated_record_is_refused() {
        let record = put(&Fields { key: b"key", create: 2, modified: 3, version: 1, value: b"value", lease: 0 }).record;
        assert!(decode(&record).is_some());
        assert_eq!(decode(&record[..record.len() - 1]), None);
        assert_eq!(key_of(&record[..3]), None);
    }

    proptest! {
        #[test]
        fn records_and_events_are_what_protobuf_would_write(
            key in proptest::collection::vec(any::<u8>(), 1..200), value in proptest::collection::vec(any::<u8>(), 0..300),
            create in any::<i64>(), modified in any::<i64>(), version in any::<i64>(), lease in any::<i64>(),
        ) {
            let fields = Fields { key: &key, create, modified, version, value: &value, lease };
            let encoded = put(&fields);
            let kv = message(&fields);
            prop_assert_eq!(&encoded.record[..], &kv.encode_to_vec()[..]);
            prop_assert_eq!(&fields.encode()[..], &encoded.record[..]);
            prop_assert_eq!(decode(&encoded.record), Some(fields));
            prop_assert_eq!(key_of(&encoded.record), Some(&key[..]));
            let event = mvccpb::Event { kv: Some(kv), ..Default::default() };
            prop_assert_eq!(&encoded.event[..], &event.encode_to_vec()[..]);
            prop_assert_eq!(&event_of(&encoded.record, None)[..], &encoded.event[..]);

            let gone = tombstone(&key, modified);
            let kv = mvccpb::KeyValue { key: key.clone().into(), mod_revision: modified, ..Default::default() };
            let event = mvccpb::Event { r#type: 1, kv: Some(kv), prev_kv: None };
            prop_assert_eq!(&gone.event[..], &event.encode_to_vec()[..]);
            prop_assert_eq!(&event_of(&gone.record, Some(modified))[..], &gone.event[..]);
        }
    }
}
