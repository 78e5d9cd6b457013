//! What was appended comes back, whatever was cut, overwritten, replaced and purged in between.

use proptest::prelude::*;

use super::*;
use crate::wire::raftpb::ConfState;

/// One append: how many of the last entries a new leader overwrites, the sizes of what it writes, whether a new term began.
fn appends() -> impl Strategy<Value = Vec<(u64, Vec<usize>, bool)>> {
    proptest::collection::vec((0..3u64, proptest::collection::vec(0..300usize, 0..5), any::<bool>()), 1..40)
}

proptest! {
    #[test]
    fn a_log_comes_back_as_it_was_appended(appends in appends(), reopen in 1..10usize, scale in prop_oneof![Just(1), Just(100)]) {
        let fs = MemoryFileSystem::default();
        let options = Options { segment_bytes: 1024 * scale as u64 };
        let mut wal = Wal::create(Arc::new(fs.clone()), dir(), b"whose", options.clone()).unwrap();
        let (mut model, mut term): (Vec<LogEntry>, u64) = (Vec::new(), 1);
        let mut hard_state = HardState::default();
        for (at, (overwritten, sizes, is_new_term)) in appends.into_iter().enumerate() {
            if is_new_term {
                term += 1;
                model.truncate(model.len().saturating_sub(overwritten as usize).max(hard_state.commit as usize));
            }
            let first = model.len() as u64 + 1;
            let entries: Vec<_> = sizes.iter().zip(first..).map(|(size, index)| entry(index, term, vec![index as u8; *size * scale])).collect();
            // Half of what is there is committed; the commit index never falls.
            model.extend_from_slice(&entries);
            if entries.is_empty() && !is_new_term {
                continue;
            }
            hard_state = state(term, hard_state.commit.max(model.len() as u64 / 2));
            // An overwriting append with no entries leaves the old ones in place: only an entry replaces an entry.
            let is_cut_short = entries.is_empty() && wal.last_index() > model.len() as u64;
            if is_cut_short {
                model.push(entry(first, term, ""));
                wal.append(&model[first as usize - 1..], Some(hard_state)).unwrap();
            } else {
                wal.append(&entries, Some(hard_state)).unwrap();
            }
            wal.sync().unwrap();
            for from in [1, model.len().div_ceil(2), model.len()] {
                let found = wal.read(from as u64, u64::MAX, usize::MAX).unwrap();
                prop_assert_eq!(found.as_deref(), model.get(from.wrapping_sub(1)..).filter(|entries| !entries.is_empty()));
            }
            if at % reopen == 0 {
                drop(wal);
                fs.crash();
                let (opened, replay) = Wal::open(Arc::new(fs.clone()), dir(), options.clone(), 0).unwrap();
                prop_assert_eq!(&replay.entries, &model);
                prop_assert_eq!(replay.hard_state, hard_state);
                wal = opened;
            }
        }
        drop(wal);
        let (wal, replay) = open(&fs).unwrap();
        prop_assert_eq!(replay.entries, model);
        prop_assert_eq!(replay.hard_state, hard_state);
        prop_assert!(replay.repaired.is_none());
        prop_assert_eq!(&replay.metadata[..], b"whose");
        drop(wal);
        prop_assert!(fs.names().iter().all(|name| name.ends_with(".wal")), "{:?}", fs.names());
    }
}

#[test]
fn a_later_leader_drops_what_followed_the_entry_it_overwrites() {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    wal.append(&[entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")], Some(state(1, 1))).unwrap();
    wal.append(&[entry(2, 2, "B")], Some(state(2, 1))).unwrap();
    drop(wal);
    let (mut wal, replay) = open(&fs).unwrap();
    assert_eq!(replay.entries, [entry(1, 1, "a"), entry(2, 2, "B")]);
    wal.append(&[entry(3, 2, "C")], None).unwrap();
    drop(wal);
    assert_eq!(open(&fs).unwrap().1.entries, [entry(1, 1, "a"), entry(2, 2, "B"), entry(3, 2, "C")]);
}

#[test]
fn a_recorded_snapshot_comes_back_with_a_hard_state_that_covers_it() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 4);
    let conf_state = ConfState { voters: vec![NODE], auto_leave: Some(false), ..ConfState::default() };
    wal.save_snapshot(4, 1, &conf_state).unwrap();
    drop(wal);
    fs.crash();
    let (_, replay) = open_at(&fs, 4).unwrap();
    assert_eq!(replay.snapshot, Some(SnapshotRecord { index: 4, term: 1, conf_state: Some(conf_state) }));
    assert_eq!(replay.hard_state, state(1, 4));
    assert_eq!(replay.entries.len(), 4);
}

