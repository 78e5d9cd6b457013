//! Tells a tail that was torn by a crash from a log that is damaged, and mends the first (FMT-21, DIR-4; D2).
//!
//! ```text
//!   ... whole records | broken record | rest of the file
//!                     ^ offset
//!   rest                                                         verdict
//!   all zeros, and the record before it was the last             clean
//!   a whole record somewhere in it                               damage: a write is torn at its end, not before it
//!   the record is right but for one bit                          damage: a crash loses sectors, it does not flip bits
//!                                                                (unless it was the only bit set in a sector that is zero)
//!   neither, and the record runs out of the file, ends in        torn: the write was never synced, so nobody was told
//!   zeros or lost a sector (512 bytes of zeros)
//!   anything else                                                damage
//! ```
//!
//! Mending first keeps the segment under `<name>.broken`, then cuts it at the offset; what comes after reads as zeros.
//! Invariant: a repaired log still reaches every commit index it ever noted and the flushed index of the state engine;
//! `Wal::open` checks that before it lets anything be mended.
//!
//! Quirk: etcd takes any broken record that holds a sector of zeros for a torn one (server/storage/wal/decoder.go), so a
//! flipped bit in a value of zeros makes it drop acknowledged entries. We do not; pinned by
//! `a_flipped_bit_in_a_record_of_zeros_is_damage`.

use std::path::{Path, PathBuf};

use super::Error;
use super::file_system::{File, FileSystem, Open};
use super::frame::{self, ALIGN, Raw};

const SECTOR: u64 = 512;
const CHUNK: u64 = 1 << 20;

/// A record's head in its frame is shorter than this: word, tags, checksum, length.
const HEAD_MAX: usize = 32;

/// CRC-32C with its bits in reading order, as the polynomial of the checksum register.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What was mended when the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    pub file: PathBuf,
    /// The file as it was.
    pub backup: PathBuf,
    /// Where the log now ends.
    pub offset: u64,
    /// What was wrong there.
    pub what: String,
}

/// The state of the tail after its last whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Clean,
    Torn(String),
    Damaged(String),
}

/// Looks at a tail from `offset` on. `broken` says what stopped the reader, if it was not the end of the log; `crc` is the
/// rolling checksum there.
pub(super) fn judge(file: &dyn File, path: &Path, offset: u64, broken: Option<String>, crc: u32) -> Result<Verdict, Error> {
    let len = file.size().map_err(|error| Error::io(path, "measure", error))?;
    if broken.is_none() && is_zero(file, path, offset, len)? {
        return Ok(Verdict::Clean);
    }
    let mut rest = vec![0; (len - offset) as usize];
    file.read_at(offset, &mut rest).map_err(|error| Error::io(path, "read", error))?;
    let is_end = broken.is_none();
    let what = broken.unwrap_or_else(|| "the log ends here, but the space after it is not empty".into());
    if let Some(at) = find_frame(&rest) {
        return Ok(Verdict::Damaged(format!("{what}; whole records follow it at byte {}", offset + at as u64)));
    }
    if one_bit_off(&mut rest, crc).is_some_and(|at| !is_in_lost_sector(&rest, offset, at)) {
        return Ok(Verdict::Damaged(format!("{what}; the record is whole but for one flipped bit")));
    }
    if is_end || looks_torn(&rest, offset) { Ok(Verdict::Torn(what)) } else { Ok(Verdict::Damaged(what)) }
}

fn is_zero(file: &dyn File, path: &Path, mut from: u64, to: u64) -> Result<bool, Error> {
    let mut chunk = vec![0; (to - from).min(CHUNK) as usize];
    while from < to {
        let part = &mut chunk[..(to - from).min(CHUNK) as usize];
        file.read_at(from, part).map_err(|error| Error::io(path, "read", error))?;
        if part.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        from += part.len() as u64;
    }
    Ok(true)
}

/// The first place behind the broken record's own beginning where a whole record stands.
fn find_frame(rest: &[u8]) -> Option<usize> {
    (ALIGN..rest.len()).step_by(ALIGN).find(|at| frame::well_formed(&rest[*at..]).is_some())
}

