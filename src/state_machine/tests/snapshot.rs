//! The state as etcd's database file, out and in again.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::log::long_log;
use super::*;
use crate::bbolt::{Database, Format, Sizer};
use crate::membership::Member;
use crate::mvcc::index_row::IndexRow;
use crate::mvcc::record::{self, Fields};
use crate::mvcc::{Revision, Sweep};
use crate::state_machine::snapshot::{Export, ImportChanges, ImportError, Imported, Position, import};
use crate::storage::keyspace::local;

type File = Database<Vec<u8>>;
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Buckets in order of their names, with their rows in order of their keys.
fn file_of(buckets: &[(&str, Rows)]) -> File {
    let mut sizer = Sizer::new(Format::default());
    for (name, rows) in buckets {
        sizer.bucket(name.as_bytes());
        rows.iter().for_each(|(key, value)| sizer.entry(key, value.len()));
    }
    let mut writer = sizer.finish().writer(Vec::new());
    for (name, rows) in buckets {
        writer.bucket(name.as_bytes()).unwrap();
        rows.iter().for_each(|(key, value)| writer.entry(key, value).unwrap());
    }
    Database::open(writer.finish().unwrap()).unwrap()
}

fn exported(engine: &MemoryEngine) -> Vec<u8> {
    let export = Export::plan(engine.view(), Format::default()).unwrap();
    let size = export.size();
    let bytes = export.write(Vec::new()).unwrap();
    assert_eq!(bytes.len() as u64, size, "the size that was announced");
    bytes
}

fn import_into(engine: &MemoryEngine, file: &File, changes: &ImportChanges) -> Result<Imported, ImportError> {
    import(file, engine, changes, &mut |_| {})
}

/// An engine of the file's rows.
fn imported(file: &File, changes: &ImportChanges) -> (Arc<MemoryEngine>, Imported) {
    let engine = MemoryEngine::new();
    let imported = import_into(&engine, file, changes).unwrap();
    (engine, imported)
}

fn rows(engine: &MemoryEngine, keyspace: Keyspace) -> Rows {
    let mut rows = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    engine.scan(keyspace, b"", None, &mut add).unwrap();
    rows
}

fn sweep(bench: &mut Bench, records: usize) -> Sweep {
    let mut batch = Batch::default();
    let sweep = bench.machine.writer().sweep(&mut batch, records);
    bench.engine.write(&batch).unwrap();
    bench.machine.writer().merge();
    bench.machine.writer().publish();
    sweep
}

/// The key of a record, and its value.
fn a_put(main: i64, key: &str, create: i64, version: i64) -> (Vec<u8>, Vec<u8>) {
    let fields = Fields { key: key.as_bytes(), create, modified: main, version, value: b"v", lease: 0 };
    (Revision::first_of(main).encode().to_vec(), record::put(&fields).record.to_vec())
}

fn a_tombstone(main: i64, key: &str) -> (Vec<u8>, Vec<u8>) {
    (Revision::first_of(main).encode_tombstone().to_vec(), record::tombstone(key.as_bytes(), main).record.to_vec())
}

fn refusal(buckets: &[(&str, Rows)]) -> String {
    import_into(&MemoryEngine::new(), &file_of(buckets), &ImportChanges::default()).unwrap_err().to_string()
}

#[test]
fn what_is_exported_is_imported_as_the_same_rows() {
    let mut bench = long_log();
    while sweep(&mut bench, 3) == Sweep::More {}
    let file = Database::open(exported(&bench.engine)).unwrap();
    file.check(&mut |finding| panic!("{finding}")).unwrap();
    let (engine, imported) = imported(&file, &ImportChanges::default());
    for keyspace in Keyspace::BUCKETS.into_iter().chain([Keyspace::Index]) {
        assert_eq!(rows(&engine, keyspace), rows(&bench.engine, keyspace), "{keyspace:?}");
    }
    let keys = bench.machine.reader().counts().keys;
    let (consistent_index, term) = bench.machine.applied();
    assert_eq!((imported.consistent_index, imported.term, imported.keys), (consistent_index, term, keys));
    assert_eq!((imported.revision, imported.compact_revision), (bench.revision(), bench.machine.reader().compact_revision()));
    let again = Bench::on(engine, options());
    assert_eq!(again.digest(), bench.digest());
    assert_eq!(again.machine.leases().list(), bench.machine.leases().list());
    assert_eq!(again.machine.reader().hash_kv(0).unwrap(), bench.machine.reader().hash_kv(0).unwrap());
}

