//! The database of a Go member that is stopped, rewritten in place.
//!
//! ```text
//!   <data-dir>/member/snap/db         --every bucket, every row, in order--> db.tmp.etcdutl, synced --rename--> db
//!                        /db.tmp.*    is none of the Go member's: it removes such files when it starts
//! ```
//!
//! Writes: the file, anew and without its free pages, in its own byte order and page size. Reads: the file, whole.
//! Holds: bbolt's own lock, so that no Go member runs meanwhile. What the writer cannot keep (a bucket inside of another, a sequence) is
//! refused; etcd has neither.
//! Crash: the old file or the new one, each with every row.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use super::database::wait_for_lock;
use crate::{
    bbolt::{Bucket, Database, Item, Prefix, Sizer},
    go_words::go_words,
    storage::Keyspace,
    wal::{FileSystem, RealFileSystem},
};

const STAGED: &str = "db.tmp.etcdutl";
const WRITE_BYTES: usize = 1 << 20;

pub struct GoDatabase {
    path: PathBuf,
    database: Database<Prefix>,
}

/// A row of `meta` that is another one from now on; None removes it.
pub struct MetaRow<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

impl GoDatabase {
    /// Takes the file for this process, and looks at every page of it.
    pub fn take(path: &Path, timeout: Option<Duration>) -> Result<GoDatabase, String> {
        let failed = |what: &str, error: &io::Error| format!("{what} {}: {}", path.display(), go_words(error));
        let file = File::options().read(true).write(true).open(path).map_err(|error| failed("open", &error))?;
        wait_for_lock(path, timeout, || file.try_lock())?;
        let damaged = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let source = Prefix::whole(file).map_err(|error| failed("stat", &error))?;
        let database = Database::open(source).map_err(|error| damaged(&error))?;
        let mut first = None;
        let mut note = |finding| {
            first.get_or_insert(finding);
        };
        database.check(&mut note).map_err(|error| damaged(&error))?;
        match first {
            Some(finding) => Err(damaged(&finding)),
            None => Ok(GoDatabase { path: path.to_owned(), database }),
        }
    }

    /// Bytes of its pages.
    pub fn size(&self) -> u64 {
        self.database.size()
    }

    pub fn meta_row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some(meta) = self.database.bucket(Keyspace::Meta.name().as_bytes()).map_err(|error| self.failed(error))? else {
            return Ok(None);
        };
        meta.get(key).map_err(|error| self.failed(error))
    }

    /// The new size.
    pub fn rewrite(self, change: Option<&MetaRow<'_>>) -> Result<u64, String> {
        let (staged, dir) = (self.path.with_file_name(STAGED), self.path.parent().unwrap_or(Path::new(".")));
        let written = self.write(&staged, change).inspect_err(|_| {
            // A part of it is of no use; the error that made it one is what is told.
            let _ = std::fs::remove_file(&staged);
        })?;
        if cfg!(windows) {
            // No open file can be replaced there.
            drop(self.database);
        }
        RealFileSystem.rename(&staged, &self.path).map_err(|error| format!("rename {}: {}", staged.display(), go_words(&error)))?;
        // Crash: the new file, whole, or the old one; the directory is synced next, before it is called done.
        RealFileSystem.sync_dir(dir).map_err(|error| format!("sync {}: {}", dir.display(), go_words(&error)))?;
        Ok(written)
    }

    fn write(&self, staged: &Path, change: Option<&MetaRow<'_>>) -> Result<u64, String> {
        let mut sizer = Sizer::new(self.database.format());
        self.each(change, &mut |call| {
            match call {
                Call::Bucket(name) => sizer.bucket(name),
                Call::Entry(key, value) => sizer.entry(key, value.len()),
            }
            Ok(())
        })?;
        let (plan, mut options) = (sizer.finish(), File::options());
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // DIR-1
        let failed = |error: &io::Error| format!("write {}: {}", staged.display(), go_words(error));
        let file = options.open(staged).map_err(|error| failed(&error))?;
        let mut writer = plan.writer(BufWriter::with_capacity(WRITE_BYTES, file));
        self.each(change, &mut |call| {
            let done = match call {
                Call::Bucket(name) => writer.bucket(name),
                Call::Entry(key, value) => writer.entry(key, value),
            };
            done.map_err(|error| failed(&error))
        })?;
        let synced = writer.finish().and_then(|mut out| {
            out.flush()?;
            out.get_ref().sync_all()
        });
        synced.map_err(|error| failed(&error))?;
        Ok(plan.file_size())
    }

    /// Every bucket and every row that there is to be, in order.
    fn each(&self, change: Option<&MetaRow<'_>>, take: Take<'_>) -> Result<(), String> {
        for (name, is_bucket) in self.items(&self.database.root())? {
            let Some(bucket) = self.database.bucket(&name).map_err(|error| self.failed(error))?.filter(|_| is_bucket) else {
                return Err(self.failed(format!("cannot rewrite {}: it is no bucket", name.escape_ascii())));
            };
            if bucket.sequence() != 0 {
                return Err(self.failed(format!("cannot rewrite bucket {}: it has a sequence, and etcd's have none", name.escape_ascii())));
            }
            take(Call::Bucket(&name))?;
            let change = change.filter(|_| name == Keyspace::Meta.name().as_bytes());
            self.each_row(&name, &bucket, change, take)?;
        }
        Ok(())
    }

    fn each_row(&self, name: &[u8], bucket: &Bucket<'_, Prefix>, change: Option<&MetaRow<'_>>, take: Take<'_>) -> Result<(), String> {
        let (mut pending, mut failed) = (change.and_then(|change| Some((change.key, change.value?))), None);
        bucket
            .items(b"", &mut |item| {
                let done = match item {
                    Item::Bucket { name: inner } => {
                        let (inner, name) = (inner.escape_ascii(), name.escape_ascii());
                        Err(self.failed(format!("cannot rewrite bucket {inner} inside of {name}: etcd has none there")))
                    }
                    Item::Entry { key, value } => {
                        let before =
                            pending.take_if(|(changed, _)| *changed <= key).map_or(Ok(()), |(key, value)| take(Call::Entry(key, value)));
                        let is_replaced = change.is_some_and(|change| change.key == key);
                        before.and_then(|()| if is_replaced { Ok(()) } else { take(Call::Entry(key, value)) })
                    }
                };
                match done {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(why) => {
                        failed = Some(why);
                        ControlFlow::Break(())
                    }
                }
            })
            .map_err(|error| self.failed(error))?;
        match (failed, pending) {
            (Some(why), _) => Err(why),
            (None, Some((key, value))) => take(Call::Entry(key, value)),
            (None, None) => Ok(()),
        }
    }

    /// The names in a bucket, and whether each is a bucket.
    fn items(&self, bucket: &Bucket<'_, Prefix>) -> Result<Vec<(Vec<u8>, bool)>, String> {
        let mut items = Vec::new();
        let mut visit = |item: Item<'_>| {
            items.push(match item {
                Item::Bucket { name } => (name.to_vec(), true),
                Item::Entry { key, .. } => (key.to_vec(), false),
            });
            ControlFlow::Continue(())
        };
        bucket.items(b"", &mut visit).map_err(|error| self.failed(error))?;
        Ok(items)
    }

    fn failed(&self, error: impl std::fmt::Display) -> String {
        format!("{}: {error}", self.path.display())
    }
}