/// The byte of which turning round a single bit makes a record with the right checksum. Leaves `rest` as it was.
fn one_bit_off(rest: &mut [u8], crc: u32) -> Option<usize> {
    for bit in 0..rest.len().min(HEAD_MAX) * 8 {
        rest[bit / 8] ^= 1 << (bit % 8);
        let is_right = frame::well_formed(rest).is_some_and(|(raw, _)| !raw.is_crc() && raw.crc_after(crc) == raw.crc());
        rest[bit / 8] ^= 1 << (bit % 8);
        if is_right {
            return Some(bit / 8);
        }
    }
    let record = record(rest)?;
    let raw = Raw::parse(record.to_vec().into()).ok()?;
    // The checksum is linear: a flipped bit changes it by a pattern that depends only on how many bits come after it.
    let wrong = raw.crc_after(crc) ^ raw.crc();
    let mut pattern = POLYNOMIAL;
    for bits_after in 0..raw.data().len() * 8 {
        if pattern == wrong {
            // The data is what a record ends with.
            return Some(ALIGN + record.len() - 1 - bits_after / 8);
        }
        pattern = pattern >> 1 ^ POLYNOMIAL & (pattern & 1).wrapping_neg();
    }
    None
}

/// Is this byte of a sector that holds nothing but zeros of the record, and not its beginning? Then the one bit that is wrong was
/// the only one set there, and the crash lost the sector.
fn is_in_lost_sector(rest: &[u8], offset: u64, at: usize) -> bool {
    let end = record(rest).map_or(rest.len(), |record| ALIGN + record.len());
    let begin = ((offset + at as u64) / SECTOR * SECTOR).saturating_sub(offset) as usize;
    begin > 0 && rest[begin..end.min(begin + SECTOR as usize)].iter().all(|byte| *byte == 0)
}

/// The bytes that the frame at the front claims for its record, if they are all there.
fn record(rest: &[u8]) -> Option<&[u8]> {
    let (size, _) = frame::sizes(frame::word(rest.get(..ALIGN)?));
    rest.get(ALIGN..ALIGN.checked_add(usize::try_from(size).ok()?)?)
}

/// Did part of the record never reach the disk?
fn looks_torn(rest: &[u8], offset: u64) -> bool {
    let Some(record) = record(rest) else { return true };
    // The file ends inside the padding: the space for the rest of the write was never there.
    if rest.get(..ALIGN).is_some_and(|word| frame::sizes(frame::word(word)).1 > (rest.len() - ALIGN - record.len()) as u64) {
        return true;
    }
    if record.last().is_none_or(|byte| *byte == 0) {
        return true;
    }
    let mut from = 0;
    while from < record.len() {
        let place = offset + (ALIGN + from) as u64;
        let to = (from + (SECTOR - place % SECTOR) as usize).min(record.len());
        if record[from..to].iter().all(|byte| *byte == 0) {
            return true;
        }
        from = to;
    }
    false
}

/// Keeps a copy of the segment and cuts it at `offset`.
pub(super) fn mend(fs: &dyn FileSystem, file: &dyn File, path: &Path, offset: u64, what: String) -> Result<Repair, Error> {
    let mut backup = path.as_os_str().to_owned();
    backup.push(".broken");
    let backup = PathBuf::from(backup);
    copy(fs, file, path, &backup)?;
    if let Some(dir) = path.parent() {
        fs.sync_dir(dir).map_err(|error| Error::sync(dir, error))?;
    }
    // Crash: the backup is there and the segment still torn; the next start makes both again.
    file.set_len(offset).map_err(|error| Error::io(path, "cut", error))?;
    file.sync().map_err(|error| Error::sync(path, error))?;
    // Crash: the segment ends with its last whole record; the next start finds it clean.
    Ok(Repair { file: path.to_owned(), backup, offset, what })
}

fn copy(fs: &dyn FileSystem, file: &dyn File, path: &Path, backup: &Path) -> Result<(), Error> {
    let len = file.size().map_err(|error| Error::io(path, "measure", error))?;
    let target = fs.open(backup, Open::Create).map_err(|error| Error::io(backup, "create", error))?;
    target.set_len(len).map_err(|error| Error::io(backup, "size", error))?;
    let mut chunk = vec![0; len.min(CHUNK) as usize];
    let mut from = 0;
    while from < len {
        let part = &mut chunk[..(len - from).min(CHUNK) as usize];
        file.read_at(from, part).map_err(|error| Error::io(path, "read", error))?;
        // Space that was set aside stays a hole in the copy: a full disk must not keep a member from starting.
        if part.iter().any(|byte| *byte != 0) {
            target.write_at(from, part).map_err(|error| Error::io(backup, "write", error))?;
        }
        from += part.len() as u64;
    }
    target.sync().map_err(|error| Error::sync(backup, error))
}
