//! Reads a saved snapshot back: is it what the member sent, and could it be restored?
//!
//! ```text
//!   | etcd's database file: pages, a multiple of 512 bytes | SHA-256 of it, 32 bytes |        FMT-2
//! ```
//!
//! Writes: nothing. Reads: the file twice: for its digest while it is being written, a little behind its writer; then for its pages and
//! the keys in them. Bound: the keys of the store, to count them, and a number for each block that the digest is behind.

use std::{
    collections::HashSet,
    fs::File,
    io,
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
};

use prost::Message;
use sha2::{Digest, Sha256};

use crate::bbolt::{Database, Prefix, ReadAt};

const DIGEST: u64 = 32;
/// The bucket that has them.
const RECORDS: &[u8] = b"key";
/// A tombstone's key is a byte longer than that of a put (FMT-9).
const PUT_KEY: usize = 17;
const TOMBSTONE_KEY: usize = 18;
const READ: usize = 256 << 10;

/// What a sound file holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// The newest.
    pub revision: u64,
    /// Alive at that revision.
    pub keys: usize,
}

/// By the length alone: pages are a multiple of 512 bytes.
pub fn has_digest(len: u64) -> bool {
    len % 512 == DIGEST
}

/// A file on its way, read back from its first byte on. What is wrong is told as one line, at the end.
pub struct ReadBack {
    file: File,
    written: Sender<u64>,
    told: u64,
    digest: JoinHandle<Result<(), String>>,
}

impl ReadBack {
    pub fn start(path: &Path) -> Result<ReadBack, String> {
        let file = File::open(path).map_err(unreadable)?;
        let (written, told) = channel();
        let own = file.try_clone().map_err(unreadable)?;
        let digest = thread::Builder::new().name("digest".into()).spawn(move || check_digest(&own, &told)).map_err(unreadable)?;
        Ok(ReadBack { file, written, told: 0, digest })
    }

    /// So many bytes are written now.
    pub fn follow(&mut self, written: u64) {
        if written >= self.told + READ as u64 {
            self.told = written;
            // A thread that has ended has found something, which is told at the end.
            let _ = self.written.send(written);
        }
    }

    /// All is written.
    pub fn verify(self) -> Result<Verified, String> {
        let ReadBack { file, written, digest, .. } = self;
        drop(written);
        let len = file.metadata().map_err(unreadable)?.len();
        let verified = open(file, len).and_then(|database| check(&database));
        let digest = digest.join().unwrap_or_else(|_| Err("it cannot be read back: a thread has ended".into()));
        // A file that is not what the member sent has nothing else to say.
        digest.and(verified)
    }
}

fn unreadable(error: io::Error) -> String {
    format!("it cannot be read back: {error}")
}

fn open(file: File, len: u64) -> Result<Database<Prefix>, String> {
    let prefix = Prefix::new(file, len.saturating_sub(DIGEST));
    Database::open(prefix.map_err(unreadable)?).map_err(|e| e.to_string())
}

/// Every page, and the records on the way.
fn check(database: &Database<Prefix>) -> Result<Verified, String> {
    let (mut first, mut more) = (None, 0);
    let mut note = |finding| match first {
        None => first = Some(finding),
        Some(_) => more += 1,
    };
    let mut count = Count::default();
    let mut see = |bucket: &[u8], key: &[u8], value: &[u8]| {
        if bucket == RECORDS {
            count.add(key, value);
        }
    };
    database.check_entries(&mut note, &mut see).map_err(|e| e.to_string())?;
    match (first, more) {
        (None, _) => {}
        (Some(first), 0) => return Err(first.to_string()),
        (Some(first), more) => return Err(format!("{first} (and {more} more)")),
    }
    if database.bucket(RECORDS).map_err(|e| e.to_string())?.is_none() {
        return Err("it has no bucket \"key\": it is no database of etcd's".into());
    }
    match count.wrong {
        Some(wrong) => Err(wrong),
        None => Ok(Verified { revision: count.revision, keys: count.keys.len() }),
    }
}

