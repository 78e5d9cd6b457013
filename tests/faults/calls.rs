//! System calls of the log that fail, and kills in the middle of one: for each of its calls in turn.
//!
//! ```text
//!   strace -e inject=<call>:<what>:when=N, on the log's first segment --> server <-- one writer
//!                                                                           |
//!   ended, or not, as it must; started again without strace <---------------+--> everything acknowledged is there
//! ```
//!
//! `ETCD_FAULT_CALLS` is the number of calls that are tried one by one (16 is the short run, 0 is the long one: each that the writer
//! brings about); `ETCD_FAULT_SKIP=1` skips all where one process may not trace another.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tonic::Code;

use crate::{
    harness::{ours, setting},
    member::{Member, NO_SPACE, Told, disarm},
};

const PUTS: usize = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    /// End by itself, with code 1 and a line that says why.
    Fail,
    /// Go on.
    Survive,
    /// Be gone, by the signal that was sent.
    BeKilled,
}

/// False where the operator said so; a failure where tracing is not possible and nobody said so.
fn may_trace() -> bool {
    if std::env::var_os("ETCD_FAULT_SKIP").is_some() {
        println!("skipped: ETCD_FAULT_SKIP is set");
        return false;
    }
    let tried = Command::new("strace").args(["-D", "-f", "-qq", "-o", "/dev/null", "true"]).output();
    match tried {
        Ok(done) if done.status.success() => true,
        Ok(done) => panic!("strace may not trace here ({}); set ETCD_FAULT_SKIP=1 to go without", String::from_utf8_lossy(&done.stderr)),
        Err(error) => panic!("strace cannot be run ({error}); install it, or set ETCD_FAULT_SKIP=1 to go without"),
    }
}

fn strace(files: &[PathBuf], notes: &Path, inject: &str) -> Vec<OsString> {
    // -D: the server stays our child. -P: only calls on these files count.
    let mut words: Vec<OsString> = ["strace", "-D", "-f", "-qq", "-o"].map(OsString::from).into();
    words.push(notes.join("strace").into());
    for file in files {
        words.extend(["-P".into(), file.into()]);
    }
    words.extend(["-e".into(), format!("inject={inject}").into()]);
    words
}

/// One run. Answers whether the fault was met.
async fn meet(inject: &str, must: Must) -> bool {
    let notes = tempfile::tempdir().expect("a directory");
    let data = notes.path().join("data");
    let log = data.join("member/wal/0000000000000000-0000000000000000.wal");
    let mut member = Member::new(&ours(), data, notes.path(), &[]);
    member.spawn(&strace(&[log], notes.path(), inject));
    let mut told = Told::default();
    let mut all_done = false;
    if member.is_ready().await {
        let mut clients = member.clients();
        let done = told.put_many(&mut clients, "k", PUTS, &Bytes::from_static(b"value")).await;
        all_done = done.is_ok();
        if must == Must::Survive {
            if let Err(refused) = done {
                // The write itself waited for space; the alarm that it raised refuses the next ones (D2).
                assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, NO_SPACE));
                assert_eq!(disarm(&mut clients).await.expect("alarms are told"), 1);
                told.put(&mut clients, "after", Bytes::new()).await.expect("there is space");
            }
            assert!(member.is_alive(), "{inject} ended it\n{}", member.log_text());
        }
    } else if must == Must::Survive {
        // A member that cannot write its first entry does not start; nothing was promised yet.
        assert_eq!(member.end().await.code(), Some(1), "{inject}\n{}", member.log_text());
    }
    // A call that fails is in the trace before the server learns of it. A kill gets there later than a client feels it.
    let trace = std::fs::read_to_string(notes.path().join("strace")).unwrap_or_default();
    let met = if must == Must::BeKilled { !all_done } else { trace.contains("(INJECTED)") };
    if met && must != Must::Survive {
        use std::os::unix::process::ExitStatusExt;
        let status = member.end().await;
        match must {
            Must::Fail => {
                assert_eq!(status.code(), Some(1), "{inject}: {status}\n{}", member.log_text());
                let errors = member.lines_at("error");
                assert_eq!(errors.len(), 1, "{inject}: one line says why\n{}", member.log_text());
            }
            _ => assert_eq!(status.signal(), Some(9), "{inject}: {status}\n{}", member.log_text()),
        }
    } else {
        member.kill();
    }
    member.start().await;
    told.check(&mut member.clients()).await;
    met
}

