//! Leaves and branches: where keys come and go, nodes split, and are filled up from their neighbours.

use super::Key;
use super::keys::{GROW, Keys, shared_of};

pub(super) const LEAF_MAX: usize = 64;
const LEAF_MIN: usize = 16;
pub(super) const BRANCH_MAX: usize = 64;
const BRANCH_MIN: usize = 16;

#[derive(Debug)]
pub(super) enum Node<V> {
    Leaf(Box<Leaf<V>>),
    Branch(Box<Branch<V>>),
}

#[derive(Debug)]
pub(super) struct Leaf<V> {
    pub(super) keys: Keys,
    pub(super) values: Vec<V>,
}

#[derive(Debug)]
pub(super) struct Branch<V> {
    /// One fewer than children.
    pub(super) separators: Keys,
    pub(super) counts: Vec<usize>,
    /// How much the separators on both sides of a child share, and so every key that belongs below it; 0 for the outermost two.
    pub(super) fences: Vec<usize>,
    pub(super) children: Vec<Node<V>>,
}

/// What inserting below a node came to.
pub(super) enum Inserted<V> {
    Replaced(V),
    Added,
    /// Added, and the node grew too large: the right half, and the separator before it.
    Split(Key, Node<V>),
}

impl<V> Node<V> {
    pub(super) fn count(&self) -> usize {
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

    pub(super) fn insert(&mut self, key: Key, value: V, known: usize) -> Inserted<V> {
        match self {
            Node::Leaf(leaf) => leaf.insert(key, value, known),
            Node::Branch(branch) => branch.insert(key, value, known),
        }
    }

    pub(super) fn remove(&mut self, key: &[u8], mut known: usize) -> Option<(Key, V)> {
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
    pub(super) fn child_of(&self, key: &[u8], known: &mut usize) -> usize {
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
