//! The state engine on disk: RocksDB with its own log off (D2).
//!
//! ```text
//!   write --one WriteBatch, no log--> memtables of `key`, `index`, `rest`      one shared budget
//!                                        |  flushed together, always (atomic_flush)
//!                                        v
//!                                     table files, one shared block cache
//! ```
//!
//! Writes: the applier. Reads: everybody. One process at a time: RocksDB's own LOCK file, inside the member's lock.
//! Crash: after one at any time the directory holds some earlier batch and all before it; the raft log brings the rest.
//! A member with nothing to do should cost little: buffers grow only with what is written, the cache is small and shared,
//! open files are bounded, RocksDB gathers no statistics.
//! Does not keep a view's files from growing: hold a `View` for a scan, not for a session.

use std::borrow::Cow;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType,
    FlushOptions, LogLevel, ReadOptions, ReadTier, SnapshotWithThreadMode, WriteBatch, WriteBufferManager, WriteOptions, properties,
};
use self_cell::self_cell;

use super::keyspace::{Family, LAYOUT, local};
use super::tables::{TableLoad, Tables};
use super::{Batch, BatchLoad, Engine, Error, Fill, Keyspace, Op, Read, Usage, Visit};

/// What an engine may spend.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bound: bytes written but not yet in files, of all families together. A flush begins before it is reached.
    pub write_buffer_bytes: usize,
    /// Bound: bytes of uncompressed blocks, filters and block indexes kept in memory.
    pub block_cache_bytes: usize,
    /// Bound: table files held open.
    pub open_files_max: i32,
    /// Threads that flush and compact.
    pub background_jobs: i32,
}

impl Default for Options {
    fn default() -> Self {
        Options { write_buffer_bytes: 24 << 20, block_cache_bytes: 8 << 20, open_files_max: 256, background_jobs: 2 }
    }
}

impl Options {
    /// On a small volume less is held back in memory: what is not in files yet must find room in what the low-water mark leaves.
    pub fn for_volume(total_bytes: u64) -> Options {
        let options = Options::default();
        let write_buffer_bytes = usize::try_from(total_bytes / 24).map_or(options.write_buffer_bytes, |part| part.max(1 << 20));
        Options { write_buffer_bytes: options.write_buffer_bytes.min(write_buffer_bytes), ..options }
    }
}

struct Files {
    db: DB,
    dir: PathBuf,
    options: Options,
    cache: Cache,
    buffers: WriteBufferManager,
    write: WriteOptions,
    point: ReadOptions,
    persisted: ReadOptions,
}

/// See the module.
pub struct RocksEngine {
    files: Arc<Files>,
}

impl RocksEngine {
    /// Opens the engine in `dir`, made (mode 0700) if it is not there. An engine of an unknown layout is refused.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<RocksEngine>, Error> {
        create_dir(dir).map_err(|error| Error::Fault(format!("cannot make {}: {error}", dir.display())))?;
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let buffers = WriteBufferManager::new_write_buffer_manager(options.write_buffer_bytes, false);
        let families =
            Family::ALL.map(|family| ColumnFamilyDescriptor::new(family_name(family), family_options(family, &options, &cache, &buffers)));
        let db = DB::open_cf_descriptors(&database_options(&options, &buffers), dir, families).map_err(error)?;
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        // The applier must not sleep inside RocksDB: a batch that would stall comes back and is tried again (D2).
        write.set_no_slowdown(true);
        let mut persisted = ReadOptions::default();
        persisted.set_read_tier(ReadTier::Persisted);
        let (dir_owned, point) = (dir.to_owned(), ReadOptions::default());
        let engine = RocksEngine { files: Arc::new(Files { db, dir: dir_owned, options, cache, buffers, write, point, persisted }) };
        engine.check_layout(dir)?;
        Ok(Arc::new(engine))
    }

    /// The stamp is the first row ever written, so a store without it must be empty.
    fn check_layout(&self, dir: &Path) -> Result<(), Error> {
        match self.get(Keyspace::Local, local::LAYOUT)? {
            Some(stamp) if &stamp[..] == LAYOUT => Ok(()),
            Some(stamp) => Err(Error::Fault(format!(
                "{} has the layout {:?}, this program knows {:?}: it was written by another version",
                dir.display(),
                String::from_utf8_lossy(&stamp),
                String::from_utf8_lossy(LAYOUT),
            ))),
            None if self.files.is_empty()? => {
                let mut batch = Batch::default();
                batch.put(Keyspace::Local, local::LAYOUT, LAYOUT);
                self.write(&batch)
            }
            None => Err(Error::Fault(format!("{} holds rows but no layout stamp: it is not a state engine", dir.display()))),
        }
    }
}

