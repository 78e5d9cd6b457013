//! `check` and `make-mirror`: commands that put many keys.

#[test]
fn the_memory_that_data_takes_is_told_and_the_data_goes_again() {
    let m = super::start();
    let ran = m.ctl(&["check", "datascale", "--auto-compact", "--auto-defrag", "--prefix=/p/"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "Start data scale check for work load [10000 key-value pairs, 1024 bytes per key-value, 50 concurrent clients].",
            "Compacting with revision 10002",
            "Compacted with revision 10002",
            "Defragmenting \"ENDPOINT\"",
            "Defragmented \"ENDPOINT\"",
        ]
    );
    let megabytes = lines[5].strip_prefix("PASS: Approximate system memory used : ").and_then(|rest| rest.strip_suffix(" MB."));
    assert!(megabytes.is_some_and(|number| number.parse::<f64>().is_ok()) && lines.len() == 6, "{ran:?}");
    m.ctl(&["get", "--prefix", "/p/", "--limit=1"]).says("");
}

#[test]
#[cfg(unix)]
fn a_check_that_is_interrupted_tells_what_it_has_and_cleans_up() {
    let m = super::start();
    let mut check = m.begin(&["check", "perf", "--prefix=/p/"]);
    m.eventually(&["get", "--prefix", "/p/", "--limit=20", "--keys-only"], |stdout| stdout.lines().count() >= 40);
    check.interrupt();
    // How fast it was is this machine's business.
    for word in ["hroughput", "Slowest request took", "Stddev"] {
        let line = check.line();
        assert!(line.contains(word), "{line}");
    }
    let verdict = check.line();
    assert!(matches!(&verdict[..], "PASS" | "FAIL"), "{verdict}");
    assert_eq!(check.end(), Some(i32::from(verdict == "FAIL")));
    m.ctl(&["get", "--prefix", "/p/", "--limit=1"]).says("");
}

#[test]
fn a_check_refuses_what_it_cannot_do() {
    let m = super::start();
    m.ctl(&["check", "perf", "--load=huge"]).fails(4, "Error: unknown load option huge\n");
    m.ctl(&["check", "datascale", "--load=huge"]).fails(4, "Error: unknown load option huge\n");
    m.ctl(&["put", "/p/x", "1"]).says("OK\n");
    m.ctl(&["check", "perf", "--prefix=/p/"]).fails(3, "Error: prefix \"/p/\" has keys. Delete with 'etcdctl del --prefix /p/' first\n");
    m.ctl(&["check", "datascale", "--prefix=/p/"]).fails(3, "Error: prefix \"/p/\" has keys. Delete with etcdctl del --prefix /p/ first\n");
}

#[test]
fn a_mirror_has_the_keys_and_then_every_change_of_them() {
    let (from, to) = (super::start(), super::start());
    for number in 0..3 {
        from.ctl(&["put", &format!("a/{number}"), "old"]).says("OK\n");
    }
    from.ctl(&["put", "b", "left out"]).says("OK\n");
    let _mirror = from.begin(&["make-mirror", "--prefix=a/", "--dest-prefix=z/", &to.endpoint()]);
    to.eventually(&["get", "--prefix", ""], |stdout| stdout.contains("z/2"));
    from.ctl_with(&["txn"], b"\nput a/0 new\nput a/3 new\ndel a/1\n\n\n", &[]);
    to.eventually(&["get", "--prefix", "z"], |stdout| stdout == "z/0\nnew\nz/2\nold\nz/3\nnew\n");
    // Three keys and three changes, the changes in one transaction, on an empty cluster (but for the key that the test asks for).
    let revision = to.ctl(&["get", "z/3", "-w", "fields"]).stdout;
    assert!(revision.contains("\"ModRevision\" : 5\n"), "{revision}");
    to.ctl(&["get", "b"]).says("");
}

#[test]
fn a_mirror_keeps_the_prefix_unless_it_is_told_not_to() {
    let (from, to) = (super::start(), super::start());
    from.ctl(&["put", "a/b", "1"]).says("OK\n");
    let _kept = from.begin(&["make-mirror", "--prefix=a/", &to.endpoint()]);
    let _dropped = from.begin(&["make-mirror", "--prefix=a/", "--no-dest-prefix", &to.endpoint()]);
    to.eventually(&["get", "--prefix", "", "--keys-only"], |stdout| stdout == "a/b\n\nb\n\n");
}

#[test]
fn a_mirror_from_a_revision_drops_the_prefix() {
    let (from, to) = (super::start(), super::start());
    for value in ["first", "second", "third"] {
        from.ctl(&["put", "a/b", value]).says("OK\n");
    }
    let _mirror = from.begin(&["make-mirror", "--prefix=a/", "--rev=3", &to.endpoint()]);
    to.eventually(&["get", "--prefix", ""], |stdout| stdout == "b\nthird\n");
    let version = to.ctl(&["get", "b", "-w", "fields"]).stdout;
    assert!(version.contains("\"Version\" : 2\n"), "the first change was not copied: {version}");
}

#[test]
fn a_mirror_ends_with_an_error() {
    let m = super::start();
    m.ctl(&["make-mirror"]).fails(128, "Error: make-mirror takes one destination argument\n");
    m.ctl(&["make-mirror", "--dest-prefix=a", "--no-dest-prefix", &m.endpoint()])
        .fails(128, "Error: `--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one\n");
    for value in ["1", "2", "3"] {
        m.ctl(&["put", "a", value]).says("OK\n");
    }
    m.ctl(&["compaction", "4"]).says("compacted revision 4\n");
    m.ctl(&["make-mirror", "--rev=2", &m.endpoint()]).fails(1, "Error: etcdserver: mvcc: required revision has been compacted\n");
}
