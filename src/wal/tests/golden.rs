//! The bytes of etcd 3.7.2, and the form that etcd up to 3.6 gave them.

use super::*;
use crate::wal::frame::Encoder;

/// A log that etcd 3.7.2 wrote with `--snapshot-count 5`: puts, a learner added, three snapshots; and one sector of zeros.
const REAL: &[u8] = include_bytes!("../testdata/etcd-3.7.2.wal");
const REAL_END: usize = REAL.len() - 512;

fn real() -> MemoryFileSystem {
    let fs = MemoryFileSystem::default();
    fs.set_bytes(&first_segment(), REAL);
    fs
}

#[test]
fn a_log_of_the_real_server_is_written_again_bit_for_bit() {
    let mut again = Vec::new();
    let mut frames = Encoder::new(&mut again, 0);
    visit(&real(), dir(), &mut |record| match record {
        Record::Crc(_) => frames.crc_record(),
        Record::Metadata(metadata) => frames.metadata(&metadata),
        Record::Entry(entry) => frames.entry(&entry),
        Record::HardState(state) => frames.hard_state(state),
        Record::Snapshot(snapshot) => frames.snapshot(&snapshot),
    })
    .unwrap();
    assert_eq!(again, REAL[..REAL_END]);
}

#[test]
fn a_log_of_the_real_server_opens_clean_with_its_snapshot_and_all_its_entries() {
    let (wal, replay) = open(&real()).unwrap();
    assert_eq!(replay.repaired, None);
    assert_eq!(replay.hard_state, HardState { term: 2, vote: NODE, commit: 21 });
    let snapshot = replay.snapshot.unwrap();
    assert_eq!((snapshot.index, snapshot.term), (18, 2));
    let conf_state = snapshot.conf_state.unwrap();
    assert_eq!((conf_state.voters, conf_state.learners), (vec![NODE], vec![18_414_626_911_864_334_423]));
    assert_eq!(replay.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), (1..=21).collect::<Vec<_>>());
    let changes = replay.entries.iter().filter(|entry| entry.kind == EntryKind::EntryConfChange);
    assert_eq!(changes.map(|entry| entry.index).collect::<Vec<_>>(), [1, 13]);
    assert_eq!(wal.last_index(), 21);
}

#[test]
fn a_fresh_log_begins_with_the_bytes_of_a_fresh_real_one() {
    let fs = MemoryFileSystem::default();
    let (_, replay) = open(&real()).unwrap();
    let wal = Wal::create(Arc::new(fs.clone()), dir(), &replay.metadata, small()).unwrap();
    let end = wal.offset as usize;
    assert_eq!(fs.bytes(&first_segment())[..end], REAL[..end]);
    assert_eq!(end, 80);
}

#[test]
fn numbers_that_are_written_though_they_are_zero_read_the_same_as_absent_ones() {
    // VER-7: up to 3.6 an entry always has its type, and a snapshot record its (empty) conf state.
    let mut bytes = Vec::new();
    let mut crc = 0;
    let mut put = |kind: u8, data: Option<&[u8]>| {
        crc = crc32c::crc32c_append(crc, data.unwrap_or_default());
        let mut record = vec![8, kind, 16];
        prost::encoding::encode_varint(u64::from(crc), &mut record);
        if let Some(data) = data {
            record.extend([26, data.len() as u8]);
            record.extend(data);
        }
        let pad = record.len().wrapping_neg() % 8;
        let word = record.len() as u64 | if pad > 0 { (0x80 | pad as u64) << 56 } else { 0 };
        bytes.extend(word.to_le_bytes());
        bytes.extend(record);
        bytes.extend(vec![0; pad]);
    };
    put(4, None);
    put(1, Some(b"whose"));
    put(5, Some(&[8, 0, 16, 0]));
    put(2, Some(&[8, 0, 16, 1, 24, 1, 34, 1, b'x']));
    put(2, Some(&[8, 0, 16, 1, 24, 2]));
    put(3, Some(&[8, 1, 16, 0, 24, 2]));
    bytes.extend([0; 64]);
    let fs = MemoryFileSystem::default();
    fs.set_bytes(&first_segment(), &bytes);
    let (_, replay) = open(&fs).unwrap();
    assert_eq!(replay.entries, [entry(1, 1, "x"), entry(2, 1, "")]);
    assert_eq!(replay.hard_state, HardState { term: 1, vote: 0, commit: 2 });
    assert_eq!((replay.snapshot, replay.repaired), (None, None));
}
