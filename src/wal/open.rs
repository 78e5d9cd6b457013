//! The reading half of the log: make one, open one, look at one.
//!
//! ```text
//!   create:  <dir>.tmp/0-0.wal written and synced --> rename to <dir> --> sync its parent: there is a log or there is none
//!   open:    the last segment that begins at or below the flushed index --> ... --> tail
//!            a tail that was torn is mended, if the log then still reaches what was committed and flushed; else refused
//! ```
//!
//! Writes: a new log; the repair of a torn tail; nothing to a log that it refuses. Reads: every segment from the first needed one on.
//! Invariant: I1 at start, flushed <= last log index and committed <= last log index, else `Error::Damaged`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::append::{SEGMENT_BYTES_MIN, encode_header};
use super::file_system::{File, FileSystem, Open};
use super::frame::{Encoder, Record};
use super::marks::Place;
use super::reader::{Found, Log, SegmentReader};
use super::repair::{self, Verdict};
use super::segment::{self, Segment};
use super::{Counters, Error, HardState, LogEntry, Options, Replay, SnapshotRecord, Wal};

impl Wal {
    /// Is there a log in this directory?
    pub fn exists(fs: &dyn FileSystem, dir: &Path) -> Result<bool, Error> {
        Ok(!segment::list(fs, dir)?.is_empty())
    }

    /// Makes a log that holds nothing but whose it is: an encoded `etcdserverpb.Metadata` (FMT-18, FMT-22).
    pub fn create(fs: Arc<dyn FileSystem>, dir: &Path, metadata: &[u8], options: Options) -> Result<Wal, Error> {
        Wal::create_with(fs, dir, metadata, &[], HardState::default(), options)
    }

    /// Makes a log that begins with these entries: they are there as soon as there is a log, or there is none.
    pub fn create_with(
        fs: Arc<dyn FileSystem>,
        dir: &Path,
        metadata: &[u8],
        entries: &[LogEntry],
        hard_state: HardState,
        options: Options,
    ) -> Result<Wal, Error> {
        if Wal::exists(&*fs, dir)? {
            return Err(Error::Exists { dir: dir.to_owned() });
        }
        let mut staged = dir.as_os_str().to_owned();
        staged.push(".tmp");
        let staged = PathBuf::from(staged);
        if fs.list(&staged).is_ok() {
            fs.remove_dir(&staged).map_err(|error| Error::io(&staged, "remove", error))?;
        }
        fs.create_dir(&staged).map_err(|error| Error::io(&staged, "create", error))?;
        let sized = sized(&*fs, &staged, options.clone())?;
        write_first_segment(&*fs, &staged, &first_records(metadata, entries, hard_state), &sized)?;
        fs.rename(&staged, dir).map_err(|error| Error::io(dir, "name", error))?;
        fs.sync_dir(parent(dir)).map_err(|error| Error::sync(parent(dir), error))?;
        // Crash: the log is there and opens.
        Wal::open(fs, dir, options, 0).map(|(wal, _)| wal)
    }

