//! Members and endpoints.

const NUMBERS: [&str; 3] = ["\"raftIndex\":", "\"raftAppliedIndex\":", "\"hash\":"];

#[test]
fn members_are_listed_in_every_format() {
    let m = super::start();
    m.ctl(&["member", "list"]).says("MEMBERHEX, started, m1, http://PEER, http://ENDPOINT, false\n");
    m.ctl(&["mem", "li", "-w", "json"]).says(
        "{\"header\":{\"cluster_id\":CLUSTER,\"member_id\":MEMBER,\"raft_term\":2},\
         \"members\":[{\"ID\":MEMBER,\"name\":\"m1\",\"peerURLs\":[\"http://PEER\"],\"clientURLs\":[\"http://ENDPOINT\"]}]}\n",
    );
    m.ctl(&["member", "list", "-w", "json", "--hex"]).says(
        "{\"header\":{\"cluster_id\":\"CLUSTERHEX\",\"member_id\":\"MEMBERHEX\",\"raft_term\":2},\
         \"members\":[{\"ID\":\"MEMBERHEX\",\"name\":\"m1\",\"peerURLs\":[\"http://PEER\"],\"clientURLs\":[\"http://ENDPOINT\"]}]}\n",
    );
    m.ctl(&["member", "list", "-w", "fields"]).says(
        "\"ClusterID\" : CLUSTER\n\"MemberID\" : MEMBER\n\"RaftTerm\" : 2\n\
         \"ID\" : MEMBER\n\"Name\" : \"m1\"\n\"PeerURL\" : \"http://PEER\"\n\"ClientURL\" : \"http://ENDPOINT\"\n\"IsLearner\" : false\n\n",
    );
    let table = m.ctl(&["member", "list", "-w", "table"]).stdout;
    assert_eq!(table.lines().nth(3).unwrap(), "│ MEMBERHEX │ started │   m1 │ http://PEER │ http://ENDPOINT │      false │");
    m.ctl(&["member", "list", "--consistency=x"]).fails(4, "Error: unknown consistency flag");
}

#[test]
fn an_endpoint_says_how_it_is() {
    let m = super::start();
    let took = ["took = ", "\"took\":\""];
    let health = |words: &[&str]| m.ctl(words).with_durations_masked(&took);
    health(&["endpoint", "health"]).says("ENDPOINT is healthy: successfully committed proposal: took = N\n");
    health(&["endpoint", "health", "--cluster", "-w", "json"])
        .says("[{\"endpoint\":\"http://ENDPOINT\",\"health\":true,\"took\":\"N\"}]\n");
    m.ctl(&["endpoint", "hashkv", "-w", "json"]).with_numbers_masked(&NUMBERS).says(
        "[{\"Endpoint\":\"ENDPOINT\",\"HashKV\":{\"header\":{\"cluster_id\":CLUSTER,\"member_id\":MEMBER,\"revision\":1,\"raft_term\":2},\
         \"hash\":N,\"compact_revision\":-1,\"hash_revision\":1}}]\n",
    );
    let status = m.ctl(&["endpoint", "status"]).stdout;
    let columns: Vec<_> = status.trim_end().split(", ").collect();
    assert_eq!(
        (columns.len(), columns[0], columns[1], columns[8], columns[9], columns[15]),
        (16, "ENDPOINT", "MEMBERHEX", "true", "false", "false")
    );
    m.ctl(&["endpoint", "health", "-w", "protobuf"]).fails(4, "Error: protobuf not supported as output format\n");
}

#[test]
fn an_endpoint_that_is_down_is_unhealthy() {
    let m = super::start();
    let down = format!("127.0.0.1:{}", crate::harness::free_port());
    let endpoints = format!("--endpoints={down}");
    m.ctl(&["endpoint", "health", &endpoints, "--command-timeout=300ms"])
        .fails(1, &format!("{down} is unhealthy: failed to commit proposal: context deadline exceeded\nError: unhealthy cluster\n"));
    m.ctl(&["endpoint", "status", &endpoints, "--command-timeout=300ms"])
        .fails(1, &format!("Failed to get the status of endpoint {down} (context deadline exceeded)\n"));
}

#[test]
fn members_are_defragmented_one_by_one() {
    let m = super::start();
    m.ctl(&["defrag"]).with_durations_masked(&["took "]).says("Finished defragmenting etcd member[ENDPOINT]. took N\n");
    m.ctl(&["defrag", "--cluster"]).with_durations_masked(&["took "]).says("Finished defragmenting etcd member[http://ENDPOINT]. took N\n");
}

#[test]
fn disarming_no_alarm_has_an_answer_without_header() {
    let m = super::start();
    m.ctl(&["alarm", "list"]).says("");
    m.ctl(&["alarm", "list", "-w", "json"])
        .says("{\"header\":{\"cluster_id\":CLUSTER,\"member_id\":MEMBER,\"revision\":1,\"raft_term\":2}}\n");
    m.ctl(&["alarm", "disarm", "-w", "json"]).says("{}\n");
    m.ctl(&["alarm", "list", "x"]).fails(128, "Error: alarm list command accepts no arguments\n");
}

#[test]
fn a_downgrade_is_validated_and_cancelled() {
    let m = super::start();
    m.ctl(&["downgrade", "validate", "3.6"]).says("Downgrade validate success, cluster version 3.7\n");
    m.ctl(&["downgrade", "cancel", "-w", "json"])
        .says("{\"header\":{\"cluster_id\":CLUSTER,\"member_id\":MEMBER,\"revision\":1,\"raft_term\":2},\"version\":\"3.7\"}\n");
    m.ctl(&["downgrade", "validate", "3.5"]).fails(1, "Error: etcdserver: invalid downgrade target version\n");
    m.ctl(&["downgrade", "validate"]).fails(128, "Error: TARGET_VERSION not provided\n");
    m.ctl(&["downgrade", "enable", "3.6", "x"]).fails(128, "Error: too many arguments\n");
    m.ctl(&["downgrade", "validate", "3.6", "-w", "fields"]).fails(4, "Error: fields not supported as output format\n");
}
