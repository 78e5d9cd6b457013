//! Where the bytes of a database come from: a file, the beginning of a file, or memory.
//!
//! Does not cache: the system does.

use std::fs::File;
use std::io;

/// Bytes at offsets.
pub trait ReadAt {
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset`; a source that ends before is an error.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// The first bytes of a file: what follows them, such as the digest at the end of a saved snapshot (FMT-2), is not seen.
#[derive(Debug)]
pub struct Prefix {
    file: File,
    len: u64,
}

impl Prefix {
    /// At most `len` bytes: fewer when the file is shorter.
    pub fn new(file: File, len: u64) -> io::Result<Prefix> {
        let len = len.min(file.metadata()?.len());
        Ok(Prefix { file, len })
    }

    pub fn whole(file: File) -> io::Result<Prefix> {
        Prefix::new(file, u64::MAX)
    }
}

impl ReadAt for Prefix {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read_file_at(&self.file, offset, buf)
    }
}

impl ReadAt for File {
    /// 0 of a file that cannot be asked: it is then refused as too short.
    fn len(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        read_file_at(self, offset, buf)
    }
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| self.get(start..start.checked_add(buf.len())?));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        ReadAt::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buf)
    }
}

impl<S: ReadAt + ?Sized> ReadAt for &S {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buf)
    }
}

#[cfg(unix)]
fn read_file_at(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

#[cfg(windows)]
fn read_file_at(file: &File, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
    while !buf.is_empty() {
        let taken = std::os::windows::fs::FileExt::seek_read(file, buf, offset)?;
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf = &mut buf[taken..];
        offset += taken as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_follows_a_prefix_is_not_seen() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"database digest").expect("the file is written");
        let prefix = Prefix::new(file, 8).expect("the file is read");
        assert_eq!(prefix.len(), 8);
        let mut bytes = [0; 4];
        prefix.read_at(4, &mut bytes).expect("the bytes are there");
        assert_eq!(&bytes, b"base");
        for offset in [5, 8, 100, u64::MAX] {
            assert_eq!(prefix.read_at(offset, &mut bytes).expect_err("beyond the end").kind(), io::ErrorKind::UnexpectedEof);
        }
        let whole = Prefix::new(prefix.file, 100).expect("the file is read");
        assert_eq!(whole.len(), 15);
    }
}
