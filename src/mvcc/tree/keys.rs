//! Sorted keys of one node, searched by numbers first.
//!
//! ```text
//!   keys    /registry/pods/a   /registry/pods/b   /registry/secrets/c
//!   shared  10: "/registry/"   of the first key, for all
//!   heads   "pods/a"           "pods/b"           "secrets/"           as big-endian numbers, eight bytes each
//! ```

use super::Key;

/// How many entries a leaf's memory grows by: doubling would leave a quarter of a large store's index unused.
pub(super) const GROW: usize = 16;

/// Sorted keys that are searched by numbers first.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) keys: Vec<Key>,
    /// The eight bytes of each key after the shared beginning, big-endian, filled up with zeros.
    pub(super) heads: Vec<u64>,
    /// All keys begin with the first so many bytes of `keys[0]`.
    pub(super) shared: usize,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// `known` bytes of the key are those that all keys here begin with.
    pub(super) fn search(&self, key: &[u8], known: usize) -> Result<usize, usize> {
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

    pub(super) fn insert(&mut self, at: usize, key: Key) {
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

    pub(super) fn remove(&mut self, at: usize) -> Key {
        self.heads.remove(at);
        self.keys.remove(at)
    }

    pub(super) fn split_off(&mut self, at: usize) -> Keys {
        let keys = self.keys.split_off(at);
        self.keys.shrink_to_fit();
        let mut right = Keys { heads: vec![0; keys.len()], shared: 0, keys };
        right.rehead(shared_of(&right.keys));
        self.heads.truncate(at);
        self.heads.shrink_to_fit();
        self.rehead(shared_of(&self.keys));
        right
    }

    pub(super) fn append(&mut self, right: Keys) {
        self.keys.extend(right.keys);
        self.heads.resize(self.keys.len(), 0);
        self.rehead(shared_of(&self.keys));
    }

    pub(super) fn rehead(&mut self, shared: usize) {
        self.shared = shared;
        for (head_of, key) in self.heads.iter_mut().zip(&self.keys) {
            *head_of = head(key, shared);
        }
    }
}

/// Length of the beginning that sorted keys share: that of the first and the last.
pub(super) fn shared_of(keys: &[Key]) -> usize {
    match (keys.first(), keys.last()) {
        (Some(first), Some(last)) => first.iter().zip(last.iter()).take_while(|(a, b)| a == b).count(),
        _ => 0,
    }
}

pub(super) fn head(key: &[u8], shared: usize) -> u64 {
    let rest = key.get(shared..).unwrap_or_default();
    if let Some(eight) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    let mut eight = [0; 8];
    eight[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(eight)
}
