//! What a Range asks for and how its answer is put together: which keys count, which are fetched, filtered, sorted and cut (RNG-6).
//!
//! ```text
//!   walk by key, at most limit+1 --> revision filters --> [values, to sort by them] --> sort --> cut to limit --> values
//! ```
//!
//! Filters and all sorts but the one by value go by the key index alone, so that values are fetched only for what is sent.
//! Used by scans and by ranges inside transactions, which differ in where the keys come from.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::wire::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::wire::etcdserverpb::{RangeRequest, ResponseHeader};
use crate::wire::hot;

use super::interval::Interval;
use super::key_index::Found;
use super::record::{self, Fields};
use super::revision::Revision;
use super::tree::Key;

/// One key of an answer in the making.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Only where it is needed: the keys of a large answer would each have to be fetched into the processor's cache.
    pub key: Option<Key>,
    pub revision: Revision,
    pub create: i64,
    pub version: i64,
    pub slot: u32,
    pub record: Option<Bytes>,
}

impl Item {
    pub fn new(key: Key, found: Found) -> Item {
        Item { key: Some(key), ..Item::nameless(found) }
    }

    fn nameless(found: Found) -> Item {
        Item { key: None, revision: found.revision, create: found.create, version: found.version, slot: found.slot, record: None }
    }
}

#[derive(Debug)]
pub(super) struct Plan {
    request: RangeRequest,
    target: SortTarget,
    /// `None` leaves the order of the keys.
    descending: Option<bool>,
    /// Keys to fetch: enough to learn whether there are more.
    fetch_max: usize,
    count: i64,
}

impl Plan {
    pub fn new(request: &RangeRequest) -> Plan {
        let target = request.sort_target();
        let order = request.sort_order();
        let is_filtered = request.min_mod_revision != 0
            || request.max_mod_revision != 0
            || request.min_create_revision != 0
            || request.max_create_revision != 0;
        let is_ordered = order == SortOrder::None || (target == SortTarget::Key && order == SortOrder::Ascend);
        // Quirk: RNG-9, another target without an order sorts what a plain range would have fetched (etcd's rangeLimit).
        let descending = match order {
            SortOrder::Descend => Some(true),
            _ if target == SortTarget::Key => None,
            _ => Some(false),
        };
        let fetch_max = match usize::try_from(request.limit) {
            Ok(limit) if limit > 0 && is_ordered && !is_filtered => limit.saturating_add(1),
            _ => usize::MAX,
        };
        Plan { request: request.clone(), target, descending, fetch_max, count: 0 }
    }

    pub fn interval(&self) -> Interval<'_> {
        Interval::new(&self.request.key, &self.request.range_end)
    }

    pub fn is_count_only(&self) -> bool {
        self.request.count_only
    }

    /// Whether an item is sent as it is found: then its record is worth having at once, and its key is not needed.
    fn is_plain(&self) -> bool {
        self.descending.is_none() && self.wants_values()
    }

    /// The key as an item, unless a filter drops it. `record` is asked only where it is certainly of use.
    pub fn item(&self, key: impl FnOnce() -> Key, found: Found, record: impl FnOnce() -> Option<Bytes>) -> Option<Item> {
        let RangeRequest { min_mod_revision, max_mod_revision, min_create_revision, max_create_revision, .. } = self.request;
        let (modified, create) = (found.revision.main, found.create);
        let is_dropped = (max_mod_revision != 0 && modified > max_mod_revision)
            || (min_mod_revision != 0 && modified < min_mod_revision)
            || (max_create_revision != 0 && create > max_create_revision)
            || (min_create_revision != 0 && create < min_create_revision);
        if is_dropped {
            return None;
        }
        match self.is_plain().then(record).flatten() {
            Some(record) => Some(Item { record: Some(record), ..Item::nameless(found) }),
            None => Some(Item::new(key(), found)),
        }
    }

    /// Whether nothing more needs to be fetched.
    pub fn is_full(&self, items: &[Item]) -> bool {
        items.len() >= self.fetch_max
    }

    /// How many keys are alive, whatever limit and filters say (RNG-7).
    pub fn set_count(&mut self, count: i64) {
        self.count = count;
    }

    /// Whether the sort needs the values of everything fetched.
    pub fn wants_all_values(&self) -> bool {
        self.target == SortTarget::Value && self.descending.is_some() && !self.request.count_only
    }

    /// Whether the answer needs values. Keys alone are answered from the key index and have no lease (VER-2).
    pub fn wants_values(&self) -> bool {
        !self.request.count_only && (!self.request.keys_only || self.target == SortTarget::Value)
    }

    /// Sorts, and cuts what is certainly not sent.
    pub fn arrange(&self, items: &mut Vec<Item>) {
        if let Some(descending) = self.descending {
            let by = |a: &Item, b: &Item| match self.target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create.cmp(&b.create),
                SortTarget::Mod => a.revision.main.cmp(&b.revision.main),
                SortTarget::Value => value_of(a).cmp(value_of(b)),
            };
            items.sort_by(|a, b| if descending { by(b, a) } else { by(a, b) });
        }
        if let Some(sent) = self.sent_max() {
            items.truncate(sent.saturating_add(1));
        }
    }

    pub fn response(&self, mut items: Vec<Item>, revision: i64) -> hot::RangeResponse {
        let header = Some(ResponseHeader { revision, ..Default::default() });
        if self.request.count_only {
            return hot::RangeResponse { header, kvs: Vec::new(), more: false, count: self.count };
        }
        let mut more = false;
        if let Some(sent) = self.sent_max()
            && items.len() > sent
        {
            items.truncate(sent);
            more = true;
        }
        let kvs = items.into_iter().map(|item| self.kv(item)).collect();
        hot::RangeResponse { header, kvs, more, count: self.count }
    }

    /// Items beyond this are cut.
    fn sent_max(&self) -> Option<usize> {
        usize::try_from(self.request.limit).ok().filter(|limit| *limit > 0)
    }

    fn kv(&self, item: Item) -> Bytes {
        let Item { key, revision, create, version, record, .. } = item;
        match record {
            Some(record) if !self.request.keys_only => record,
            // Quirk: RNG-12, with a sort by value etcd reads the records and blanks the value, so the lease stays.
            Some(record) => record::decode(&record).map_or_else(Bytes::new, |fields| Fields { value: &[], ..fields }.encode()),
            None => {
                Fields { key: key.as_deref().unwrap_or_default(), create, modified: revision.main, version, value: &[], lease: 0 }.encode()
            }
        }
    }
}

fn value_of(item: &Item) -> &[u8] {
    item.record.as_deref().and_then(record::decode).map_or(&[], |fields| fields.value)
}

/// In the order that the engine keeps its records in.
pub(super) fn by_revision(items: &[Item], places: &mut [usize]) {
    places.sort_unstable_by(|a, b| -> Ordering { items[*a].revision.cmp(&items[*b].revision) });
}