#[test]
fn a_snapshot_from_the_leader_replaces_the_log_and_entries_go_on_after_it() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 4);
    wal.save_snapshot(100, 3, &ConfState::default()).unwrap();
    assert_eq!(wal.last_index(), 100);
    drop(wal);
    let (mut wal, replay) = open_at(&fs, 2).unwrap();
    assert_eq!((replay.entries.len(), replay.snapshot.unwrap().index), (0, 100));
    wal.append(&[entry(101, 3, "x")], None).unwrap();
    drop(wal);
    let (_, replay) = open_at(&fs, 2).unwrap();
    assert_eq!(replay.entries, [entry(101, 3, "x")]);
    assert_eq!(replay.hard_state.commit, 100);
}

#[test]
fn a_snapshot_that_disagrees_with_the_entry_at_its_index_replaces_the_log_up_to_it() {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    wal.append(&[entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")], Some(state(1, 1))).unwrap();
    wal.save_snapshot(2, 2, &ConfState::default()).unwrap();
    wal.append(&[entry(3, 2, "C")], None).unwrap();
    drop(wal);
    assert_eq!(open(&fs).unwrap().1.entries, [entry(3, 2, "C")]);
}

#[test]
fn entries_of_a_term_whose_hard_state_was_lost_raise_the_term_and_clear_the_vote() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 2);
    wal.append(&[entry(3, 5, "x")], None).unwrap();
    drop(wal);
    assert_eq!(open(&fs).unwrap().1.hard_state, HardState { term: 5, vote: 0, commit: 1 });
}

#[test]
fn a_segment_is_begun_before_the_set_aside_space_runs_out_and_says_where_it_begins() {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    for index in 1..=10 {
        wal.append(&[entry(index, 1, vec![7; 300])], Some(state(1, index - 1))).unwrap();
    }
    let begun = [(0, 0), (1, 3), (2, 5), (3, 7), (4, 9)].map(|(sequence, index)| segment::name(sequence, index));
    assert_eq!(fs.names()[1..], begun, "and before them in order, the one set aside");
    for name in fs.names() {
        assert!(fs.bytes(&dir().join(name)).len() <= 1024);
    }
    drop(wal);
    assert_eq!(open(&fs).unwrap().1.entries.len(), 10);
}

#[test]
fn a_batch_larger_than_a_segment_is_still_written_whole() {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    let large = entry(1, 1, vec![7; 5000]);
    wal.append(std::slice::from_ref(&large), Some(state(1, 0))).unwrap();
    wal.append(&[entry(2, 1, "small")], None).unwrap();
    drop(wal);
    assert_eq!(open(&fs).unwrap().1.entries, [large, entry(2, 1, "small")]);
}

#[test]
fn only_segments_below_the_flushed_snapshot_are_purged_and_never_the_newest() {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    for index in 1..=10 {
        wal.append(&[entry(index, 1, vec![7; 300])], Some(state(1, index))).unwrap();
    }
    assert_eq!(wal.purge(9, 1).unwrap(), 0, "no snapshot is recorded yet");
    wal.save_snapshot(8, 1, &ConfState::default()).unwrap();
    assert_eq!(wal.purge(6, 1).unwrap(), 2, "the segment that begins at 5 holds 6");
    assert_eq!(wal.purge(u64::MAX, 2).unwrap(), 1, "the snapshot at 8 is in the segment that begins at 7");
    assert_eq!(wal.segments(), 2);
    drop(wal);
    fs.crash();
    let (_, replay) = open_at(&fs, 8).unwrap();
    assert_eq!(replay.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [7, 8, 9, 10]);
    assert_eq!(replay.snapshot.unwrap().index, 8);
}

