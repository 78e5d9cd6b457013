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

use std::sync::Arc;

/// Keys are shared: the same allocation serves the tree, its separators, and who else must remember the key.
pub type Key = Arc<[u8]>;

const LEAF_MAX: usize = 64;
const LEAF_MIN: usize = 16;
const BRANCH_MAX: usize = 64;
const BRANCH_MIN: usize = 16;
/// How many entries a leaf's memory grows by: doubling would leave a quarter of a large store's index unused.
const GROW: usize = 16;

#[derive(Debug)]
pub struct Tree<V> {
    root: Node<V>,
    len: usize,
}

#[derive(Debug)]
enum Node<V> {
    Leaf(Box<Leaf<V>>),
    Branch(Box<Branch<V>>),
}

#[derive(Debug)]
struct Leaf<V> {
    keys: Keys,
    values: Vec<V>,
}

#[derive(Debug)]
struct Branch<V> {
    /// One fewer than children.
    separators: Keys,
    counts: Vec<usize>,
    /// How much the separators on both sides of a child share, and so every key that belongs below it; 0 for the outermost two.
    fences: Vec<usize>,
    children: Vec<Node<V>>,
}

/// What inserting below a node came to.
enum Inserted<V> {
    Replaced(V),
    Added,
    /// Added, and the node grew too large: the right half, and the separator before it.
    Split(Key, Node<V>),
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

#[derive(Debug)]
pub struct Iter<'a, V> {
    /// The branches above the leaf, each with the child to go to next.
    above: Vec<(&'a Branch<V>, usize)>,
    leaf: &'a Leaf<V>,
    at: usize,
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

impl<V> Node<V> {
    fn count(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.values.len(),
            Node::Branch(branch) => branch.counts.iter().sum(),
        }
    }

    fn is_under_minimum(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.values.len() < LEAF_MIN,
            Node::Branch(branch) => branch.children.len() < BRANCH_MIN,
        }
    }

    /// Gives up comparing more than what is known to be shared anyway.
    fn limit_shared(&mut self, known: usize) {
        let keys = match self {
            Node::Leaf(leaf) => &mut leaf.keys,
            Node::Branch(branch) => &mut branch.separators,
        };
        if keys.shared > known {
            keys.rehead(known);
        }
    }

    fn insert(&mut self, key: Key, value: V, known: usize) -> Inserted<V> {
        match self {
            Node::Leaf(leaf) => leaf.insert(key, value, known),
            Node::Branch(branch) => branch.insert(key, value, known),
        }
    }

    fn remove(&mut self, key: &[u8], mut known: usize) -> Option<(Key, V)> {
        match self {
            Node::Leaf(leaf) => {
                let at = leaf.keys.search(key, known).ok()?;
                Some((leaf.keys.remove(at), leaf.values.remove(at)))
            }
            Node::Branch(branch) => {
                let around = known;
                let child = branch.child_of(key, &mut known);
                let removed = branch.children[child].remove(key, known)?;
                branch.counts[child] -= 1;
                if branch.children[child].is_under_minimum() && branch.children.len() > 1 {
                    branch.refill(child.min(branch.children.len() - 2), around);
                }
                Some(removed)
            }
        }
    }
}

impl<V> Leaf<V> {
    fn insert(&mut self, key: Key, value: V, known: usize) -> Inserted<V> {
        let at = match self.keys.search(&key, known) {
            Ok(at) => return Inserted::Replaced(std::mem::replace(&mut self.values[at], value)),
            Err(at) => at,
        };
        if self.values.len() == self.values.capacity() {
            self.values.reserve_exact(GROW);
        }
        self.keys.insert(at, key);
        self.values.insert(at, value);
        if self.values.len() <= LEAF_MAX {
            return Inserted::Added;
        }
        // Keys that arrive in order leave full leaves behind.
        let half = if at == LEAF_MAX { LEAF_MAX * 7 / 8 } else { LEAF_MAX / 2 };
        let (separator, right) = self.split(half);
        Inserted::Split(separator, right)
    }

    fn split(&mut self, at: usize) -> (Key, Node<V>) {
        let right = Leaf { keys: self.keys.split_off(at), values: self.values.split_off(at) };
        self.values.shrink_to_fit();
        (right.keys.keys[0].clone(), Node::Leaf(Box::new(right)))
    }
}

