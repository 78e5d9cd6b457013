//! An ordered map from keys to values that knows how many keys lie below any key.
//!
//! ```text
//!   Branch   separators   |    "f"    |    "m"    |              child i holds the keys in [separator i-1, separator i)
//!            counts       |  51  |  64   |  40   |               keys below each child: a rank adds a few of them up
//!            children     v      v       v
//!   Leaf     keys + values, both in order of the keys
//! ```
//!
//! A B+-tree of high fan-out. Each node keeps, beside its keys, how long a beginning they all share and the eight bytes that
//! follow it as one number, so that a search touches the memory of one or two keys in all: the keys of a real store begin alike,
//! and what the separators around a child share need not be compared below it (its `fence`).
//!
//! Holds: every count is the number of keys below that child; no node but the root is empty; all leaves are equally deep.
//! Does not lock; `key_index` does.

mod iter;
mod keys;
mod node;

use std::sync::Arc;

pub use self::iter::Iter;
use self::keys::Keys;
use self::node::{Branch, Inserted, Leaf, Node};

/// Keys are shared: the same allocation serves the tree, its separators, and who else must remember the key.
pub type Key = Arc<[u8]>;

#[derive(Debug)]
pub struct Tree<V> {
    root: Node<V>,
    len: usize,
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Tree { root: Node::Leaf(Box::new(Leaf { keys: Keys::default(), values: Vec::new() })), len: 0 }
    }
}

