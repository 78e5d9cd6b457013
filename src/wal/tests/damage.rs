//! A torn tail is mended, everything else is refused with file and offset, and no committed entry is ever lost in silence.

use super::*;

/// A log in one segment, its bytes up to the last record, and the replay of all of it.
fn whole() -> (Vec<u8>, Replay) {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 4);
    // The last record holds a run of zeros longer than two sectors would be.
    wal.append(&[entry(5, 1, [b"head".to_vec(), vec![0; 8], b"tail".to_vec()].concat())], None).unwrap();
    let end = wal.offset as usize;
    drop(wal);
    let bytes = fs.bytes(&first_segment());
    let (_, replay) = open(&fs).unwrap();
    assert_eq!(replay.entries.len(), 5);
    assert!(end < 1024);
    (bytes[..end].to_vec(), replay)
}

fn with(bytes: &[u8]) -> MemoryFileSystem {
    let fs = MemoryFileSystem::default();
    fs.set_bytes(&first_segment(), bytes);
    fs
}

fn is_prefix(part: &[LogEntry], whole: &[LogEntry]) -> bool {
    whole.starts_with(part)
}

#[test]
fn a_log_cut_anywhere_is_mended_or_refused_and_keeps_every_entry_it_had_whole() {
    let (bytes, replay) = whole();
    for is_zero_behind in [false, true] {
        let mut opened = 0;
        for cut in 0..bytes.len() {
            let mut torn = bytes[..cut].to_vec();
            if is_zero_behind {
                torn.resize(1024, 0);
            }
            let fs = with(&torn);
            match open(&fs) {
                Ok((mut wal, found)) => {
                    opened += 1;
                    assert!(is_prefix(&found.entries, &replay.entries), "cut at {cut}");
                    assert!(found.entries.len() as u64 >= found.hard_state.commit, "cut at {cut}");
                    // What was mended takes appends and opens clean.
                    let next = entry(wal.last_index() + 1, 1, "next");
                    wal.append(std::slice::from_ref(&next), None).unwrap();
                    drop(wal);
                    let (_, again) = open(&fs).unwrap();
                    assert_eq!((again.entries.last(), &again.repaired), (Some(&next), &None), "cut at {cut}");
                    if let Some(Repair { backup, offset, .. }) = found.repaired {
                        assert_eq!(fs.bytes(&backup), torn);
                        assert!(offset as usize <= cut);
                    }
                }
                Err(error) => assert!(matches!(error, Error::Damaged { .. }), "cut at {cut}: {error}"),
            }
        }
        assert!(opened > bytes.len() / 2, "only {opened} of {} cuts opened", bytes.len());
    }
}

#[test]
fn a_file_that_ends_inside_the_padding_of_its_last_record_is_torn() {
    let mut torn_count = 0;
    for len in 1..=8 {
        let fs = MemoryFileSystem::default();
        let mut wal = log_of(&fs, 4);
        wal.append(&[entry(5, 1, "x".repeat(len))], None).unwrap();
        let end = wal.offset as usize;
        drop(wal);
        let bytes = fs.bytes(&first_segment())[..end].to_vec();
        let padding = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        for missing in 1..=padding {
            let (_, found) = open(&with(&bytes[..end - missing])).unwrap();
            assert!(found.repaired.is_some());
            assert_eq!(found.entries.len(), 4, "the whole write was never synced");
            torn_count += 1;
        }
    }
    assert!(torn_count > 0, "some of the records are padded");
}

#[test]
fn a_sector_whose_only_set_bit_was_lost_is_torn() {
    // The hard state lies across the border of the second sector, with its last number behind it.
    let mut found_border = false;
    for len in 0..512 {
        let fs = MemoryFileSystem::default();
        let mut wal = log_of(&fs, 4);
        wal.append(&[entry(5, 1, "x".repeat(len))], None).unwrap();
        wal.append(&[], Some(state(200, 4))).unwrap();
        let end = wal.offset as usize;
        drop(wal);
        let whole = fs.bytes(&first_segment())[..end].to_vec();
        if end <= 512 || whole[512..].iter().map(|byte| byte.count_ones()).sum::<u32>() != 1 {
            continue;
        }
        found_border = true;
        let mut torn = whole.clone();
        torn[512..].fill(0);
        let (_, found) = open(&with(&torn)).unwrap();
        assert!(found.repaired.is_some());
        assert_eq!((found.entries.len(), found.hard_state.commit), (5, 3));
    }
    assert!(found_border, "one of the lengths ends a byte behind the border");
}

#[test]
fn a_cut_below_the_flushed_index_is_refused() {
    let (bytes, _) = whole();
    let fs = with(&bytes[..bytes.len() - 1]);
    let (file, _, what) = damage(open_at(&fs, 5));
    assert_eq!(file, first_segment());
    assert!(what.contains("has applied entry 5"), "{what}");
    assert_eq!(fs.bytes(&first_segment()), bytes[..bytes.len() - 1], "nothing was changed");
    assert_eq!(open_at(&fs, 4).unwrap().1.entries.len(), 4);
}

#[test]
fn any_flipped_bit_is_refused_or_changes_nothing() {
    let (bytes, replay) = whole();
    flip_every_bit(bytes, &replay);
    // The same with a hard state at the end, which reads as an entry with one bit of its type turned round.
    let fs = MemoryFileSystem::default();
    let wal = log_of(&fs, 4);
    let end = wal.offset as usize;
    drop(wal);
    flip_every_bit(fs.bytes(&first_segment())[..end].to_vec(), &open(&fs).unwrap().1);
}

