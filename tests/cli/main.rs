//! etcdctl's output, word for word, against a member of its own per test.
//!
//! Every test runs twice: against the real etcd, and against the server built here. The words must be the same for both.

#![allow(clippy::duplicate_mod, reason = "the same tests, against two servers")]

mod harness;

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
    #[path = "txn.rs"]
    mod txn;
    #[path = "usage.rs"]
    mod usage;
    #[path = "watch.rs"]
    mod watch;
}

#[cfg(feature = "server")]
#[path = "."]
mod ours {
    use crate::harness::Member;

    fn start() -> Member {
        Member::start(env!("CARGO_BIN_EXE_etcd").as_ref())
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
    #[path = "txn.rs"]
    mod txn;
    #[path = "usage.rs"]
    mod usage;
    #[path = "watch.rs"]
    mod watch;
}
