//! Messages from and to the bytes of a call: an encoder that asks for room once, and a decoder that refuses in the words of Go's
//! protobuf.
//!
//! Reads: every service of the server. The texts are looked for only after decoding has failed.

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::error::Error;

/// How deep messages may lie inside each other, in Go.
const GO_DEPTH_MAX: usize = 10_000;
/// The same of our decoder.
const DEPTH_MAX: usize = 100;

pub struct Codec<T, U>(PhantomData<fn(T) -> U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Codec<T, U> {
        Codec(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> tonic::codec::Codec for Codec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ResponseEncoder<T>;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> ResponseEncoder<T> {
        ResponseEncoder(PhantomData)
    }

    fn decoder(&mut self) -> RequestDecoder<U> {
        RequestDecoder(PhantomData)
    }
}

/// Most responses are a header and little else. Larger ones ask for exactly what they need: growing by doubling would copy a list
/// of megabytes several times and hold twice its size.
const RESPONSE_BYTES: usize = 512;
/// A stream's messages are gathered up to this size before they go out.
const GATHERED_BYTES: usize = 32 << 10;

pub struct ResponseEncoder<T>(PhantomData<fn(T)>);

impl<T: Message> Encoder for ResponseEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(item.encoded_len());
        item.encode(buf).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(RESPONSE_BYTES, GATHERED_BYTES)
    }
}

pub struct RequestDecoder<U>(PhantomData<fn() -> U>);

impl<U: Message + Default> Decoder for RequestDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // One piece, not copied; the message's keys and values are slices of it.
        let bytes = buf.copy_to_bytes(buf.remaining());
        U::decode(bytes.clone()).map(Some).map_err(|error| refusal(&bytes, &error))
    }
}

/// prost's error has no kinds to match on, only texts; `the_texts_of_prost_are_known` pins them.
fn refusal(bytes: &Bytes, error: &prost::DecodeError) -> Status {
    let text = error.to_string();
    let why = if text.ends_with("data is not UTF-8 encoded") {
        "string field contains invalid UTF-8"
    } else if text.ends_with("recursion limit reached") {
        // Only transactions nest. Go decodes a hundred times as deep as we do, and such a transaction is then refused for its
        // nesting (TXN-2).
        if (DEPTH_MAX..GO_DEPTH_MAX).contains(&nesting(bytes)) {
            return Error::TooManyOps.status();
        }
        "proto: exceeded maximum recursion depth"
    } else {
        "proto: cannot parse invalid wire-format data"
    };
    Status::internal(format!("grpc: error unmarshalling request: {why}"))
}

/// How many messages lie inside each other in an encoded TxnRequest. Not recursive: the depth is the client's choice.
fn nesting(txn: &[u8]) -> usize {
    let mut deepest = 0;
    let mut open = vec![(txn, 0)];
    while let Some((mut message, depth)) = open.pop() {
        deepest = deepest.max(depth);
        while let Some((field, inside)) = next_field(&mut message) {
            let is_txn = depth % 2 == 0;
            // TxnRequest.success and .failure hold RequestOps, RequestOp.request_txn holds a TxnRequest.
            if (is_txn && (field == 2 || field == 3)) || (!is_txn && field == 4) {
                open.push((inside, depth + 1));
            }
        }
    }
    deepest
}

/// Number and bytes of a message's next field; without bytes if it has no length. `None` at the end, and where nothing decodes.
fn next_field<'a>(message: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    if message.is_empty() {
        return None;
    }
    let (field, wire_type) = decode_key(message).ok()?;
    if wire_type != WireType::LengthDelimited {
        skip_field(wire_type, field, message, DecodeContext::default()).ok()?;
        return Some((field, &[]));
    }
    let length = usize::try_from(decode_varint(message).ok()?).ok()?;
    let (inside, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some((field, inside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::etcdserverpb::{DowngradeRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request};

    fn nested(depth: usize) -> Vec<u8> {
        let mut reversed: Vec<u8> = Vec::new();
        for tag in [0x22, 0x12].repeat(depth) {
            let mut head = vec![tag];
            prost::encoding::encode_varint(reversed.len() as u64, &mut head);
            reversed.extend(head.iter().rev());
        }
        reversed.reverse();
        reversed
    }

    fn refused<U: Message + Default + std::fmt::Debug>(bytes: &[u8]) -> Status {
        let error = U::decode(bytes).expect_err("the bytes are wrong");
        refusal(&Bytes::copy_from_slice(bytes), &error)
    }

    #[test]
    fn the_texts_of_prost_are_known() {
        let no_text = refused::<DowngradeRequest>(&[0x12, 2, 0xff, 0xfe]);
        assert_eq!(no_text.message(), "grpc: error unmarshalling request: string field contains invalid UTF-8");
        let broken = refused::<RangeRequest>(&[0xff; 20]);
        assert_eq!(broken.message(), "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data");
        assert_eq!(refused::<TxnRequest>(&nested(60)).message(), Error::TooManyOps.text());
        let deepest = refused::<TxnRequest>(&nested(GO_DEPTH_MAX / 2));
        assert_eq!(deepest.message(), "grpc: error unmarshalling request: proto: exceeded maximum recursion depth");
    }

    #[test]
    fn nesting_is_counted_in_messages() {
        assert_eq!(nesting(&nested(0)), 0);
        assert_eq!(nesting(&nested(20_000)), 40_000);
        let inside = RequestOp { request: Some(Request::RequestTxn(TxnRequest::default())) };
        let beside = TxnRequest { success: vec![RequestOp::default(), inside], ..TxnRequest::default() };
        assert_eq!(nesting(&beside.encode_to_vec()), 2);
    }
}
