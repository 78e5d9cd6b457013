//! Remembers where entries stand in the segments, sparsely, so that any of them can be read back.
//!
//! ```text
//!   marks      (1, seg 0 @80)        (90, seg 0 @33k)    (120, seg 1 @64)   (118, seg 1 @9k)
//!   covers      1 .. 89               90 .. 117           dropped: overwritten from 118 on
//! ```
//!
//! A mark covers the entries from its own index to that of the next mark; inside, they stand one after the other. An
//! overwriting entry drops the marks at and after its index and sets one of its own, so what it overwrote is never read.
//! Writes: append and replay. Reads: `Wal::read`. Bound: 32 bytes for every 32 KiB of log that is kept.

use super::file_system::File;
use super::frame::Record;
use super::reader::{Found, SegmentReader};
use super::{Error, LogEntry, Wal};

/// Bytes of log between two marks, about.
pub(super) const APART: u64 = 32 << 10;

/// Where a frame stands, and the rolling checksum before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub sequence: u64,
    pub offset: u64,
    pub crc: u32,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    index: u64,
    place: Place,
}

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// By index, ascending.
    marks: Vec<Mark>,
    /// The oldest entry that may be read.
    first: u64,
    /// The index after the last entry.
    next: u64,
}

impl Marks {
    /// Takes note of an entry, in the order of writing.
    pub fn note(&mut self, index: u64, place: Place) {
        if index != self.next {
            let kept = self.marks.partition_point(|mark| mark.index < index);
            self.marks.truncate(if index > self.next { 0 } else { kept });
        }
        let is_near = self
            .marks
            .last()
            .is_some_and(|last| index == self.next && last.place.sequence == place.sequence && place.offset - last.place.offset < APART);
        if !is_near {
            self.marks.push(Mark { index, place });
        }
        if self.marks.len() == 1 && !is_near {
            self.first = index;
        }
        self.next = index + 1;
    }

    /// Takes note of a batch: its first entry, those that stand further apart than `APART`, and the index of the last one.
    pub fn note_batch(&mut self, index: u64, place: Place, later: &[(u64, Place)], last: u64) {
        self.note(index, place);
        for (index, place) in later {
            self.next = *index;
            self.note(*index, *place);
        }
        self.next = last + 1;
    }

    /// What stood below `index` was replaced.
    pub fn forget_entries_below(&mut self, index: u64) {
        self.first = self.first.max(index);
        if index >= self.next {
            self.marks.clear();
        }
    }

    /// Segments before this one are gone.
    pub fn forget_segments_before(&mut self, sequence: u64) {
        self.marks.retain(|mark| mark.place.sequence >= sequence);
        self.first = self.marks.first().map_or(self.next, |mark| self.first.max(mark.index));
    }

    fn covering(&self, index: u64) -> Option<usize> {
        let is_held = index >= self.first && index < self.next;
        self.marks.partition_point(|mark| mark.index <= index).checked_sub(1).filter(|_| is_held)
    }
}

impl Wal {
    /// The oldest entry that can be read back.
    pub fn first_index(&self) -> u64 {
        if self.marks.marks.is_empty() { self.last_index + 1 } else { self.marks.first }
    }

    /// Entries from `from` up to, not including, `to`, read back from the segments: at least one, and no more once they
    /// hold `budget` bytes. `None` if the first of them is not in the log (any more).
    pub fn read(&self, from: u64, to: u64, budget: usize) -> Result<Option<Vec<LogEntry>>, Error> {
        let to = to.min(self.marks.next);
        let Some(at) = self.marks.covering(from) else { return Ok(None) };
        let mut entries = Vec::new();
        let mut left = budget;
        for (at, mark) in self.marks.marks.iter().enumerate().skip(at).take_while(|(_, mark)| mark.index < to) {
            let end = self.marks.marks.get(at + 1).map_or(to, |next| next.index.min(to));
            self.read_covered(mark, from, end, &mut left, &mut entries)?;
            if left == 0 {
                break;
            }
        }
        Ok(Some(entries))
    }

    /// Reads the entries that one mark covers, from `from` up to `end`, until nothing is left of the budget.
    fn read_covered(&self, mark: &Mark, from: u64, end: u64, left: &mut usize, entries: &mut Vec<LogEntry>) -> Result<(), Error> {
        let Place { sequence, offset, crc } = mark.place;
        let segment = &self.segments[(sequence - self.segments[0].sequence) as usize];
        let file: &dyn File = segment.file.as_deref().expect("a segment with a mark is open");
        let mut reader = SegmentReader::starting_at(file, &segment.path, offset, crc)?;
        let mut next = mark.index;
        while next < end && *left > 0 {
            let offset = reader.offset();
            let record = match reader.next()? {
                Found::Record(raw) => raw.decode(),
                Found::End => Err(format!("the log ends here, before entry {next}")),
                Found::Broken(what) => Err(what),
            };
            if let Record::Entry(entry) = record.map_err(|what| Error::damaged(&segment.path, offset, what))? {
                if entry.index != next {
                    let what = format!("entry {} is where entry {next} was written", entry.index);
                    return Err(Error::damaged(&segment.path, offset, what));
                }
                next += 1;
                if entry.index >= from {
                    *left = left.saturating_sub(entry.data.len().max(1));
                    entries.push(entry);
                }
            }
        }
        Ok(())
    }
}
