//! Transactions from stdin.

const PUTS: &[u8] =
    b"mod(\"k1\") = \"0\"\nval(\"k2\") > \"a\"\n\nget k2\n\nput k1 'a b'\nput k2 \"x\\ty\"\nget --prefix k\ndel k3 --prev-kv\n\n";

#[test]
fn the_branch_is_chosen_by_the_compares() {
    let m = super::start();
    m.ctl_with(&["txn"], PUTS, &[]).says("FAILURE\n\nOK\n\nOK\n\nk1\na b\nk2\nx\ty\n\n0\n");
    let swap = b"val(\"k1\") = \"a b\"\nver(\"k1\") < \"2\"\n\ndel k1 --prev-kv\n\n\n";
    m.ctl_with(&["txn", "-i"], swap, &[])
        .says("compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\nSUCCESS\n\n1\nk1\na b\n");
}

#[test]
fn the_json_of_a_transaction_names_each_kind_of_response() {
    let m = super::start();
    let expected = "{\"header\":{\"cluster_id\":CLUSTER,\"member_id\":MEMBER,\"revision\":2,\"raft_term\":2},\"responses\":[\
        {\"Response\":{\"response_put\":{\"header\":{\"revision\":2}}}},{\"Response\":{\"response_put\":{\"header\":{\"revision\":2}}}},\
        {\"Response\":{\"response_range\":{\"header\":{\"revision\":2},\"kvs\":[\
        {\"key\":\"azE=\",\"create_revision\":2,\"mod_revision\":2,\"version\":1,\"value\":\"YSBi\"},\
        {\"key\":\"azI=\",\"create_revision\":2,\"mod_revision\":2,\"version\":1,\"value\":\"eAl5\"}],\"count\":2}}},\
        {\"Response\":{\"response_delete_range\":{\"header\":{\"revision\":2}}}}]}\n";
    m.ctl_with(&["txn", "-w", "json"], PUTS, &[]).says(expected);
}

#[test]
fn input_that_is_no_transaction_is_refused_with_exit_code_3() {
    let m = super::start();
    for (input, error) in [
        ("", "Error: EOF\n"),
        ("bla\n", "Error: malformed comparison: bla\n"),
        ("foo(\"k\") > \"0\"\n", "Error: malformed comparison: foo(\"k\") > \"0\" (unknown target foo)\n"),
        ("mod(\"k\") > \"x\"\n", "Error: invalid txn compare request: mod(\"k\") > \"x\"\n"),
        ("\nbogus x\n", "Error: invalid txn request: bogus x\n"),
        ("\nput\n", "Error: invalid txn compare request: put\n"),
        ("\nput a 1\n\n", "Error: EOF\n"),
    ] {
        m.ctl_with(&["txn"], input.as_bytes(), &[]).fails(3, error);
    }
    m.ctl_with(&["txn"], b"\nput a\n\n\n", &[]).fails(128, "Error: put command needs 1 argument and input from stdin or 2 arguments\n");
    m.ctl_with(&["txn"], b"\nput a 1\nput a 2\n\n\n", &[]).fails(1, "Error: etcdserver: duplicate key given in txn request\n");
    m.ctl(&["txn", "x"]).fails(128, "Error: txn command does not accept argument\n");
}
