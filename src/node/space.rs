//! Free space on the disk of a member, and the reserve that pays for the way out when there is none (D2).
//!
//! ```text
//!   plenty ......... low water ......... full
//!   ballast kept     NOSPACE raised      ballast given up: alarm, deletes, a compaction and one flush still fit
//! ```
//!
//! Writes: `member/ballast`. Reads: the file system's free space.
//! Crash: at any moment; the ballast is laid again, or completed, at the next start, when there is room for it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of the ballast file on a large volume.
const BALLAST_BYTES_MAX: u64 = 32 << 20;
/// Free bytes below which NOSPACE is raised on a large volume, while both stores can still write: room for a flush of every
/// memtable (24 MiB), the rewrite of the small levels that it sets off, and a segment of the log.
const LOW_WATER_BYTES_MAX: u64 = 128 << 20;
/// On a small volume the marks are parts of it. The log's segments and the flushes shrink with it too (`wal`), and a mark of
/// 128 MiB on a tmpfs of 200 MB would forbid writes for good.
const LOW_WATER_PART: u64 = 5;
const BALLAST_PART: u64 = 4;

/// What the file system says of a volume, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    pub total: u64,
    /// What this process may still write.
    pub free: u64,
}

impl Volume {
    pub fn low_water(self) -> u64 {
        (self.total / LOW_WATER_PART).min(LOW_WATER_BYTES_MAX)
    }

    pub fn is_low(self) -> bool {
        self.free < self.low_water()
    }

    /// Time to give old segments of the log back, so that nobody has to be refused.
    pub fn is_getting_low(self) -> bool {
        self.free < 2 * self.low_water()
    }

    fn ballast(self) -> u64 {
        (self.low_water() / BALLAST_PART).min(BALLAST_BYTES_MAX)
    }

    /// So far above the mark that laying the ballast does not bring it near.
    fn has_room_for_ballast(self) -> bool {
        self.free >= 2 * (self.low_water() + self.ballast())
    }
}

/// How long a full disk that is not full any more may be a reason to refuse: RocksDB looks for room every five seconds, and may then
/// still wait for a flush of its own that waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Refusals of one write, one after another.
#[derive(Debug, Default)]
pub struct Refusals {
    roomy_since: Option<Duration>,
}

impl Refusals {
    /// One more, `now`. Whether no end is to be expected: there has been room for longer than an engine needs to see it.
    pub fn is_stuck(&mut self, now: Duration, has_room: bool) -> bool {
        let since = if has_room { *self.roomy_since.get_or_insert(now) } else { now };
        self.roomy_since = has_room.then_some(since);
        now.saturating_sub(since) > PATIENCE
    }
}

pub struct Space {
    dir: PathBuf,
    /// The log's directory, which may be on a volume of its own.
    log_dir: PathBuf,
    ballast: PathBuf,
}

impl Space {
    pub fn new(member_dir: &Path) -> Space {
        Space { dir: member_dir.to_owned(), log_dir: member_dir.to_owned(), ballast: member_dir.join("ballast") }
    }

    /// With the log in this directory.
    pub fn with_log(self, log_dir: &Path) -> Space {
        Space { log_dir: log_dir.to_owned(), ..self }
    }

    /// The volume of the member's directory.
    pub fn volume(&self) -> io::Result<Volume> {
        volume_of(&self.dir)
    }

    /// Of the member's volume and the log's, the one with less room: NOSPACE has to come while both can still be written.
    pub fn tightest(&self) -> io::Result<Volume> {
        let (state, log) = (self.volume()?, volume_of(&self.log_dir)?);
        Ok(if log.free < state.free { log } else { state })
    }

    /// Lays the ballast, if it is missing and there is room well above the low-water mark.
    ///
    /// Crash: leaves a part of it, which the next call completes.
    pub fn lay_ballast(&self) -> io::Result<()> {
        let volume = self.volume()?;
        let laid = std::fs::metadata(&self.ballast).map_or(0, |file| file.len());
        if laid >= volume.ballast() || !volume.has_room_for_ballast() {
            return Ok(());
        }
        self.write_ballast(volume.ballast()).inspect_err(|_| {
            // A part of it is no reserve; the error that made it one is what is told.
            let _ = std::fs::remove_file(&self.ballast);
        })
    }

    fn write_ballast(&self, bytes: u64) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // DIR-1
        let file = options.open(&self.ballast)?;
        #[cfg(target_os = "linux")]
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        #[cfg(not(target_os = "linux"))]
        file.set_len(bytes)?;
        file.sync_all()
    }

    /// Gives the ballast up, so that what must be written can be. Whether there was one.
    pub fn drop_ballast(&self) -> io::Result<bool> {
        match std::fs::remove_file(&self.ballast) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(unix)]
fn volume_of(dir: &Path) -> io::Result<Volume> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(Volume { total: stat.f_blocks.saturating_mul(stat.f_frsize), free: stat.f_bavail.saturating_mul(stat.f_frsize) })
}

/// Where the system does not say, a volume that is never low.
#[cfg(not(unix))]
fn volume_of(_: &Path) -> io::Result<Volume> {
    Ok(Volume { total: u64::MAX, free: u64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ballast_is_laid_once_given_up_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(dir.path());
        let volume = space.volume().unwrap();
        if !volume.has_room_for_ballast() {
            println!("skipped: the volume of temporary files is nearly full, {volume:?}");
            return;
        }
        space.lay_ballast().unwrap();
        let laid = std::fs::metadata(dir.path().join("ballast")).unwrap();
        assert_eq!(laid.len(), volume.ballast());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&laid.permissions()) & 0o777, 0o600);
        File::options().write(true).open(dir.path().join("ballast")).unwrap().set_len(1).unwrap();
        space.lay_ballast().unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("ballast")).unwrap().len(), volume.ballast(), "what a crash left is completed");
        assert!(space.drop_ballast().unwrap());
        assert!(!space.drop_ballast().unwrap());
        assert!(!dir.path().join("ballast").exists());
    }

    #[test]
    fn an_engine_is_stuck_that_refuses_for_long_though_there_is_room() {
        let mut refusals = Refusals::default();
        let told: Vec<bool> = [(0, false), (60, false), (61, true), (70, true), (71, false), (72, true), (82, true), (83, true)]
            .map(|(second, has_room)| refusals.is_stuck(Duration::from_secs(second), has_room))
            .into();
        assert_eq!(told, [false, false, false, false, false, false, false, true]);
    }

    #[test]
    fn the_marks_are_parts_of_a_small_volume_and_fixed_on_a_large_one() {
        let small = Volume { total: 160 << 20, free: 100 << 20 };
        assert_eq!((small.low_water(), small.ballast()), (32 << 20, 8 << 20));
        assert!(!small.is_low() && small.has_room_for_ballast());
        let large = Volume { total: 1 << 40, free: 127 << 20 };
        assert_eq!((large.low_water(), large.ballast()), (128 << 20, 32 << 20));
        assert!(large.is_low() && !large.has_room_for_ballast());
    }
}
