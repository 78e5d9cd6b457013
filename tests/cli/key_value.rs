//! get, put, del and compaction.

#[test]
fn a_key_is_put_read_and_deleted() {
    let m = super::start();
    m.ctl(&["put", "hello", "hello,etcd"]).says("OK\n");
    m.ctl(&["get", "hello"]).says("hello\nhello,etcd\n");
    m.ctl(&["put", "hello", "again", "--prev-kv"]).says("OK\nhello\nhello,etcd\n");
    m.ctl(&["del", "hello", "--prev-kv"]).says("1\nhello\nagain\n");
    m.ctl(&["get", "hello"]).says("");
    m.ctl(&["del", "hello"]).says("0\n");
}

#[test]
fn several_keys_are_read_by_range_prefix_and_from_a_key_on() {
    let m = super::start();
    for i in ["1", "2", "3"] {
        m.ctl(&["put", &format!("h{i}"), i]).says("OK\n");
    }
    m.ctl(&["get", "h1", "h4", "--print-value-only"]).says("1\n2\n3\n");
    m.ctl(&["get", "--prefix", "h", "--print-value-only"]).says("1\n2\n3\n");
    m.ctl(&["get", "--from-key", "h2"]).says("h2\n2\nh3\n3\n");
    m.ctl(&["get", "--prefix", "", "--keys-only"]).says("h1\n\nh2\n\nh3\n\n");
    m.ctl(&["get", "--prefix", "h", "--limit=1"]).says("h1\n1\n");
    m.ctl(&["get", "--prefix", "h", "--sort-by=VALUE", "--order=descend", "--print-value-only"]).says("3\n2\n1\n");
    m.ctl(&["get", "--prefix", "h", "--min-mod-rev=4"]).says("h3\n3\n");
    m.ctl(&["get", "--prefix", "h", "--stream", "--consistency=s"]).says("h1\n1\nh2\n2\nh3\n3\n");
    m.ctl(&["get", "h1", "--hex"]).says("\\x68\\x31\n\\x31\n");
    m.ctl(&["del", "h1", "h3", "--range"]).says("2\n");
}

#[test]
fn answers_in_json_are_those_of_gos_encoder() {
    let m = super::start();
    let header = |revision| format!("{{\"cluster_id\":CLUSTER,\"member_id\":MEMBER,\"revision\":{revision},\"raft_term\":2}}");
    m.ctl(&["put", "a", "x", "-w", "json"]).says(&format!("{{\"header\":{}}}\n", header(2)));
    m.ctl(&["put", "a", "", "--prev-kv", "-w=json"]).says(&format!(
        "{{\"header\":{},\"prev_kv\":{{\"key\":\"YQ==\",\"create_revision\":2,\"mod_revision\":2,\"version\":1,\"value\":\"eA==\"}}}}\n",
        header(3)
    ));
    let empty_pair = "{\"key\":\"YQ==\",\"create_revision\":2,\"mod_revision\":3,\"version\":2}";
    m.ctl(&["get", "a", "--write-out=json"]).says(&format!("{{\"header\":{},\"kvs\":[{empty_pair}],\"count\":1}}\n", header(3)));
    m.ctl(&["get", "nothing", "-w", "json"]).says(&format!("{{\"header\":{}}}\n", header(3)));
    m.ctl(&["del", "a", "--prev-kv", "-w", "json"])
        .says(&format!("{{\"header\":{},\"deleted\":1,\"prev_kvs\":[{empty_pair}]}}\n", header(4)));
}

