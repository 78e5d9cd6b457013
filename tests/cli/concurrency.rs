//! Locks and elections between commands of different processes.

/// The key line that `lock` and `elect` print, without the lease that ends it.
#[cfg(unix)]
fn name(line: &str) -> &str {
    let (name, lease) = line.rsplit_once('/').unwrap_or_else(|| panic!("a key is in {line:?}"));
    assert!(!lease.is_empty() && lease.chars().all(|c| c.is_ascii_hexdigit()), "{line}");
    name
}

#[test]
#[cfg(unix)]
fn a_lock_is_held_until_the_holder_is_told_to_end() {
    let m = super::start();
    let mut first = m.begin(&["lock", "l"]);
    assert_eq!(name(&first.line()), "l");
    first.says(&[""]);
    let mut second = m.begin(&["lock", "l"]);
    m.eventually(&["get", "--prefix", "l/", "--keys-only"], |stdout| stdout.lines().count() == 4);
    first.interrupt();
    assert_eq!(name(&second.line()), "l");
    assert_eq!(first.end(), Some(0));
    second.interrupt();
    assert_eq!(second.end(), Some(0));
    m.ctl(&["get", "--prefix", "l/"]).says("");
}

#[test]
#[cfg(unix)]
fn who_waits_for_a_lock_leaves_when_told_to() {
    let m = super::start();
    let mut holder = m.begin(&["lock", "l"]);
    let key = holder.line();
    let waiting = m.begin(&["lock", "l", "true"]);
    m.eventually(&["get", "--prefix", "l/", "--keys-only"], |stdout| stdout.lines().count() == 4);
    waiting.interrupt();
    assert_eq!(waiting.end(), Some(1));
    m.ctl(&["get", "--prefix", "l/", "--keys-only"]).says(&format!("{key}\n\n"));
}

#[test]
#[cfg(unix)]
fn a_lock_that_is_lost_ends_its_holder() {
    let m = super::start();
    let mut holder = m.begin(&["lock", "l", "--ttl=2"]);
    let key = holder.line();
    m.ctl(&["lease", "revoke", key.rsplit_once('/').expect("a lease").1]);
    assert_eq!(holder.end(), Some(1));
}

#[test]
#[cfg(unix)]
fn a_lock_is_held_for_as_long_as_a_command_runs() {
    let m = super::start();
    let script = "echo \"$ETCD_LOCK_KEY at $ETCD_LOCK_REV\"; exit 3";
    let ran = m.ctl(&["lock", "--", "l", "sh", "-c", script]);
    let (key, revision) = ran.stdout.trim_end().split_once(" at ").unwrap_or_else(|| panic!("{ran:?}"));
    assert_eq!((name(key), revision), ("l", "2"));
    ran.fails(3, "Error: exit status 3\n");
    m.ctl(&["lock", "l", "true"]).says("");
    if !crate::runner::is_spawning_by_fork() {
        m.ctl(&["lock", "l", "no-such-program"]).fails(1, "Error: exec: \"no-such-program\": executable file not found in $PATH\n");
        m.ctl(&["lock", "l", "./no-such-program"]).fails(1, "Error: fork/exec ./no-such-program: no such file or directory\n");
    }
    m.ctl(&["lock", "--", "l", "sh", "-c", "kill -9 $$"]).fails(255, "Error: signal: ");
    m.ctl(&["get", "--prefix", "l/"]).says("");
    m.ctl(&["lock"]).fails(128, "Error: lock takes a lock name argument and an optional command to execute\n");
}

#[test]
#[cfg(unix)]
fn an_election_is_won_observed_and_handed_on() {
    let m = super::start();
    let mut observer = m.begin(&["elect", "-l", "e"]);
    let mut first = m.begin(&["elect", "e", "one"]);
    let key = first.line();
    assert_eq!(name(&key), "e");
    first.says(&["one"]);
    observer.says(&[&key, "one"]);
    let mut second = m.begin(&["elect", "e", "two"]);
    m.eventually(&["get", "--prefix", "e/", "--keys-only"], |stdout| stdout.lines().count() == 4);
    m.ctl(&["put", "--ignore-lease", &key, "one more"]).says("OK\n");
    observer.says(&[&key, "one more"]);
    first.interrupt();
    assert_eq!(first.end(), Some(0));
    let key = second.line();
    second.says(&["two"]);
    observer.says(&[&key, "two"]);
    observer.interrupt();
    assert_eq!(observer.end(), Some(0));
    second.interrupt();
    assert_eq!(second.end(), Some(0));
    m.ctl(&["get", "--prefix", "e/"]).says("");
}

#[test]
fn an_election_is_either_stood_for_or_observed() {
    let m = super::start();
    m.ctl(&["elect"]).fails(128, "Error: elect takes one election name argument and an optional proposal argument\n");
    m.ctl(&["elect", "e"]).fails(128, "Error: no proposal argument but -l not set\n");
    m.ctl(&["elect", "-l", "e", "v"]).fails(128, "Error: proposal given but -l is set\n");
}
