//! The block device under a folder, and what it was given to write.
//!
//! Asked of the device and not of the process: `write_bytes` of /proc counts a page-cache folio whole, however little of it is
//! dirty, and knows nothing of the file system's journal. The price is that everything else on the device is counted too, so it
//! should have no other user meanwhile.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

/// Our server flushes what its engine holds after 30 s without writes, etcd commits within 0.1 s: a device that was still for longer is
/// done on both sides.
const QUIET: Duration = Duration::from_secs(33);
const QUIET_MAX: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_secs(1);
/// What a file system writes for itself between two looks.
const QUIET_BYTES: u64 = 64 << 10;
const SECTOR_BYTES: u64 = 512;

pub struct Device {
    statistics: PathBuf,
}

impl Device {
    pub fn below(folder: &Path) -> Result<Device> {
        let number = fs::metadata(folder).with_context(|| format!("failed to look at {}", folder.display()))?.dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let statistics = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        ensure!(statistics.exists(), "{} lies on no block device (no {})", folder.display(), statistics.display());
        Ok(Device { statistics })
    }

    /// Bytes that it was given to write since it is there.
    pub fn written(&self) -> Result<u64> {
        let text = fs::read_to_string(&self.statistics).with_context(|| format!("failed to read {}", self.statistics.display()))?;
        written_of(&text).with_context(|| format!("{} is not what it was: {text}", self.statistics.display()))
    }

    /// The same, once what was held back is written too.
    pub async fn written_when_quiet(&self) -> Result<u64> {
        let start = Instant::now();
        let (mut last, mut still_since) = (self.written()?, start);
        while still_since.elapsed() < QUIET {
            ensure!(start.elapsed() < QUIET_MAX, "the device is still being written to after {QUIET_MAX:?}");
            tokio::time::sleep(LOOK).await;
            let now = self.written()?;
            if now - last > QUIET_BYTES {
                still_since = Instant::now();
            }
            last = now;
        }
        Ok(last)
    }
}

/// The seventh number of a block device's `stat`, in sectors.
fn written_of(stat: &str) -> Option<u64> {
    Some(stat.split_whitespace().nth(6)?.parse::<u64>().ok()? * SECTOR_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_sectors_are_the_seventh_number() {
        assert_eq!(written_of("   1 2 3 4 5 6 20 8 9 10 11"), Some(10_240));
        assert_eq!(written_of("1 2 3"), None);
    }
}