#[test]
fn answers_in_fields_have_a_line_per_field() {
    let m = super::start();
    m.ctl_with(&["put", "bin"], b"x\xff\"\n", &[]).says("OK\n");
    let header = "\"ClusterID\" : CLUSTER\n\"MemberID\" : MEMBER\n\"Revision\" : 2\n\"RaftTerm\" : 2\n";
    let pair =
        "\"Key\" : \"bin\"\n\"CreateRevision\" : 2\n\"ModRevision\" : 2\n\"Version\" : 1\n\"Value\" : \"x\\xff\\\"\\n\"\n\"Lease\" : 0\n";
    m.ctl(&["get", "bin", "-w", "fields"]).says(&format!("{header}{pair}\"More\" : false\n\"Count\" : 1\n"));
    m.ctl(&["get", "bin", "--count-only", "-w", "fields"]).says(&format!("{header}\"More\" : false\n\"Count\" : 1\n"));
    m.ctl(&["get", "bin", "--hex", "-w", "fields"]).says(&format!(
        "{}{}\"More\" : false\n\"Count\" : 1\n",
        header.replace("CLUSTER\n", "CLUSTERHEX\n").replace("MEMBER\n", "MEMBERHEX\n"),
        pair.replace("\"Lease\" : 0", "\"Lease\" : 0000000000000000")
    ));
}

#[test]
fn a_refused_request_gives_the_members_words_and_exit_code_1() {
    let m = super::start();
    m.ctl(&["put", "", "v"]).fails(1, "Error: etcdserver: key is not provided\n");
    m.ctl(&["put", "--lease=123", "k", "v"]).fails(1, "Error: etcdserver: requested lease not found\n");
    m.ctl(&["put", "--ignore-value", "k"]).fails(1, "Error: etcdserver: key not found\n");
    m.ctl(&["get", "k", "--rev=100"]).fails(1, "Error: etcdserver: mvcc: required revision is a future revision\n");
}

#[test]
fn messages_above_a_limit_are_refused_by_the_side_that_sees_them() {
    let m = super::start();
    let put = |len| m.ctl_with(&["put", "k"], &vec![b'x'; len], &[]);
    put(1_500_000).says("OK\n");
    // Eight bytes more than the value: tags, lengths and the key.
    put(3_000_000)
        .fails(1, "Error: rpc error: code = ResourceExhausted desc = trying to send message larger than max (3000008 vs. 2097152)\n");
    put(1_900_000).fails(1, "Error: etcdserver: request is too large\n");
    m.ctl(&["get", "k", "--max-recv-bytes=1000"])
        .fails(1, "Error: rpc error: code = ResourceExhausted desc = grpc: received message larger than max (15000");
    assert_eq!(m.ctl(&["get", "k"]).stdout.len(), "k\n".len() + 1_500_000 + 1);
}

#[test]
fn history_before_a_compaction_is_gone() {
    let m = super::start();
    m.ctl(&["put", "k", "1"]).says("OK\n");
    m.ctl(&["put", "k", "2"]).says("OK\n");
    m.ctl(&["get", "k", "--rev=2"]).says("k\n1\n");
    m.ctl(&["compaction", "3", "--physical"]).says("compacted revision 3\n");
    m.ctl(&["get", "k", "--rev=2"]).fails(1, "Error: etcdserver: mvcc: required revision has been compacted\n");
    m.ctl(&["compaction", "3"]).fails(1, "Error: etcdserver: mvcc: required revision has been compacted\n");
    m.ctl(&["compaction", "99"]).fails(1, "Error: etcdserver: mvcc: required revision is a future revision\n");
    m.ctl(&["compaction", "x"]).fails(1, "Error: strconv.ParseInt: parsing \"x\": invalid syntax\n");
}

#[test]
fn a_member_that_is_down_is_passed_over() {
    let m = super::start();
    let down = crate::harness::free_port();
    let endpoints = format!("--endpoints=127.0.0.1:{down},{}", m.endpoint());
    m.ctl(&["put", "k", "v", &endpoints]).says("OK\n");
    m.ctl(&["get", "k", &endpoints]).says("k\nv\n");
    m.ctl(&["get", "k", &format!("--endpoints=127.0.0.1:{down}"), "--command-timeout=300ms"])
        .fails(1, "Error: context deadline exceeded\n");
    m.ctl(&["get", "k", "--endpoints="]).fails(2, "Error: etcdclient: no available endpoints\n");
}
