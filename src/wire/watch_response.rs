//! A watch response whose events are bytes that were encoded once for all watchers.
//!
//! ```text
//!   watch_id, header, flags      events: [0x5a, length, mvccpb.Event] [0x5a, length, mvccpb.Event] ...
//!   own for each watcher         one shared buffer, field 11 exactly as it travels
//! ```
//!
//! Message and field numbers are those of `etcdserverpb.WatchResponse` in `proto/rpc.proto`. It is written by hand because a
//! thousand watchers of one key get a thousand responses that differ in `watch_id` alone: with the events as one buffer a
//! response costs a reference count and one copy into the socket's buffer.

use bytes::{BufMut, Bytes};
use prost::DecodeError;
use prost::encoding::{self, DecodeContext, WireType};

use super::etcdserverpb::ResponseHeader;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchResponse {
    pub header: Option<ResponseHeader>,
    pub watch_id: i64,
    pub created: bool,
    pub canceled: bool,
    pub compact_revision: i64,
    pub cancel_reason: String,
    pub fragment: bool,
    /// Field 11 as it travels: tag, length, `mvccpb.Event`, once per event.
    pub events: Bytes,
}

/// Field 11, length-delimited; fits one byte.
const EVENTS_TAG: u32 = 11;
/// Field 3 of `mvccpb.Event`, length-delimited; fits one byte.
const PREV_KV_TAG: u32 = 3;

/// What `put_event` will append.
pub fn event_len(event: &[u8], prev_kv: Option<&[u8]>) -> usize {
    let inside = event.len() + prev_kv.map_or(0, delimited_len);
    1 + encoding::encoded_len_varint(inside as u64) + inside
}

/// Appends one event in the form of `WatchResponse::events`; `event` is `mvccpb.Event` without `prev_kv`, `prev_kv` an
/// encoded `mvccpb.KeyValue`.
pub fn put_event(events: &mut Vec<u8>, event: &[u8], prev_kv: Option<&[u8]>) {
    encoding::encode_key(EVENTS_TAG, WireType::LengthDelimited, events);
    encoding::encode_varint((event.len() + prev_kv.map_or(0, delimited_len)) as u64, events);
    events.extend_from_slice(event);
    if let Some(prev_kv) = prev_kv {
        encoding::encode_key(PREV_KV_TAG, WireType::LengthDelimited, events);
        encoding::encode_varint(prev_kv.len() as u64, events);
        events.extend_from_slice(prev_kv);
    }
}

/// Length of a field with a one-byte tag.
fn delimited_len(bytes: &[u8]) -> usize {
    1 + encoding::encoded_len_varint(bytes.len() as u64) + bytes.len()
}

impl prost::Message for WatchResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if let Some(header) = &self.header {
            encoding::message::encode(1, header, buf);
        }
        if self.watch_id != 0 {
            encoding::int64::encode(2, &self.watch_id, buf);
        }
        for (tag, flag) in [(3, self.created), (4, self.canceled)] {
            if flag {
                encoding::bool::encode(tag, &flag, buf);
            }
        }
        if self.compact_revision != 0 {
            encoding::int64::encode(5, &self.compact_revision, buf);
        }
        if !self.cancel_reason.is_empty() {
            encoding::string::encode(6, &self.cancel_reason, buf);
        }
        if self.fragment {
            encoding::bool::encode(7, &true, buf);
        }
        buf.put_slice(&self.events);
    }

    fn merge_field(&mut self, tag: u32, wire_type: WireType, buf: &mut impl bytes::Buf, ctx: DecodeContext) -> Result<(), DecodeError> {
        match tag {
            1 => encoding::message::merge(wire_type, self.header.get_or_insert_default(), buf, ctx),
            2 => encoding::int64::merge(wire_type, &mut self.watch_id, buf, ctx),
            3 => encoding::bool::merge(wire_type, &mut self.created, buf, ctx),
            4 => encoding::bool::merge(wire_type, &mut self.canceled, buf, ctx),
            5 => encoding::int64::merge(wire_type, &mut self.compact_revision, buf, ctx),
            6 => encoding::string::merge(wire_type, &mut self.cancel_reason, buf, ctx),
            7 => encoding::bool::merge(wire_type, &mut self.fragment, buf, ctx),
            EVENTS_TAG => {
                let mut event = Bytes::new();
                encoding::bytes::merge(wire_type, &mut event, buf, ctx)?;
                let mut events = Vec::from(std::mem::take(&mut self.events));
                put_event(&mut events, &event, None);
                self.events = events.into();
                Ok(())
            }
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let flag = |set: bool| if set { 2 } else { 0 };
        self.header.as_ref().map_or(0, |header| encoding::message::encoded_len(1, header))
            + if self.watch_id == 0 { 0 } else { encoding::int64::encoded_len(2, &self.watch_id) }
            + flag(self.created)
            + flag(self.canceled)
            + if self.compact_revision == 0 { 0 } else { encoding::int64::encoded_len(5, &self.compact_revision) }
            + if self.cancel_reason.is_empty() { 0 } else { encoding::string::encoded_len(6, &self.cancel_reason) }
            + flag(self.fragment)
            + self.events.len()
    }

    fn clear(&mut self) {
        *self = WatchResponse::default();
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::wire::{etcdserverpb, mvccpb};

    fn event(key: &'static str, prev: Option<&'static str>) -> mvccpb::Event {
        let kv = |key: &'static str, mod_revision| mvccpb::KeyValue { key: key.into(), mod_revision, ..Default::default() };
        mvccpb::Event { kv: Some(kv(key, 300)), prev_kv: prev.map(|p| kv(p, 7)), ..Default::default() }
    }

    fn append(events: &mut Vec<u8>, event: &mvccpb::Event) {
        let prev = event.prev_kv.as_ref().map(Message::encode_to_vec);
        let plain = mvccpb::Event { prev_kv: None, ..event.clone() }.encode_to_vec();
        let before = events.len();
        put_event(events, &plain, prev.as_deref());
        assert_eq!(events.len() - before, event_len(&plain, prev.as_deref()));
    }

    #[test]
    fn it_is_the_generated_message_on_the_wire() {
        let header = ResponseHeader { cluster_id: u64::MAX, member_id: 7, revision: 300, raft_term: 2 };
        let full = etcdserverpb::WatchResponse {
            header: Some(header),
            watch_id: -1,
            created: true,
            canceled: true,
            compact_revision: 9,
            cancel_reason: "why".into(),
            fragment: true,
            events: vec![event("a", None), event("bb", Some("bb"))],
        };
        for theirs in [full, etcdserverpb::WatchResponse::default()] {
            let mut events = Vec::new();
            theirs.events.iter().for_each(|event| append(&mut events, event));
            let ours = WatchResponse {
                header: theirs.header,
                watch_id: theirs.watch_id,
                created: theirs.created,
                canceled: theirs.canceled,
                compact_revision: theirs.compact_revision,
                cancel_reason: theirs.cancel_reason.clone(),
                fragment: theirs.fragment,
                events: events.into(),
            };
            let bytes = ours.encode_to_vec();
            assert_eq!(bytes, theirs.encode_to_vec());
            assert_eq!(bytes.len(), ours.encoded_len());
            assert_eq!(WatchResponse::decode(&bytes[..]), Ok(ours));
        }
    }
}
