//! The files of the log and their names.
//!
//! ```text
//!   member/wal/
//!     0000000000000000-0000000000000000.wal           <16 hex sequence>-<16 hex index of the first entry it may hold>
//!     0000000000000001-0000000000001a2b.wal           the newest is the tail: the only one that is written
//!     0000000000000001-0000000000001a2b.wal.broken    a tail as it was before it was repaired (repair.rs)
//!     0.tmp, 1.tmp                                    the next segment, space set aside, not yet part of the log
//!
//!   a segment:  crc | metadata | hard state (snapshot 0,0 in the very first) | records ... | zeros up to 64,000,000
//! ```
//!
//! Writes: nothing. Reads: names. Sequence numbers have no gap; a segment's index never exceeds that of an entry it holds
//! unless a leader overwrote what was before (DIR-1, FMT-19, FMT-20).

use std::path::{Path, PathBuf};

use super::Error;
use super::file_system::{File, FileSystem};

/// Bytes set aside for a segment, as in etcd.
pub const SEGMENT_BYTES: u64 = 64 * 1000 * 1000;

/// A file of the log. Those that were too old to be read at start stay closed.
#[derive(Debug)]
pub(super) struct Segment {
    pub sequence: u64,
    pub index: u64,
    pub path: PathBuf,
    pub file: Option<Box<dyn File>>,
}

pub(super) fn name(sequence: u64, index: u64) -> String {
    format!("{sequence:016x}-{index:016x}.wal")
}

fn parse(name: &str) -> Option<(u64, u64)> {
    let (sequence, index) = name.strip_suffix(".wal")?.split_once('-')?;
    let is_hex = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = |text: &str| is_hex(text).then(|| u64::from_str_radix(text, 16).ok()).flatten();
    Some((number(sequence)?, number(index)?))
}

/// The segments of a directory, oldest first, all closed.
pub(super) fn list(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<Segment>, Error> {
    let names = match fs.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(dir, "list", error)),
    };
    let mut segments: Vec<Segment> = names
        .iter()
        .filter_map(|name| parse(name).map(|(sequence, index)| Segment { sequence, index, path: dir.join(name), file: None }))
        .collect();
    segments.sort_by_key(|segment| segment.sequence);
    for pair in segments.windows(2) {
        if pair[1].sequence != pair[0].sequence + 1 {
            let what = format!("the segments before it are missing: the one found before it is {}", pair[0].path.display());
            return Err(Error::damaged(&pair[1].path, 0, what));
        }
    }
    Ok(segments)
}

/// Leftovers of a process that stopped with the next segment set aside.
pub(super) fn leftovers(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let names = fs.list(dir).map_err(|error| Error::io(dir, "list", error))?;
    Ok(names.iter().filter(|name| matches!(name.as_str(), "0.tmp" | "1.tmp")).map(|name| dir.join(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sixteen_hex_digits_twice() {
        assert_eq!(name(1, 0x1a2b), "0000000000000001-0000000000001a2b.wal");
        assert_eq!(parse(&name(u64::MAX, 7)), Some((u64::MAX, 7)));
        for foreign in ["0.tmp", "0000000000000001-0000000000001a2b.wal.broken", "1-2.wal", "0000000000000000-000000000000000g.wal", ".wal"]
        {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