/// What a writer is to be told next.
enum Call<'a> {
    Bucket(&'a [u8]),
    Entry(&'a [u8], &'a [u8]),
}

type Take<'a> = &'a mut dyn FnMut(Call<'_>) -> Result<(), String>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bbolt::{ByteOrder, Format};

    type Rows = Vec<(&'static str, Vec<(&'static str, &'static str)>)>;

    fn file(format: Format, rows: &Rows) -> Vec<u8> {
        let mut sizer = Sizer::new(format);
        for (name, rows) in rows {
            sizer.bucket(name.as_bytes());
            rows.iter().for_each(|(key, value)| sizer.entry(key.as_bytes(), value.len()));
        }
        let mut writer = sizer.finish().writer(Vec::new());
        for (name, rows) in rows {
            writer.bucket(name.as_bytes()).unwrap();
            rows.iter().for_each(|(key, value)| writer.entry(key.as_bytes(), value.as_bytes()).unwrap());
        }
        writer.finish().unwrap()
    }

    /// What the file holds after a rewrite, and its bytes.
    fn rewritten(bytes: &[u8], change: Option<&MetaRow<'_>>) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        std::fs::write(&path, bytes).unwrap();
        let size = GoDatabase::take(&path, None).unwrap().rewrite(change).unwrap();
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["db"]);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, size);
        bytes
    }

    fn rows(meta: &[(&'static str, &'static str)]) -> Rows {
        vec![("alarm", vec![]), ("key", vec![("a", "1"), ("b", ""), ("c", "3")]), ("meta", meta.to_vec())]
    }

    #[test]
    fn every_bucket_and_row_is_kept_in_any_format() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for page_size in [1024, 4096, 65536] {
                let written = file(Format { order, page_size }, &rows(&[("term", "t")]));
                assert!(rewritten(&written, None) == written, "{order:?}, {page_size}");
            }
        }
    }

    #[test]
    fn a_row_of_meta_is_set_replaced_and_removed_wherever_it_stands() {
        let format = Format::default();
        let all = [("a", "1"), ("m", "2"), ("z", "3")];
        for (at, (key, value)) in all.into_iter().enumerate() {
            let mut without = all.to_vec();
            without.remove(at);
            let mut other = all;
            other[at].1 = "another value";
            let set = MetaRow { key: key.as_bytes(), value: Some(value.as_bytes()) };
            let whole = file(format, &rows(&all));
            assert!(rewritten(&file(format, &rows(&without)), Some(&set)) == whole, "{key} is set");
            assert!(rewritten(&file(format, &rows(&other)), Some(&set)) == whole, "{key} is replaced");
            let removed = MetaRow { key: key.as_bytes(), value: None };
            assert!(rewritten(&whole, Some(&removed)) == file(format, &rows(&without)), "{key} is removed");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused_and_the_file_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut bytes = file(Format::default(), &rows(&[]));
        // The root's leaf, its first element's value: an inline bucket of the root page 0 and a sequence.
        let at = bytes.windows(5).position(|window| window == b"alarm").unwrap() + 5 + 8;
        bytes[at] = 7;
        std::fs::write(&path, &bytes).unwrap();
        let refused = GoDatabase::take(&path, None).unwrap().rewrite(None).unwrap_err();
        assert!(refused.ends_with("cannot rewrite bucket alarm: it has a sequence, and etcd's have none"), "{refused}");
        assert!(std::fs::read(&path).unwrap() == bytes);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
