//! Which entry goes to which page: both passes of a writer ask here, so they cannot differ.
//!
//! ```text
//!   bucket's entries --> leaf level --full--> page 2, 3, 5 ...     first key, page
//!                            branch level 1 <------------------------------+
//!                                |--full--> page 4 ...                     first key, page
//!                            branch level 2 <------------------------------+        one partly filled page per level
//!   end of the bucket: what is left goes out, level by level; the last page is the bucket's root
//!   bucket's name, root page or whole page --> leaf level of the root bucket, likewise
//! ```
//!
//! As bbolt fills them when it compacts: up to nine tenths of a page, but two elements at least, so two large values share their
//! overflow pages; a bucket of a quarter page or less is kept inline.
//! Invariant: a branch page has two children or more. bbolt takes that for granted when it merges pages, so a branch level goes out
//! only when two elements are left for the next page.
//! Bound: per level, one page and two elements.

use std::convert::Infallible;

use super::format::{ByteOrder, Format};
use super::page::{BRANCH_FLAG, BUCKET_BYTES, BUCKET_ELEMENT, ELEMENT_BYTES, HEADER_BYTES, Header, LEAF_FLAG};

/// Elements that a page has at least, if there are as many.
const ELEMENTS_MIN: usize = 2;

/// Where finished pages go, in the order of their numbers.
pub(super) trait Sink {
    type Error;
    /// True if values matter: the sizing pass keeps none.
    const HAS_VALUES: bool;
    fn page(&mut self, format: Format, id: u64, page: Run<'_>) -> Result<(), Self::Error>;
}

/// Counts only.
pub(super) struct Nowhere;

impl Sink for Nowhere {
    type Error = Infallible;
    const HAS_VALUES: bool = false;

    fn page(&mut self, _: Format, _: u64, _: Run<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Element {
    flags: u32,
    key: usize,
    value: usize,
    /// Of a branch.
    child: u64,
}

/// The elements of one page, in order.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    is_leaf: bool,
    elements: &'a [Element],
    /// Key, value, key, value ...; without values in the sizing pass.
    data: &'a [u8],
}

impl Run<'_> {
    fn size(&self) -> usize {
        HEADER_BYTES + self.elements.iter().map(|element| ELEMENT_BYTES + element.key + element.value).sum::<usize>()
    }

    /// The page, without the zeros up to the end of its last page.
    fn encode(&self, order: ByteOrder, id: u64, overflow: u32, out: &mut Vec<u8>) {
        self.encode_head(order, id, overflow, out);
        out.extend_from_slice(self.data);
    }

    /// What follows the head in the page.
    pub fn data(&self) -> &[u8] {
        self.data
    }

    /// The page up to its keys and values.
    pub fn encode_head(&self, order: ByteOrder, id: u64, overflow: u32, out: &mut Vec<u8>) {
        let flags = if self.is_leaf { LEAF_FLAG } else { BRANCH_FLAG };
        Header { id, flags, count: self.elements.len() as u16, overflow }.encode(order, out);
        let mut start = HEADER_BYTES + self.elements.len() * ELEMENT_BYTES;
        for (index, element) in self.elements.iter().enumerate() {
            let pos = (start - HEADER_BYTES - index * ELEMENT_BYTES) as u32;
            if self.is_leaf {
                for number in [element.flags, pos, element.key as u32, element.value as u32] {
                    order.put_u32(out, number);
                }
            } else {
                order.put_u32(out, pos);
                order.put_u32(out, element.key as u32);
                order.put_u64(out, element.child);
            }
            start += element.key + element.value;
        }
    }

    /// Pages beyond the first.
    pub fn overflow(&self, format: Format) -> u32 {
        format.pages(self.size()) as u32 - 1
    }
}

/// The elements of one level that have no page yet.
#[derive(Default)]
struct Level {
    elements: Vec<Element>,
    data: Vec<u8>,
    size: usize,
    /// How many of them are a full page.
    full: Option<usize>,
    /// True once a page of this level went out.
    is_split: bool,
}

impl Level {
    fn run(&self, is_leaf: bool, count: usize, has_values: bool) -> Run<'_> {
        let elements = &self.elements[..count];
        let bytes = elements.iter().map(|element| element.key + if has_values { element.value } else { 0 }).sum();
        Run { is_leaf, elements, data: &self.data[..bytes] }
    }

    fn remove(&mut self, count: usize, bytes: usize) {
        self.elements.drain(..count);
        self.data.drain(..bytes);
        self.size = HEADER_BYTES + self.elements.iter().map(|element| ELEMENT_BYTES + element.key + element.value).sum::<usize>();
        self.full = None;
        self.is_split = true;
    }
}

/// The levels of one bucket, leaves first.
#[derive(Default)]
struct Tree {
    levels: Vec<Level>,
}

/// What of a bucket goes into the bucket above.
enum Root {
    Page(u64),
    /// Small enough to be kept there whole.
    Inline,
}

/// Packs a whole file.
pub(super) struct Packer<T> {
    format: Format,
    pub sink: T,
    next: u64,
    root: Tree,
    bucket: Option<(Vec<u8>, Tree)>,
}

impl<T: Sink> Packer<T> {
    pub fn new(format: Format, sink: T) -> Self {
        Packer { format, sink, next: 2, root: Tree::default(), bucket: None }
    }

    /// Pages so far, the metas included.
    pub fn pages(&self) -> u64 {
        self.next
    }

