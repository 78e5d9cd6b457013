//! What one server must do, judged against the reference: the same requests to both, the same answers.
//!
//! `ETCD_OURS` names another program to be judged (the reference itself proves a test sound), `ETCD_REFERENCE` another judge.

#[path = "../harness/mod.rs"]
mod harness;

mod bad_input;
mod differential;
mod frames;
mod kubernetes;
mod pair;
mod restart;
mod watches;
mod worked_example;
