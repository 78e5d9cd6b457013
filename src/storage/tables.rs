//! Rows straight into table files of the disk engine, past its memtables: how an empty engine is filled.
//!
//! ```text
//!   key, index (sorted) --> load-key-0.part, load-key-1.part .. --ingest: synced, renamed--> table files of the lowest level
//!   all other keyspaces --> batches, the last of them written after the tables are in
//! ```
//!
//! Writes: the engine's directory. Reads: nothing.
//! A memtable would cost a copy, a sorted insert and a second writing when it is flushed, and the compactions of what was flushed.
//! Crash: files of names that the engine does not look at, or tables without the rows of `meta`: whoever fills an engine fills it in a
//! place of its own.

use std::path::{Path, PathBuf};

use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};

use super::keyspace::Family;
use super::{BatchLoad, Error, Keyspace, Load};

/// A new file is begun after so many bytes, as compactions do: one file of gigabytes could only be compacted whole.
const FILE_BYTES: u64 = 32 << 20;

/// Takes whole files into a family.
pub(super) type Ingest<'a> = &'a dyn Fn(Family, &IngestExternalFileOptions, Vec<PathBuf>) -> Result<(), Error>;

pub(super) struct TableLoad<'a> {
    pub key: Tables<'a>,
    pub index: Tables<'a>,
    pub rest: BatchLoad<'a>,
}

impl TableLoad<'_> {
    pub fn finish(mut self, ingest: Ingest<'_>) -> Result<(), Error> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        for (family, tables) in [(Family::Key, self.key), (Family::Index, self.index)] {
            let files = tables.finish()?;
            if !files.is_empty() {
                ingest(family, &options, files)?;
            }
        }
        self.rest.write()
    }
}

impl Load for TableLoad<'_> {
    fn put(&mut self, keyspace: Keyspace, key: &[u8], value: &[u8]) -> Result<(), Error> {
        match keyspace {
            Keyspace::Key => self.key.put(key, value),
            Keyspace::Index => self.index.put(key, value),
            _ => self.rest.put(keyspace, key, value),
        }
    }
}

/// The files of one family, in order.
pub(super) struct Tables<'a> {
    name: &'static str,
    dir: &'a Path,
    options: &'a Options,
    open: Option<SstFileWriter<'a>>,
    files: Vec<PathBuf>,
}

impl<'a> Tables<'a> {
    pub fn new(name: &'static str, dir: &'a Path, options: &'a Options) -> Tables<'a> {
        Tables { name, dir, options, open: None, files: Vec::new() }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let mut writer = match self.open.take() {
            Some(writer) => writer,
            None => self.begin()?,
        };
        writer.put(key, value).map_err(super::rocks::error)?;
        if writer.file_size() >= FILE_BYTES {
            writer.finish().map_err(super::rocks::error)?;
        } else {
            self.open = Some(writer);
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<SstFileWriter<'a>, Error> {
        let path = self.dir.join(format!("load-{}-{}.part", self.name, self.files.len()));
        let writer = SstFileWriter::create(self.options);
        writer.open(&path).map_err(super::rocks::error)?;
        self.files.push(path);
        Ok(writer)
    }

    fn finish(mut self) -> Result<Vec<PathBuf>, Error> {
        if let Some(mut writer) = self.open.take() {
            writer.finish().map_err(super::rocks::error)?;
        }
        Ok(self.files)
    }
}
