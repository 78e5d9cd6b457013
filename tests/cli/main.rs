//! etcdctl's output, word for word, against a member of its own per test.
//!
//! The member is the program that `ETCD_SERVER` names, else the real etcd: the same words must hold for both.

mod cluster;
mod harness;
mod key_value;
mod lease;
mod txn;
mod usage;
mod watch;
