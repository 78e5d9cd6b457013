//! The registry that every room's metrics are found in. Each room defines its own set, with etcd's names.

pub use prometheus::Registry;
