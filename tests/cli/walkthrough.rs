//! The first walk of a newcomer, line by line, as it is told of etcd and in the README.

use crate::harness::Member;

fn grant(m: &Member, ttl: &str) -> String {
    let stdout = m.ctl(&["lease", "grant", ttl]).stdout;
    let id = stdout.strip_prefix("lease ").and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("{stdout:?}")).to_owned();
    assert_eq!((id.len(), stdout), (16, format!("lease {id} granted with TTL({ttl}s)\n")));
    id
}

#[test]
fn the_first_walk_goes_as_told() {
    let m = super::start();
    let version = m.server_version();
    let heads: Vec<&str> = version.lines().filter_map(|line| line.split_once(": ")).map(|(head, _)| head).collect();
    assert_eq!((heads.len(), heads[0], heads[1]), (4, "etcd Version", "Git SHA"), "{version}");
    assert!(heads[2].ends_with(" Version") && heads[3].ends_with(" OS/Arch"), "{version}");
    let version = m.ctl(&["version"]).stdout;
    assert!(version.starts_with("etcdctl version: 3.7.") && version.ends_with("\nAPI version: 3.7\n"), "{version}");

    m.ctl(&["put", "hello", "hello,etcd"]).says("OK\n");
    m.ctl(&["get", "hello"]).says("hello\nhello,etcd\n");
    for number in ["1", "2", "3"] {
        m.ctl(&["put", &format!("h{number}"), number]).says("OK\n");
    }
    m.ctl(&["get", "h1", "h4", "--print-value-only"]).says("1\n2\n3\n");
    m.ctl(&["get", "--prefix", "h", "--print-value-only"]).says("1\n2\n3\nhello,etcd\n");

    // The next revisions are 6 and 7: the watches need not have begun before the changes.
    let mut watch = m.begin(&["watch", "xxx", "--rev=6"]);
    let mut prefix = m.begin(&["watch", "--prefix", "xx", "--rev=6"]);
    m.ctl(&["put", "xxx", "1"]).says("OK\n");
    m.ctl(&["del", "xxx"]).says("1\n");
    watch.says(&["PUT", "xxx", "1", "DELETE", "xxx", ""]);
    prefix.says(&["PUT", "xxx", "1", "DELETE", "xxx", ""]);
    let mut interactive = m.begin(&["watch", "-i"]);
    interactive.write("watch h1 --rev=8\n");
    m.ctl(&["put", "h1", "one"]).says("OK\n");
    interactive.says(&["PUT", "h1", "one"]);
    interactive.write("watch h2 --rev=9\n");
    m.ctl(&["put", "h2", "two"]).says("OK\n");
    interactive.says(&["PUT", "h2", "two"]);
    interactive.write("progress\n");
    // Each of the two watchers is told.
    interactive.says(&["progress notify: 9", "progress notify: 9"]);

    let lease = grant(&m, "120");
    m.ctl(&["put", &format!("--lease={lease}"), "hello", "world"]).says("OK\n");
    m.ctl(&["get", "hello", "--print-value-only"]).says("world\n");
    m.ctl(&["lease", "revoke", &lease]).says(&format!("lease {lease} revoked\n"));
    m.ctl(&["get", "hello", "--print-value-only"]).says("");
    let short = grant(&m, "2");
    m.ctl(&["put", &format!("--lease={short}"), "hello", "world"]).says("OK\n");
    m.eventually(&["get", "hello", "--print-value-only"], str::is_empty);
    let kept = grant(&m, "60");
    let mut keep_alive = m.begin(&["lease", "keep-alive", &kept]);
    keep_alive.says(&[&format!("lease {kept} keepalived with TTL(60)")]);
    let long = grant(&m, "999");
    m.ctl(&["lease", "timetolive", "--keys", &long])
        .with_numbers_masked(&["remaining("])
        .says(&format!("lease {long} granted with TTL(999s), remaining(Ns), attached keys([])\n"));
}