    /// Reads a log and readies it for appending. `flushed_index` is the applied index that the state engine would have after
    /// a crash right now: reading begins there, and a log that does not reach it is damaged.
    pub fn open(fs: Arc<dyn FileSystem>, dir: &Path, options: Options, flushed_index: u64) -> Result<(Wal, Replay), Error> {
        let mut segments = segment::list(&*fs, dir)?;
        if segments.is_empty() {
            return Err(Error::Missing { dir: dir.to_owned() });
        }
        let options = sized(&*fs, dir, options)?;
        let first = segments.iter().rposition(|segment| segment.index <= flushed_index).unwrap_or(0);
        for segment in &mut segments[first..] {
            segment.file = Some(open_locked(&*fs, &segment.path)?);
        }
        let Read { mut log, offset, crc, torn } = read(&segments[first..])?;
        let tail = segments.last().expect("there is a segment");
        check_reach(&mut log, tail, offset, torn.as_deref(), flushed_index)?;
        let file = tail.file.as_deref().expect("the tail was opened");
        let repaired = torn.map(|what| repair::mend(&*fs, file, &tail.path, offset, what)).transpose()?;
        for leftover in segment::leftovers(&*fs, dir)? {
            fs.remove(&leftover).map_err(|error| Error::io(&leftover, "remove", error))?;
        }
        // The space may not be there; then the writes that need it meet that.
        let _ = file.allocate(options.segment_bytes);
        // What was read may be in the page cache only, from a process that died before its sync; raft takes it as durable.
        file.sync().map_err(|error| Error::sync(&tail.path, error))?;
        // So may its name be, if that process died between naming the segment, or the whole log, and syncing the directory.
        for named in [dir, parent(dir)] {
            fs.sync_dir(named).map_err(|error| Error::sync(named, error))?;
        }
        let last_index = log.last_index();
        let replay = Replay {
            metadata: log.metadata.unwrap_or_default(),
            hard_state: log.hard_state,
            entries: log.entries,
            snapshot: log.snapshot,
            repaired,
        };
        let wal = Wal {
            fs,
            dir: dir.to_owned(),
            options,
            metadata: replay.metadata.clone(),
            segments,
            offset,
            header_end: 0,
            crc,
            hard_state: replay.hard_state,
            last_index,
            marks: log.marks,
            snapshot_index: replay.snapshot.as_ref().map_or(0, |snapshot| snapshot.index),
            prepared: None,
            prepared_count: 0,
            buffer: Vec::new(),
            is_synced: true,
            has_failed: false,
            counters: Counters::default(),
        };
        Ok((wal.with_next_segment(), replay))
    }

    fn with_next_segment(mut self) -> Wal {
        self.prepare_ahead();
        self
    }
}

/// Shows every record of a log that nobody has open, in the order they were written, those that were overwritten among them.
/// Ends before a torn tail; changes nothing.
pub fn visit(fs: &dyn FileSystem, dir: &Path, visit: &mut dyn FnMut(Record)) -> Result<(), Error> {
    let mut segments = segment::list(fs, dir)?;
    for segment in &mut segments {
        segment.file = Some(fs.open(&segment.path, Open::Read).map_err(|error| Error::io(&segment.path, "open", error))?);
    }
    if segments.is_empty() {
        return Err(Error::Missing { dir: dir.to_owned() });
    }
    read_records(&segments, &mut |record, _| {
        visit(record);
        Ok(())
    })
    .map(drop)
}

fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn first_records(metadata: &[u8], entries: &[LogEntry], hard_state: HardState) -> Vec<u8> {
    let mut records = Vec::new();
    let crc = encode_header(&mut records, 0, metadata, HardState::default());
    let mut frames = Encoder::new(&mut records, crc);
    frames.snapshot(&SnapshotRecord::default());
    entries.iter().for_each(|entry| frames.entry(entry));
    if hard_state != HardState::default() {
        frames.hard_state(hard_state);
    }
    records
}

/// On a small or nearly full volume segments are smaller: space set aside for the log, the tail and the next one, must leave
/// most of it to the state, and small segments are given back sooner. Readers, etcd's own among them, take any size.
fn sized(fs: &dyn FileSystem, dir: &Path, options: Options) -> Result<Options, Error> {
    let free = fs.free_bytes(dir).map_err(|error| Error::io(dir, "measure", error))?;
    let fits = free.map_or(u64::MAX, |free| (free / 8).max(SEGMENT_BYTES_MIN));
    Ok(Options { segment_bytes: options.segment_bytes.min(fits) })
}

fn write_first_segment(fs: &dyn FileSystem, dir: &Path, records: &[u8], options: &Options) -> Result<(), Error> {
    let path = dir.join(segment::name(0, 0));
    let file = fs.open(&path, Open::Create).map_err(|error| Error::io(&path, "create", error))?;
    file.allocate(options.segment_bytes).map_err(|error| Error::io(&path, "set space aside for", error))?;
    file.write_at(0, records).map_err(|error| Error::io(&path, "write", error))?;
    file.sync().map_err(|error| Error::sync(&path, error))?;
    fs.sync_dir(dir).map_err(|error| Error::sync(dir, error))
    // Crash: a directory of a name that is no log's; the next start removes it and begins anew.
}

