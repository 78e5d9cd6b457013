//! Reads segments from front to back and puts the log together again.
//!
//! ```text
//!   segment --SegmentReader--> Found::Record ... Found::Record, then Found::End or Found::Broken
//!                                  |
//!                                  v
//!   Log: entries   1 2 3 4 5 6           an index seen already drops what followed: a later leader overwrote it (FMT-20)
//!                        3'4'
//!        snapshots (2,t) (9,t)           one counts if its index is committed in the end; where its entry is absent or
//!                                        of another term, the log before it was replaced
//! ```
//!
//! Writes: nothing. Reads: segments, through the file-system seam.
//! Takes a record only if its checksum fits the chain and it makes sense after those before it. Does not decide what a
//! broken record means: `repair` does.

use std::path::Path;

use bytes::Bytes;

use super::file_system::File;
use super::frame::{self, ALIGN, Raw, Record};
use super::marks::{Marks, Place};
use super::{Error, HardState, LogEntry, SnapshotRecord};

const CHUNK: usize = 1 << 20;

/// No run of elections is that long: a term further ahead is a member id read in its place.
const TERMS_AT_ONCE_MAX: u64 = 1 << 32;

/// What is at a place of a segment.
#[derive(Debug)]
pub(super) enum Found {
    Record(Raw),
    /// Space set aside, or the end of the file.
    End,
    /// Not a record that belongs here, and why.
    Broken(String),
}

/// Goes through the frames of one segment.
#[derive(Debug)]
pub(super) struct SegmentReader<'a> {
    file: &'a dyn File,
    path: &'a Path,
    len: u64,
    /// The next frame.
    offset: u64,
    /// The rolling checksum before the next frame; unknown before the first crc record.
    crc: Option<u32>,
    chunk: Vec<u8>,
    chunk_offset: u64,
}

impl<'a> SegmentReader<'a> {
    pub fn new(file: &'a dyn File, path: &'a Path, crc: Option<u32>) -> Result<SegmentReader<'a>, Error> {
        let len = file.size().map_err(|error| Error::io(path, "measure", error))?;
        Ok(SegmentReader { file, path, len, offset: 0, crc, chunk: Vec::new(), chunk_offset: 0 })
    }

    /// A reader of the frames from `offset` on, where the rolling checksum is known.
    pub fn starting_at(file: &'a dyn File, path: &'a Path, offset: u64, crc: u32) -> Result<SegmentReader<'a>, Error> {
        Ok(SegmentReader { offset, ..SegmentReader::new(file, path, Some(crc))? })
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn crc(&self) -> Option<u32> {
        self.crc
    }

    pub fn next(&mut self) -> Result<Found, Error> {
        let left = self.len - self.offset;
        if left < ALIGN as u64 {
            return Ok(if self.bytes(self.offset, left as usize)?.iter().all(|byte| *byte == 0) {
                Found::End
            } else {
                Found::Broken("the file ends inside the length of a record".into())
            });
        }
        let word = frame::word(&self.bytes(self.offset, ALIGN)?);
        if word == 0 {
            return Ok(Found::End);
        }
        let (size, pad) = frame::sizes(word);
        let left = left - ALIGN as u64;
        if size > left || size + pad > left {
            return Ok(Found::Broken(format!("a record of {size} bytes does not fit in the {left} that are left of the file")));
        }
        if (size + pad) % ALIGN as u64 != 0 {
            return Ok(Found::Broken(format!("a record of {size} bytes cannot have {pad} bytes of padding")));
        }
        let record = self.bytes(self.offset + ALIGN as u64, size as usize)?;
        Ok(match Raw::parse(record).and_then(|raw| self.check(raw)) {
            Err(what) => Found::Broken(what),
            Ok(raw) => {
                self.crc = Some(raw.crc());
                self.offset += ALIGN as u64 + size + pad;
                Found::Record(raw)
            }
        })
    }

    fn check(&self, raw: Raw) -> Result<Raw, String> {
        if self.offset == 0 && !raw.is_crc() {
            return Err("the segment does not begin with a checksum record".into());
        }
        // The first segment that is read is taken at its word: what came before may have been purged.
        let wanted = match self.crc {
            Some(before) if raw.is_crc() => before,
            Some(before) => raw.crc_after(before),
            None => raw.crc(),
        };
        if raw.crc() == wanted { Ok(raw) } else { Err(format!("the checksum is {:08x} and should be {wanted:08x}", raw.crc())) }
    }

    /// A copy of exact size, so that an entry kept from it keeps nothing else.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<Bytes, Error> {
        let path = self.path;
        let read = |offset, buffer: &mut [u8]| self.file.read_at(offset, buffer).map_err(|error| Error::io(path, "read", error));
        if len > CHUNK {
            let mut bytes = vec![0; len];
            read(offset, &mut bytes)?;
            return Ok(bytes.into());
        }
        let is_held = offset >= self.chunk_offset && offset + len as u64 <= self.chunk_offset + self.chunk.len() as u64;
        if !is_held {
            self.chunk.resize((self.len - offset).min(CHUNK as u64) as usize, 0);
            self.chunk_offset = offset;
            read(offset, &mut self.chunk)?;
        }
        let from = (offset - self.chunk_offset) as usize;
        Ok(Bytes::copy_from_slice(&self.chunk[from..from + len]))
    }
}

