//! A runtime thread's place at the node: what the services of that thread's connections hold.

use std::sync::Arc;

use super::Node;
use super::waiters::Mailbox;

#[derive(Clone)]
pub struct Seat {
    pub node: Arc<Node>,
    pub mailbox: Arc<Mailbox>,
}
