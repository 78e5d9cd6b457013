//! How a process ends when it is told to.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use etcd::server::signal::Stop;

use crate::harness::runner;

const CHILD: &str = "ETCD_TEST_WAITS_FOR_A_SIGNAL";
const LISTENING: &str = "listening";

/// Not a test by itself: the process that the next one stops.
#[test]
#[ignore = "only runs as the child of the test below"]
fn waits_for_a_signal() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let request = runtime.block_on(async {
        let mut stop = Stop::listen().expect("signals can be caught");
        println!("\n{LISTENING}");
        stop.requested().await
    });
    let code = request.leave();
    panic!("still here, with {code:?}");
}

#[test]
fn an_orderly_stop_ends_the_process_by_the_signal_that_asked_for_it() {
    for (name, number) in [("TERM", 15), ("INT", 2)] {
        let mut child = runner::command(std::env::current_exe().expect("this program"))
            .args(["--exact", "stop::waits_for_a_signal", "--nocapture", "--ignored"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line == LISTENING)), "the child listens");
        let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
        let status = child.wait().expect("it ends");
        assert_eq!((status.signal(), status.code()), (Some(number), None), "SIG{name}");
    }
}
