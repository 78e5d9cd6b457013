//! Leases from grant to revoke.

use crate::harness::Member;

fn grant(m: &Member, ttl: &str) -> String {
    let stdout = m.ctl(&["lease", "grant", ttl]).stdout;
    let id = stdout.split(' ').nth(1).unwrap_or_else(|| panic!("an id is in {stdout:?}")).to_owned();
    assert_eq!(stdout, format!("lease {id} granted with TTL({ttl}s)\n"));
    assert_eq!(id.len(), 16);
    id
}

#[test]
fn a_lease_is_granted_looked_at_and_revoked_with_its_keys() {
    let m = super::start();
    let id = grant(&m, "120");
    m.ctl(&["put", &format!("--lease={id}"), "hello", "world"]).says("OK\n");
    let remaining = ["remaining("];
    m.ctl(&["lease", "timetolive", &id])
        .with_numbers_masked(&remaining)
        .says(&format!("lease {id} granted with TTL(120s), remaining(Ns)\n"));
    m.ctl(&["lease", "timetolive", "--keys", &id])
        .with_numbers_masked(&remaining)
        .says(&format!("lease {id} granted with TTL(120s), remaining(Ns), attached keys([hello])\n"));
    m.ctl(&["lease", "keep-alive", "--once", &id]).says(&format!("lease {id} keepalived with TTL(120)\n"));
    m.ctl(&["lease", "list"]).says(&format!("found 1 leases\n{id}\n"));
    m.ctl(&["lease", "revoke", &id]).says(&format!("lease {id} revoked\n"));
    m.ctl(&["get", "hello"]).says("");
    m.ctl(&["lease", "timetolive", &id]).says(&format!("lease {id} already expired\n"));
    m.ctl(&["lease", "list"]).says("found 0 leases\n");
}

#[test]
fn a_lease_is_kept_alive_until_it_is_revoked() {
    let m = super::start();
    let id = grant(&m, "2");
    let mut keep_alive = m.begin(&["lease", "keep-alive", &id]);
    let alive = format!("lease {id} keepalived with TTL(2)");
    keep_alive.says(&[&alive, &alive, &alive]);
    m.ctl(&["lease", "revoke", &id]).says(&format!("lease {id} revoked\n"));
    let gone = format!("lease {id} expired or revoked.");
    loop {
        match keep_alive.line() {
            line if line == gone => break,
            line => assert_eq!(line, alive),
        }
    }
    assert_eq!(keep_alive.end(), Some(0));
}

#[test]
fn leases_in_json_and_fields_have_the_header_among_their_own_fields() {
    let m = super::start();
    let id = grant(&m, "60");
    let number = i64::from_str_radix(&id, 16).unwrap();
    let header = "{\"cluster_id\":CLUSTER,\"member_id\":MEMBER,\"revision\":1,\"raft_term\":2,";
    m.ctl(&["lease", "timetolive", &id, "-w", "json"])
        .with_numbers_masked(&["\"ttl\":"])
        .says(&format!("{header}\"id\":{number},\"ttl\":N,\"granted-ttl\":60,\"keys\":null}}\n"));
    m.ctl(&["lease", "keep-alive", "--once", &id, "-w", "json"]).says(&format!("{header}\"ID\":{number},\"TTL\":60}}\n"));
    m.ctl(&["lease", "list", "-w", "json"]).says(&format!("{header}\"leases\":[{{\"id\":{number}}}]}}\n"));
    m.ctl(&["lease", "keep-alive", "--once", &id, "-w", "fields"]).says(&format!(
        "\"ClusterID\" : CLUSTER\n\"MemberID\" : MEMBER\n\"Revision\" : 1\n\"RaftTerm\" : 2\n\"ID\" : {number}\n\"TTL\" : 60\n"
    ));
    m.ctl(&["lease", "grant", "60", "-w", "json"])
        .with_numbers_masked(&["\"ID\":"])
        .says(&format!("{header}\"ID\":N,\"TTL\":60,\"Error\":\"\"}}\n"));
    m.ctl(&["lease", "revoke", &id, "-w", "json"])
        .says("{\"header\":{\"cluster_id\":CLUSTER,\"member_id\":MEMBER,\"revision\":1,\"raft_term\":2}}\n");
    m.ctl(&["lease", "list", "-w", "table"]).fails(4, "Error: table not supported as output format\n");
}

#[test]
fn what_is_wrong_with_a_lease_decides_the_exit_code() {
    let m = super::start();
    m.ctl(&["lease", "grant", "x"]).fails(128, "Error: bad TTL (strconv.ParseInt: parsing \"x\": invalid syntax)\n");
    m.ctl(&["lease", "grant"]).fails(128, "Error: lease grant command needs TTL argument\n");
    m.ctl(&["lease", "grant", "9999999999"]).fails(1, "Error: failed to grant lease (etcdserver: too large lease TTL)\n");
    m.ctl(&["lease", "revoke", "1234"]).fails(1, "Error: failed to revoke lease (etcdserver: requested lease not found)\n");
    m.ctl(&["lease", "revoke", "zz"])
        .fails(128, "Error: bad lease ID arg (strconv.ParseInt: parsing \"zz\": invalid syntax), expecting ID in Hex\n");
    m.ctl(&["lease", "keep-alive", "--once", "1234"]).fails(2, "Error: etcdserver: requested lease not found\n");
    m.ctl(&["lease", "keep-alive", "1234"]).says("lease 0000000000001234 expired or revoked.\n");
}
