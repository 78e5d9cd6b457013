//! The hash over the whole state (HSH-1): CRC-32C of every bucket's name, keys and values, in order, without what healthy
//! members may differ in.

use std::ops::ControlFlow;

use crate::storage::{self, Keyspace, Read, keyspace::meta};

/// Fields that depend on when a member flushed or was upgraded, not on what it holds.
const LEFT_OUT: [&[u8]; 3] = [meta::CONSISTENT_INDEX, meta::TERM, meta::STORAGE_VERSION];

pub fn whole_state(view: &dyn Read) -> Result<u32, storage::Error> {
    let mut hash = 0;
    for keyspace in Keyspace::BUCKETS {
        hash = crc32c::crc32c_append(hash, keyspace.name().as_bytes());
        view.scan(keyspace, &[], None, &mut |key, value| {
            if keyspace != Keyspace::Meta || !LEFT_OUT.contains(&key) {
                hash = crc32c::crc32c_append(hash, key);
                hash = crc32c::crc32c_append(hash, value);
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(hash)
}
