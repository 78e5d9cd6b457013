//! A bucket: sorted entries, and buckets among them.
//!
//! ```text
//!   element of the bucket above --> root page --walk--> leaves       (a large bucket)
//!                               \-> page inside of the value         (a small one, inline)
//! ```
//!
//! Reads pages as it goes and keeps none.

use std::ops::ControlFlow;

use super::database::Database;
use super::error::{Damage, Error, Place};
use super::page::{BUCKET_BYTES, HEADER_BYTES, Page};
use super::source::ReadAt;
use super::walk::{VisitElement, VisitPage, Walk};

/// What a scan does with a key and its value.
pub type VisitEntry<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

#[derive(Debug)]
pub struct Bucket<'a, S> {
    database: &'a Database<S>,
    root: Root,
    sequence: u64,
}

#[derive(Debug)]
pub(super) enum Root {
    /// And where its number stands.
    Page(u64, Place),
    Inline(Page),
}

impl<S> Clone for Bucket<'_, S> {
    fn clone(&self) -> Self {
        let root = match &self.root {
            Root::Page(id, place) => Root::Page(*id, *place),
            Root::Inline(page) => Root::Inline(page.clone()),
        };
        Bucket { database: self.database, root, sequence: self.sequence }
    }
}

/// One element of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Entry { key: &'a [u8], value: &'a [u8] },
    Bucket { name: &'a [u8] },
}

impl<'a, S: ReadAt> Bucket<'a, S> {
    pub(super) fn at_page(database: &'a Database<S>, root: u64, sequence: u64, place: Place) -> Self {
        Bucket { database, root: Root::Page(root, place), sequence }
    }

    /// The bucket that an element of one of this bucket's leaves is.
    pub fn inside(&self, page: &Page, index: usize) -> Result<Self, Error> {
        Bucket::of_element(self.database, page, index)
    }

    fn of_element(database: &'a Database<S>, page: &Page, index: usize) -> Result<Self, Error> {
        let (root, sequence) = decode(page, index)?;
        Ok(Bucket { database, root, sequence })
    }

    /// A number that the bucket's owner counts up; etcd leaves it at 0.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The root page, or 0 of an inline bucket.
    pub fn root_page(&self) -> u64 {
        match &self.root {
            Root::Page(id, _) => *id,
            Root::Inline(_) => 0,
        }
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut found = None;
        self.walk(key, &mut |page, index| {
            if page.key(index) == key && !page.is_bucket(index) {
                found = Some(page.value(index).to_vec());
            }
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// The entries from the first key that is not below `from`, in order, until `visit` breaks; nested buckets are passed over.
    pub fn scan(&self, from: &[u8], visit: &mut VisitEntry<'_>) -> Result<(), Error> {
        self.items(from, &mut |item| match item {
            Item::Entry { key, value } => visit(key, value),
            Item::Bucket { .. } => ControlFlow::Continue(()),
        })
    }

    /// As `scan`, with the nested buckets in their places.
    pub fn items(&self, from: &[u8], visit: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.walk(from, &mut |page, index| {
            let key = page.key(index);
            let is_bucket = page.is_bucket(index);
            Ok(visit(if is_bucket { Item::Bucket { name: key } } else { Item::Entry { key, value: page.value(index) } }))
        })
    }

    /// The names of the buckets right inside, in order.
    pub fn buckets(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut names = Vec::new();
        self.items(b"", &mut |item| {
            if let Item::Bucket { name } = item {
                names.push(name.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'a, S>>, Error> {
        let mut found = None;
        self.walk(name, &mut |page, index| {
            if page.key(index) == name && page.is_bucket(index) {
                found = Some(Bucket::of_element(self.database, page, index)?);
            }
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// All pages of the bucket, each before those under it, with how deep it is; of an inline bucket the one inside of the value.
    pub fn pages(&self, visit: &mut VisitPage<'_>) -> Result<(), Error> {
        let mut walk = Walk::new(self.database);
        let root = self.load_root(&mut walk)?;
        walk.pages(root, visit)
    }

    fn load_root(&self, walk: &mut Walk<'_, S>) -> Result<Page, Error> {
        match &self.root {
            Root::Page(id, place) => walk.load(*id, *place),
            Root::Inline(page) => Ok(page.clone()),
        }
    }

    fn walk(&self, from: &[u8], visit: &mut VisitElement<'_>) -> Result<(), Error> {
        let mut walk = Walk::new(self.database);
        let root = self.load_root(&mut walk)?;
        walk.run(root, from, visit)
    }
}

/// Where the bucket that an element of a leaf is begins, and its sequence.
pub(super) fn decode(page: &Page, index: usize) -> Result<(Root, u64), Error> {
    let (value, place) = (page.value(index), page.value_place(index));
    let short = || place.damaged(Damage::ShortBucket { index, len: value.len() });
    if value.len() < BUCKET_BYTES {
        return Err(short());
    }
    let (root, sequence) = (page.order().u64(value, 0), page.order().u64(value, 8));
    if root != 0 {
        return Ok((Root::Page(root, place), sequence));
    }
    if value.len() < BUCKET_BYTES + HEADER_BYTES {
        return Err(short());
    }
    let inline = Page::parse_inline(page.order(), place.plus(BUCKET_BYTES), value[BUCKET_BYTES..].to_vec())?;
    Ok((Root::Inline(inline), sequence))
}