/// The log so far, put together record by record.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub metadata: Option<Bytes>,
    pub hard_state: HardState,
    pub entries: Vec<LogEntry>,
    pub marks: Marks,
    /// The highest commit index of any hard state.
    pub commit_max: u64,
    /// The newest snapshot whose index is committed; set by `finish`.
    pub snapshot: Option<SnapshotRecord>,
    snapshots: Vec<SnapshotRecord>,
    /// The snapshot after which entries went on with a gap before them.
    bridge: u64,
}

impl Log {
    /// Adds a record, or says why it cannot follow those before it.
    pub fn accept(&mut self, record: Record, place: Place) -> Result<(), String> {
        match record {
            Record::Crc(_) => Ok(()),
            Record::Metadata(metadata) => match &self.metadata {
                Some(known) if *known != metadata => Err("the metadata differs from that of the records before it".into()),
                _ => {
                    self.metadata = Some(metadata);
                    Ok(())
                }
            },
            Record::HardState(state) => {
                self.hard_state = state;
                self.commit_max = self.commit_max.max(state.commit);
                Ok(())
            }
            Record::Snapshot(snapshot) => {
                self.snapshots.push(snapshot);
                Ok(())
            }
            Record::Entry(entry) => {
                let index = entry.index;
                self.accept_entry(entry)?;
                self.marks.note(index, place);
                Ok(())
            }
        }
    }

    fn accept_entry(&mut self, entry: LogEntry) -> Result<(), String> {
        if let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) {
            let index = entry.index;
            if index > last.index + 1 {
                if !self.snapshots.iter().any(|snapshot| snapshot.index + 1 == index) {
                    return Err(format!("entry {index} follows entry {}: those between are missing", last.index));
                }
                self.bridge = index - 1;
                self.entries.clear();
            } else if index < first.index {
                self.entries.clear();
            } else {
                let at = (index - first.index) as usize;
                let is_changed = self.entries.get(at).is_some_and(|before| before.term != entry.term);
                if is_changed && index <= self.commit_max {
                    return Err(format!("entry {index} is written a second time with another term after it was committed"));
                }
                self.entries.truncate(at);
            }
        }
        if let Some(last) = self.entries.last()
            && last.term > entry.term
        {
            return Err(format!("entry {} has term {}, less than the {} of the entry before it", entry.index, entry.term, last.term));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Called once, after the last record: weighs the snapshots and looks at the whole.
    pub fn finish(&mut self) -> Result<(), String> {
        let commit = self.commit_max;
        if self.metadata.is_none() {
            return Err("the log says nowhere whose it is: the metadata record is missing".into());
        }
        if self.bridge > commit {
            return Err(format!("entries follow a snapshot at {}, which was never committed", self.bridge));
        }
        for snapshot in self.snapshots.drain(..).filter(|snapshot| snapshot.index > 0 && snapshot.index <= commit) {
            if let Some(first) = drop_replaced(&mut self.entries, &snapshot) {
                self.marks.forget_entries_below(first);
            }
            if self.snapshot.as_ref().is_none_or(|newest| newest.index <= snapshot.index) {
                self.snapshot = Some(snapshot);
            }
        }
        self.catch_up_term()
    }

    /// A crash can leave entries of a new term without the hard state that was written behind them. Then this member has
    /// not voted in that term, for a vote is synced by itself. It must not campaign for the term again: it has a leader.
    fn catch_up_term(&mut self) -> Result<(), String> {
        let Some(last) = self.entries.last().filter(|last| last.term > self.hard_state.term) else { return Ok(()) };
        if last.term - self.hard_state.term > TERMS_AT_ONCE_MAX {
            let known = self.hard_state.term;
            return Err(format!("entry {} has term {}, but the hard state of this member only {known}", last.index, last.term));
        }
        self.hard_state = HardState { term: last.term, vote: 0, ..self.hard_state };
        Ok(())
    }

    /// The index up to which something is known: an entry, or a snapshot that counts.
    pub fn last_index(&self) -> u64 {
        let entry = self.entries.last().map_or(0, |entry| entry.index);
        let snapshot = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        entry.max(snapshot)
    }
}

/// A snapshot that does not agree with the entry at its index came from a leader and replaced the log up to it. Answers the
/// first index that is left, if something went.
fn drop_replaced(entries: &mut Vec<LogEntry>, snapshot: &SnapshotRecord) -> Option<u64> {
    let (first, last) = (entries.first()?.index, entries.last()?.index);
    if snapshot.index > last {
        entries.clear();
        return Some(snapshot.index + 1);
    }
    let at = snapshot.index.checked_sub(first)? as usize;
    if entries[at].term == snapshot.term {
        return None;
    }
    entries.drain(..=at);
    Some(snapshot.index + 1)
}