impl<V> Branch<V> {
    /// The child that a key belongs below; `known`, how much the key shares with all keys here, grows on the way down.
    fn child_of(&self, key: &[u8], known: &mut usize) -> usize {
        let child = match self.separators.search(key, *known) {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        *known = self.fences[child].max(*known);
        child
    }

    fn insert(&mut self, key: Key, value: V, known: usize) -> Inserted<V> {
        let mut below = known;
        let child = self.child_of(&key, &mut below);
        let (separator, right) = match self.children[child].insert(key, value, below) {
            Inserted::Added => {
                self.counts[child] += 1;
                return Inserted::Added;
            }
            Inserted::Split(separator, right) => (separator, right),
            replaced @ Inserted::Replaced(_) => return replaced,
        };
        self.add_child(child, separator, right, known);
        if self.children.len() <= BRANCH_MAX {
            return Inserted::Added;
        }
        let half = if child + 1 == BRANCH_MAX { BRANCH_MAX * 7 / 8 } else { BRANCH_MAX / 2 };
        let (separator, right) = self.split(half);
        Inserted::Split(separator, right)
    }

    /// Puts `right`, which the child `left` was split into, behind it.
    fn add_child(&mut self, left: usize, separator: Key, right: Node<V>, known: usize) {
        self.counts[left] = self.children[left].count();
        self.counts.insert(left + 1, right.count());
        self.children.insert(left + 1, right);
        self.separators.insert(left, separator);
        self.fences.insert(left + 1, 0);
        for child in [left, left + 1] {
            self.set_fence(child);
            self.children[child].limit_shared(self.fences[child].max(known));
        }
    }

    fn set_fence(&mut self, child: usize) {
        let is_outermost = child == 0 || child + 1 == self.children.len();
        self.fences[child] = if is_outermost { 0 } else { shared_of(&self.separators.keys[child - 1..=child]) };
    }

    fn split(&mut self, at: usize) -> (Key, Node<V>) {
        let separators = self.separators.split_off(at);
        let separator = self.separators.remove(at - 1);
        let (counts, fences, children) = (self.counts.split_off(at), self.fences.split_off(at), self.children.split_off(at));
        let mut right = Branch { separators, counts, fences, children };
        self.set_fence(at - 1);
        right.set_fence(0);
        (separator, Node::Branch(Box::new(right)))
    }

    /// Makes one node of the children `left` and `left + 1`, or two of about equal size where one would be too large.
    fn refill(&mut self, left: usize, known: usize) {
        let separator = self.separators.remove(left);
        let right = self.children.remove(left + 1);
        self.counts.remove(left + 1);
        self.fences.remove(left + 1);
        self.set_fence(left);
        let split = match (&mut self.children[left], right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                left.keys.append(right.keys);
                left.values.extend(right.values);
                let len = left.values.len();
                (len > LEAF_MAX).then(|| left.split(len / 2))
            }
            (Node::Branch(left), Node::Branch(right)) => {
                let middle = left.children.len();
                left.separators.insert(left.separators.len(), separator);
                left.separators.append(right.separators);
                left.counts.extend(right.counts);
                left.fences.extend(right.fences);
                left.children.extend(right.children);
                left.set_fence(middle - 1);
                left.set_fence(middle);
                let len = left.children.len();
                (len > BRANCH_MAX).then(|| left.split(len / 2))
            }
            _ => unreachable!("all leaves of the tree are equally deep"),
        };
        match split {
            Some((separator, right)) => self.add_child(left, separator, right, known),
            None => {
                self.counts[left] = self.children[left].count();
                self.children[left].limit_shared(self.fences[left].max(known));
            }
        }
    }
}

/// Sorted keys that are searched by numbers first.
#[derive(Debug, Default)]
struct Keys {
    keys: Vec<Key>,
    /// The eight bytes of each key after the shared beginning, big-endian, filled up with zeros.
    heads: Vec<u64>,
    /// All keys begin with the first so many bytes of `keys[0]`.
    shared: usize,
}

impl Keys {
    fn len(&self) -> usize {
        self.keys.len()
    }

    /// `known` bytes of the key are those that all keys here begin with.
    fn search(&self, key: &[u8], known: usize) -> Result<usize, usize> {
        if self.shared > known {
            let Some(first) = self.keys.first() else { return Err(0) };
            let beginning = &first[..self.shared];
            if !key.starts_with(beginning) {
                return Err(if key < beginning { 0 } else { self.keys.len() });
            }
        }
        let head = head(key, self.shared);
        // All of them: their cache lines are fetched side by side, where a binary search would wait for one after the other.
        let low = self.heads.iter().filter(|h| **h < head).count();
        let equal = self.heads[low..].iter().take_while(|h| **h == head).count();
        match self.keys[low..low + equal].binary_search_by(|k| (**k).cmp(key)) {
            Ok(at) => Ok(low + at),
            Err(at) => Err(low + at),
        }
    }

    fn insert(&mut self, at: usize, key: Key) {
        if self.keys.len() == self.keys.capacity() {
            self.keys.reserve_exact(GROW);
            self.heads.reserve_exact(GROW);
        }
        self.heads.insert(at, head(&key, self.shared));
        self.keys.insert(at, key);
        // Between the ends a key begins like both of them.
        if at == 0 || at + 1 == self.keys.len() {
            let shared = shared_of(&self.keys);
            if shared < self.shared || self.keys.len() == 1 {
                self.rehead(shared);
            }
        }
    }

    fn remove(&mut self, at: usize) -> Key {
        self.heads.remove(at);
        self.keys.remove(at)
    }

    fn split_off(&mut self, at: usize) -> Keys {
        let keys = self.keys.split_off(at);
        self.keys.shrink_to_fit();
        let mut right = Keys { heads: vec![0; keys.len()], shared: 0, keys };
        right.rehead(shared_of(&right.keys));
        self.heads.truncate(at);
        self.heads.shrink_to_fit();
        self.rehead(shared_of(&self.keys));
        right
    }

    fn append(&mut self, right: Keys) {
        self.keys.extend(right.keys);
        self.heads.resize(self.keys.len(), 0);
        self.rehead(shared_of(&self.keys));
    }

    fn rehead(&mut self, shared: usize) {
        self.shared = shared;
        for (head_of, key) in self.heads.iter_mut().zip(&self.keys) {
            *head_of = head(key, shared);
        }
    }
}

/// Length of the beginning that sorted keys share: that of the first and the last.
fn shared_of(keys: &[Key]) -> usize {
    match (keys.first(), keys.last()) {
        (Some(first), Some(last)) => first.iter().zip(last.iter()).take_while(|(a, b)| a == b).count(),
        _ => 0,
    }
}

fn head(key: &[u8], shared: usize) -> u64 {
    let rest = key.get(shared..).unwrap_or_default();
    if let Some(eight) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    let mut eight = [0; 8];
    eight[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(eight)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use proptest::prelude::*;

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
