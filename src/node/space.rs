//! Free space on the disk of a member, and the reserve that pays for the way out when there is none (D2).
//!
//! ```text
//!   plenty ......... low water ......... full
//!   ballast kept     NOSPACE raised      ballast given up: alarm, deletes, a compaction and one flush still fit
//! ```
//!
//! Writes: `member/ballast`. Reads: the file system's free space.
//! Crash: at any moment; the ballast is laid again at the next start, when there is room for it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of the ballast file.
const BALLAST_BYTES: u64 = 32 << 20;
/// Free bytes below which NOSPACE is raised, while both stores can still write.
pub const LOW_WATER_BYTES: u64 = 128 << 20;

pub struct Space {
    dir: PathBuf,
    ballast: PathBuf,
}

impl Space {
    pub fn new(member_dir: &Path) -> Space {
        Space { dir: member_dir.to_owned(), ballast: member_dir.join("ballast") }
    }

    /// Bytes that this process may still write.
    #[cfg(unix)]
    pub fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    #[cfg(not(unix))]
    pub fn free(&self) -> io::Result<u64> {
        let _ = &self.dir;
        Ok(u64::MAX)
    }

    /// Lays the ballast, if it is missing and there is room well above the low-water mark.
    pub fn lay_ballast(&self) -> io::Result<()> {
        if self.ballast.exists() || self.free()? < 2 * (LOW_WATER_BYTES + BALLAST_BYTES) {
            return Ok(());
        }
        let file = File::create(&self.ballast)?;
        #[cfg(target_os = "linux")]
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BALLAST_BYTES)?;
        #[cfg(not(target_os = "linux"))]
        file.set_len(BALLAST_BYTES)?;
        file.sync_all()
    }

    /// Gives the ballast up, so that what must be written can be.
    pub fn drop_ballast(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.ballast) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ballast_is_laid_once_and_given_up_once() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(dir.path());
        if space.free().unwrap() < 2 * (LOW_WATER_BYTES + BALLAST_BYTES) {
            return;
        }
        space.lay_ballast().unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("ballast")).unwrap().len(), BALLAST_BYTES);
        space.drop_ballast().unwrap();
        space.drop_ballast().unwrap();
        assert!(!dir.path().join("ballast").exists());
    }
}