#[test]
fn an_empty_store_is_a_file_with_every_bucket() {
    let file = Database::open(exported(&MemoryEngine::new())).unwrap();
    let names: Vec<Vec<u8>> = Keyspace::BUCKETS.iter().map(|keyspace| keyspace.name().into()).collect();
    assert_eq!(file.buckets().unwrap(), names);
    let (engine, imported) = imported(&file, &ImportChanges::default());
    assert_eq!(imported, Imported { revision: 1, compact_revision: -1, ..Imported::default() });
    assert_eq!(rows(&engine, Keyspace::Local), [(local::LAYOUT.to_vec(), crate::mvcc::index_row::LAYOUT.to_vec())]);
}

#[test]
fn an_export_is_the_same_however_far_the_sweep_is() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut bench, mut slices_seen) = (long_log(), 0);
    for _ in 0..4 {
        for _ in 0..60 {
            let key = format!("{}", random.random_range(0..12));
            if random.random_ratio(1, 3) { drop(bench.delete(&key, "")) } else { drop(bench.put(&key, "value")) }
        }
        let (compacted, revision) = (bench.machine.reader().compact_revision(), bench.revision());
        bench.reply(compaction(random.random_range(compacted + 1..=revision))).unwrap();
        let (first, hash) = (exported(&bench.engine), bench.machine.reader().hash_kv(0).unwrap());
        let mut slices = 0;
        // The next compaction may come before this one has been swept.
        while sweep(&mut bench, 4) == Sweep::More && (slices < 3 || random.random_ratio(7, 8)) {
            slices += 1;
            assert_eq!(exported(&bench.engine), first, "after {slices} slices");
        }
        slices_seen += slices;
        let (engine, _) = imported(&Database::open(first).unwrap(), &ImportChanges::default());
        let again = Bench::on(engine, options());
        assert_eq!(again.machine.reader().hash_kv(0).unwrap(), hash);
    }
    assert!(slices_seen > 0, "a sweep was looked at under way");
}

#[test]
fn an_export_is_of_the_moment_it_was_planned_at() {
    let mut bench = long_log();
    let before = exported(&bench.engine);
    let export = Export::plan(bench.engine.view(), Format::default()).unwrap();
    let (consistent_index, term) = bench.machine.applied();
    assert_eq!((export.consistent_index().unwrap(), export.term().unwrap(), export.revision()), (consistent_index, term, bench.revision()));
    bench.put("later", "1");
    let revision = bench.revision();
    bench.reply(compaction(revision)).unwrap();
    while sweep(&mut bench, 3) == Sweep::More {}
    assert_eq!(export.write(Vec::new()).unwrap(), before);
}

#[test]
fn a_record_that_contradicts_its_key_is_refused() {
    let long = |key: &str| (b"0123456789012345".to_vec(), record::tombstone(key.as_bytes(), 1).record.to_vec());
    let mut named_tombstone = a_tombstone(3, "a");
    named_tombstone.1 = a_put(3, "a", 3, 1).1;
    let no_key = record::put(&Fields { key: b"", create: 2, modified: 2, version: 1, value: b"v", lease: 0 }).record.to_vec();
    let broken = (Revision::first_of(2).encode().to_vec(), b"\x0a\x05a".to_vec());
    let cases: [(Rows, &str); 13] = [
        (vec![long("a")], "bucket key, key 0123456789012345: a key is a revision of 17 bytes, 'main_sub', and a 't' if it is a tombstone"),
        (vec![broken], "the value is not an encoded KeyValue"),
        (vec![(Revision::first_of(2).encode().to_vec(), no_key)], "the value has no key"),
        (vec![a_put(0, "a", 1, 1)], "revision 0.0 is out of range"),
        (vec![a_put(i64::MAX, "a", 1, 2)], "revision 9223372036854775807.0 is out of range"),
        (vec![(Revision::first_of(3).encode().to_vec(), a_put(2, "a", 2, 1).1)], "the value says that it was modified at 2"),
        (vec![a_put(2, "a", 3, 1)], "the value says that it is version 1 of a key created at 3"),
        (vec![a_put(2, "a", 2, 2)], "the value says that it is version 2 of a key created at 2"),
        (vec![a_put(5, "a", 2, 1)], "the value says that it is version 1 of a key created at 2"),
        (vec![a_put(2, "a", 2, 1), a_put(3, "a", 2, 3)], "the value is version 3, created at 2, of a key whose version 1 was created at 2"),
        (vec![a_put(2, "a", 2, 1), a_tombstone(3, "a"), a_put(4, "a", 2, 3)], "the value is version 3 of a key that was deleted before"),
        (vec![a_tombstone(2, "a"), a_tombstone(3, "a")], "the key was deleted before, and not put since"),
        (vec![named_tombstone], "the value of a tombstone names its key and nothing else"),
    ];
    for (rows, why) in cases {
        let refused = refusal(&[("key", rows)]);
        assert!(refused.starts_with("bucket key, key ") && refused.ends_with(why), "{refused}, not {why}");
    }
}

