//! Directories of a Go member: made by the real server, and then changed as no server would.
//!
//! ```text
//!   real server --killed--> directory --re-cut log, edited rows--> what a test is about
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcd::bbolt::{Database, Prefix, ReadAt, Sizer};
use etcd::wal::{Examined, LogEntry, Options, RealFileSystem, Record, Wal, examine, visit};
use etcd::wire::etcdserverpb::{Metadata, PutRequest};
use prost::Message;

use crate::harness::{self, Clients, Server};

/// The rows of a database, by bucket.
pub type Rows = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Every file below a directory, and what is in it.
pub type Tree = BTreeMap<PathBuf, Vec<u8>>;

pub fn db(data: &Path) -> PathBuf {
    data.join("member/snap/db")
}

pub fn log(data: &Path) -> PathBuf {
    data.join("member/wal")
}

pub async fn put(clients: &mut Clients, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    let request = PutRequest { key: key.as_ref().to_vec().into(), value: value.as_ref().to_vec().into(), ..PutRequest::default() };
    clients.kv.put(request).await.expect("a put");
}

/// A directory with snapshot records in its log, and a log of several segments that runs ahead of the database.
pub async fn small() -> Server {
    let mut server = Server::start(&harness::reference(), &["--snapshot-count=10", "--snapshot-catchup-entries=5"]).await;
    loop {
        let mut clients = server.clients();
        for number in 0..100 {
            put(&mut clients, format!("key {:03}", number % 70), format!("value {number}")).await;
        }
        server.kill();
        if is_log_ahead(&server.data_dir()) {
            break;
        }
        server.start_again().await;
    }
    cut_log_anew(&server.data_dir(), |_| {});
    assert!(segments(&server.data_dir()).len() > 5);
    server
}

pub fn rows(path: &Path) -> Rows {
    rows_of(Database::open(Prefix::whole(File::open(path).unwrap()).unwrap()).unwrap())
}

pub fn rows_of<S: ReadAt>(database: Database<S>) -> Rows {
    let names = database.buckets().unwrap().into_iter();
    names
        .map(|name| {
            let mut rows = BTreeMap::new();
            database
                .bucket(&name)
                .unwrap()
                .unwrap()
                .scan(b"", &mut |key, value| {
                    rows.insert(key.to_vec(), value.to_vec());
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
            (name, rows)
        })
        .collect()
}

/// Writes a database anew with other rows.
pub fn edit_rows(path: &Path, edit: impl FnOnce(&mut Rows)) {
    let format = Database::open(Prefix::whole(File::open(path).unwrap()).unwrap()).unwrap().format();
    let mut rows = rows(path);
    edit(&mut rows);
    let mut sizer = Sizer::new(format);
    for (name, rows) in &rows {
        sizer.bucket(name);
        rows.iter().for_each(|(key, value)| sizer.entry(key, value.len()));
    }
    let mut writer = sizer.finish().writer(Vec::new());
    for (name, rows) in &rows {
        writer.bucket(name).unwrap();
        rows.iter().for_each(|(key, value)| writer.entry(key, value).unwrap());
    }
    std::fs::write(path, writer.finish().unwrap()).unwrap();
}

pub fn edit_row(data: &Path, bucket: &str, key: &str, value: Option<&[u8]>) {
    edit_rows(&db(data), |rows| {
        let rows = rows.entry(bucket.into()).or_default();
        match value {
            Some(value) => drop(rows.insert(key.into(), value.to_vec())),
            None => drop(rows.remove(key.as_bytes())),
        }
    });
}

pub fn consistent_index(data: &Path) -> u64 {
    let rows = rows(&db(data));
    rows[&b"meta"[..]].get(&b"consistent_index"[..]).map_or(0, |row| u64::from_be_bytes(row[..].try_into().unwrap()))
}

pub fn examined(data: &Path) -> Examined {
    examine(&RealFileSystem, &log(data), consistent_index(data)).unwrap()
}

pub fn is_log_ahead(data: &Path) -> bool {
    examined(data).last_index > consistent_index(data)
}

/// The segments of the log, oldest first.
pub fn segments(data: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(log(data)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    found.sort();
    found
}

/// The index in the name of a segment.
pub fn begins_at(segment: &Path) -> u64 {
    u64::from_str_radix(&segment.file_stem().unwrap().to_str().unwrap()[17..], 16).unwrap()
}

/// Writes the log anew in small segments, of a member that may be another.
pub fn cut_log_anew(data: &Path, edit: impl FnOnce(&mut Metadata)) {
    rewrite_log(data, edit, |_| true);
}

/// The same, with those records only.
pub fn rewrite_log(data: &Path, edit: impl FnOnce(&mut Metadata), is_kept: impl Fn(&Record) -> bool) {
    let mut records = Vec::new();
    visit(&RealFileSystem, &log(data), &mut |record| records.push(record)).unwrap();
    let found = records.iter().find_map(|record| if let Record::Metadata(bytes) = record { Some(bytes.clone()) } else { None });
    let mut metadata = Metadata::decode(found.unwrap()).unwrap();
    edit(&mut metadata);
    std::fs::remove_dir_all(log(data)).unwrap();
    let options = Options { segment_bytes: 2 << 10 };
    let mut wal = Wal::create(Arc::new(RealFileSystem), &log(data), &metadata.encode_to_vec(), options).unwrap();
    for record in records.into_iter().filter(is_kept) {
        match record {
            Record::Entry(entry) => wal.append(&[entry], None).unwrap(),
            Record::HardState(state) => wal.append(&[], Some(state)).unwrap(),
            Record::Snapshot(snapshot) if snapshot.index > 0 => {
                wal.save_snapshot(snapshot.index, snapshot.term, &snapshot.conf_state.unwrap_or_default()).unwrap();
            }
            _ => {}
        }
    }
    wal.sync().unwrap();
}

/// Adds an entry that nobody has applied yet.
pub fn append(data: &Path, make: impl FnOnce(&mut LogEntry)) {
    let (mut wal, replay) = Wal::open(Arc::new(RealFileSystem), &log(data), Options { segment_bytes: 2 << 10 }, 0).unwrap();
    let last = replay.entries.last().unwrap();
    let mut entry = LogEntry { index: last.index + 1, data: Vec::new().into(), ..last.clone() };
    make(&mut entry);
    wal.append(&[entry], None).unwrap();
    wal.sync().unwrap();
}

pub fn flip_bit(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

pub fn tree(dir: &Path) -> Tree {
    let mut found = Tree::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

pub fn copy(from: &Path, to: &Path) {
    for (path, bytes) in tree(from) {
        let to = to.join(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    }
}
