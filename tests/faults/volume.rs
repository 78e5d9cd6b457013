//! A small volume of the test's own, to be filled.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

/// A tmpfs, or an ext4 in a file, gone when dropped.
pub struct Volume {
    place: tempfile::TempDir,
    _image: Option<tempfile::NamedTempFile>,
}

/// Runs a program; false, with the reason printed, where that cannot be done, and a failure where the result would be filed.
fn may(program: &str, words: &[&OsStr]) -> bool {
    let reason = match Command::new(program).args(words).output() {
        Ok(done) if done.status.success() => return true,
        Ok(done) => format!("{program} {words:?}: {}", String::from_utf8_lossy(&done.stderr).trim()),
        Err(error) => format!("{program} cannot be run: {error}"),
    };
    assert!(std::env::var_os("ETCD_TEST_WHOLE").is_none(), "{reason}; it takes root to mount a volume");
    println!("skipped: {reason}");
    false
}

impl Volume {
    /// A tmpfs. `None` where nothing can be mounted.
    pub fn of(megabytes: u64) -> Option<Volume> {
        let place = tempfile::tempdir().expect("a directory");
        let size = format!("size={megabytes}m");
        let words = ["-t", "tmpfs", "-o", &size, "tmpfs"].map(OsStr::new);
        let is_mounted = may("mount", &[&words[..], &[place.path().as_os_str()]].concat());
        is_mounted.then_some(Volume { place, _image: None })
    }

    /// An ext4: unlike a tmpfs it gives a file that asks for too much all that is left.
    pub fn ext4(megabytes: u64) -> Option<Volume> {
        let (place, image) = (tempfile::tempdir().expect("a directory"), tempfile::NamedTempFile::new().expect("a file"));
        image.as_file().set_len(megabytes << 20).expect("a sparse file");
        let path = image.path().as_os_str();
        let is_mounted = may("mkfs.ext4", &["-q".as_ref(), "-m0".as_ref(), path])
            && may("mount", &["-o".as_ref(), "loop".as_ref(), path, place.path().as_os_str()]);
        is_mounted.then_some(Volume { place, _image: Some(image) })
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    pub fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("the volume is there");
        stat.f_bavail * stat.f_frsize
    }

    /// Somebody else's file takes all that is left.
    pub fn fill(&self) -> PathBuf {
        let path = self.path().join("somebody-elses");
        let file = File::create(&path).expect("a file");
        let mut step = 16 << 20;
        while step >= 4096 {
            let size = file.metadata().expect("a size").len();
            if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), size, step).is_err() {
                step /= 2;
            }
        }
        path
    }

    pub fn remount(&self, option: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "the volume is mounted again with {option}");
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a server that is being killed may still hold it for a moment.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
