//! The writing half of the log: append, sync, the next segment, purge.
//!
//! ```text
//!   append:  [cut if it would not fit] encode --> write at offset --> offset moves
//!   cut:     sync tail --> header into 0.tmp --> sync --> rename --> sync directory --> tail is the new one --> set aside 1.tmp
//!   purge:   remove the oldest, one by one, so that what is left has no gap
//! ```
//!
//! Writes: the tail, `0.tmp` and `1.tmp`; removes old segments. Reads: nothing.
//! Invariant: `offset`, `crc`, `last_index` and `hard_state` describe the last whole write; a call that fails for want of
//! space leaves them as they were.

use std::path::{Path, PathBuf};

use super::file_system::{File, Open};
use super::frame::{Encoder, OVERHEAD_MAX};
use super::marks::{APART, Place};
use super::segment::{self, Segment};
use super::{Error, HardState, LogEntry, SnapshotRecord, Wal};
use crate::wire::raftpb;

/// Bound: the buffer of a large batch is not kept.
const BUFFER_KEPT_MAX: usize = 4 << 20;
/// Segments are never made smaller than this for want of space.
pub(super) const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// The next segment before it has a name.
#[derive(Debug)]
pub(super) struct Prepared {
    path: PathBuf,
    file: Box<dyn File>,
}

impl Wal {
    /// Writes entries and then a hard state, in one write. They survive a crash once `sync` has returned.
    ///
    /// `Error::NoSpace` moves nothing: the same call may be made again. After any other error the member must stop.
    ///
    /// # Panics
    /// If the entries have a gap, or one before them: such a log could not be opened again.
    pub fn append(&mut self, entries: &[LogEntry], hard_state: Option<HardState>) -> Result<(), Error> {
        let hard_state = hard_state.filter(|state| *state != HardState::default());
        if entries.is_empty() && hard_state.is_none() {
            return Ok(());
        }
        if let Some(first) = entries.first() {
            let last = self.last_index;
            assert!(first.index <= last + 1, "entry {} would leave a gap after {last} in the raft log", first.index);
            assert!(entries.windows(2).all(|pair| pair[1].index == pair[0].index + 1), "entries of one append have no gaps");
        }
        let room: usize = entries.iter().map(|entry| OVERHEAD_MAX + entry.data.len()).sum::<usize>() + OVERHEAD_MAX;
        self.make_room(room as u64)?;
        let (sequence, start) = (self.tail().sequence, self.offset);
        // Noted only once they are written. A small batch notes one place, which takes no allocation.
        let mut later = Vec::new();
        let first = Place { sequence, offset: start, crc: self.crc };
        self.write(|frames| {
            let mut noted = 0;
            for entry in entries {
                if frames.len() - noted >= APART {
                    noted = frames.len();
                    later.push((entry.index, Place { sequence, offset: start + noted, crc: frames.crc() }));
                }
                frames.entry(entry);
            }
            if let Some(state) = hard_state {
                frames.hard_state(state);
            }
        })?;
        // Crash: nothing, a part or all of it is there; what is there of the last record is a torn tail. Nobody was told yet.
        if let (Some(head), Some(last)) = (entries.first(), entries.last()) {
            self.marks.note_batch(head.index, first, &later, last.index);
            self.last_index = last.index;
        }
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        self.counters.entries += entries.len() as u64;
        Ok(())
    }

