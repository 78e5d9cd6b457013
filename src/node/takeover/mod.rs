//! Takes over the data directory of a Go member, in place: its log goes on, its database becomes the state engine.
//!
//! ```text
//!   member/wal/                   the log; the format is the same, so ours goes on where the Go member stopped
//!   member/snap/db                the Go member's state                                 (before)
//!   member/db/                    ours                                                  (after)
//!
//!   step        what it does                                              a crash right after it leaves
//!   Checked     everything is locked, read and found whole (check.rs)     the Go member's directory, untouched
//!   LogKept     go-<date>.tmp/wal: links to old segments, a copy of       the same; the next start begins anew
//!               the one that we will append to (keep.rs)
//!   Converted   db.tmp: every row, flushed and synced                     the same
//!   Switched    db.tmp is renamed to db: the one step that counts         our directory; the next start does what is left
//!   Parted      snap is renamed to go-<date>.tmp/snap                     the same
//!   Kept        go-<date>.tmp is renamed to go-<date>                     our directory; `snap` and `wal` as they were in go-<date>
//! ```
//!
//! Up to the switch nothing of the Go member's is renamed, written or removed, so it starts as ever; after the switch ours does.
//! Between the switch and `Parted` both would start and both would be right: they go on with the same log, which decides. That is
//! why `snap` is moved whole as the last step, rather than linked and then deleted: nothing of theirs is ever deleted, no large
//! file is copied, and a volume without links will do. What is in go-<date> is a `member` directory that the Go member starts on,
//! as of the takeover; each start names it and its size, and whoever needs it no more removes it (`rm -r`).
//!
//! Writes: `member/db`, `member/go-*`, and the name of `member/snap`. Reads: `member/snap`, the log.
//! Entries of the log above the database's index replay through the ordinary start. Does not repair: a torn tail of the log is
//! mended later, by whoever opens the log to append.

mod check;
mod convert;
mod error;
mod keep;
mod rows;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::TakeoverError;

use super::bootstrap::Options;
use crate::wal::{FileSystem, RealFileSystem};
use check::Checked;

/// The directories that a takeover is about.
#[derive(Clone, Debug)]
pub struct Place {
    /// `<data-dir>/member`.
    pub member: PathBuf,
    /// Where the log is, which may be on a volume of its own.
    pub wal: PathBuf,
}

/// What has just been done; see the module. A hook that breaks stops there, as a crash would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Checked {
        consistent_index: u64,
        last_index: u64,
        bytes: u64,
    },
    LogKept,
    /// So many rows and bytes of keys and values, of a database of so many bytes.
    Converting {
        rows: u64,
        bytes: u64,
        of: u64,
    },
    Converted {
        rows: u64,
        revision: i64,
    },
    Switched,
    Parted,
    Kept,
}

/// Hears of each step. `Break` ends the takeover there, with nothing cleaned up.
pub type Steps<'a> = &'a mut dyn FnMut(Step) -> ControlFlow<()>;

impl Place {
    pub fn new(options: &Options) -> Place {
        Place { member: options.member_dir(), wal: options.wal_dir.clone() }
    }

    fn snap(&self) -> PathBuf {
        self.member.join("snap")
    }

    /// The database of a Go member.
    fn go_db(&self) -> PathBuf {
        self.snap().join("db")
    }

    fn db(&self) -> PathBuf {
        self.member.join("db")
    }

    /// The state engine until it has its name.
    fn staged_db(&self) -> PathBuf {
        self.member.join("db.tmp")
    }
}

/// Does what is to be done in a directory before its state engine is opened: takes it over if it is a Go member's, finishes a
/// takeover that was cut short, or nothing. The caller holds the directory's lock. `now` is the time since the epoch, for a name.
pub fn take_over(place: &Place, now: Duration, steps: Steps<'_>) -> Result<(), TakeoverError> {
    if place.db().exists() {
        return part(place, steps);
    }
    keep::sweep(place)?;
    if !place.go_db().exists() {
        return Ok(());
    }
    let checked = Checked::new(place)?;
    let consistent_index = checked.position.consistent_index;
    told(steps, Step::Checked { consistent_index, last_index: checked.log.last_index, bytes: checked.database.size() })?;
    match stage(place, now, &checked, steps) {
        Err(stopped @ TakeoverError::Stopped(_)) => return Err(stopped),
        // Nothing is left behind of what will have to be done again; the error that made it so is what is told.
        Err(error) => return keep::sweep(place).and(Err(error)),
        Ok(()) => {}
    }
    rename(&place.staged_db(), &place.db())?;
    sync_dir(&place.member)?;
    // Crash: the directory is ours; `part` does the rest at the next start.
    told(steps, Step::Switched)?;
    // Before its directory is moved, which not every system allows while a file in it is open.
    drop(checked);
    part(place, steps)
}

/// Everything that goes beside the Go member's files.
fn stage(place: &Place, now: Duration, checked: &Checked, steps: Steps<'_>) -> Result<(), TakeoverError> {
    keep::keep_log(place, now, &checked.log)?;
    // Crash: a directory of a name that only this takeover gives; the next start removes it.
    told(steps, Step::LogKept)?;
    let imported = convert::convert(place, checked, steps)?;
    // Crash: the same, and a whole state engine that nobody looks at.
    told(steps, Step::Converted { rows: imported.rows, revision: imported.revision })
}

/// After the switch: the Go member's files go where they are kept.
fn part(place: &Place, steps: Steps<'_>) -> Result<(), TakeoverError> {
    let Some((staged, kept)) = keep::unfinished(place)? else {
        if place.go_db().exists() {
            tracing::warn!(path = %place.snap().display(), "a Go member's database lies beside this member's state and is not looked at");
        }
        return tell_kept(place);
    };
    if place.snap().exists() {
        rename(&place.snap(), &staged.join("snap"))?;
        sync_dir(&place.member)?;
        sync_dir(&staged)?;
    }
    // Crash: all that is kept is together, under a name that the next start completes.
    told(steps, Step::Parted)?;
    rename(&staged, &kept)?;
    sync_dir(&place.member)?;
    tell_kept(place)?;
    told(steps, Step::Kept)
}

/// At every start: they take space until somebody removes them, and nothing here ever does.
fn tell_kept(place: &Place) -> Result<(), TakeoverError> {
    for (kept, bytes) in keep::kept(place)? {
        tracing::info!(kept = %kept.display(), bytes, "a Go member's files are kept here; remove the directory when they are no longer needed");
    }
    Ok(())
}

/// Tells the log how far a takeover is: each step, and the conversion by tenths.
pub fn log_steps() -> impl FnMut(Step) -> ControlFlow<()> {
    let mut tenths = 0;
    move |step| {
        if let Step::Converting { bytes, of, .. } = step {
            let now = bytes.saturating_mul(10) / of.max(1);
            if now <= tenths {
                return ControlFlow::Continue(());
            }
            tenths = now;
        }
        tracing::info!(step = ?step, "taking over the data directory of a Go member");
        ControlFlow::Continue(())
    }
}

fn told(steps: Steps<'_>, step: Step) -> Result<(), TakeoverError> {
    match steps(step) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(TakeoverError::Stopped(step)),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), TakeoverError> {
    std::fs::rename(from, to).map_err(|error| TakeoverError::io("rename", from, error))
}

fn sync_dir(dir: &Path) -> Result<(), TakeoverError> {
    RealFileSystem.sync_dir(dir).map_err(|error| TakeoverError::io("sync", dir, error))
}