    pub fn bucket(&mut self, name: &[u8]) -> Result<(), T::Error> {
        self.end_bucket()?;
        self.bucket = Some((name.to_vec(), Tree::default()));
        Ok(())
    }

    /// An entry of the bucket that was named last. The sizing pass has no bytes of the value, only their number.
    pub fn entry(&mut self, key: &[u8], value: &[u8], value_len: usize) -> Result<(), T::Error> {
        let Some((name, mut tree)) = self.bucket.take() else { return Ok(()) };
        let element = Element { flags: 0, key: key.len(), value: value_len, child: 0 };
        let done = self.push(&mut tree, 0, element, key, value);
        self.bucket = Some((name, tree));
        done
    }

    /// The root bucket's root page.
    pub fn finish(&mut self) -> Result<u64, T::Error> {
        self.end_bucket()?;
        let mut root = std::mem::take(&mut self.root);
        self.end(&mut root)
    }

    fn end_bucket(&mut self) -> Result<(), T::Error> {
        let Some((name, mut tree)) = self.bucket.take() else { return Ok(()) };
        let order = self.format.order;
        let root = match tree.inline_size(self.format) {
            Some(_) => Root::Inline,
            None => Root::Page(self.end(&mut tree)?),
        };
        let mut value = Vec::new();
        order.put_u64(&mut value, if let Root::Page(id) = root { id } else { 0 });
        order.put_u64(&mut value, 0);
        let mut len = value.len();
        if let Root::Inline = root {
            let level = tree.levels.pop().unwrap_or_default();
            let run = level.run(true, level.elements.len(), T::HAS_VALUES);
            run.encode(order, 0, 0, &mut value);
            len = BUCKET_BYTES + run.size();
        }
        let element = Element { flags: BUCKET_ELEMENT, key: name.len(), value: len, child: 0 };
        let mut root = std::mem::take(&mut self.root);
        let done = self.push(&mut root, 0, element, &name, &value);
        self.root = root;
        done
    }

    fn push(&mut self, tree: &mut Tree, depth: usize, element: Element, key: &[u8], value: &[u8]) -> Result<(), T::Error> {
        if depth == tree.levels.len() {
            tree.levels.push(Level { size: HEADER_BYTES, ..Level::default() });
        }
        let threshold = self.format.page_bytes() * 9 / 10;
        let level = &mut tree.levels[depth];
        let count = level.elements.len();
        let size = ELEMENT_BYTES + element.key + element.value;
        if level.full.is_none() && count >= ELEMENTS_MIN && level.size + size > threshold {
            level.full = Some(count);
            if depth == 0 {
                self.put_out(tree, 0, count)?;
            }
        }
        let level = &mut tree.levels[depth];
        level.size += size;
        level.elements.push(element);
        level.data.extend_from_slice(key);
        if T::HAS_VALUES {
            level.data.extend_from_slice(value);
        }
        match level.full {
            Some(full) if level.elements.len() >= full + ELEMENTS_MIN => self.put_out(tree, depth, full),
            _ => Ok(()),
        }
    }

    /// Makes a page of the first `count` elements of a level, and an element of the level above.
    fn put_out(&mut self, tree: &mut Tree, depth: usize, count: usize) -> Result<(), T::Error> {
        let (id, first) = self.page(tree, depth, count)?;
        let element = Element { flags: 0, key: first.len(), value: 0, child: id };
        self.push(tree, depth + 1, element, &first, b"")
    }

    /// Makes a page of the first `count` elements of a level: its number and first key.
    fn page(&mut self, tree: &mut Tree, depth: usize, count: usize) -> Result<(u64, Vec<u8>), T::Error> {
        let level = &mut tree.levels[depth];
        let run = level.run(depth == 0, count, T::HAS_VALUES);
        let id = self.next;
        self.next += u64::from(run.overflow(self.format)) + 1;
        self.sink.page(self.format, id, run)?;
        let first = run.elements.first().map(|element| run.data[..element.key].to_vec()).unwrap_or_default();
        let bytes = run.data.len();
        level.remove(count, bytes);
        Ok((id, first))
    }

    /// Makes pages of all that is left, from the leaves up: the number of the last one, which is the root.
    fn end(&mut self, tree: &mut Tree) -> Result<u64, T::Error> {
        if tree.levels.is_empty() {
            tree.levels.push(Level { size: HEADER_BYTES, ..Level::default() });
        }
        let mut depth = 0;
        loop {
            let level = &tree.levels[depth];
            let count = level.elements.len();
            // More than a page: as bbolt does, unless so few elements are left that a page more would be none with two.
            if level.full.is_some() && count > 2 * ELEMENTS_MIN && level.size > self.format.page_bytes() {
                let first = level.full.unwrap_or(count).min(count - ELEMENTS_MIN);
                self.put_out(tree, depth, first)?;
                continue;
            }
            if depth + 1 == tree.levels.len() && !level.is_split {
                return Ok(self.page(tree, depth, count)?.0);
            }
            self.put_out(tree, depth, count)?;
            depth += 1;
        }
    }
}

impl Tree {
    /// The size of the only page, if it is small enough to be kept inside of the bucket above.
    fn inline_size(&self, format: Format) -> Option<usize> {
        let size = match self.levels.as_slice() {
            [] => HEADER_BYTES,
            [level] if !level.is_split => level.size,
            _ => return None,
        };
        (size <= format.page_bytes() / 4).then_some(size)
    }
}
