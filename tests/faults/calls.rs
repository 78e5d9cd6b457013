//! System calls of the log that fail, and kills in the middle of one: for each of the first calls in turn.
//!
//! ```text
//!   strace -e inject=<call>:<what>:when=N, on the log's first segment --> server <-- one writer
//!                                                                           |
//!   ended, or not, as it must; started again without strace <---------------+--> everything acknowledged is there
//! ```
//!
//! `ETCD_FAULT_CALLS` is the number of calls that are tried one by one (16 is the short run); `ETCD_FAULT_SKIP=1` skips all where
//! one process may not trace another.

use std::{ffi::OsString, path::Path, process::Command};

use bytes::Bytes;
use tonic::Code;

use crate::{
    harness::{ours, setting},
    member::{Member, NO_SPACE, Told},
    quota::disarm,
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

fn strace(log: &Path, notes: &Path, inject: &str) -> Vec<OsString> {
    // -D: the server stays our child. -P: only calls on this file count.
    let mut words: Vec<OsString> = ["strace", "-D", "-f", "-qq", "-o"].map(OsString::from).into();
    words.push(notes.join("strace").into());
    words.extend(["-P".into(), log.into(), "-e".into(), format!("inject={inject}").into()]);
    words
}

/// One run. Answers whether the fault was met.
async fn meet(inject: &str, must: Must) -> bool {
    let notes = tempfile::tempdir().expect("a directory");
    let data = notes.path().join("data");
    let log = data.join("member/wal/0000000000000000-0000000000000000.wal");
    let mut member = Member::new(&ours(), data, notes.path(), &[]);
    member.spawn(&strace(&log, notes.path(), inject));
    let mut told = Told::default();
    if member.is_ready().await {
        let mut clients = member.clients();
        let done = told.put_many(&mut clients, "k", PUTS, &Bytes::from_static(b"value")).await;
        if must == Must::Survive {
            if let Err(refused) = done {
                // The write itself waited for space; the alarm that it raised refuses the next ones (D2).
                assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, NO_SPACE));
                assert_eq!(disarm(&mut clients).await, 1);
                told.put(&mut clients, "after", Bytes::new()).await.expect("there is space");
            }
            assert!(member.is_alive(), "{inject} ended it\n{}", member.log_text());
        }
    } else if must == Must::Survive {
        // A member that cannot write its first entry does not start; nothing was promised yet.
        assert_eq!(member.end().await.code(), Some(1), "{inject}\n{}", member.log_text());
    }
    let trace = std::fs::read_to_string(notes.path().join("strace")).unwrap_or_default();
    let met = trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL");
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

async fn sweep(call: &str, what: &str, must: Must) {
    if !may_trace() {
        return;
    }
    let last = setting("ETCD_FAULT_CALLS", 16);
    let mut met = 0;
    for number in 1..=last {
        met += usize::from(meet(&format!("{call}:{what}:when={number}"), must).await);
    }
    println!("{call} {what}: {met} of {last} were met");
    assert!(met * 2 > last, "most of the calls happened: {met} of {last}");
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
