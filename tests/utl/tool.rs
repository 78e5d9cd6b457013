//! Both etcdutls, and how a run of one ended.

use std::{ffi::OsStr, path::PathBuf, process::Stdio, sync::OnceLock};

use crate::harness::{go, runner};

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn ours() -> PathBuf {
    runner::built("etcdutl", env!("CARGO_BIN_EXE_etcdutl"))
}

/// Etcd's own, or None if Go is not there and need not be.
pub fn real() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| go::build("utl/go", "go.etcd.io/etcd/etcdutl/v3", "go-etcdutl")).clone()
}

pub fn run<S: AsRef<OsStr>>(program: PathBuf, args: &[S]) -> Ran {
    let done = runner::command(&program).args(args).stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
    let text = |bytes| String::from_utf8(bytes).expect("output is text");
    Ran { code: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) }
}

impl Ran {
    /// What was refused: the line that scripts look for.
    pub fn error(&self) -> &str {
        self.stderr.lines().find(|line| line.starts_with("Error: ")).unwrap_or_default()
    }

    /// Succeeded.
    #[track_caller]
    pub fn done(self) -> Ran {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Failed with this code and this line.
    #[track_caller]
    pub fn fails(self, code: i32, error: &str) {
        assert_eq!((self.code, self.error()), (Some(code), error), "{self:?}");
    }
}