    /// Returns when all that was appended survives a crash. An error is final.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.check_health()?;
        if self.is_synced {
            return Ok(());
        }
        let result = self.tail_file().sync();
        self.counters.syncs += 1;
        self.note_sync(result, PathBuf::new())?;
        // Crash: everything appended before is in the next replay.
        self.is_synced = true;
        Ok(())
    }

    /// Records that the state up to `index` is held elsewhere, with a hard state whose commit index covers it, and syncs.
    /// Only after that may the log be purged up to there.
    pub fn save_snapshot(&mut self, index: u64, term: u64, conf_state: &raftpb::ConfState) -> Result<(), Error> {
        let record = SnapshotRecord { index, term, conf_state: Some(conf_state.clone()) };
        let before = self.hard_state;
        // Quirk: etcd ignores a snapshot record above the last hard state's commit index (FMT-20).
        let vote = if term > before.term { 0 } else { before.vote };
        let state = HardState { term: before.term.max(term), vote, commit: before.commit.max(index) };
        let ids = conf_state.voters.len() + conf_state.learners.len() + conf_state.voters_outgoing.len() + conf_state.learners_next.len();
        self.make_room((2 * OVERHEAD_MAX + 11 * ids) as u64)?;
        self.write(|frames| {
            frames.snapshot(&record);
            frames.hard_state(state);
        })?;
        // Crash: a snapshot record whose hard state is missing does not count, unless the commit index covered it before.
        self.hard_state = state;
        if index > self.last_index {
            self.marks.forget_entries_below(index + 1);
            self.last_index = index;
        }
        self.sync()?;
        self.snapshot_index = self.snapshot_index.max(index);
        Ok(())
    }

    /// Removes segments whose entries all lie below `below`, oldest first, but leaves at least `keep_segments` and never
    /// passes the newest recorded snapshot. Answers how many went.
    pub fn purge(&mut self, below: u64, keep_segments: usize) -> Result<usize, Error> {
        self.check_health()?;
        // A segment is needless once the next one begins at or below the limit: replay starts there. The limit stays at or
        // below the snapshot because etcd looks for a segment that begins no later than it (FMT-20, DIR-3).
        let limit = below.min(self.snapshot_index);
        let needless = self.segments.windows(2).take_while(|pair| pair[1].index <= limit).count();
        let count = needless.min(self.segments.len() - keep_segments.clamp(1, self.segments.len()));
        for _ in 0..count {
            let oldest = &mut self.segments[0];
            oldest.file = None; // Windows removes no file that is open.
            self.fs.remove(&oldest.path).map_err(|error| Error::io(&oldest.path, "remove", error))?;
            // Crash: the segments from some point on are there; the sequence has no gap.
            self.segments.remove(0);
            self.marks.forget_segments_before(self.segments[0].sequence);
            self.counters.segments_purged += 1;
        }
        if count > 0 {
            let result = self.fs.sync_dir(&self.dir);
            self.note_sync(result, self.dir.clone())?;
        }
        Ok(count)
    }

    // === writing ===

    fn check_health(&self) -> Result<(), Error> {
        if self.has_failed {
            return Err(Error::sync(&self.tail().path, std::io::Error::other("an earlier write or sync failed")));
        }
        Ok(())
    }

    fn tail(&self) -> &Segment {
        self.segments.last().expect("a log has a tail")
    }

    fn tail_file(&self) -> &dyn File {
        self.tail().file.as_deref().expect("the tail is open")
    }

    /// An error of a sync is final. An empty path stands for the tail.
    fn note_sync(&mut self, result: std::io::Result<()>, path: PathBuf) -> Result<(), Error> {
        result.map_err(|error| {
            self.has_failed = true;
            Error::sync(if path.as_os_str().is_empty() { &self.tail().path } else { &path }, error)
        })
    }

    /// Begins a new segment if this many bytes would run over the tail's space, so that writes stay inside what was set aside.
    fn make_room(&mut self, bytes: u64) -> Result<(), Error> {
        self.check_health()?;
        if self.offset > self.header_end && self.offset + bytes > self.options.segment_bytes {
            self.cut()?;
        }
        Ok(())
    }

    /// Encodes and writes frames at the end of the tail. The offset moves only if all of it was written.
    fn write(&mut self, encode: impl FnOnce(&mut Encoder<'_>)) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut frames = Encoder::new(&mut buffer, self.crc);
        encode(&mut frames);
        let crc = frames.crc();
        let result = self.tail_file().write_at(self.offset, &buffer);
        let len = buffer.len() as u64;
        if buffer.capacity() <= BUFFER_KEPT_MAX {
            self.buffer = buffer;
        }
        if let Err(error) = result {
            return Err(self.take_back(error));
        }
        self.offset += len;
        self.crc = crc;
        self.is_synced = false;
        self.counters.bytes_written += len;
        Ok(())
    }

    /// Cuts the tail back to its last whole frame, so that nothing of a failed write stands behind what is written next.
    fn take_back(&mut self, error: std::io::Error) -> Error {
        let error = Error::io(&self.tail().path, "write", error);
        if !error.is_no_space() {
            self.has_failed = true;
            return error;
        }
        if let Err(error) = self.tail_file().set_len(self.offset) {
            self.has_failed = true;
            return Error::io(&self.tail().path, "cut", error);
        }
        // Crash: whole frames of the failed write may come back, in order and with nothing after them; nobody was told.
        // The space may be gone to others now. If so the next write meets that by itself; what a failed attempt took is given back,
        // for some file systems keep all that they found.
        if self.tail_file().allocate(self.options.segment_bytes).is_err() {
            let _ = self.tail_file().set_len(self.offset);
        }
        self.is_synced = false;
        error
    }

    /// Makes the prepared file the tail.
    fn cut(&mut self) -> Result<(), Error> {
        match self.prepare(self.options.segment_bytes) {
            // Less than a whole segment may still be there, and a segment may grow as it is written.
            Err(error) if error.is_no_space() => self.prepare(SEGMENT_BYTES_MIN)?,
            done => done?,
        }
        self.sync()?;
        // Crash: the tail is whole. From here on it is never written again, for only the newest segment may be torn.
        let Prepared { path, file } = self.prepared.take().expect("a segment was prepared");
        let (sequence, index) = (self.tail().sequence + 1, self.last_index + 1);
        let name = self.dir.join(segment::name(sequence, index));
        let mut header = Vec::new();
        let crc = encode_header(&mut header, self.crc, &self.metadata, self.hard_state);
        if let Err(error) = file.write_at(0, &header) {
            return Err(self.give_up(file, &path, Error::io(&path, "write", error)));
        }
        let result = file.sync();
        self.note_sync(result, path.clone())?;
        // Crash: a leftover of a name that is no segment's; the next start removes it.
        if let Err(error) = self.fs.rename(&path, &name) {
            return Err(self.give_up(file, &path, Error::io(&name, "name", error)));
        }
        let result = self.fs.sync_dir(&self.dir);
        self.note_sync(result, self.dir.clone())?;
        // Crash: the new segment is the tail and holds its header; the old one ends in zeros.
        let old_end = self.offset;
        // What is left of the old one's space goes back; if not now, then when it is purged.
        let _ = self.tail_file().set_len(old_end);
        self.segments.push(Segment { sequence, index, path: name, file: Some(file) });
        self.offset = header.len() as u64;
        self.header_end = self.offset;
        self.crc = crc;
        self.counters.segments_begun += 1;
        self.counters.bytes_written += self.offset;
        self.prepare_ahead();
        Ok(())
    }

    /// Sets the next segment aside now rather than when the disk may be full. An error here is not one yet: the cut that
    /// needs the segment meets it again.
    pub(super) fn prepare_ahead(&mut self) {
        let free = self.free_bytes().ok().flatten().unwrap_or(u64::MAX);
        // What is left of a volume that fills is for the state engine's way out.
        if free >= 2 * self.options.segment_bytes {
            let _ = self.prepare(self.options.segment_bytes);
        }
    }

    /// Takes a prepared file away again: space that was set aside must not be lost to an error.
    fn give_up(&self, file: Box<dyn File>, path: &Path, error: Error) -> Error {
        drop(file);
        // A leftover is emptied by the next attempt and removed by the next start.
        let _ = self.fs.remove(path);
        error
    }

    fn prepare(&mut self, bytes: u64) -> Result<(), Error> {
        if self.prepared.is_some() {
            return Ok(());
        }
        let path = self.dir.join(format!("{}.tmp", self.prepared_count % 2));
        let file = self.fs.open(&path, Open::Create).map_err(|error| Error::io(&path, "create", error))?;
        if let Err(error) = file.allocate(bytes) {
            return Err(self.give_up(file, &path, Error::io(&path, "set space aside for", error)));
        }
        if !file.try_lock().map_err(|error| Error::io(&path, "lock", error))? {
            return Err(Error::Locked { file: path });
        }
        self.prepared_count += 1;
        self.prepared = Some(Prepared { path, file });
        Ok(())
    }
}

impl Drop for Wal {
    /// Gives the space back that was set aside. A leftover does no harm.
    fn drop(&mut self) {
        if let Some(Prepared { path, file }) = self.prepared.take() {
            drop(file);
            let _ = self.fs.remove(&path);
        }
    }
}

/// The records that a segment begins with; answers the rolling checksum after them.
pub(super) fn encode_header(out: &mut Vec<u8>, crc: u32, metadata: &[u8], hard_state: HardState) -> u32 {
    let mut frames = Encoder::new(out, crc);
    frames.crc_record();
    frames.metadata(metadata);
    if hard_state != HardState::default() {
        frames.hard_state(hard_state);
    }
    frames.crc()
}
