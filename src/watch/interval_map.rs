//! Which watchers want a key: spans of keys to members, answering "who covers this key".
//!
//! ```text
//!   exact   key -> members                          one hash look-up, however many keys are watched
//!   ranges  [start, end) -> members, by start       a treap in an arena; every node knows the furthest end below it
//!
//!              [c, k)                               stab(x): a subtree whose furthest end is not after x is skipped,
//!              furthest: open                       and nothing to the right of a start after x is looked at
//!             /      \
//!        [a, d)     [e, open)
//! ```
//!
//! Spans that are equal share a node, so ten thousand watchers of one prefix cost one comparison.
//! Writes and reads: the hub that owns it; a finished map is also shared with one history scan.

use std::cmp::Ordering;

use bytes::Bytes;
use hashbrown::HashMap;

/// The keys that a watcher asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: Bytes,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The span is the one key `start`.
    One,
    Before(Bytes),
    Open,
}

impl Span {
    /// A request's pair of key and range end by etcd's rules (WAT-5); nothing if it can hold no key.
    pub fn from_request(key: &[u8], range_end: &[u8]) -> Option<Span> {
        let start = Bytes::copy_from_slice(if key.is_empty() { b"\0" } else { key });
        let end = match range_end {
            b"" => End::One,
            b"\0" => End::Open,
            end if end <= &start[..] => return None,
            end => End::Before(Bytes::copy_from_slice(end)),
        };
        Some(Span { start, end })
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::One => key == &self.start[..],
            End::Before(end) => key >= &self.start[..] && key < &end[..],
            End::Open => key >= &self.start[..],
        }
    }
}

/// Spans to members; a member may occur under several spans, but once under each.
#[derive(Debug)]
pub struct IntervalMap<T> {
    exact: HashMap<Bytes, Vec<T>>,
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
    root: u32,
    /// State of the generator of priorities: a fixed start keeps the shape the same from run to run.
    random: u64,
}

#[derive(Debug)]
struct Node<T> {
    start: Bytes,
    /// None is the open end.
    end: Option<Bytes>,
    /// Node in this subtree whose end is furthest.
    furthest: u32,
    priority: u64,
    left: u32,
    right: u32,
    /// In order, without repeats.
    members: Vec<T>,
}

const NIL: u32 = u32::MAX;

