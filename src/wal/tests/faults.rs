//! A full disk moves nothing, a failed sync is final, and a crash between any two steps loses nothing that was synced.

use super::*;
use crate::wire::raftpb::ConfState;

/// Batches that fill several segments, with a snapshot and a purge among them. Answers what was synced when it ended.
fn run(wal: &mut Wal, retry: bool) -> Result<u64, (u64, Error)> {
    let mut synced = 0;
    let again = |wal: &mut Wal, step: &dyn Fn(&mut Wal) -> Result<(), Error>| match step(wal) {
        Err(error) if retry && error.is_no_space() => step(wal),
        result => result,
    };
    for batch in 0..6u64 {
        let first = batch * 3 + 1;
        let entries: Vec<_> = (first..first + 3).map(|index| entry(index, 1, vec![index as u8; 150])).collect();
        let result = again(wal, &|wal| wal.append(&entries, Some(state(1, first - 1))))
            .and_then(|()| wal.sync())
            .map(|()| synced = first + 2)
            .and_then(|()| if batch == 3 { again(wal, &|wal| wal.save_snapshot(9, 1, &ConfState::default())) } else { Ok(()) })
            .and_then(|()| if batch == 4 { wal.purge(9, 1).map(drop) } else { Ok(()) });
        result.map_err(|error| (synced, error))?;
    }
    Ok(synced)
}

fn check(fs: &MemoryFileSystem, synced: u64, context: &str) -> u64 {
    let (_, replay) = open(fs).unwrap_or_else(|error| panic!("{context}: {error}"));
    let last = replay.entries.last().map_or(0, |entry| entry.index);
    assert!(last >= synced, "{context}: {last} of {synced}");
    for entry in &replay.entries {
        assert_eq!(entry.data, vec![entry.index as u8; 150], "{context}");
    }
    last
}

#[test]
fn no_space_at_any_write_moves_nothing_and_the_same_call_works_again() {
    let mut hits = 0;
    for n in 0.. {
        let fs = MemoryFileSystem::default();
        let mut wal = create(&fs);
        fs.set_fault(Some(Fault::NoSpaceAt(n)));
        assert_eq!(run(&mut wal, true).unwrap(), 18, "write {n}");
        let was_hit = fs.was_hit();
        drop(wal);
        fs.set_fault(None);
        fs.crash();
        assert_eq!(check(&fs, 18, &format!("write {n}")), 18);
        if !was_hit {
            break;
        }
        hits += 1;
    }
    assert!(hits > 15, "{hits}");
}

#[test]
fn space_that_could_not_be_set_aside_whole_is_given_back() {
    let mut hits = 0;
    for n in 0.. {
        let fs = MemoryFileSystem::default();
        let mut wal = create(&fs);
        fs.set_fault(Some(Fault::NoSpaceAt(n)));
        // The one refusal is met by whoever meets it; none may leave a file behind that nobody will use.
        run(&mut wal, true).unwrap();
        let left: Vec<_> = fs.names().into_iter().filter(|name| name.ends_with(".tmp")).collect();
        assert!(left.len() <= usize::from(wal.prepared.is_some()), "write {n}: {left:?}");
        if !fs.was_hit() {
            break;
        }
        hits += 1;
    }
    assert!(hits > 15, "{hits}");
}

#[test]
fn a_write_that_found_no_space_leaves_nothing_behind_a_shorter_one() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 1);
    let many: Vec<_> = (2..6).map(|index| entry(index, 1, vec![2; 100])).collect();
    fs.set_fault(Some(Fault::NoSpaceAt(0)));
    assert!(wal.append(&many, None).unwrap_err().is_no_space());
    assert!(fs.was_hit());
    fs.set_fault(None);
    assert_eq!(wal.last_index(), 1);
    wal.append(&[entry(2, 1, "short")], None).unwrap();
    wal.sync().unwrap();
    drop(wal);
    fs.crash();
    let (_, replay) = open(&fs).unwrap();
    assert_eq!((replay.entries.last(), replay.repaired), (Some(&entry(2, 1, "short")), None));
}

#[test]
fn a_crash_right_after_running_out_of_space_leaves_a_log_that_opens() {
    for n in 0..40 {
        let fs = MemoryFileSystem::default();
        let mut wal = create(&fs);
        fs.set_fault(Some(Fault::NoSpaceAt(n)));
        let synced = run(&mut wal, false).unwrap_or_else(|(synced, error)| {
            assert!(error.is_no_space(), "{error}");
            synced
        });
        fs.crash();
        check(&fs, synced, &format!("write {n}"));
    }
}

