//! Snapshots into files.

use std::path::PathBuf;

/// A path in a directory that goes with the value.
fn place(name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path().join(name);
    (dir, path)
}

#[test]
fn a_snapshot_is_saved_under_its_name_for_its_owner_alone() {
    let m = super::start();
    m.ctl(&["put", "k", "v"]).says("OK\n");
    let (dir, path) = place("s.db");
    let name = path.to_str().expect("a path of text");
    m.ctl(&["snapshot", "save", name]).says(&format!("Snapshot saved at {name}\nServer version 3.7.0\n"));
    let len = std::fs::metadata(&path).expect("the file is there").len();
    assert_eq!(len % 512, 32, "pages and a digest");
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("the file is there").permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).expect("the directory can be read").map(|entry| entry.expect("a name").file_name()).collect();
    assert_eq!(names, ["s.db"]);
    // Again, over what is there.
    m.ctl(&["snapshot", "save", name]).says(&format!("Snapshot saved at {name}\nServer version 3.7.0\n"));
}

#[test]
fn what_cannot_be_saved_is_told_with_exit_code_5_and_leaves_nothing() {
    let m = super::start();
    let (dir, path) = place("s.db");
    let name = path.to_str().expect("a path of text");
    let nowhere = dir.path().join("none").join("s.db");
    let nowhere = nowhere.to_str().expect("a path of text");
    m.ctl(&["snapshot", "save"]).fails(128, "Error: snapshot save expects one argument <filename>\n");
    m.ctl(&["snapshot", "save", "--endpoints=a:1,b:2", name])
        .fails(5, "Error: snapshot must be requested to one selected node, not multiple [a:1 b:2]\n");
    let words = match std::fs::File::open(nowhere) {
        Err(error) if cfg!(windows) => etcd::go_words::go_words(&error),
        _ => "no such file or directory".to_owned(),
    };
    m.ctl(&["snapshot", "save", nowhere]).fails(5, &format!("Error: could not open {nowhere}.part (open {nowhere}.part: {words})\n"));
    let down = format!("--endpoints=127.0.0.1:{}", crate::harness::free_port());
    m.ctl(&["snapshot", "save", &down, "--command-timeout=300ms", name]).fails(5, "Error: context deadline exceeded\n");
    std::fs::create_dir(&path).expect("a directory can be made");
    // Windows itself refuses it, in words of its own.
    if cfg!(unix) {
        m.ctl(&["snapshot", "save", name])
            .fails(5, &format!("Error: could not rename {name}.part to {name} (rename {name}.part {name}: file exists)\n"));
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("the directory can be read").count(), 1, "nothing but the directory made here");
}