/// Calls behind the last that was met after which the writer is taken to have made no more. A run may make a few less than another:
/// writes and syncs of a batch fall together as the scheduler likes it.
const BEHIND_THE_LAST: usize = 4;

async fn sweep(call: &str, what: &str, must: Must) {
    if !may_trace() {
        return;
    }
    let limit = match setting("ETCD_FAULT_CALLS", 16) {
        0 => usize::MAX,
        calls => calls,
    };
    let (mut met, mut last_met, mut number) = (0, 0, 0);
    while number < limit && number < last_met + BEHIND_THE_LAST {
        number += 1;
        if meet(&format!("{call}:{what}:when={number}"), must).await {
            (met, last_met) = (met + 1, number);
        }
    }
    println!("{call} {what}: {met} of {number} were met, the last was {last_met}");
    assert!(met * 2 > number, "most of the calls happened: {met} of {number}");
    assert!(limit < usize::MAX || met > PUTS, "each put makes such a call: {met}");
}

/// A member that cannot set space aside, whatever the reason, is as good as another.
#[tokio::test]
async fn space_that_cannot_be_set_aside_for_the_log_is_no_fault() {
    if !may_trace() {
        return;
    }
    for (error, must_start) in [("EOPNOTSUPP", true), ("ENOSYS", true), ("EINTR:when=1", true), ("ENOSPC", false), ("EIO", false)] {
        let notes = tempfile::tempdir().expect("a directory");
        let data = notes.path().join("data");
        let mut member = Member::new(&ours(), data, notes.path(), &[]);
        // On any file: the log, those that it sets aside, and those of the state engine.
        member.spawn(&strace(&[], notes.path(), &format!("fallocate:error={error}")));
        let mut told = Told::default();
        if member.is_ready().await {
            let mut clients = member.clients();
            told.put_many(&mut clients, "k", PUTS, &Bytes::from_static(b"value")).await.expect("a write needs no such space");
            assert!(member.is_alive(), "{error} ended it\n{}", member.log_text());
            member.kill();
        } else {
            assert!(!must_start, "{error} ended it\n{}", member.log_text());
            assert_eq!(member.end().await.code(), Some(1), "{error}\n{}", member.log_text());
            assert_eq!(member.lines_at("error").len(), 1, "{error}: one line says why\n{}", member.log_text());
        }
        let trace = std::fs::read_to_string(notes.path().join("strace")).expect("a trace");
        assert!(trace.contains("(INJECTED)"), "{error} was not met");
        member.start().await;
        told.check(&mut member.clients()).await;
        // With a log that exists, none of it matters, on a restart either.
        member.kill();
        member.spawn(&strace(&[], notes.path(), &format!("fallocate:error={error}")));
        assert!(member.is_ready().await, "{error} ended the restart\n{}", member.log_text());
        told.put(&mut member.clients(), "after", Bytes::new()).await.expect("a write needs no such space");
        told.check(&mut member.clients()).await;
    }
}

#[tokio::test]
async fn a_failing_sync_of_the_log_ends_the_member_and_loses_nothing() {
    sweep("fdatasync", "error=EIO", Must::Fail).await;
}

#[tokio::test]
async fn a_failing_write_of_the_log_ends_the_member_and_loses_nothing() {
    sweep("pwrite64", "error=EIO", Must::Fail).await;
}

#[tokio::test]
async fn a_full_disk_under_the_log_does_not_end_the_member() {
    sweep("pwrite64", "error=ENOSPC", Must::Survive).await;
}

#[tokio::test]
async fn a_kill_in_a_write_of_the_log_loses_nothing() {
    sweep("pwrite64", "signal=KILL", Must::BeKilled).await;
}

#[tokio::test]
async fn a_kill_in_a_sync_of_the_log_loses_nothing() {
    sweep("fdatasync", "signal=KILL", Must::BeKilled).await;
}

