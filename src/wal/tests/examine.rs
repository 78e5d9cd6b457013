//! A log can be looked at whole without being touched: what another program left is judged before anything is done to it.

use super::*;
use crate::wire::raftpb::ConfState;

fn examined(fs: &MemoryFileSystem, flushed_index: u64) -> Result<Examined, Error> {
    examine(fs, dir(), flushed_index)
}

fn why(result: Result<Examined, Error>) -> String {
    result.map(|found| found.last_index).unwrap_err().to_string()
}

/// Four segments with two recorded snapshots, the second one at 8, and entries up to 10, of which the last two were overwritten once.
fn log_of_several_segments() -> MemoryFileSystem {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    for index in 1..=10 {
        wal.append(&[entry(index, 1, vec![index as u8; 200])], Some(state(1, (index - 1).min(8)))).unwrap();
        if index == 4 || index == 8 {
            wal.save_snapshot(index, 1, &ConfState { voters: vec![NODE], ..ConfState::default() }).unwrap();
        }
    }
    wal.append(&[entry(9, 2, "ninth"), entry(10, 2, "tenth")], Some(state(2, 8))).unwrap();
    wal.sync().unwrap();
    assert_eq!(wal.segments(), 4);
    fs
}

#[test]
fn an_examined_log_tells_what_is_above_the_state_and_is_left_as_it_was() {
    let fs = log_of_several_segments();
    let before: Vec<_> = fs.names().iter().map(|name| (name.clone(), fs.bytes(&dir().join(name)))).collect();
    let found = examined(&fs, 8).unwrap();
    assert_eq!(found.entries, [entry(9, 2, "ninth"), entry(10, 2, "tenth")]);
    assert_eq!((found.last_index, found.flushed_term, &found.metadata[..]), (10, Some(1), &b"whose"[..]));
    assert_eq!((found.hard_state, found.snapshot.as_ref().unwrap().index, &found.torn), (state(2, 8), 8, &None));
    let tail = found.segments().last().unwrap();
    assert_eq!((found.segments().count(), tail.path, tail.is_tail), (4, dir().join(&before[before.len() - 1].0).as_path(), true));
    assert!(fs.bytes(tail.path)[tail.used as usize..].iter().all(|byte| *byte == 0) && tail.used > 0);
    assert_eq!(fs.names().iter().map(|name| (name.clone(), fs.bytes(&dir().join(name)))).collect::<Vec<_>>(), before);
}

#[test]
fn the_term_at_the_state_is_told_by_the_snapshot_where_the_entry_is_gone() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 4);
    wal.save_snapshot(100, 3, &ConfState::default()).unwrap();
    wal.append(&[entry(101, 3, "x")], None).unwrap();
    assert_eq!(examined(&fs, 100).unwrap().flushed_term, Some(3));
    assert_eq!(examined(&fs, 101).unwrap().flushed_term, Some(3));
}

#[test]
fn damage_below_the_state_that_opening_would_not_read_is_found() {
    let fs = log_of_several_segments();
    let mut bytes = fs.bytes(&first_segment());
    let at = bytes.iter().rposition(|byte| *byte == 2).unwrap();
    bytes[at] ^= 1;
    fs.set_bytes(&first_segment(), &bytes);
    assert!(open_at(&fs, 10).is_ok(), "opening reads from the segment of the state on");
    assert!(why(examined(&fs, 10)).contains("the raft log is damaged"));
}

#[test]
fn a_log_without_one_of_its_segments_is_refused_or_can_be_told_from_a_whole_one() {
    let names: Vec<String> = log_of_several_segments().names().into_iter().filter(|name| name.ends_with(".wal")).collect();
    for (missing, name) in names.iter().enumerate() {
        let fs = log_of_several_segments();
        FileSystem::remove(&fs, &dir().join(name)).unwrap();
        let found = examined(&fs, 10);
        match missing {
            // As if it had been purged: a recorded snapshot covers it.
            0 => assert_eq!(found.unwrap().last_index, 10),
            // The log before it makes sense by itself. Whoever knows that entry 9 had term 2 sees what is gone.
            3 => {
                assert_eq!(examined(&fs, 9).unwrap().flushed_term, Some(1));
                assert!(why(found).contains("the log ends at entry 9"));
            }
            _ => assert!(why(found).contains("the segments before it are missing"), "{missing}"),
        }
    }
}

#[test]
fn a_torn_tail_is_told_and_not_mended() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 3);
    let end = wal.offset as usize;
    wal.append(&[entry(4, 1, vec![7; 100])], None).unwrap();
    drop(wal);
    let mut before = fs.bytes(&first_segment());
    before[end + 60..].fill(0);
    fs.set_bytes(&first_segment(), &before);
    let found = examined(&fs, 2).unwrap();
    assert_eq!((found.torn.is_some(), found.last_index), (true, 3));
    assert_eq!(fs.bytes(&first_segment()), before);
    assert!(fs.names().iter().all(|name| !name.ends_with(".broken")));
}

#[test]
fn there_must_be_a_log() {
    assert!(matches!(examined(&MemoryFileSystem::default(), 0), Err(Error::Missing { .. })));
}
