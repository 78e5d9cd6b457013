//! etcdctl's output, word for word, against a member of its own per test.
//!
//! Every test runs twice: against the real etcd, and against the server built here. The words must be the same for both.

#![allow(clippy::duplicate_mod, reason = "the same tests, against two servers")]

mod harness;
#[path = "../harness/runner.rs"]
mod runner;

#[path = "."]
mod reference {
    use crate::harness::{Member, reference};

    fn start() -> Member {
        Member::start(&reference())
    }

    #[path = "cluster.rs"]
    mod cluster;
    #[path = "concurrency.rs"]
    mod concurrency;
    #[path = "key_value.rs"]
    mod key_value;
    #[path = "lease.rs"]
    mod lease;
    #[path = "load.rs"]
    mod load;
    #[path = "snapshot.rs"]
    mod snapshot;
    #[path = "txn.rs"]
    mod txn;
    #[path = "usage.rs"]
    mod usage;
    #[path = "walkthrough.rs"]
    mod walkthrough;
    #[path = "watch.rs"]
    mod watch;
}

#[cfg(feature = "server")]
#[path = "."]
mod ours {
    use crate::harness::Member;

    fn start() -> Member {
        Member::start(&crate::runner::built("etcd", env!("CARGO_BIN_EXE_etcd")))
    }

    #[path = "cluster.rs"]
    mod cluster;
    #[path = "concurrency.rs"]
    mod concurrency;
    #[path = "key_value.rs"]
    mod key_value;
    #[path = "lease.rs"]
    mod lease;
    #[path = "load.rs"]
    mod load;
    #[path = "snapshot.rs"]
    mod snapshot;
    #[path = "txn.rs"]
    mod txn;
    #[path = "usage.rs"]
    mod usage;
    #[path = "walkthrough.rs"]
    mod walkthrough;
    #[path = "watch.rs"]
    mod watch;
}
