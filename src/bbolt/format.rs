//! What differs from file to file: the order of the bytes in a number, and the size of a page.
//!
//! bbolt writes numbers as the host's memory has them, and pages as large as the host's: 4,096 bytes little-endian on most, 16,384
//! bytes on some, big-endian on s390x. Only the magic number in a meta page tells the order, and only the meta page the size.
//! Does not read or write a file.

/// The longest key that bbolt takes.
pub const KEY_BYTES_MAX: usize = 32_768;
/// The longest value that bbolt takes.
pub const VALUE_BYTES_MAX: usize = (1 << 31) - 2;

pub(super) const PAGE_BYTES_MIN: u32 = 1024;
pub(super) const PAGE_BYTES_MAX: u32 = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// This host's, and so that of a Go server beside us.
    pub const fn native() -> ByteOrder {
        if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub order: ByteOrder,
    /// A power of two from 1,024 to 65,536.
    pub page_size: u32,
}

impl Default for Format {
    fn default() -> Self {
        Format { order: ByteOrder::native(), page_size: 4096 }
    }
}

impl Format {
    pub fn is_valid(&self) -> bool {
        self.page_size.is_power_of_two() && (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&self.page_size)
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.page_size as usize
    }

    /// Pages that `size` bytes take.
    pub(super) fn pages(&self, size: usize) -> usize {
        size.div_ceil(self.page_bytes()).max(1)
    }
}

// Numbers inside of a slice that is known to hold them.

impl ByteOrder {
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let raw = array(bytes, at);
        if self == ByteOrder::Big { u16::from_be_bytes(raw) } else { u16::from_le_bytes(raw) }
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let raw = array(bytes, at);
        if self == ByteOrder::Big { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) }
    }

    pub(super) fn u64(self, bytes: &[u8], at: usize) -> u64 {
        let raw = array(bytes, at);
        if self == ByteOrder::Big { u64::from_be_bytes(raw) } else { u64::from_le_bytes(raw) }
    }

    pub(super) fn put_u16(self, out: &mut Vec<u8>, number: u16) {
        out.extend_from_slice(&if self == ByteOrder::Big { number.to_be_bytes() } else { number.to_le_bytes() });
    }

    pub(super) fn put_u32(self, out: &mut Vec<u8>, number: u32) {
        out.extend_from_slice(&if self == ByteOrder::Big { number.to_be_bytes() } else { number.to_le_bytes() });
    }

    pub(super) fn put_u64(self, out: &mut Vec<u8>, number: u64) {
        out.extend_from_slice(&if self == ByteOrder::Big { number.to_be_bytes() } else { number.to_le_bytes() });
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut raw = [0; N];
    raw.copy_from_slice(&bytes[at..at + N]);
    raw
}