fn database_options(options: &Options, buffers: &WriteBufferManager) -> rocksdb::Options {
    let mut to = rocksdb::Options::default();
    to.create_if_missing(true);
    to.create_missing_column_families(true);
    // Crash: without it one family could survive with rows that another has lost.
    to.set_atomic_flush(true);
    to.set_write_buffer_manager(buffers);
    to.set_max_open_files(options.open_files_max);
    to.set_table_cache_num_shard_bits(2);
    to.set_max_background_jobs(options.background_jobs);
    // One writer: the per-core arenas and the spinning that serve many writers only cost memory and CPU here.
    to.set_allow_concurrent_memtable_write(false);
    to.set_enable_write_thread_adaptive_yield(false);
    // Write-back in small steps, so that a flush does not make the log's next fdatasync wait.
    to.set_bytes_per_sync(1 << 20);
    to.set_compaction_readahead_size(512 << 10);
    to.set_writable_file_max_buffer_size(256 << 10);
    to.set_manifest_preallocation_size(64 << 10);
    to.set_max_manifest_file_size(4 << 20);
    to.set_log_level(LogLevel::Warn);
    to.set_keep_log_file_num(2);
    to.set_max_log_file_size(1 << 20);
    to.set_stats_dump_period_sec(0);
    to.set_stats_persist_period_sec(0);
    to.set_skip_stats_update_on_db_open(true);
    to
}

fn family_options(family: Family, options: &Options, cache: &Cache, buffers: &WriteBufferManager) -> rocksdb::Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Filters and block indexes count against the cache, so that memory does not grow with the store.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_bloom_filter(10.0, false);
    table.set_optimize_filters_for_memory(true);
    table.set_format_version(5);

    let mut to = rocksdb::Options::default();
    to.set_write_buffer_manager(buffers);
    to.set_block_based_table_factory(&table);
    to.set_compression_type(DBCompressionType::Lz4);
    // Atomic flush takes all families along when one is full, so each may be as large as the budget allows.
    to.set_write_buffer_size(match family {
        Family::Key => options.write_buffer_bytes * 3 / 4,
        Family::Index | Family::Rest => options.write_buffer_bytes / 4,
    });
    to.set_max_write_buffer_number(4);
    // What an idle memtable holds is one of these.
    to.set_arena_block_size(64 << 10);
    to.set_target_file_size_base(32 << 20);
    to.set_max_bytes_for_level_base(128 << 20);
    to
}

/// `rest` is RocksDB's own first family, which exists in any case: one memtable less.
fn family_name(family: Family) -> &'static str {
    match family {
        Family::Key => "key",
        Family::Index => "index",
        Family::Rest => "default",
    }
}

fn create_dir(dir: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

pub(super) fn error(error: rocksdb::Error) -> Error {
    error_from(error.into_string())
}

/// RocksDB tells its errors apart by their text. A full disk is told after what was under way: an open puts its own words first.
fn error_from(text: String) -> Error {
    let would_stall = text.starts_with("Result incomplete");
    let no_space = text.contains("IO error: No space left on device") || text.contains("Disk quota exceeded");
    match (no_space, would_stall) {
        (true, _) => Error::NoSpace(text),
        (false, true) => Error::Stalled(text),
        (false, false) => Error::Fault(text),
    }
}

/// One read of a walk; it costs a copy more, and saves a call per block.
const READAHEAD_BYTES: usize = 256 << 10;

/// A key as its family has it.
fn placed<'a>(keyspace: Keyspace, key: &'a [u8]) -> Cow<'a, [u8]> {
    match keyspace.place().prefix {
        None => Cow::Borrowed(key),
        Some(prefix) => {
            let mut placed = Vec::with_capacity(1 + key.len());
            placed.push(prefix);
            placed.extend_from_slice(key);
            Cow::Owned(placed)
        }
    }
}

impl Files {
    fn family(&self, family: Family) -> Result<&ColumnFamily, Error> {
        let name = family_name(family);
        self.db.cf_handle(name).ok_or_else(|| Error::Fault(format!("the column family {name} is gone")))
    }