impl<T: Copy + Ord> Default for IntervalMap<T> {
    fn default() -> Self {
        IntervalMap { exact: HashMap::new(), nodes: Vec::new(), free: Vec::new(), root: NIL, random: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl<T: Copy + Ord> IntervalMap<T> {
    pub fn insert(&mut self, span: &Span, member: T) {
        let Some(end) = range_end(&span.end) else {
            match self.exact.get_mut(&span.start) {
                Some(members) => add(members, member),
                None => drop(self.exact.insert(span.start.clone(), vec![member])),
            }
            return;
        };
        match self.find(&span.start, end) {
            NIL => {
                let id = self.allocate(span.start.clone(), end.cloned(), member);
                self.root = self.insert_below(self.root, id);
            }
            id => add(&mut self.nodes[id as usize].members, member),
        }
    }

    pub fn remove(&mut self, span: &Span, member: T) {
        let Some(end) = range_end(&span.end) else {
            if let Some(members) = self.exact.get_mut(&span.start) {
                drop_member(members, member);
                if members.is_empty() {
                    self.exact.remove(&span.start);
                }
            }
            return;
        };
        let id = self.find(&span.start, end);
        if id == NIL {
            return;
        }
        drop_member(&mut self.nodes[id as usize].members, member);
        if self.nodes[id as usize].members.is_empty() {
            self.root = self.remove_below(self.root, id);
            let node = &mut self.nodes[id as usize];
            (node.start, node.end) = (Bytes::new(), None);
            self.free.push(id);
        }
    }

    /// Calls with every member whose span holds the key; each span's members in order, spans in no order that matters.
    pub fn stab(&self, key: &[u8], visit: &mut impl FnMut(T)) {
        if let Some(members) = self.exact.get(key) {
            members.iter().for_each(|&member| visit(member));
        }
        self.stab_below(self.root, key, visit);
    }

    /// Whether any member's span holds the key.
    pub fn covers(&self, key: &[u8]) -> bool {
        let mut is_covered = false;
        self.stab(key, &mut |_| is_covered = true);
        is_covered
    }

    fn stab_below(&self, mut id: u32, key: &[u8], visit: &mut impl FnMut(T)) {
        while id != NIL {
            let node = &self.nodes[id as usize];
            if !is_before(key, &self.nodes[node.furthest as usize].end) {
                return;
            }
            self.stab_below(node.left, key, visit);
            if node.start > key {
                return;
            }
            if is_before(key, &node.end) {
                node.members.iter().for_each(|&member| visit(member));
            }
            id = node.right;
        }
    }

    fn find(&self, start: &[u8], end: Option<&Bytes>) -> u32 {
        let mut id = self.root;
        while id != NIL {
            let node = &self.nodes[id as usize];
            id = match compare((start, end), (&node.start, node.end.as_ref())) {
                Ordering::Less => node.left,
                Ordering::Equal => return id,
                Ordering::Greater => node.right,
            };
        }
        NIL
    }

    fn allocate(&mut self, start: Bytes, end: Option<Bytes>, member: T) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let id = self.free.pop().unwrap_or(self.nodes.len() as u32);
        let node = Node { start, end, furthest: id, priority: self.random, left: NIL, right: NIL, members: vec![member] };
        match self.nodes.get_mut(id as usize) {
            Some(place) => *place = node,
            None => self.nodes.push(node),
        }
        id
    }

    /// The order of two nodes.
    fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (&self.nodes[a as usize], &self.nodes[b as usize]);
        compare((&a.start, a.end.as_ref()), (&b.start, b.end.as_ref()))
    }

    /// Puts the new node `id` into the subtree `at`; answers the subtree's root.
    fn insert_below(&mut self, at: u32, id: u32) -> u32 {
        if at == NIL {
            return id;
        }
        if self.nodes[id as usize].priority > self.nodes[at as usize].priority {
            let (left, right) = self.split(at, id);
            (self.nodes[id as usize].left, self.nodes[id as usize].right) = (left, right);
            self.refresh(id);
            return id;
        }
        if self.order(id, at) == Ordering::Less {
            self.nodes[at as usize].left = self.insert_below(self.nodes[at as usize].left, id);
        } else {
            self.nodes[at as usize].right = self.insert_below(self.nodes[at as usize].right, id);
        }
        self.refresh(at);
        at
    }

    /// Parts the subtree `at` into what comes before the node `pivot` and what comes after.
    fn split(&mut self, at: u32, pivot: u32) -> (u32, u32) {
        if at == NIL {
            return (NIL, NIL);
        }
        let parts = if self.order(at, pivot) == Ordering::Less {
            let (left, right) = self.split(self.nodes[at as usize].right, pivot);
            self.nodes[at as usize].right = left;
            (at, right)
        } else {
            let (left, right) = self.split(self.nodes[at as usize].left, pivot);
            self.nodes[at as usize].left = right;
            (left, at)
        };
        self.refresh(at);
        parts
    }

    /// Takes the node `id` out of the subtree `at`; answers the subtree's root.
    fn remove_below(&mut self, at: u32, id: u32) -> u32 {
        if at == id {
            return self.join(self.nodes[at as usize].left, self.nodes[at as usize].right);
        }
        if self.order(id, at) == Ordering::Less {
            self.nodes[at as usize].left = self.remove_below(self.nodes[at as usize].left, id);
        } else {
            self.nodes[at as usize].right = self.remove_below(self.nodes[at as usize].right, id);
        }
        self.refresh(at);
        at
    }

    fn join(&mut self, left: u32, right: u32) -> u32 {
        if left == NIL || right == NIL {
            return if left == NIL { right } else { left };
        }
        let top = if self.nodes[left as usize].priority > self.nodes[right as usize].priority {
            self.nodes[left as usize].right = self.join(self.nodes[left as usize].right, right);
            left
        } else {
            self.nodes[right as usize].left = self.join(left, self.nodes[right as usize].left);
            right
        };
        self.refresh(top);
        top
    }

    fn refresh(&mut self, id: u32) {
        let node = &self.nodes[id as usize];
        let mut furthest = id;
        for child in [node.left, node.right] {
            if child != NIL {
                let candidate = self.nodes[child as usize].furthest;
                let (ours, theirs) = (&self.nodes[furthest as usize].end, &self.nodes[candidate as usize].end);
                if compare_ends(ours.as_ref(), theirs.as_ref()) == Ordering::Less {
                    furthest = candidate;
                }
            }
        }
        self.nodes[id as usize].furthest = furthest;
    }
}

/// None for a single key; the inner None is the open end.
fn range_end(end: &End) -> Option<Option<&Bytes>> {
    match end {
        End::One => None,
        End::Before(end) => Some(Some(end)),
        End::Open => Some(None),
    }
}

fn is_before(key: &[u8], end: &Option<Bytes>) -> bool {
    end.as_ref().is_none_or(|end| key < &end[..])
}

fn compare(a: (&[u8], Option<&Bytes>), b: (&[u8], Option<&Bytes>)) -> Ordering {
    a.0.cmp(b.0).then_with(|| compare_ends(a.1, b.1))
}

fn compare_ends(a: Option<&Bytes>, b: Option<&Bytes>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => a.cmp(b),
    }
}