#[test]
fn a_record_and_a_tombstone_do_not_share_a_revision() {
    let refused = refusal(&[("key", vec![a_put(2, "a", 2, 1), (a_tombstone(2, "b"))])]);
    assert!(refused.ends_with("revision 2.0 comes after 2.0"), "{refused}");
}

#[test]
fn a_row_that_no_member_would_start_on_is_refused() {
    let row = |key: &[u8], value: &[u8]| vec![(key.to_vec(), value.to_vec())];
    let lease = leases_row(7);
    for (bucket, rows, why) in [
        ("alarm", row(b"\xff", b""), "bucket alarm, key \\xff: "),
        ("auth", row(b"authRevision", b"\0"), "bucket auth, key authRevision: a number has 8 bytes, not 1"),
        ("auth", row(b"authEnabled", b""), "bucket auth, key authEnabled: the value has 0 bytes, not 1"),
        ("authRoles", row(b"r", b"\x0a\x01s"), "bucket authRoles, key r: the value is of the role s"),
        ("authUsers", row(b"u", b"\x0a\x01w"), "bucket authUsers, key u: the value is of the user w"),
        ("cluster", row(b"clusterVersion", b"x"), "bucket cluster, key clusterVersion: \"x\" is not a version such as 3.7.0"),
        ("lease", row(b"\0", &lease), "bucket lease, key \\x00: a number has 8 bytes, not 1"),
        ("lease", row(&8i64.to_be_bytes(), &lease), "the value is of the lease 0000000000000007"),
        ("members", row(b"1", b"{\"id\":2}"), "bucket members, key 1: the value is of the member 2"),
        ("members", row(b"1", b"{"), "bucket members, key 1: EOF"),
        ("members_removed", row(b"x", b"removed"), "bucket members_removed, key x: the key is no id in hex"),
        ("meta", row(b"consistent_index", b"1"), "bucket meta, key consistent_index: a number has 8 bytes, not 1"),
        ("meta", row(b"confState", b"{"), "bucket meta, key confState: "),
        ("meta", row(b"scheduledCompactRev", b"5"), "bucket meta, key scheduledCompactRev: 5 is not a revision"),
        ("meta", row(b"storageVersion", b"3.99.0"), "the file was written in storage version 3.99.0, which is newer than 3.7.0"),
        ("secrets", row(b"a", b"b"), "the bucket \"secrets\" is none of etcd's"),
    ] {
        let refused = refusal(&[(bucket, rows)]);
        assert!(refused.contains(why), "{refused}, not {why}");
    }
}

fn leases_row(id: i64) -> Vec<u8> {
    crate::wire::leasepb::Lease { id, ttl: 60, remaining_ttl: 0 }.encode_to_vec()
}

#[test]
fn a_file_of_an_old_member_is_read_without_the_buckets_it_lacks_and_without_its_test_bucket() {
    let file = file_of(&[("key", vec![a_put(2, "a", 2, 1), a_put(5, "b", 3, 2)]), ("test", vec![(b"t".to_vec(), b"t".to_vec())])]);
    let (engine, imported) = imported(&file, &ImportChanges::default());
    assert_eq!(imported, Imported { revision: 5, compact_revision: -1, keys: 2, rows: 2, ..Imported::default() });
    assert_eq!(Bench::on(engine, options()).value("b").as_deref(), Some("v"));
}

#[test]
fn only_an_empty_engine_is_filled() {
    let bench = long_log();
    let file = Database::open(exported(&bench.engine)).unwrap();
    let refused = import_into(&bench.engine, &file, &ImportChanges::default()).unwrap_err();
    assert!(matches!(refused, ImportError::NotEmpty), "{refused}");
}

