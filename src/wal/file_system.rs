//! The few things the log asks of a file system, and the operating system's answer to them.
//!
//! ```text
//!   Wal --> FileSystem --open--> File: read_at, write_at, allocate, set_len, sync
//!               |
//!               +-- RealFileSystem | a simulated one that loses, tears and refuses writes
//! ```
//!
//! Writes and reads: only what the log asks for. No other file of this room touches `std::fs`.
//! Promises of an implementation: bytes written are durable once `sync` returned; names created, renamed or removed are
//! durable once `sync_dir` of their directory returned; bytes of a file that were never written read as zero.

use std::fmt;
use std::io;
use std::path::Path;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must exist; nothing is written to it.
    Read,
    /// It must exist.
    Write,
    /// It is made, or emptied if it exists.
    Create,
}

/// A directory tree.
pub trait FileSystem: Send + Sync + fmt::Debug + 'static {
    /// Makes the directory and its parents, readable by their owner alone; one that exists is left as it is.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, in no order. `NotFound` if there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>>;

    /// Moves a file or a directory; a file (or an empty directory) of the new name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and what is in it.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that this process may still write on the volume of `path`; `None` where that cannot be told.
    fn free_bytes(&self, path: &Path) -> io::Result<Option<u64>>;
}

/// An open file, closed when dropped.
pub trait File: Send + Sync + fmt::Debug {
    /// Bytes from the first to the end.
    fn size(&self) -> io::Result<u64>;

    /// Fills the buffer; `UnexpectedEof` if the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of it. After an error any part of it may be there.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file at least this long, with the space set aside where the volume can do that. An error leaves it as it was.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes the file exactly this long. What is added reads as zero.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns when the bytes written before, and the length, survive a crash.
    fn sync(&self) -> io::Result<()>;

    /// Keeps other processes, a Go member among them, from opening the file for writing. False if one has it.
    fn try_lock(&self) -> io::Result<bool>;
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFileSystem;

#[derive(Debug)]
struct RealFile(std::fs::File);

impl FileSystem for RealFileSystem {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700); // DIR-1
        builder.create(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            // A name that is no text cannot be one of the log's.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let mut options = std::fs::OpenOptions::new();
        match how {
            Open::Read => options.read(true),
            Open::Write => options.read(true).write(true),
            Open::Create => options.read(true).write(true).create(true).truncate(true),
        };
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // DIR-1
        let file = options.open(path)?;
        // Reading a segment ahead leaves large folios in the page cache, and each small write that dirties one is accounted to this
        // process as a write of all of it. Nobody reads the tail again, so its clean pages go; that they do is no promise, and folios
        // that large writes leave are accounted so all the same.
        #[cfg(target_os = "linux")]
        if how == Open::Write {
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Windows has no such call: there a name is as durable as the journal of the volume makes it.
        #[cfg(unix)]
        std::fs::File::open(dir)?.sync_all()?;
        #[cfg(not(unix))]
        let _ = dir;
        Ok(())
    }

    fn free_bytes(&self, path: &Path) -> io::Result<Option<u64>> {
        #[cfg(unix)]
        {
            let volume = rustix::fs::statvfs(path)?;
            Ok(Some(volume.f_bavail.saturating_mul(volume.f_frsize)))
        }
        #[cfg(not(unix))]
        {
            let _ = path;
            Ok(None)
        }
    }
}

impl File for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    buffer = &mut buffer[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }

    #[cfg(unix)]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(&self.0, bytes, offset)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => {
                    bytes = &bytes[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let now = self.size()?;
        if now >= len {
            return Ok(());
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        match rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), now, len - now)) {
            Ok(()) => return Ok(()),
            // The volume cannot set space aside: the length alone spares the later syncs from journalling it.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => {
                // ext4 keeps what it found before it ran out, which is all that was free. An error here changes nothing about that one.
                let _ = self.0.set_len(now);
                return Err(error.into());
            }
        }
        self.0.set_len(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// Quirk: on Linux etcd locks its segments with open file description locks (client/pkg/fileutil/lock_linux.go), which
    /// `flock` does not see and a record lock does. A record lock goes when any handle of the file is closed by this
    /// process, so the log opens each segment once. Pinned by `a_real_server_cannot_open_a_log_that_we_hold`.
    fn try_lock(&self) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        match rustix::fs::fcntl_lock(&self.0, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(false),
            Err(error) => Err(error.into()),
        }
        #[cfg(not(target_os = "linux"))]
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}
