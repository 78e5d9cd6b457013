//! The way through the leaves, in the order of the keys.

use super::Key;
use super::node::{Branch, Leaf, Node};

#[derive(Debug)]
pub struct Iter<'a, V> {
    /// The branches above the leaf, each with the child to go to next.
    pub(super) above: Vec<(&'a Branch<V>, usize)>,
    pub(super) leaf: &'a Leaf<V>,
    pub(super) at: usize,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (&'a Key, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at == self.leaf.values.len() {
            let mut node = loop {
                let (branch, next) = self.above.last_mut()?;
                if let Some(child) = branch.children.get(*next) {
                    *next += 1;
                    break child;
                }
                self.above.pop();
            };
            while let Node::Branch(branch) = node {
                self.above.push((branch, 1));
                node = &branch.children[0];
            }
            if let Node::Leaf(leaf) = node {
                self.leaf = leaf;
                self.at = 0;
            }
        }
        let at = self.at;
        self.at += 1;
        Some((&self.leaf.keys.keys[at], &self.leaf.values[at]))
    }
}
