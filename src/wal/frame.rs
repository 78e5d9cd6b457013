//! One record of the log in its frame, as etcd lays it out (FMT-17, FMT-18, FMT-24).
//!
//! ```text
//!   0        8                                  8+n      8+n+p
//!   +--------+-----------------------------------+---------+
//!   | word   | record                            | zeros   |   always a multiple of 8 bytes
//!   +--------+-----------------------------------+---------+
//!   word, little-endian u64:  bits 0..56  n = bytes of the record
//!                             bits 56..59 p = bytes of padding, and bit 63 set if p > 0
//!   record, protobuf:         08 kind   10 crc   1a len data
//!   data of an entry:         08 kind (absent if normal)   10 term   18 index   22 len data (absent if empty)
//!   data of a hard state:     08 term   10 vote   18 commit
//!   data of a snapshot:       08 index  10 term   1a len conf state (absent in the first one)
//! ```
//!
//! `crc` is the CRC-32C of the data of this and all records before it, through all segments; in a crc record, which has
//! no data, it is the value so far. These are the bytes that etcd 3.7 writes. Up to 3.6 every number of an entry is
//! there even when it is zero, and a reader must take both (VER-7).
//! Does not touch a file.

use bytes::{Buf, Bytes};
use prost::Message;

use super::{EntryKind, HardState, LogEntry, SnapshotRecord};
use crate::wire::{raftpb, walpb};

/// Every frame begins and ends at a multiple of this.
pub(super) const ALIGN: usize = 8;

/// Bytes of a frame beyond the data of an entry, at most: word, record tags, three varints, entry tags, four varints, padding.
pub(super) const OVERHEAD_MAX: usize = 8 + (2 + 6 + 6) + (2 + 11 + 11 + 6) + 7;

const METADATA: u64 = 1;
const ENTRY: u64 = 2;
const HARD_STATE: u64 = 3;
const CRC: u64 = 4;
const SNAPSHOT: u64 = 5;

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Whose log it is: an encoded `etcdserverpb.Metadata`.
    Metadata(Bytes),
    Entry(LogEntry),
    HardState(HardState),
    /// The rolling checksum at the start of a segment.
    Crc(u32),
    /// The state up to an index is held elsewhere.
    Snapshot(SnapshotRecord),
}

// === encoding ===

/// Appends frames to a buffer and keeps the rolling checksum.
pub(super) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    crc: u32,
}

impl<'a> Encoder<'a> {
    pub fn new(out: &'a mut Vec<u8>, crc: u32) -> Encoder<'a> {
        Encoder { out, crc }
    }

    /// The checksum after all that was appended.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Bytes appended so far.
    pub fn len(&self) -> u64 {
        self.out.len() as u64
    }

    pub fn entry(&mut self, entry: &LogEntry) {
        let mut head = Head::new();
        if entry.kind != EntryKind::EntryNormal {
            head.field(1, entry.kind as u64);
        }
        head.field(2, entry.term);
        head.field(3, entry.index);
        if !entry.data.is_empty() {
            head.length(4, entry.data.len());
        }
        self.data(ENTRY, head.bytes(), &entry.data);
    }

    pub fn hard_state(&mut self, state: HardState) {
        let mut head = Head::new();
        head.field(1, state.term);
        head.field(2, state.vote);
        head.field(3, state.commit);
        self.data(HARD_STATE, head.bytes(), &[]);
    }

    pub fn metadata(&mut self, metadata: &[u8]) {
        self.data(METADATA, &[], metadata);
    }

    pub fn snapshot(&mut self, snapshot: &SnapshotRecord) {
        let mut head = Head::new();
        head.field(1, snapshot.index);
        head.field(2, snapshot.term);
        let mut body = Vec::new();
        if let Some(conf_state) = &snapshot.conf_state {
            // etcd 3.7 always writes the flag.
            let auto_leave = Some(conf_state.auto_leave.unwrap_or_default());
            body = raftpb::ConfState { auto_leave, ..conf_state.clone() }.encode_to_vec();
            head.length(3, body.len());
        }
        self.data(SNAPSHOT, head.bytes(), &body);
    }

    /// The record that a segment begins with.
    pub fn crc_record(&mut self) {
        let mut record = Head::new();
        record.field(1, CRC);
        record.field(2, u64::from(self.crc));
        self.frame(record.bytes(), &[], &[]);
    }

    /// A record whose data is `head` and then `body`: the body is read for the checksum and copied once.
    fn data(&mut self, kind: u64, head: &[u8], body: &[u8]) {
        self.crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, head), body);
        let mut record = Head::new();
        record.field(1, kind);
        record.field(2, u64::from(self.crc));
        record.length(3, head.len() + body.len());
        self.frame(record.bytes(), head, body);
    }

    fn frame(&mut self, record: &[u8], head: &[u8], body: &[u8]) {
        let size = record.len() + head.len() + body.len();
        let pad = padding(size);
        let word = if pad == 0 { size as u64 } else { size as u64 | (0x80 | pad as u64) << 56 };
        self.out.reserve(ALIGN + size + pad);
        self.out.extend_from_slice(&word.to_le_bytes());
        self.out.extend_from_slice(record);
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(body);
        self.out.extend_from_slice(&[0; ALIGN][..pad]);
    }
}