#[test]
fn a_restore_replaces_the_members_and_where_the_log_stands_and_keeps_the_rest() {
    let bench = long_log();
    let file = Database::open(exported(&bench.engine)).unwrap();
    let member = Member { id: 0xab, peer_urls: vec!["http://p".into()], name: "n".into(), ..Member::default() };
    let conf_state = raftpb::ConfState { voters: vec![0xab], auto_leave: Some(false), ..Default::default() };
    let position = Position { consistent_index: 1, term: 1, conf_state: conf_state.clone() };
    let changes = ImportChanges { members: Some(vec![member]), position: Some(position), bump_revision: 0 };
    let (engine, imported) = imported(&file, &changes);
    assert_eq!((imported.consistent_index, imported.term, &imported.conf_state), (1, 1, &Some(conf_state)));
    let row = br#"{"id":171,"peerURLs":["http://p"],"name":"n"}"#;
    assert_eq!(rows(&engine, Keyspace::Members), [(b"ab".to_vec(), row.to_vec())]);
    assert!(rows(&engine, Keyspace::MembersRemoved).is_empty());
    let again = Bench::on(engine, options());
    assert_eq!(again.machine.applied(), (1, 1));
    assert_eq!((again.revision(), again.machine.leases().list()), (bench.revision(), bench.machine.leases().list()));
    assert_eq!(again.machine.reader().hash_kv(0).unwrap(), bench.machine.reader().hash_kv(0).unwrap());
}

#[test]
fn a_bumped_restore_counts_on_from_a_compacted_revision() {
    let bench = long_log();
    let file = Database::open(exported(&bench.engine)).unwrap();
    let (engine, imported) = imported(&file, &ImportChanges { bump_revision: 1000, ..ImportChanges::default() });
    let bumped = bench.revision() + 1000;
    assert_eq!((imported.revision, imported.compact_revision), (bumped, bumped));
    let key = Revision::first_of(bumped).encode();
    assert_eq!(engine.get(Keyspace::Key, &key).unwrap().unwrap(), "");
    assert_eq!(engine.get(Keyspace::Meta, b"scheduledCompactRev").unwrap().unwrap(), key[..]);
    let mut again = Bench::on(engine, options());
    assert_eq!(again.range(&range_at("plain", bumped - 1)), Err(Error::Compacted));
    assert_eq!(again.value("plain"), bench.value("plain"));
    assert_eq!(again.put("new", "1").header.unwrap().revision, bumped + 1);
    let hash = again.machine.reader().hash_kv(0).unwrap();
    while sweep(&mut again, 3) == Sweep::More {}
    assert_eq!(again.machine.reader().hash_kv(0).unwrap(), hash);
}

/// Of the one at revision 4, `etcdutl snapshot restore --bump-revision 10 --mark-compacted` makes this.
#[test]
fn a_bumped_snapshot_is_read_as_etcd_reads_it() {
    let bump = (Revision::first_of(14).encode().to_vec(), Vec::new());
    let again = (Revision::first_of(24).encode().to_vec(), Vec::new());
    let file =
        file_of(&[("key", vec![a_put(4, "a", 4, 1), bump, again.clone()]), ("meta", vec![(b"scheduledCompactRev".to_vec(), again.0)])]);
    let (engine, imported) = imported(&file, &ImportChanges::default());
    assert_eq!((imported.revision, imported.compact_revision), (24, 24));
    let row = engine.get(Keyspace::Index, &Revision::first_of(24).encode()).unwrap().unwrap();
    assert_eq!(IndexRow::decode(&row), Some(IndexRow { is_tombstone: false, create: 14, version: 2, lease: 0, length: 0, key: b"" }));
    let mut bench = Bench::on(engine, options());
    let all = bench.range(&range("\0", "\0")).unwrap();
    assert_eq!((all.count, all.kvs.len()), (1, 1), "the record of nothing is no key that can be asked for");
    while sweep(&mut bench, 3) == Sweep::More {}
    assert_eq!(rows(&bench.engine, Keyspace::Key).len(), 2, "the older bump is replaced by the newer one");
    bench.machine.reader().hash_kv(0).unwrap();
}

#[test]
fn revisions_are_not_bumped_beyond_what_can_be_counted() {
    let file = file_of(&[("key", vec![a_put(4, "a", 4, 1)])]);
    for bump in [u64::MAX, i64::MAX as u64] {
        let refused = import_into(&MemoryEngine::new(), &file, &ImportChanges { bump_revision: bump, ..ImportChanges::default() });
        assert_eq!(refused.unwrap_err().to_string(), format!("the newest revision 4 cannot be raised by {bump}"));
    }
}
