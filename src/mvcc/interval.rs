//! Which keys a request means (RNG-1): one key, a half-open interval, or everything from a key on.

/// Borrowed from a request's `key` and `range_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval<'a> {
    One(&'a [u8]),
    From(&'a [u8]),
    Between(&'a [u8], &'a [u8]),
}

impl<'a> Interval<'a> {
    pub fn new(key: &'a [u8], range_end: &'a [u8]) -> Interval<'a> {
        match range_end {
            [] => Interval::One(key),
            [0] => Interval::From(key),
            end => Interval::Between(key, end),
        }
    }

    /// The smallest key that can be inside.
    pub fn start(&self) -> &'a [u8] {
        match self {
            Interval::One(key) | Interval::From(key) | Interval::Between(key, _) => key,
        }
    }

    /// Whether a key that is not below `start` lies beyond the interval.
    pub fn is_past(&self, key: &[u8]) -> bool {
        match self {
            Interval::One(one) => key != *one,
            Interval::From(_) => false,
            Interval::Between(_, end) => key >= *end,
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start() && !self.is_past(key)
    }

    /// Certainly without keys.
    pub fn is_empty(&self) -> bool {
        matches!(self, Interval::Between(start, end) if start >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_end_chooses_the_kind_of_interval() {
        assert!(Interval::new(b"b", b"").contains(b"b") && !Interval::new(b"b", b"").contains(b"b\0"));
        let from = Interval::new(b"b", b"\0");
        assert!(!from.contains(b"a") && from.contains(b"b") && from.contains(b"\xff\xff"));
        let between = Interval::new(b"b", b"d");
        assert!(!between.contains(b"a") && between.contains(b"b") && between.contains(b"c\xff") && !between.contains(b"d"));
        assert!(Interval::new(b"\0", b"\0").contains(b"\0"));
        assert!(Interval::new(b"d", b"b").is_empty() && !Interval::new(b"d", b"b").contains(b"d"));
    }
}