fn flip_every_bit(mut bytes: Vec<u8>, replay: &Replay) {
    let end = bytes.len();
    bytes.resize(1024, 0);
    let (mut refused, mut harmless) = (0, 0);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        match open(&with(&bytes)) {
            Ok((_, found)) => {
                harmless += 1;
                assert_eq!(found.entries, replay.entries, "bit {bit}");
                assert_eq!(found.hard_state, replay.hard_state, "bit {bit}");
            }
            Err(error) => {
                refused += 1;
                assert!(matches!(error, Error::Damaged { .. }), "bit {bit}: {error}");
                assert!(bit / 8 < end, "bit {bit} is in the space behind the log");
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(refused > harmless / 4 && harmless > 0, "{refused} refused, {harmless} harmless");
}

#[test]
fn a_flipped_bit_in_a_record_of_zeros_is_damage() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 1);
    let from = wal.offset as usize;
    wal.append(&[entry(2, 1, [vec![0; 2000], b"end".to_vec()].concat())], None).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let path = dir().join(segment::name(1, 2));
    let mut bytes = fs.bytes(&path);
    assert!(from > 0 && bytes.len() > 2000);
    bytes[700] ^= 4;
    fs.set_bytes(&path, &bytes);
    let (file, offset, what) = damage(open(&fs));
    assert_eq!(file, path);
    assert!(offset < 700 && what.contains("one flipped bit"), "{offset} {what}");
}

#[test]
fn a_record_that_lost_a_sector_is_torn() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 2);
    wal.append(&[entry(3, 1, vec![7; 2000])], None).unwrap();
    drop(wal);
    let path = dir().join(segment::name(1, 3));
    let mut bytes = fs.bytes(&path);
    bytes[512..1024].fill(0);
    fs.set_bytes(&path, &bytes);
    let (_, replay) = open(&fs).unwrap();
    assert_eq!(replay.entries.len(), 2);
    let repair = replay.repaired.unwrap();
    assert_eq!((repair.file, fs.bytes(&repair.backup)), (path.clone(), bytes));
    assert!(repair.backup.to_str().unwrap().ends_with(".wal.broken"));
}

#[test]
fn a_broken_record_before_whole_ones_is_damage() {
    let (mut bytes, _) = whole();
    bytes.resize(1024, 0);
    let fs = with(&bytes);
    let mut ends = Vec::new();
    let file = fs.open(&first_segment(), Open::Read).unwrap();
    let path = first_segment();
    let mut reader = reader::SegmentReader::new(&*file, &path, None).unwrap();
    while matches!(reader.next().unwrap(), reader::Found::Record(_)) {
        ends.push(reader.offset() as usize);
    }
    // Each record but the last becomes zeros in turn, as if its sectors were lost; what follows it is whole.
    for pair in ends[2..].windows(2) {
        let mut torn = bytes.clone();
        torn[pair[0]..pair[1]].fill(0);
        if pair[1] == *ends.last().unwrap() {
            assert_eq!(open(&with(&torn)).unwrap().1.entries.len(), 4);
        } else {
            let (_, offset, what) = damage(open(&with(&torn)));
            assert_eq!(offset as usize, pair[0]);
            assert!(what.contains("whole records follow"), "{what}");
        }
    }
}

#[test]
fn a_broken_record_in_an_older_segment_is_damage() {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    for index in 1..=6 {
        wal.append(&[entry(index, 1, vec![7; 300])], Some(state(1, index - 1))).unwrap();
    }
    drop(wal);
    let path = dir().join(segment::name(1, 3));
    let bytes = fs.bytes(&path);
    fs.set_bytes(&path, &bytes[..bytes.len() - 9]);
    assert_eq!(damage(open(&fs)).0, path);
    assert_eq!(open_at(&fs, 5).unwrap().1.entries.len(), 2, "a segment that is not needed is not read");
}

#[test]
fn a_missing_segment_is_damage() {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    for index in 1..=6 {
        wal.append(&[entry(index, 1, vec![7; 300])], Some(state(1, index - 1))).unwrap();
    }
    drop(wal);
    fs.remove(&dir().join(segment::name(1, 3))).unwrap();
    let (file, _, what) = damage(open(&fs));
    assert_eq!(file, dir().join(segment::name(2, 5)));
    assert!(what.contains("missing"), "{what}");
    let _ = fs.remove(&first_segment());
    assert!(damage(open_at(&fs, 1)).2.contains("the log begins at entry 5"));
}

#[test]
fn a_log_of_another_member_among_the_segments_is_damage() {
    let fs = MemoryFileSystem::default();
    let mut bytes = Vec::new();
    let crc = append::encode_header(&mut bytes, 0, b"whose", HardState::default());
    let crc = append::encode_header(&mut bytes, crc, b"another's", state(1, 0));
    assert_ne!(crc, 0);
    fs.set_bytes(&first_segment(), &bytes);
    assert!(damage(open(&fs)).2.contains("metadata"));
}

#[test]
fn messages_say_which_file_where_and_what_to_do() {
    let (bytes, _) = whole();
    let fs = with(&bytes[..100]);
    let error = open_at(&fs, 7).unwrap_err().to_string();
    assert!(error.contains("0000000000000000-0000000000000000.wal at byte "), "{error}");
    assert!(error.contains("restore this file, or remove the member and add it anew"), "{error}");
}