/// Follows what is told to be written, and takes the rest once nothing more is told.
fn check_digest(file: &File, written: &Receiver<u64>) -> Result<(), String> {
    let (mut digest, mut block, mut at) = (Sha256::new(), vec![0; READ], 0);
    let mut take = |to: u64| -> Result<(), String> {
        while at < to {
            let size = (to - at).min(READ as u64) as usize;
            file.read_at(at, &mut block[..size]).map_err(unreadable)?;
            digest.update(&block[..size]);
            at += size as u64;
        }
        Ok(())
    };
    written.iter().try_for_each(|written| take(written.saturating_sub(DIGEST)))?;
    let len = file.metadata().map_err(unreadable)?.len();
    if !has_digest(len) {
        return Err(format!("sha256 checksum not found [bytes: {len}]"));
    }
    take(len - DIGEST)?;
    let mut sent = [0; DIGEST as usize];
    file.read_at(len - DIGEST, &mut sent).map_err(unreadable)?;
    let found = digest.finalize();
    if found[..] == sent {
        return Ok(());
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Err(format!("the member sent a file of sha256 {}, this one's is {}", hex(&sent), hex(&found)))
}

/// Of a record, the one field that is counted: the values of a large store would be copied for nothing.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

/// What the records say, one after the other.
#[derive(Default)]
struct Count {
    revision: u64,
    keys: HashSet<Vec<u8>>,
    /// The first that is no record.
    wrong: Option<String>,
}

impl Count {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let main = key.first_chunk().map(|main| u64::from_be_bytes(*main));
        let (Some(main), PUT_KEY | TOMBSTONE_KEY, Ok(record)) = (main, key.len(), Record::decode(value)) else {
            self.wrong.get_or_insert_with(|| format!("bucket key, key {}: it is no record", key.escape_ascii()));
            return;
        };
        self.revision = main;
        // etcdutl leaves a record of nothing at a bumped revision, which is nobody's key.
        if key.len() == TOMBSTONE_KEY {
            self.keys.remove(&record.key);
        } else if !record.key.is_empty() {
            self.keys.insert(record.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;

    use super::*;
    use crate::{
        bbolt::{Format, Sizer},
        wire::mvccpb::KeyValue,
    };

    type Rows = Vec<(Vec<u8>, Vec<u8>)>;

    fn record(main: u64, key: &'static str, is_tombstone: bool) -> (Vec<u8>, Vec<u8>) {
        let mut row = main.to_be_bytes().to_vec();
        row.extend(b"_\0\0\0\0\0\0\0\0");
        row.extend(is_tombstone.then_some(b't'));
        (row, KeyValue { key: Bytes::from_static(key.as_bytes()), ..KeyValue::default() }.encode_to_vec())
    }

    fn database(bucket: &str, rows: &Rows) -> Vec<u8> {
        let mut sizer = Sizer::new(Format::default());
        sizer.bucket(bucket.as_bytes());
        rows.iter().for_each(|(key, value)| sizer.entry(key, value.len()));
        let mut writer = sizer.finish().writer(Vec::new());
        writer.bucket(bucket.as_bytes()).unwrap();
        rows.iter().for_each(|(key, value)| writer.entry(key, value).unwrap());
        writer.finish().unwrap()
    }

    fn verified(mut file: Vec<u8>) -> Result<Verified, String> {
        let digest = Sha256::digest(&file);
        file.extend_from_slice(&digest);
        verified_as_it_is(&file)
    }

    fn verified_as_it_is(bytes: &[u8]) -> Result<Verified, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut read_back = ReadBack::start(file.path()).unwrap();
        let mut written = 0;
        for piece in bytes.chunks(32 << 10) {
            file.write_all(piece).unwrap();
            written += piece.len() as u64;
            read_back.follow(written);
        }
        read_back.verify()
    }

    fn good_rows() -> Rows {
        vec![record(2, "a", false), record(3, "b", false), record(4, "a", true), record(9, "b", false), record(19, "", false)]
    }

    #[test]
    fn a_sound_file_tells_its_revision_and_the_keys_alive() {
        assert_eq!(verified(database("key", &good_rows())), Ok(Verified { revision: 19, keys: 1 }));
        assert_eq!(verified(database("key", &Rows::new())), Ok(Verified { revision: 0, keys: 0 }));
    }

    #[test]
    fn a_file_of_many_blocks_is_followed_as_it_grows() {
        let rows: Rows = (2..40_000).map(|main| record(main, "a", false)).collect();
        let file = database("key", &rows);
        assert!(file.len() > 4 * READ);
        assert_eq!(verified(file), Ok(Verified { revision: 39_999, keys: 1 }));
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let mut file = database("key", &good_rows());
        let digest = Sha256::digest(&file);
        file.extend_from_slice(&digest);
        assert!(verified_as_it_is(&file).is_ok());
        for at in (0..file.len()).step_by(997).chain([file.len() - 1]) {
            file[at] ^= 4;
            let why = verified_as_it_is(&file).unwrap_err();
            assert!(why.starts_with("the member sent a file of sha256 "), "byte {at}: {why}");
            file[at] ^= 4;
        }
    }

    #[test]
    fn a_file_that_was_wrong_before_it_was_sent_is_found_too() {
        let mut pages = database("key", &good_rows());
        let (len, at) = (pages.len(), 2 * 4096 + 8);
        pages[at..at + 2].copy_from_slice(&[0xff, 0xff]);
        assert!(verified(pages).unwrap_err().starts_with("page 2, byte "));
        assert_eq!(verified_as_it_is(&vec![0; len]), Err(format!("sha256 checksum not found [bytes: {len}]")));
        assert!(verified(vec![0; len]).unwrap_err().starts_with("not a bbolt database"));
        assert!(verified(database("keys", &good_rows())).unwrap_err().starts_with("it has no bucket \"key\""));
        assert_eq!(verified(database("key", &vec![(b"x".to_vec(), b"".to_vec())])), Err("bucket key, key x: it is no record".into()));
    }
}