fn add<T: Ord>(members: &mut Vec<T>, member: T) {
    if let Err(place) = members.binary_search(&member) {
        members.insert(place, member);
    }
}

fn drop_member<T: Ord>(members: &mut Vec<T>, member: T) {
    if let Ok(place) = members.binary_search(&member) {
        members.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(key: &str, range_end: &str) -> Span {
        Span::from_request(key.as_bytes(), range_end.as_bytes()).expect("a span that can hold a key")
    }

    fn stabbed(map: &IntervalMap<u32>, key: &str) -> Vec<u32> {
        let mut found = Vec::new();
        map.stab(key.as_bytes(), &mut |member| found.push(member));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_request_names_one_key_a_range_or_everything_from_a_key_on() {
        assert_eq!(span("a", "").end, End::One);
        assert!(span("a", "c").contains(b"b") && !span("a", "c").contains(b"c"));
        assert!(span("b", "\0").contains(b"zzz") && !span("b", "\0").contains(b"a"));
        assert_eq!(span("", ""), Span { start: Bytes::from_static(b"\0"), end: End::One });
        assert!(span("", "\0").contains(b"\0"));
    }

    #[test]
    fn a_range_that_ends_where_it_starts_is_no_span() {
        assert_eq!(Span::from_request(b"b", b"b"), None);
        assert_eq!(Span::from_request(b"b", b"a"), None);
        assert_eq!(Span::from_request(b"", b"\0").map(|s| s.end), Some(End::Open));
    }

    #[test]
    fn equal_spans_share_a_place_and_leave_one_by_one() {
        let mut map = IntervalMap::default();
        for member in [3, 1, 2] {
            map.insert(&span("a", "c"), member);
            map.insert(&span("b", ""), member);
        }
        assert_eq!(stabbed(&map, "b"), [1, 1, 2, 2, 3, 3]);
        map.remove(&span("a", "c"), 2);
        map.remove(&span("b", ""), 3);
        assert_eq!(stabbed(&map, "b"), [1, 1, 2, 3]);
        for member in [1, 3] {
            map.remove(&span("a", "c"), member);
        }
        assert!(stabbed(&map, "a").is_empty());
    }

    fn any_span() -> impl Strategy<Value = Span> {
        (0u8..24, 0u8..28).prop_filter_map("empty", |(start, end)| {
            let range_end = match end {
                24.. => vec![],
                0 => vec![0],
                end => vec![b'a' + end],
            };
            Span::from_request(&[b'a' + start], &range_end)
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_scan_of_all_spans_finds(steps in prop::collection::vec((any::<bool>(), any_span(), 0u32..40), 1..300)) {
            let mut map = IntervalMap::default();
            let mut naive: Vec<(Span, u32)> = Vec::new();
            for (is_insert, span, member) in steps {
                if is_insert {
                    map.insert(&span, member);
                    if !naive.contains(&(span.clone(), member)) {
                        naive.push((span, member));
                    }
                } else if let Some(place) = naive.iter().position(|(_, m)| *m == member) {
                    let (span, member) = naive.swap_remove(place);
                    map.remove(&span, member);
                }
                for key in b'a'..b'a' + 28 {
                    let key = (key as char).to_string();
                    let mut expected: Vec<u32> = naive.iter().filter(|(s, _)| s.contains(key.as_bytes())).map(|(_, m)| *m).collect();
                    expected.sort_unstable();
                    prop_assert_eq!(stabbed(&map, &key), expected);
                }
            }
        }
    }
}