pub(super) fn open_locked(fs: &dyn FileSystem, path: &Path) -> Result<Box<dyn File>, Error> {
    let file = fs.open(path, Open::Write).map_err(|error| Error::io(path, "open", error))?;
    match file.try_lock() {
        Ok(true) => Ok(file),
        Ok(false) => Err(Error::Locked { file: path.to_owned() }),
        Err(error) => Err(Error::io(path, "lock", error)),
    }
}

/// What the segments held, and the state of the tail behind it.
struct Read {
    log: Log,
    offset: u64,
    crc: u32,
    /// Set if the tail was torn: what was found there.
    torn: Option<String>,
}

fn read(segments: &[Segment]) -> Result<Read, Error> {
    let mut log = Log::default();
    let (offset, crc, torn) = read_records(segments, &mut |record, place| log.accept(record, place))?;
    Ok(Read { log, offset, crc, torn })
}

/// Hands out the records of all segments; answers where the tail ends, the rolling checksum there, and whether it was torn.
pub(super) fn read_records(
    segments: &[Segment],
    accept: &mut dyn FnMut(Record, Place) -> Result<(), String>,
) -> Result<(u64, u32, Option<String>), Error> {
    let mut crc = None;
    for (at, segment) in segments.iter().enumerate() {
        let file = segment.file.as_deref().expect("segments that are read are open");
        let mut reader = SegmentReader::new(file, &segment.path, crc)?;
        let broken = loop {
            let offset = reader.offset();
            let place = Place { sequence: segment.sequence, offset, crc: reader.crc().unwrap_or_default() };
            match reader.next()? {
                Found::Record(raw) => {
                    raw.decode().and_then(|record| accept(record, place)).map_err(|what| Error::damaged(&segment.path, offset, what))?;
                }
                Found::End if offset == 0 => return Err(Error::damaged(&segment.path, 0, "the segment holds no record")),
                Found::End => break None,
                Found::Broken(what) => break Some(what),
            }
        };
        let offset = reader.offset();
        crc = reader.crc();
        if at + 1 < segments.len() {
            // The tail was synced before the next segment came to be, so a crash cannot have torn it.
            if let Some(what) = broken {
                return Err(Error::damaged(&segment.path, offset, what));
            }
            continue;
        }
        let crc = crc.unwrap_or_default();
        return match repair::judge(file, &segment.path, offset, broken, crc)? {
            Verdict::Clean => Ok((offset, crc, None)),
            Verdict::Torn(what) => Ok((offset, crc, Some(what))),
            Verdict::Damaged(what) => Err(Error::damaged(&segment.path, offset, what)),
        };
    }
    unreachable!("the last segment returns")
}

/// The log as it can be kept must reach everything that anybody was told of.
pub(super) fn check_reach(log: &mut Log, tail: &Segment, offset: u64, torn: Option<&str>, flushed_index: u64) -> Result<(), Error> {
    log.finish().map_err(|what| Error::damaged(&tail.path, offset, what))?;
    let (last, commit) = (log.last_index(), log.commit_max);
    let covered = log.snapshot.as_ref().map_or(flushed_index, |snapshot| snapshot.index.max(flushed_index));
    if let Some(first) = log.entries.first().filter(|first| first.index > covered + 1) {
        let what = format!("the log begins at entry {}, but the state engine has only applied entry {flushed_index}", first.index);
        return Err(Error::damaged(&tail.path, 0, what));
    }
    let missing = if flushed_index > last {
        format!("the log ends at entry {last}, but the state engine has applied entry {flushed_index}")
    } else if commit > last {
        format!("the log ends at entry {last}, but entry {commit} was committed")
    } else {
        return Ok(());
    };
    let what = torn.map_or(missing.clone(), |torn| format!("{torn}; {missing}"));
    Err(Error::damaged(&tail.path, offset, what))
}