#[test]
fn a_crash_between_any_two_steps_loses_nothing_that_was_synced() {
    for is_power_lost in [true, false] {
        for n in 0.. {
            let fs = MemoryFileSystem::default();
            let mut wal = create(&fs);
            fs.set_fault(Some(Fault::StopAt(n)));
            let synced = run(&mut wal, false).unwrap_or_else(|(synced, _)| synced);
            let was_hit = fs.was_hit();
            drop(wal);
            fs.set_fault(None);
            if is_power_lost {
                fs.crash();
            }
            check(&fs, synced, &format!("step {n}, power lost: {is_power_lost}"));
            if !was_hit {
                assert!(n > 40, "{n}");
                break;
            }
        }
    }
}

#[test]
fn a_crash_while_a_log_is_made_leaves_a_whole_one_or_none() {
    let mut made = 0;
    for n in 0..20 {
        let fs = MemoryFileSystem::default();
        fs.set_fault(Some(Fault::StopAt(n)));
        let result = Wal::create(Arc::new(fs.clone()), dir(), b"whose", small());
        let is_ok = result.is_ok();
        drop(result);
        fs.crash();
        if Wal::exists(&fs, dir()).unwrap() {
            made += 1;
            assert_eq!(open(&fs).unwrap().1.metadata, "whose");
        } else {
            assert!(!is_ok, "step {n}");
            drop(create(&fs));
        }
    }
    assert!(made > 0 && made < 20, "{made}");
}

#[test]
fn a_crash_while_a_tail_is_mended_leaves_it_to_be_mended_again() {
    let fs = MemoryFileSystem::default();
    drop(log_of(&fs, 3));
    let whole = fs.bytes(&first_segment());
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut mended = 0;
    for n in 0..20 {
        let fs = MemoryFileSystem::default();
        fs.set_bytes(&first_segment(), &whole[..end - 20]);
        fs.set_fault(Some(Fault::StopAt(n)));
        mended += usize::from(open(&fs).is_ok());
        fs.crash();
        assert_eq!(open(&fs).unwrap().1.entries.len(), 3, "step {n}");
    }
    assert!(mended > 0 && mended < 20, "{mended}");
}

#[test]
fn a_failed_sync_is_final() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 2);
    wal.append(&[entry(3, 1, "x")], None).unwrap();
    fs.set_fault(Some(Fault::NoSync));
    assert!(matches!(wal.sync(), Err(Error::Sync { .. })));
    fs.set_fault(None);
    assert!(matches!(wal.sync(), Err(Error::Sync { .. })), "a second sync proves nothing");
    assert!(matches!(wal.append(&[entry(4, 1, "y")], None), Err(Error::Sync { .. })));
    assert!(matches!(wal.save_snapshot(2, 1, &ConfState::default()), Err(Error::Sync { .. })));
    assert!(matches!(wal.purge(2, 1), Err(Error::Sync { .. })));
}

#[test]
fn a_failed_sync_while_a_segment_is_begun_is_final() {
    let fs = MemoryFileSystem::default();
    let mut wal = log_of(&fs, 2);
    fs.set_fault(Some(Fault::NoSync));
    let large = [entry(3, 1, vec![1; 1000])];
    assert!(matches!(wal.append(&large, None), Err(Error::Sync { .. })));
    fs.set_fault(None);
    assert!(matches!(wal.append(&large, None), Err(Error::Sync { .. })));
}

#[test]
fn a_full_disk_still_has_the_segment_that_was_set_aside() {
    let fs = MemoryFileSystem::default();
    let mut wal = create(&fs);
    assert!(fs.names().contains(&"0.tmp".to_owned()));
    wal.append(&[entry(1, 1, vec![1; 800])], None).unwrap();
    wal.append(&[entry(2, 1, vec![2; 800])], None).unwrap();
    assert!(fs.names().contains(&segment::name(1, 2)), "{:?}", fs.names());
    assert!(fs.names().contains(&"1.tmp".to_owned()));
    drop(wal);
    assert!(!fs.names().iter().any(|name| name.ends_with(".tmp")), "{:?}", fs.names());
}