    fn home(&self, keyspace: Keyspace) -> Result<&ColumnFamily, Error> {
        self.family(keyspace.place().family)
    }

    fn get(&self, keyspace: Keyspace, key: &[u8], options: &ReadOptions) -> Result<Option<Bytes>, Error> {
        let found = self.db.get_pinned_cf_opt(self.home(keyspace)?, placed(keyspace, key), options).map_err(error)?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Bytes], options: &ReadOptions) -> Result<Vec<Option<Bytes>>, Error> {
        let placed: Vec<_> = keys.iter().map(|key| placed(keyspace, key)).collect();
        let sorted = keys.is_sorted();
        let found = self.db.batched_multi_get_cf_opt(self.home(keyspace)?, placed.iter().map(|key| &**key), sorted, options);
        found.into_iter().map(|found| Ok(found.map_err(error)?.map(|value| Bytes::copy_from_slice(&value)))).collect()
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, mut options: ReadOptions, visit: Visit<'_>) -> Result<(), Error> {
        let prefix = keyspace.place().prefix;
        match (to, prefix) {
            (Some(to), _) => options.set_iterate_upper_bound(placed(keyspace, to)),
            (None, Some(prefix)) => options.set_iterate_upper_bound([prefix + 1]),
            (None, None) => {}
        }
        options.fill_cache(false);
        // A walk with an end is read in large pieces from its first block on, though not beyond its end.
        if to.is_some() && prefix.is_none() {
            options.set_readahead_size(READAHEAD_BYTES);
        }
        let skip = usize::from(prefix.is_some());
        let mut rows = self.db.raw_iterator_cf_opt(self.home(keyspace)?, options);
        rows.seek(placed(keyspace, from));
        while let Some((key, value)) = rows.item() {
            if visit(&key[skip..], value) == ControlFlow::Break(()) {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(error)
    }

    fn is_empty(&self) -> Result<bool, Error> {
        for family in Family::ALL {
            let mut rows = self.db.raw_iterator_cf(self.family(family)?);
            rows.seek_to_first();
            if rows.valid() {
                return Ok(false);
            }
            rows.status().map_err(error)?;
        }
        Ok(true)
    }

    /// A property of all families together; what RocksDB does not tell counts as nothing.
    fn property(&self, name: &properties::PropName) -> u64 {
        let of = |family| self.family(family).ok().and_then(|family| self.db.property_int_value_cf(family, name).ok().flatten());
        Family::ALL.into_iter().filter_map(of).sum()
    }
}

impl Read for RocksEngine {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.files.get(keyspace, key, &self.files.point)
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        self.files.multi_get(keyspace, keys, &self.files.point)
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), Error> {
        self.files.scan(keyspace, from, to, ReadOptions::default(), visit)
    }
}

impl Engine for RocksEngine {
    fn load(&self, fill: Fill<'_>) -> Result<(), Error> {
        let files = &*self.files;
        let table = |family| family_options(family, &files.options, &files.cache, &files.buffers);
        let (key, index) = (table(Family::Key), table(Family::Index));
        let mut load = TableLoad {
            key: Tables::new("key", &files.dir, &key),
            index: Tables::new("index", &files.dir, &index),
            rest: BatchLoad { write: &|batch| self.write(batch), batch: Batch::default() },
        };
        match fill(&mut load)? {
            ControlFlow::Break(()) => Ok(()),
            ControlFlow::Continue(()) => load.finish(&|family, options, tables| {
                files.db.ingest_external_file_cf_opts(files.family(family)?, options, tables).map_err(error)
            }),
        }
    }

    fn write(&self, batch: &Batch) -> Result<(), Error> {
        let mut rows = WriteBatch::default();
        for op in batch.ops() {
            match op {
                Op::Put { keyspace, key, value } => rows.put_cf(self.files.home(*keyspace)?, placed(*keyspace, key), value),
                Op::Delete { keyspace, key } => rows.delete_cf(self.files.home(*keyspace)?, placed(*keyspace, key)),
            }
        }
        self.files.db.write_opt(rows, &self.files.write).map_err(error)
    }

    fn flush(&self) -> Result<(), Error> {
        let families = [self.files.family(Family::Key)?, self.files.family(Family::Index)?, self.files.family(Family::Rest)?];
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.files.db.flush_cfs_opt(&families.each_ref(), &options).map_err(error)
    }

    fn get_persisted(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.files.get(keyspace, key, &self.files.persisted)
    }

