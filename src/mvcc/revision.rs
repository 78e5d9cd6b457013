//! The counter that orders all changes, and how it is written as a key of the `key` and `index` keyspaces.
//!
//! ```text
//!   0        8   9        17  18
//!   | main   |'_'| sub    |'t'|        both numbers big-endian u64; 't' only for a tombstone in `key`      FMT-9
//! ```
//!
//! Holds: byte order of the keys is the order of the revisions.

/// One change: `main` counts write transactions (REV-2), `sub` the changes inside one, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    pub main: i64,
    pub sub: i64,
}

/// Length of a revision as a key.
pub const LEN: usize = 17;
/// Length of a tombstone's key in the `key` keyspace.
pub const TOMBSTONE_LEN: usize = 18;

const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

impl Revision {
    pub fn new(main: i64, sub: i64) -> Revision {
        Revision { main, sub }
    }

    /// The first change of a write transaction.
    pub fn first_of(main: i64) -> Revision {
        Revision { main, sub: 0 }
    }

    pub fn encode(self) -> [u8; LEN] {
        let mut key = [SEPARATOR; LEN];
        key[..8].copy_from_slice(&self.main.to_be_bytes());
        key[9..].copy_from_slice(&self.sub.to_be_bytes());
        key
    }

    pub fn encode_tombstone(self) -> [u8; TOMBSTONE_LEN] {
        let mut key = [TOMBSTONE; TOMBSTONE_LEN];
        key[..LEN].copy_from_slice(&self.encode());
        key
    }

    /// The revision that a key stands for, and whether it is a tombstone's; `None` when it is not such a key.
    pub fn decode(key: &[u8]) -> Option<(Revision, bool)> {
        let is_tombstone = match key.len() {
            LEN => false,
            TOMBSTONE_LEN if key[LEN] == TOMBSTONE => true,
            _ => return None,
        };
        let main = i64::from_be_bytes(key[..8].try_into().ok()?);
        let sub = i64::from_be_bytes(key[9..LEN].try_into().ok()?);
        (key[8] == SEPARATOR).then_some((Revision { main, sub }, is_tombstone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_written_as_etcd_writes_them() {
        let revision = Revision::new(0x0102, 3);
        assert_eq!(revision.encode(), *b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        assert_eq!(revision.encode_tombstone(), *b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03t");
    }

    #[test]
    fn a_revision_comes_back_from_its_key() {
        let revision = Revision::new(i64::MAX, 7);
        assert_eq!(Revision::decode(&revision.encode()), Some((revision, false)));
        assert_eq!(Revision::decode(&revision.encode_tombstone()), Some((revision, true)));
    }

    #[test]
    fn what_is_not_a_revision_is_refused() {
        let mut key = Revision::new(1, 1).encode();
        key[8] = b'-';
        assert_eq!(Revision::decode(&key), None);
        assert_eq!(Revision::decode(&key[..16]), None);
        let mut tombstone = Revision::new(1, 1).encode_tombstone();
        tombstone[17] = b'x';
        assert_eq!(Revision::decode(&tombstone), None);
    }

    #[test]
    fn keys_sort_as_their_revisions_do() {
        let all = [(1, 0), (1, 1), (2, 0), (255, 0), (256, 0), (256, 300)].map(|(main, sub)| Revision::new(main, sub));
        assert!(all.windows(2).all(|w| w[0].encode() < w[1].encode() && w[0].encode_tombstone()[..] < w[1].encode()[..]));
    }
}