/// The small fields of a message, built on the stack.
struct Head {
    bytes: [u8; 40],
    len: usize,
}

impl Head {
    fn new() -> Head {
        Head { bytes: [0; 40], len: 0 }
    }

    fn field(&mut self, number: u8, value: u64) {
        self.push(number << 3);
        self.varint(value);
    }

    /// The tag and length of a field whose bytes follow.
    fn length(&mut self, number: u8, len: usize) {
        self.push(number << 3 | 2);
        self.varint(len as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn padding(size: usize) -> usize {
    size.wrapping_neg() % ALIGN
}

// === decoding ===

/// Sizes of record and padding from the word of a frame.
pub(super) fn sizes(word: u64) -> (u64, u64) {
    let size = word & (u64::MAX >> 8);
    let pad = if word >> 63 == 1 { word >> 56 & 7 } else { 0 };
    (size, pad)
}

/// A record taken out of its frame, its checksum not yet looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Raw {
    kind: u64,
    crc: u32,
    data: Bytes,
}

impl Raw {
    pub fn parse(record: Bytes) -> Result<Raw, String> {
        let record = walpb::Record::decode(record).map_err(|error| format!("the record does not parse: {error}"))?;
        let kind = u64::try_from(record.r#type.unwrap_or_default()).unwrap_or_default();
        if !(METADATA..=SNAPSHOT).contains(&kind) {
            return Err(format!("the record is of the unknown type {}", record.r#type.unwrap_or_default()));
        }
        Ok(Raw { kind, crc: record.crc.unwrap_or_default(), data: record.data.unwrap_or_default() })
    }

    pub fn is_crc(&self) -> bool {
        self.kind == CRC
    }

    pub fn crc(&self) -> u32 {
        self.crc
    }

    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The rolling checksum after this record.
    pub fn crc_after(&self, before: u32) -> u32 {
        if self.is_crc() { self.crc } else { crc32c::crc32c_append(before, &self.data) }
    }

    pub fn decode(self) -> Result<Record, String> {
        let what = |error: prost::DecodeError| format!("the data of the record does not parse: {error}");
        Ok(match self.kind {
            METADATA => Record::Metadata(self.data),
            ENTRY => {
                let entry = raftpb::Entry::decode(self.data).map_err(what)?;
                let kind = entry.r#type.unwrap_or_default();
                Record::Entry(LogEntry {
                    kind: EntryKind::try_from(kind).map_err(|_| format!("the entry is of the unknown type {kind}"))?,
                    term: entry.term.unwrap_or_default(),
                    index: entry.index.unwrap_or_default(),
                    data: entry.data.unwrap_or_default(),
                })
            }
            HARD_STATE => {
                let state = raftpb::HardState::decode(self.data).map_err(what)?;
                Record::HardState(HardState {
                    term: state.term.unwrap_or_default(),
                    vote: state.vote.unwrap_or_default(),
                    commit: state.commit.unwrap_or_default(),
                })
            }
            CRC => Record::Crc(self.crc),
            _ => {
                let snapshot = walpb::Snapshot::decode(self.data).map_err(what)?;
                Record::Snapshot(SnapshotRecord {
                    index: snapshot.index.unwrap_or_default(),
                    term: snapshot.term.unwrap_or_default(),
                    conf_state: snapshot.conf_state,
                })
            }
        })
    }
}

/// The frame at the front of `bytes`, if what is there has the exact form of one. No checksum is looked at, for the one
/// before it may be what is damaged.
pub(super) fn well_formed(bytes: &[u8]) -> Option<(Raw, usize)> {
    let word = u64::from_le_bytes(bytes.get(..ALIGN)?.try_into().ok()?);
    let (size, pad) = sizes(word);
    let size = usize::try_from(size).ok().filter(|size| *size >= 4 && *size <= bytes.len())?;
    let is_exact = pad as usize == padding(size) && (pad > 0) == (word >> 56 != 0) && (word >> 56 & 0x78) == 0;
    let end = ALIGN + size;
    if !is_exact || bytes.get(end..end + pad as usize)?.iter().any(|byte| *byte != 0) {
        return None;
    }
    let raw = Raw::parse(Bytes::copy_from_slice(&bytes[ALIGN..end])).ok()?;
    raw.clone().decode().ok()?;
    Some((raw, end + pad as usize))
}

/// Reads the word at the front of a buffer.
pub(super) fn word(mut bytes: &[u8]) -> u64 {
    bytes.get_u64_le()
}