    fn view(&self) -> Arc<dyn Read> {
        Arc::new(RocksView { pinned: Pinned::new(self.files.clone(), |files| files.db.snapshot()) })
    }

    fn defragment(&self) -> Result<(), Error> {
        let failures = self.files.property(properties::BACKGROUND_ERRORS);
        self.flush()?;
        let mut options = CompactOptions::default();
        // Beside RocksDB's own compactions, which must go on or writers would stall.
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        for family in Family::ALL {
            self.files.db.compact_range_cf_opt(self.files.family(family)?, None::<&[u8]>, None::<&[u8]>, &options);
        }
        // The call itself tells nothing. A failure here leaves the old files in place, so it is no fault; a lasting one shows at the next write.
        if self.files.property(properties::BACKGROUND_ERRORS) > failures {
            return Err(Error::NoSpace("a compaction failed, the engine's LOG tells why".into()));
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage {
            disk: self.files.property(properties::TOTAL_SST_FILES_SIZE),
            memory: self.files.property(properties::CUR_SIZE_ALL_MEM_TABLES)
                + self.files.property(properties::ESTIMATE_TABLE_READERS_MEM)
                + self.files.cache.get_usage() as u64,
        }
    }
}

type Snapshot<'a> = SnapshotWithThreadMode<'a, DB>;

self_cell!(
    /// A snapshot together with the database that it borrows.
    struct Pinned {
        owner: Arc<Files>,
        #[covariant]
        dependent: Snapshot,
    }
);

struct RocksView {
    pinned: Pinned,
}

impl RocksView {
    fn files(&self) -> &Files {
        self.pinned.borrow_owner()
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(self.pinned.borrow_dependent());
        options
    }
}

impl Read for RocksView {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.files().get(keyspace, key, &self.options())
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        self.files().multi_get(keyspace, keys, &self.options())
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), Error> {
        self.files().scan(keyspace, from, to, self.options(), visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_disk_and_a_stall_may_be_tried_again() {
        let is_no_space = |text: &str| matches!(error_from(text.into()), Error::NoSpace(_));
        assert!(matches!(error_from("Result incomplete: Write stall".into()), Error::Stalled(_)));
        assert!(is_no_space("IO error: No space left on device: While appending to file: x.sst: No space left on device"));
        assert!(is_no_space(
            "IO error: DB::Open() failed --- Unable to persist Options file: IO error: Unable to persist options.: IO error: No space left on \
             device: While appending to file: OPTIONS-000019.dbtmp: No space left on device"
        ));
        assert!(!is_no_space("IO error: While fsync: x.sst: Input/output error"));
        assert!(!is_no_space("Corruption: block checksum mismatch"));
    }

    #[test]
    fn a_store_comes_back_after_it_was_closed() {
        let dir = tempfile::tempdir().unwrap();
        let mut batch = Batch::default();
        batch.put(Keyspace::Key, "k", "v");
        batch.put(Keyspace::Meta, "m", "w");
        let engine = RocksEngine::open(dir.path(), Options::default()).unwrap();
        engine.write(&batch).unwrap();
        engine.flush().unwrap();
        drop(engine);
        let engine = RocksEngine::open(dir.path(), Options::default()).unwrap();
        assert_eq!(engine.get(Keyspace::Key, b"k").unwrap().unwrap(), "v");
        assert_eq!(engine.get(Keyspace::Meta, b"m").unwrap().unwrap(), "w");
    }

    #[test]
    fn an_unknown_layout_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let engine = RocksEngine::open(dir.path(), Options::default()).unwrap();
        let mut batch = Batch::default();
        batch.put(Keyspace::Local, local::LAYOUT, "9");
        engine.write(&batch).unwrap();
        engine.flush().unwrap();
        drop(engine);
        let refused = RocksEngine::open(dir.path(), Options::default()).err().unwrap().to_string();
        assert!(refused.contains("layout \"9\""), "{refused}");
    }

    #[test]
    fn a_store_without_a_stamp_is_refused_unless_it_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let engine = RocksEngine::open(dir.path(), Options::default()).unwrap();
        let mut batch = Batch::default();
        batch.put(Keyspace::Key, "k", "v");
        batch.delete(Keyspace::Local, local::LAYOUT);
        engine.write(&batch).unwrap();
        engine.flush().unwrap();
        drop(engine);
        let refused = RocksEngine::open(dir.path(), Options::default()).err().unwrap().to_string();
        assert!(refused.contains("no layout stamp"), "{refused}");
    }

