//! The Go member's files that are kept, and what a takeover that was cut short has left.
//!
//! ```text
//!   go-2026-11-24T180227Z.tmp/wal/    segments that nobody writes any more: links, or copies where links are refused
//!                                     the tail, which we append to: a copy
//!   go-2026-11-24T180227Z.tmp/snap/   the Go member's own directory, moved there after the switch
//! ```
//!
//! Before the switch a `go-*.tmp` is removed and made anew, for the Go member may have run in between; after it, it is completed.
//! Writes: `go-*.tmp` in the member's directory. Reads: the segments, through the handles that keep them locked.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;

use super::{Place, TakeoverError, sync_dir};
use crate::wal::{Examined, ExaminedSegment, FileSystem, RealFileSystem};

const CHUNK: usize = 1 << 20;
const PREFIX: &str = "go-";
const STAGED: &str = ".tmp";

/// Puts the log as it is now beside the member's other files, synced.
pub(super) fn keep_log(place: &Place, now: Duration, log: &Examined) -> Result<(), TakeoverError> {
    let staged = place.member.join(format!("{PREFIX}{}{STAGED}", date(now)));
    let dir = staged.join("wal");
    make_dir(&dir)?;
    for segment in log.segments() {
        let to = dir.join(segment.path.file_name().unwrap_or_default());
        if segment.is_tail || std::fs::hard_link(segment.path, &to).is_err() {
            copy(&segment, &to).map_err(|error| TakeoverError::io("write", &to, error))?;
        }
    }
    for dir in [&dir, &staged, &place.member] {
        sync_dir(dir)?;
    }
    Ok(())
}

/// Bytes that `keep_log` will write at most.
pub(super) fn copied_bytes(place: &Place, log: &Examined) -> u64 {
    let links = is_same_volume(&place.member, &place.wal);
    log.segments().filter(|segment| segment.is_tail || !links).map(|segment| segment.used).sum()
}

/// The names, now and in the end, of the one `go-*.tmp` of a switch that was made.
pub(super) fn unfinished(place: &Place) -> Result<Option<(PathBuf, PathBuf)>, TakeoverError> {
    let found = staged(place)?.into_iter().max();
    Ok(found.map(|staged| {
        let kept = staged.with_extension("");
        (staged, kept)
    }))
}

/// What takeovers have put aside, by date, and how large each is.
pub(super) fn kept(place: &Place) -> Result<Vec<(PathBuf, u64)>, TakeoverError> {
    let mut kept = named(place, |name| !name.ends_with(STAGED))?;
    kept.sort();
    let sized = kept.into_iter().map(|dir| match size(&dir) {
        Ok(bytes) => Ok((dir, bytes)),
        Err(error) => Err(TakeoverError::io("measure", &dir, error)),
    });
    sized.collect()
}

fn size(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// Removes what a takeover has left that did not come to its switch.
pub(super) fn sweep(place: &Place) -> Result<(), TakeoverError> {
    let mut leftovers = staged(place)?;
    leftovers.push(place.staged_db());
    for leftover in leftovers.iter().filter(|leftover| leftover.exists()) {
        std::fs::remove_dir_all(leftover).map_err(|error| TakeoverError::io("remove", leftover, error))?;
    }
    Ok(())
}

fn staged(place: &Place) -> Result<Vec<PathBuf>, TakeoverError> {
    named(place, |name| name.ends_with(STAGED))
}

/// Directories of a takeover's whose names are so.
fn named(place: &Place, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, TakeoverError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&place.member)? {
            let name = entry?.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && is_wanted(name)) {
                found.push(place.member.join(name));
            }
        }
        Ok(found)
    };
    list().map_err(|error| TakeoverError::io("list", &place.member, error))
}

/// Readable by its owner alone (DIR-1).
fn make_dir(dir: &Path) -> Result<(), TakeoverError> {
    RealFileSystem.create_dir(dir).map_err(|error| TakeoverError::io("create", dir, error))
}

/// Space that was set aside in the segment stays a hole in the copy.
fn copy(segment: &ExaminedSegment<'_>, to: &Path) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // DIR-1
    let mut target = options.open(to)?;
    let len = segment.file.size()?;
    let mut chunk = vec![0; CHUNK];
    let mut from = 0;
    while from < segment.used {
        let part = &mut chunk[..(segment.used - from).min(CHUNK as u64) as usize];
        segment.file.read_at(from, part)?;
        if part.iter().any(|byte| *byte != 0) {
            target.seek(SeekFrom::Start(from))?;
            target.write_all(part)?;
        }
        from += part.len() as u64;
    }
    target.set_len(len)?;
    target.sync_all()
}

/// Whether a file of the one directory can be linked into the other.
fn is_same_volume(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        let volume = |path: &Path| std::fs::metadata(path).map(|metadata| std::os::unix::fs::MetadataExt::dev(&metadata)).ok();
        volume(a) == volume(b)
    }
    #[cfg(not(unix))]
    b.starts_with(a)
}

/// Seconds are enough: there is one takeover at a time. Without colons, which not every file system takes.
fn date(now: Duration) -> String {
    let at = OffsetDateTime::from_unix_timestamp(now.as_secs() as i64).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    format!("{}-{:02}-{:02}T{hour:02}{minute:02}{second:02}Z", date.year(), u8::from(date.month()), date.day())
}
