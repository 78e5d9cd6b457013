//! Watching, printed, interactive and with a command.

// A watch that starts at revision 2, the first of a fresh member, sees every event whether it starts before or after it.

#[test]
fn changes_of_a_key_are_shown_as_they_happen() {
    let m = super::start();
    let mut watch = m.begin(&["watch", "xxx", "--rev=2"]);
    let mut prefix = m.begin(&["watch", "--prefix", "xx", "--rev=2", "--prev-kv"]);
    m.ctl(&["put", "xxx", "1"]).says("OK\n");
    watch.says(&["PUT", "xxx", "1"]);
    m.ctl(&["put", "xx", "2"]).says("OK\n");
    m.ctl(&["del", "xxx"]).says("1\n");
    watch.says(&["DELETE", "xxx", ""]);
    prefix.says(&["PUT", "xxx", "1", "PUT", "xx", "2", "DELETE", "xxx", "1", "xxx", ""]);
}

#[test]
fn several_keys_are_watched_interactively() {
    let m = super::start();
    let mut watch = m.begin(&["watch", "-i"]);
    watch.write("watch h1 --rev 2\n");
    m.ctl(&["put", "h1", "a"]).says("OK\n");
    watch.says(&["PUT", "h1", "a"]);
    watch.write("watch 'h2' --rev 3\nbogus\n");
    m.ctl(&["put", "h2", "b"]).says("OK\n");
    watch.says(&["PUT", "h2", "b"]);
    watch.write("progress\n");
    // Progress goes to each of the watchers.
    watch.says(&["progress notify: 3", "progress notify: 3"]);
    watch.close_stdin();
    assert_eq!(watch.end(), Some(3));
}

#[test]
fn events_in_json_and_fields() {
    let m = super::start();
    m.ctl(&["put", "w", "v\"2"]).says("OK\n");
    m.ctl(&["del", "w"]).says("1\n");
    let json = |revision, event: &str| {
        m.masked(
            format!(
                "{{\"Header\":{{\"cluster_id\":CLUSTER,\"member_id\":MEMBER,\"revision\":{revision},\"raft_term\":2}},\"Events\":[{event}],\
                 \"CompactRevision\":0,\"Canceled\":false,\"Created\":false,\"CancelReason\":\"\"}}"
            )
            .as_bytes(),
        )
    };
    let put = "{\"kv\":{\"key\":\"dw==\",\"create_revision\":2,\"mod_revision\":2,\"version\":1,\"value\":\"diIy\"}}";
    let delete = "{\"type\":1,\"kv\":{\"key\":\"dw==\",\"mod_revision\":3},\
                  \"prev_kv\":{\"key\":\"dw==\",\"create_revision\":2,\"mod_revision\":2,\"version\":1,\"value\":\"diIy\"}}";
    let both = m.begin(&["watch", "w", "--rev=2", "-w", "json", "--prev-kv"]).line();
    assert_eq!(m.masked(both.as_bytes()), json(3, &format!("{put},{delete}")));
    let mut fields = m.begin(&["watch", "w", "--rev=3", "-w", "fields"]);
    (0..4).for_each(|_| drop(fields.line()));
    fields.says(&[
        "\"Type\" : DELETE",
        "\"Key\" : \"w\"",
        "\"CreateRevision\" : 0",
        "\"ModRevision\" : 3",
        "\"Version\" : 0",
        "\"Value\" : \"\"",
    ]);
}

#[cfg(unix)]
#[test]
fn a_command_is_run_for_each_event() {
    let m = super::start();
    let script = "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE \"$0\"";
    let mut watch = m.begin(&["watch", "w", "--rev=2", "--", "sh", "-c", script, "an argument"]);
    m.ctl(&["put", "w", "v 1"]).says("OK\n");
    watch.says(&["PUT", "w", "v 1", "2 \"PUT\" \"w\" \"v 1\" an argument"]);
    m.ctl(&["watch", "w", "--rev=2", "--", "false"]).fails(1, "command [\"false\"] error (exit status 1)\n");
}

#[test]
fn a_watch_goes_on_where_it_was_when_the_member_comes_back() {
    let mut m = super::start();
    let mut watch = m.begin(&["watch", "k", "--rev=2"]);
    m.ctl(&["put", "k", "before"]).says("OK\n");
    watch.says(&["PUT", "k", "before"]);
    m.restart_server();
    m.ctl(&["put", "k", "after"]).says("OK\n");
    watch.says(&["PUT", "k", "after"]);
}

#[test]
fn a_watch_of_compacted_history_is_cancelled_with_exit_code_5() {
    let m = super::start();
    m.ctl(&["put", "k", "1"]).says("OK\n");
    m.ctl(&["put", "k", "2"]).says("OK\n");
    m.ctl(&["compaction", "3"]).says("compacted revision 3\n");
    let cancelled = "watch was canceled (etcdserver: mvcc: required revision has been compacted)\nError: watch is canceled by the server\n";
    m.ctl(&["watch", "k", "--rev=2"]).fails(5, cancelled);
}

#[test]
fn a_watch_with_wrong_arguments_says_which() {
    let m = super::start();
    m.ctl(&["watch"]).fails(128, "Error: bad number of arguments\n");
    m.ctl(&["watch", "a", "--"]).fails(128, "Error: bad number of arguments (found separator --, but no commands)\n");
    m.ctl(&["watch", "a", "b", "--prefix"]).fails(128, "Error: `range_end` and `--prefix` are mutually exclusive\n");
    let with = |variable| m.ctl_with(&["watch", "a"], b"", &[(variable, "x")]);
    with("ETCDCTL_WATCH_KEY").fails(128, "Error: bad number of arguments (found conflicting environment key)\n");
    with("ETCDCTL_WATCH_RANGE_END").fails(128, "Error: ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"x\"\n");
    m.ctl_with(&["watch", "-i"], b"watch --bogus\n", &[]).fails(128, "Error: unknown flag: --bogus\n");
}
