//! Command lines that are wrong, and commands that need no member.

#[test]
fn the_version_is_that_of_the_etcd_that_is_matched() {
    let m = super::start();
    m.ctl(&["version"]).says("etcdctl version: 3.7.1\nAPI version: 3.7\n");
}

#[test]
fn wrong_arguments_are_refused_with_exit_code_128_before_a_member_is_asked() {
    let m = super::start();
    for (args, error) in [
        (&["put"][..], "put command needs 1 argument and input from stdin or 2 arguments"),
        (&["put", "k"], "put command needs 1 argument and input from stdin or 2 arguments"),
        (&["put", "--lease=zz", "k", "v"], "bad lease ID (strconv.ParseInt: parsing \"zz\": invalid syntax), expecting ID in Hex"),
        (&["put", "--ignore-value", "k", "v"], "put command needs only 1 argument when 'ignore-value' is set"),
        (&["get"], "get command needs one argument as key and an optional argument as range_end"),
        (&["get", "--prefix", "a", "b"], "too many arguments, only accept one argument when `--prefix` or `--from-key` is set"),
        (&["get", "--prefix", "--from-key", "a"], "`--prefix` and `--from-key` cannot be set at the same time, choose one"),
        (&["get", "--keys-only", "--count-only", "a"], "`--keys-only` and `--count-only` cannot be set at the same time, choose one"),
        (&["get", "--count-only", "a"], "--count-only is only for `--write-out=fields`"),
        (&["get", "--print-value-only", "a", "-w=json"], "print-value-only is only for `--write-out=simple`"),
        (&["del"], "del command needs one argument as key and an optional argument as range_end"),
        (&["compaction"], "compaction command needs 1 argument"),
        (&["get", "a", "--cert="], "empty string is passed to --cert option"),
        (&["get", "a", "--cert=x"], "KeyFile and CertFile must both be present[key: , cert: x]"),
    ] {
        m.ctl(args).fails(128, &format!("Error: {error}\n"));
    }
}

#[test]
fn values_that_a_flag_does_not_have_are_refused_with_exit_code_4() {
    let m = super::start();
    m.ctl(&["get", "--order=UP", "a"]).fails(4, "Error: bad sort order UP\n");
    m.ctl(&["get", "--sort-by=FOO", "a"]).fails(4, "Error: bad sort target FOO\n");
    m.ctl(&["get", "--consistency=x", "a"]).fails(4, "Error: unknown consistency flag \"x\"\n");
    m.ctl(&["get", "--min-mod-rev=5", "--max-mod-rev=3", "a"]).fails(4, "Error: getMinModRev(=5) > getMaxModRev(=3)\n");
    m.ctl(&["get", "a", "-w", "bogus"]).fails(4, "Error: unsupported output format\n");
    m.ctl(&["get", "a", "-w", "table"]).fails(4, "Error: table not supported as output format\n");
}

#[test]
fn flags_and_commands_that_do_not_exist_are_refused_with_exit_code_1() {
    let m = super::start();
    m.ctl(&["bogus"]).fails(1, "Error: unknown command \"bogus\" for \"etcdctl\"\n");
    m.ctl(&["get", "--bogus"]).fails(1, "Error: unknown flag: --bogus\nUsage: etcdctl get [options] <key> [range_end]\n");
    m.ctl(&["put", "k", "-1"]).fails(1, "Error: unknown shorthand flag: '1' in -1\n");
    m.ctl(&["get", "--limit=x", "k"])
        .fails(1, "Error: invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": invalid syntax\n");
    m.ctl(&["put", "k", "--", "-1"]).says("OK\n");
}

#[test]
fn a_flag_and_its_variable_together_end_the_command() {
    let m = super::start();
    m.ctl_with(&["get", "a", "--hex"], b"", &[("ETCDCTL_HEX", "true")]).fails(1, "");
    m.ctl_with(&["put", "a", "1"], b"", &[("ETCDCTL_BOGUS", "1"), ("ETCDCTL_DIAL_TIMEOUT", "1s")]).says("OK\n");
    m.ctl_with(&["get", "a"], b"", &[("ETCDCTL_HEX", "true")]).says("\\x61\n\\x31\n");
}

#[test]
fn every_shell_gets_a_completion_script() {
    let m = super::start();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = m.ctl(&["completion", shell]).stdout;
        assert!(script.contains("keep-alive") && script.contains("command-timeout"), "{shell}");
    }
    m.ctl(&["completion", "csh"]).fails(1, "Error: invalid argument \"csh\" for \"etcdctl completion\"");
}
