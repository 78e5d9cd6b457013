//! The gRPC services of a member: validate, hand to the node, fill the header. One instance per runtime thread.
//!
//! Writes: nothing. Reads: the node through a `Seat`.
//! A request's error leaves here as etcd's code and text (`wire::error`).

pub mod auth;
pub mod cluster;
pub mod health;
pub mod kv;
pub mod lease;
pub mod maintenance;
pub mod recipes;
pub mod slow;
pub mod validate;
pub mod watch;
