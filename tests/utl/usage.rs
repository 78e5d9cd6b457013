//! Command lines that are wrong, help, and what needs no file.

use crate::harness::runner;
use crate::tool::{ours, real, run};

#[test]
fn what_is_refused_is_refused_as_etcd_does() {
    let dir = tempfile::tempdir().unwrap();
    let (short, full) = (dir.path().join("short"), dir.path().join("full"));
    std::fs::write(&short, [b'x'; 100]).unwrap();
    std::fs::create_dir_all(full.join("x")).unwrap();
    let (short, full) = (short.display().to_string(), full.display().to_string());
    let data = dir.path().join("data").display().to_string();
    let restore = |args: &[&str]| {
        let mut words = vec!["snapshot", "restore", &short, "--data-dir", &data];
        words.extend_from_slice(args);
        words.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let plain = |args: &[&str]| args.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (args, code) in [
        (plain(&["bogus"]), 1),
        (plain(&["--bogus"]), 1),
        (plain(&["snapshot", "status", "--bogus"]), 1),
        (plain(&["snapshot", "status"]), 128),
        (plain(&["snapshot", "status", "a", "b"]), 128),
        (plain(&["snapshot", "status", "/nonexistent"]), 1),
        (plain(&["snapshot", "status", "/nonexistent", "-w", "x"]), 1),
        (plain(&["snapshot", "status", &short, "-w", "x"]), 4),
        (plain(&["hashkv"]), 1),
        (plain(&["hashkv", "a", "b"]), 1),
        (plain(&["hashkv", "/nonexistent"]), 1),
        (plain(&["hashkv", "/nonexistent", "--rev", "x"]), 1),
        (plain(&["hashkv", "/nonexistent", "-w", "x"]), 4),
        (plain(&["defrag"]), 1),
        (plain(&["migrate"]), 1),
        (plain(&["migrate", "--data-dir", "x"]), 1),
        (plain(&["migrate", "--data-dir", "x", "--target-version", "y"]), 128),
        (plain(&["migrate", "--data-dir", "x", "--target-version", "y.z"]), 128),
        (plain(&["migrate", "--data-dir", "x", "--target-version", "3.4"]), 128),
        (plain(&["snapshot", "restore"]), 128),
        (plain(&["snapshot", "restore", "a", "b"]), 128),
        (plain(&["snapshot", "restore", "/nonexistent", "--data-dir", &data]), 1),
        (restore(&["--mark-compacted"]), 128),
        (restore(&["--bump-revision", "3"]), 128),
        (restore(&["--bump-revision=-3"]), 1),
        (restore(&["--initial-cluster", "x"]), 1),
        (restore(&["--initial-cluster", "default=foo"]), 1),
        (restore(&["--name", "y"]), 1),
        (restore(&["--initial-advertise-peer-urls", "http://localhost:1"]), 1),
        (restore(&["--initial-advertise-peer-urls", "http://localhost"]), 1),
        (restore(&["--initial-cluster", "default=http://localhost:2380,b=http://localhost:2380"]), 1),
        (restore(&["--data-dir", &full]), 1),
        (restore(&["--wal-dir", &full]), 1),
        (restore(&[]), 1),
    ] {
        let found = run(ours(), &args);
        assert_eq!(found.code, Some(code), "{args:?}: {found:?}");
        let _ = std::fs::remove_dir_all(&data);
        if let Some(real) = real() {
            let expected = run(real, &args);
            assert_eq!((found.code, found.error()), (expected.code, expected.error()), "{args:?}");
        }
        let _ = std::fs::remove_dir_all(&data);
    }
}

#[test]
fn a_format_that_an_answer_does_not_have_is_refused_with_exit_code_4() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("db");
    std::fs::write(&file, written_by_us()).unwrap();
    let file = file.display().to_string();
    for args in [&["snapshot", "status", &file, "-w", "protobuf"][..], &["hashkv", &file, "-w", "protobuf"]] {
        run(ours(), args).fails(4, "Error: protobuf not supported as output format");
    }
}

/// A database with the buckets of etcd and nothing in them.
fn written_by_us() -> Vec<u8> {
    use etcd::bbolt::{Format, Sizer};
    let buckets = ["alarm", "auth", "authRoles", "authUsers", "cluster", "key", "lease", "members", "members_removed", "meta"];
    let mut sizer = Sizer::new(Format::default());
    buckets.iter().for_each(|name| sizer.bucket(name.as_bytes()));
    let mut writer = sizer.finish().writer(Vec::new());
    buckets.iter().for_each(|name| writer.bucket(name.as_bytes()).unwrap());
    writer.finish().unwrap()
}

#[test]
fn help_is_an_answer_and_names_every_command() {
    for args in [&[][..], &["help"], &["--help"], &["-h"]] {
        let help = run(ours(), args).done().stdout;
        for command in ["completion", "defrag", "hashkv", "migrate", "snapshot", "version", "--write-out", "--timeout"] {
            assert!(help.contains(command), "{command} is missing:\n{help}");
        }
    }
    for command in ["defrag", "hashkv", "migrate", "snapshot", "completion", "version"] {
        let help = run(ours(), &[command, "--help"]).done().stdout;
        assert!(help.contains(&format!("etcdutl {command}")) && help.contains("--timeout"), "{help}");
    }
    let help = run(ours(), &["snapshot", "restore", "--help"]).done().stdout;
    for flag in [
        "--bump-revision",
        "--data-dir",
        "--initial-advertise-peer-urls",
        "--initial-cluster",
        "--initial-cluster-token",
        "--initial-memory-map-size",
        "--mark-compacted",
        "--name",
        "--skip-hash-check",
        "--wal-dir",
    ] {
        assert!(
            help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")) || help.contains(&format!("{flag}[")),
            "{flag}:\n{help}"
        );
    }
}

#[test]
fn the_version_has_etcds_shape() {
    let shape = |text: &str| text.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>();
    let found = run(ours(), &["version"]).done().stdout;
    assert_eq!(shape(&found), ["etcdutl version:", "API version:"]);
    if let Some(real) = real() {
        let expected = run(real, &["version"]).stdout;
        assert_eq!(shape(&found), shape(&expected));
        assert_eq!(found.lines().nth(1), expected.lines().nth(1));
    }
}

#[test]
fn every_shell_gets_a_completion_script() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = run(ours(), &["completion", shell]).done().stdout;
        assert!(script.contains("hashkv") && script.contains("write-out"), "{shell}");
    }
    assert_eq!(run(ours(), &["completion", "csh"]).code, Some(1));
}

#[test]
fn nothing_is_read_from_the_environment() {
    let mut command = runner::command(ours());
    let done = command.args(["version"]).envs([("ETCDCTL_WRITE_OUT", "bogus"), ("ETCDUTL_WRITE_OUT", "bogus")]).output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
}
