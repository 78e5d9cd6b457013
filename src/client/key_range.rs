//! Where a range of keys ends; members know only key and range end.
//!
//! Writes and reads: nothing.

/// The range end that means "every key from the first one on".
pub const OPEN_END: &[u8] = &[0];

/// The first key after all keys that begin with `prefix` (RNG-2).
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    match prefix.iter().rposition(|&b| b < 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        }
        None => OPEN_END.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_last_byte_below_ff_is_counted_up() {
        assert_eq!(prefix_end(b"foo"), b"fop");
        assert_eq!(prefix_end(b"a\xff\xff"), b"b");
        assert_eq!(prefix_end(b"a\xffb\xff"), b"a\xffc");
    }

    #[test]
    fn a_prefix_of_ff_bytes_only_has_no_end() {
        assert_eq!(prefix_end(b"\xff\xff"), OPEN_END);
        assert_eq!(prefix_end(b""), OPEN_END);
    }
}