/// After a flush that met a full disk RocksDB refuses every write until its own next try, and may wait for good: with room on the disk
/// only a new start helps, which replays the log.
#[tokio::test]
async fn an_engine_that_refuses_though_there_is_room_ends_the_member_and_loses_nothing() {
    if !may_trace() {
        return;
    }
    let notes = tempfile::tempdir().expect("a directory");
    let data = notes.path().join("data");
    let tables: Vec<PathBuf> = (0..500).map(|number| data.join(format!("member/db/{number:06}.sst"))).collect();
    let mut member = Member::new(&ours(), data, notes.path(), &[]);
    member.spawn(&strace(&tables, notes.path(), "write:error=ENOSPC"));
    assert!(member.is_ready().await, "it did not start\n{}", member.log_text());
    let mut told = Told::default();
    // More than the engine keeps in memory.
    let refused = told.put_many(&mut member.clients(), "k", 1_000, &Bytes::from(vec![b'v'; 1 << 20])).await;
    let refused = refused.expect_err("the engine takes no more").to_string();
    assert_eq!(member.end().await.code(), Some(1), "{refused}\n{}", member.log_text());
    let why = member.lines_at("error").pop().unwrap_or_default();
    assert!(why.contains("the state engine takes no writes, though the disk has room again"), "{why}\n{}", member.log_text());
    let trace = std::fs::read_to_string(notes.path().join("strace")).expect("a trace");
    assert!(trace.contains("(INJECTED)"), "no table was written");
    println!("{} puts, then {refused}", told.len());
    assert!(told.len() > 0, "something was acknowledged");
    member.start().await;
    told.check(&mut member.clients()).await;
    disarm(&mut member.clients()).await.expect("alarms are told");
    told.put(&mut member.clients(), "after", Bytes::new()).await.expect("there is space");
}

/// Writers told so at once, in etcd's words (ERR-8), may come back; what was not refused is written.
#[tokio::test(flavor = "multi_thread")]
async fn writes_beyond_what_waits_for_a_slow_log_are_too_many_requests() {
    if !may_trace() {
        return;
    }
    const WRITERS: usize = 120;
    const SLOW: Duration = Duration::from_secs(3);
    let notes = tempfile::tempdir().expect("a directory");
    let data = notes.path().join("data");
    let log = data.join("member/wal/0000000000000000-0000000000000000.wal");
    // Nobody who waits for a slow disk is told that it took too long: that time grows with the election's.
    let mut member = Member::new(&ours(), data, notes.path(), &["--election-timeout=10000", "--heartbeat-interval=1000"]);
    // From some sync on each takes as long as on the worst of disks, so that a mebibyte from each writer gathers behind one.
    member.spawn(&strace(&[log], notes.path(), &format!("fdatasync:delay_enter={}:when=20+", SLOW.as_micros())));
    assert!(member.is_ready().await, "it did not start\n{}", member.log_text());
    let mut told = Told::default();
    loop {
        let start = Instant::now();
        told.put(&mut member.clients(), &format!("before{}", told.len()), Bytes::new()).await.expect("a put");
        if start.elapsed() >= SLOW {
            break;
        }
    }
    let value = Bytes::from(vec![b'v'; 1 << 20]);
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (mut clients, value) = (member.clients(), value.clone());
            tokio::spawn(async move {
                let mut told = Told::default();
                let answer = told.put(&mut clients, &format!("k{number}"), value).await;
                (told, answer)
            })
        })
        .collect();
    let mut refused = 0;
    for writer in writers {
        let (one, answer) = writer.await.expect("a writer does not panic");
        told.extend(one);
        if let Err(status) = answer {
            assert_eq!((status.code(), status.message()), (Code::Unknown, "etcdserver: too many requests"));
            refused += 1;
        }
    }
    assert!(refused > 0 && refused < WRITERS, "{refused} of {WRITERS} were refused");
    assert!(member.is_alive(), "{}", member.log_text());
    member.kill();
    member.start().await;
    told.check(&mut member.clients()).await;
}