#[test]
fn a_log_is_read_from_the_segment_that_holds_the_flushed_index() {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    for index in 1..=10 {
        wal.append(&[entry(index, 1, vec![7; 300])], Some(state(1, index))).unwrap();
    }
    drop(wal);
    assert_eq!(open_at(&fs, 6).unwrap().1.entries[0].index, 5);
    assert_eq!(open_at(&fs, 0).unwrap().1.entries[0].index, 1);
}

#[test]
fn a_log_is_made_once() {
    let fs = MemoryFileSystem::default();
    assert!(!Wal::exists(&fs, dir()).unwrap());
    assert!(matches!(open(&fs), Err(Error::Missing { .. })));
    drop(create(&fs));
    assert!(Wal::exists(&fs, dir()).unwrap());
    assert!(matches!(Wal::create(Arc::new(fs), dir(), b"", small()), Err(Error::Exists { .. })));
}

#[test]
fn the_real_file_system_does_what_the_log_asks() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("member/wal");
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let mut wal = Wal::create(fs.clone(), &dir, b"whose", Options { segment_bytes: 1 << 20 }).unwrap();
    for index in 1..=10 {
        wal.append(&[entry(index, 1, vec![7; 300_000])], Some(state(1, index - 1))).unwrap();
        wal.sync().unwrap();
    }
    wal.save_snapshot(10, 1, &ConfState::default()).unwrap();
    assert_eq!(wal.purge(7, 1).unwrap(), 2);
    assert!(wal.free_bytes().unwrap() != Some(0));
    drop(wal);
    let (_, replay) = Wal::open(fs, &dir, Options { segment_bytes: 1 << 20 }, 10).unwrap();
    assert_eq!(replay.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [10]);
}

#[test]
#[should_panic(expected = "would leave a gap")]
fn an_append_that_leaves_a_gap_is_a_mistake_of_the_caller() {
    let fs = MemoryFileSystem::default();
    let _ = log_of(&fs, 2).append(&[entry(4, 1, "")], None);
}

#[test]
fn entries_are_read_back_within_a_budget_and_from_what_is_left_after_a_purge() {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    for index in 1..=10 {
        wal.append(&[entry(index, 1, vec![7; 300])], Some(state(1, index))).unwrap();
    }
    let indexes = |wal: &Wal, from, to, budget| {
        wal.read(from, to, budget).unwrap().map(|entries| entries.iter().map(|entry| entry.index).collect::<Vec<_>>())
    };
    assert_eq!(indexes(&wal, 2, 6, usize::MAX), Some(vec![2, 3, 4, 5]));
    assert_eq!(indexes(&wal, 2, 6, 301), Some(vec![2, 3]));
    assert_eq!(indexes(&wal, 2, 6, 1), Some(vec![2]), "at least one");
    assert_eq!(indexes(&wal, 11, 12, 1), None);
    wal.save_snapshot(8, 1, &ConfState::default()).unwrap();
    wal.purge(8, 1).unwrap();
    assert_eq!((wal.first_index(), indexes(&wal, 6, 11, usize::MAX)), (7, None));
    assert_eq!(indexes(&wal, 7, 11, usize::MAX), Some(vec![7, 8, 9, 10]));
    drop(wal);
    let (wal, _) = open_at(&fs, 10).unwrap();
    assert_eq!((wal.first_index(), indexes(&wal, 9, 11, usize::MAX)), (9, Some(vec![9, 10])));
}

#[test]
fn what_a_snapshot_of_the_leader_replaced_is_not_read_back() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 4);
    wal.save_snapshot(100, 3, &ConfState::default()).unwrap();
    assert_eq!((wal.first_index(), wal.read(3, 5, 1).unwrap()), (101, None));
    wal.append(&[entry(101, 3, "x")], None).unwrap();
    for _ in 0..2 {
        assert_eq!((wal.first_index(), wal.read(3, 5, 1).unwrap()), (101, None));
        assert_eq!(wal.read(101, 102, 1).unwrap().unwrap(), [entry(101, 3, "x")]);
        drop(wal);
        wal = open_at(&fs, 2).unwrap().0;
    }
}