impl<V> Tree<V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, key: &[u8]) -> Option<(&Key, &V)> {
        let (mut node, mut known) = (&self.root, 0);
        loop {
            match node {
                Node::Branch(branch) => node = &branch.children[branch.child_of(key, &mut known)],
                Node::Leaf(leaf) => {
                    let at = leaf.keys.search(key, known).ok()?;
                    return Some((&leaf.keys.keys[at], &leaf.values[at]));
                }
            }
        }
    }

    pub fn get_mut(&mut self, key: &[u8]) -> Option<(&Key, &mut V)> {
        let (mut node, mut known) = (&mut self.root, 0);
        loop {
            match node {
                Node::Branch(branch) => {
                    let child = branch.child_of(key, &mut known);
                    node = &mut branch.children[child];
                }
                Node::Leaf(leaf) => {
                    let at = leaf.keys.search(key, known).ok()?;
                    return Some((&leaf.keys.keys[at], &mut leaf.values[at]));
                }
            }
        }
    }

    /// Returns the value that was there before.
    pub fn insert(&mut self, key: Key, value: V) -> Option<V> {
        match self.root.insert(key, value, 0) {
            Inserted::Replaced(before) => return Some(before),
            Inserted::Added => {}
            Inserted::Split(separator, right) => {
                let counts = vec![self.root.count(), right.count()];
                let mut separators = Keys::default();
                separators.insert(0, separator);
                let root = Branch { separators, counts, fences: vec![0; 2], children: Vec::new() };
                let left = std::mem::replace(&mut self.root, Node::Branch(Box::new(root)));
                if let Node::Branch(root) = &mut self.root {
                    root.children.extend([left, right]);
                }
            }
        }
        self.len += 1;
        None
    }

    pub fn remove(&mut self, key: &[u8]) -> Option<(Key, V)> {
        let removed = self.root.remove(key, 0)?;
        self.len -= 1;
        let only = match &mut self.root {
            Node::Branch(root) if root.children.len() == 1 => root.children.pop(),
            _ => None,
        };
        if let Some(only) = only {
            self.root = only;
        }
        Some(removed)
    }

    /// How many keys are smaller than `key`.
    pub fn rank(&self, key: &[u8]) -> usize {
        let (mut node, mut known, mut below) = (&self.root, 0, 0);
        loop {
            match node {
                Node::Branch(branch) => {
                    let child = branch.child_of(key, &mut known);
                    below += branch.counts[..child].iter().sum::<usize>();
                    node = &branch.children[child];
                }
                Node::Leaf(leaf) => return below + leaf.keys.search(key, known).unwrap_or_else(|at| at),
            }
        }
    }

    /// Ascending, beginning with the first key that is not below `from`.
    pub fn iter_from(&self, from: &[u8]) -> Iter<'_, V> {
        let mut above = Vec::new();
        let (mut node, mut known) = (&self.root, 0);
        loop {
            match node {
                Node::Branch(branch) => {
                    let child = branch.child_of(from, &mut known);
                    above.push((&**branch, child + 1));
                    node = &branch.children[child];
                }
                Node::Leaf(leaf) => {
                    let at = leaf.keys.search(from, known).unwrap_or_else(|at| at);
                    return Iter { above, leaf, at };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::keys::{head, shared_of};
    use super::node::{BRANCH_MAX, LEAF_MAX};
    use super::*;

    impl<V> Tree<V> {
        /// The key with exactly `n` smaller ones.
        fn nth(&self, mut n: usize) -> Option<(&Key, &V)> {
            let mut node = &self.root;
            loop {
                match node {
                    Node::Branch(branch) => {
                        let mut child = 0;
                        while n >= *branch.counts.get(child)? {
                            n -= branch.counts[child];
                            child += 1;
                        }
                        node = &branch.children[child];
                    }
                    Node::Leaf(leaf) => return Some((leaf.keys.keys.get(n)?, &leaf.values[n])),
                }
            }
        }

        /// Walks the whole tree and checks what the head of this file promises.
        fn check(&self) {
            fn below<V>(node: &Node<V>, is_root: bool, depth: usize, depths: &mut Vec<usize>) -> usize {
                assert!(is_root || node.count() > 0, "a node is empty");
                let keys = match node {
                    Node::Leaf(leaf) => {
                        assert_eq!(leaf.keys.len(), leaf.values.len());
                        assert!(leaf.values.len() <= LEAF_MAX);
                        depths.push(depth);
                        &leaf.keys
                    }
                    Node::Branch(branch) => {
                        assert_eq!(branch.separators.len() + 1, branch.children.len());
                        assert_eq!(branch.fences.len(), branch.children.len());
                        for (at, pair) in branch.separators.keys.windows(2).enumerate() {
                            assert_eq!(branch.fences[at + 1], shared_of(pair));
                        }
                        assert!(branch.children.len() <= BRANCH_MAX);
                        for (child, count) in branch.children.iter().zip(&branch.counts) {
                            assert_eq!(below(child, false, depth + 1, depths), *count);
                        }
                        &branch.separators
                    }
                };
                assert!(keys.keys.windows(2).all(|w| w[0] < w[1]));
                assert!(keys.keys.iter().zip(&keys.heads).all(|(k, h)| *h == head(k, keys.shared)));
                assert!(keys.keys.iter().all(|k| k.starts_with(&keys.keys[0][..keys.shared])));
                node.count()
            }
            let mut depths = Vec::new();
            assert_eq!(below(&self.root, true, 0, &mut depths), self.len);
            assert!(depths.windows(2).all(|w| w[0] == w[1]));
        }
    }

    /// Keys that share beginnings, end in zeros, and collide in their heads.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            (0u32..2000).prop_map(|n| format!("/registry/pods/default/pod-{n:06}").into_bytes()),
            (0u16..300).prop_map(|n| n.to_be_bytes().to_vec()),
            proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..12),
        ]
    }

    fn same(tree: &Tree<u32>, model: &BTreeMap<Vec<u8>, u32>, probe: &[u8]) {
        assert_eq!(tree.len(), model.len());
        assert_eq!(tree.get(probe).map(|(_, v)| *v), model.get(probe).copied());
        let rank = model.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(probe))).count();
        assert_eq!(tree.rank(probe), rank);
        assert_eq!(tree.nth(rank).map(|(k, v)| (k.to_vec(), *v)), model.iter().nth(rank).map(|(k, v)| (k.clone(), *v)));
        let from: Vec<_> = tree.iter_from(probe).map(|(k, v)| (k.to_vec(), *v)).collect();
        let expected: Vec<_> = model.range::<[u8], _>((Bound::Included(probe), Bound::Unbounded)).map(|(k, v)| (k.clone(), *v)).collect();
        assert_eq!(from, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_tree_behaves_like_a_sorted_map(
            steps in proptest::collection::vec((key(), any::<u32>(), 0u8..3), 1..1500), probes in proptest::collection::vec(key(), 8)
        ) {
            let mut tree = Tree::default();
            let mut model = BTreeMap::new();
            for (key, value, kind) in steps {
                if kind == 0 {
                    prop_assert_eq!(tree.remove(&key).map(|(k, v)| (k.to_vec(), v)), model.remove_entry(&key));
                } else {
                    prop_assert_eq!(tree.insert(key.as_slice().into(), value), model.insert(key, value));
                }
            }
            tree.check();
            for probe in &probes {
                same(&tree, &model, probe);
            }
        }
    }

    #[test]
    fn a_large_tree_shrinks_to_nothing_in_any_order() {
        for (stride, removal) in [(1usize, 1usize), (7919, 1), (1, 7919), (7919, 104_729)] {
            const N: usize = 20_000;
            let key = |n: usize| format!("/registry/pods/ns-{}/pod-{:08}", n % 7, n);
            let mut tree = Tree::default();
            for i in 0..N {
                assert_eq!(tree.insert(key(i * stride % N).as_bytes().into(), i as u32), None);
            }
            tree.check();
            assert_eq!(tree.rank(b"/registry/pods/ns-1/"), N.div_ceil(7));
            for i in 0..N {
                assert!(tree.remove(key(i * removal % N).as_bytes()).is_some());
                if i % 4999 == 0 {
                    tree.check();
                }
            }
            assert_eq!(tree.len(), 0);
            assert!(tree.iter_from(b"").next().is_none());
        }
    }

    #[test]
    fn keys_in_order_fill_their_leaves() {
        let mut tree = Tree::default();
        for i in 0..10_000u32 {
            tree.insert(format!("key-{i:08}").as_bytes().into(), i);
        }
        fn leaves<V>(node: &Node<V>) -> usize {
            match node {
                Node::Leaf(_) => 1,
                Node::Branch(branch) => branch.children.iter().map(leaves).sum(),
            }
        }
        assert!(leaves(&tree.root) < 10_000 / 50);
    }

    #[test]
    fn a_value_can_be_changed_in_place() {
        let mut tree = Tree::default();
        for i in 0..1000u32 {
            tree.insert(i.to_be_bytes().as_slice().into(), i);
        }
        *tree.get_mut(&500u32.to_be_bytes()).unwrap().1 = 7;
        assert_eq!(tree.get(&500u32.to_be_bytes()).map(|(_, v)| *v), Some(7));
        assert!(tree.get_mut(b"absent").is_none());
    }
}