    #[test]
    fn a_second_engine_in_the_same_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _first = RocksEngine::open(dir.path(), Options::default()).unwrap();
        let refused = RocksEngine::open(dir.path(), Options::default()).err().unwrap().to_string();
        assert!(refused.to_lowercase().contains("lock"), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn the_directory_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("member").join("db");
        let _engine = RocksEngine::open(&db, Options::default()).unwrap();
        assert_eq!(std::fs::metadata(&db).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_new_engine_holds_little_memory() {
        let dir = tempfile::tempdir().unwrap();
        let engine = RocksEngine::open(dir.path(), Options::default()).unwrap();
        assert!(engine.usage().memory < 1 << 20, "{:?}", engine.usage());
    }

    #[test]
    fn a_view_outlives_the_engine_it_came_from() {
        let dir = tempfile::tempdir().unwrap();
        let engine = RocksEngine::open(dir.path(), Options::default()).unwrap();
        let mut batch = Batch::default();
        batch.put(Keyspace::Key, "k", "v");
        engine.write(&batch).unwrap();
        let view = engine.view();
        drop(engine);
        assert_eq!(view.get(Keyspace::Key, b"k").unwrap().unwrap(), "v");
    }

    /// Where the child of the test below writes; without it that test has nothing to do.
    const DIR: &str = "ETCD_TEST_CRASH_DIR";
    const BATCHES: u64 = 4000;

    fn small_buffers() -> Options {
        Options { write_buffer_bytes: 1 << 20, ..Options::default() }
    }

    #[test]
    fn a_process_that_dies_while_writing() {
        let Some(dir) = std::env::var_os(DIR) else { return };
        let engine = RocksEngine::open(Path::new(&dir), small_buffers()).unwrap();
        for number in 1..=BATCHES {
            let mut batch = Batch::default();
            let key = number.to_be_bytes().to_vec();
            batch.put(Keyspace::Key, key.clone(), vec![number as u8; 1000]);
            batch.put(Keyspace::Index, key.clone(), "");
            batch.put(Keyspace::Meta, "consistent_index", key);
            while let Err(error) = engine.write(&batch) {
                assert!(matches!(error, Error::Stalled(_)), "{error}");
                std::thread::yield_now();
            }
        }
        std::process::abort();
    }

    /// This program again, behind what a foreign one is started with (`tests/harness/runner.rs`). wine is a whole system to its
    /// programs, and starts their children itself.
    fn this_program() -> std::process::Command {
        let runner = if cfg!(windows) { String::new() } else { std::env::var("ETCD_TEST_RUNNER").unwrap_or_default() };
        let own = std::env::current_exe().unwrap().into_os_string();
        let mut words = runner.split_whitespace().map(Into::into).chain([own]);
        let mut command = std::process::Command::new(words.next().unwrap());
        command.args(words);
        command
    }

    #[test]
    fn a_crash_leaves_an_earlier_batch_and_all_before_it_in_every_keyspace() {
        let dir = tempfile::tempdir().unwrap();
        let died = this_program()
            .args(["--exact", "storage::rocks::tests::a_process_that_dies_while_writing"])
            .env(DIR, dir.path())
            .output()
            .unwrap();
        // A panic would end it too, before its time.
        let said = String::from_utf8_lossy(&died.stdout);
        assert!(!died.status.success() && !said.contains("FAILED"), "the child must not end by itself: {said}");
        let engine = RocksEngine::open(dir.path(), small_buffers()).unwrap();
        let last = engine.get(Keyspace::Meta, b"consistent_index").unwrap().expect("small buffers were flushed many times");
        let last = u64::from_be_bytes(last[..].try_into().unwrap());
        assert!((1..=BATCHES).contains(&last), "{last}");
        for keyspace in [Keyspace::Key, Keyspace::Index] {
            let mut numbers = 1..;
            let mut visit = |key: &[u8], _: &[u8]| {
                assert_eq!(key, u64::to_be_bytes(numbers.next().unwrap()), "{keyspace:?} has a gap");
                ControlFlow::Continue(())
            };
            engine.scan(keyspace, b"", None, &mut visit).unwrap();
            assert_eq!(numbers.next(), Some(last + 1), "{keyspace:?} ends elsewhere than the index says");
        }
    }
}
