//! A `SnapshotResponse` as it goes over a connection, written around its blob: a blob of a database is not copied once more to be sent.
//!
//! ```text
//!   0 | length (4, big-endian) | 2: remaining_bytes | 3: blob, its length | the blob | 4: version
//!   -------------------------- begin -------------------------------------           --- end ----
//! ```
//!
//! Writes: nothing but the buffer. Quirk: HDR-4, no header.

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

const REMAINING: u32 = 2;
const BLOB: u32 = 3;
const VERSION: u32 = 4;

/// What of a message stands before and behind its blob, in bytes, at the most.
pub const fn around_max(version: &str) -> usize {
    5 + 3 * 11 + version.len()
}

/// Bytes of a field; what has its default value is left out, as ever in proto3.
fn delimited_len(tag: u32, len: usize) -> usize {
    if len == 0 { 0 } else { key_len(tag) + encoded_len_varint(len as u64) + len }
}

fn begin_delimited(tag: u32, len: usize, out: &mut BytesMut) {
    if len > 0 {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(len as u64, out);
    }
}

/// What stands before a blob of `blob_len` bytes, after which `remaining` bytes of the file are still to come.
pub fn begin(remaining: u64, blob_len: usize, version: &str, out: &mut BytesMut) {
    let remaining_len = if remaining == 0 { 0 } else { key_len(REMAINING) + encoded_len_varint(remaining) };
    out.put_u8(0);
    out.put_u32((remaining_len + delimited_len(BLOB, blob_len) + delimited_len(VERSION, version.len())) as u32);
    if remaining > 0 {
        encode_key(REMAINING, WireType::Varint, out);
        encode_varint(remaining, out);
    }
    begin_delimited(BLOB, blob_len, out);
}

/// What stands behind the blob.
pub fn end(version: &str, out: &mut BytesMut) {
    begin_delimited(VERSION, version.len(), out);
    out.put_slice(version.as_bytes());
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::wire::etcdserverpb::SnapshotResponse;

    #[test]
    fn it_is_what_the_generated_message_writes() {
        for remaining in [0, 1, 127, 128, u64::MAX] {
            for blob in [&b""[..], b"b", &[7; 32 << 10]] {
                for version in ["", "3.7.0"] {
                    let mut written = BytesMut::new();
                    begin(remaining, blob.len(), version, &mut written);
                    written.put_slice(blob);
                    end(version, &mut written);
                    let message = SnapshotResponse {
                        header: None,
                        remaining_bytes: remaining,
                        blob: bytes::Bytes::copy_from_slice(blob),
                        version: version.into(),
                    };
                    let expected = message.encode_to_vec();
                    let prefix = [&[0][..], &(expected.len() as u32).to_be_bytes()].concat();
                    assert_eq!(written[..], [prefix, expected].concat(), "{remaining}, {} bytes, version {version:?}", blob.len());
                    assert!(written.len() - blob.len() <= around_max(version));
                }
            }
        }
    }
}
