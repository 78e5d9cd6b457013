//! The whole file at once: every page is used once, or free, or known to be lost.
//!
//! ```text
//!   root bucket --+-> every page of every bucket: claims its pages, keys between those of the page above --> entries, if wanted
//!   free list   --+-> a bit per page:  claimed twice?  free and in use?  neither?
//! ```
//!
//! Goes on after what it finds: a page that cannot be used is reported and left out, with all below it.
//! Bound: a bit per page, and the pages on the way to the one that is looked at.

use std::fmt;

use super::bucket::{Root, decode};
use super::database::Database;
use super::error::{Damage, Error, Place};
use super::page::{Kind, Page};
use super::source::ReadAt;
use super::walk::{DEPTH_MAX, Frame, is_within};

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub page: u64,
    /// From the beginning of the file.
    pub offset: u64,
    pub damage: Damage,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {}, byte {}: {}", self.page, self.offset, self.damage)
    }
}

/// What is done with an entry that a check comes by: the name of its bucket, its key, its value.
pub type SeeEntry<'a> = dyn FnMut(&[u8], &[u8], &[u8]) + 'a;

impl<S: ReadAt> Database<S> {
    /// Reports all that is wrong. Fails only if the file cannot be read.
    pub fn check(&self, report: &mut dyn FnMut(Finding)) -> Result<(), Error> {
        self.check_entries(report, &mut |_, _, _| {})
    }

    /// As `check`, and shows the entries of the root's buckets on the way: a bucket's in order, but for what is reported, all of them.
    pub fn check_entries(&self, report: &mut dyn FnMut(Finding), see: &mut SeeEntry<'_>) -> Result<(), Error> {
        let mut check = Check { database: self, used: Pages::new(self.meta().pages), report, see };
        check.used.claim(0, 2);
        let free = check.found(self.free_list())?;
        if let Some(free) = &free {
            check.used.claim(free.place.page, free.pages);
        }
        check.tree(self.meta().root, self.root_place(), &[])?;
        if let Some(free) = free {
            check.free_pages(free.place, &free.ids);
        }
        Ok(())
    }
}

impl<S: ReadAt> Database<S> {
    /// As `check`, of the tree below one page, whose number is 2 or more and that of a page that counts.
    pub fn check_below(&self, root: u64, report: &mut dyn FnMut(Finding)) -> Result<(), Error> {
        let mut check = Check { database: self, used: Pages::new(self.meta().pages), report, see: &mut |_, _, _| {} };
        check.used.claim(0, 2);
        check.tree(root, self.root_place(), &[])
    }

    /// The free pages: those in the list or, if none is stored, all that nothing refers to.
    pub fn free_pages(&self) -> Result<FreePages, Error> {
        let pages = self.meta().pages;
        let mut free = Pages::new(pages);
        if let Some(list) = self.free_list()? {
            list.ids.into_iter().filter(|id| self.is_data(*id)).for_each(|id| free.mark(id));
        } else {
            let mut check = Check { database: self, used: Pages::new(pages), report: &mut |_| {}, see: &mut |_, _, _| {} };
            check.used.claim(0, 2);
            check.tree(self.meta().root, self.root_place(), &[])?;
            (0..pages).filter(|id| !check.used.has(*id)).for_each(|id| free.mark(id));
        }
        Ok(FreePages { pages, free })
    }
}

/// Which pages are free.
pub struct FreePages {
    pages: u64,
    free: Pages,
}

impl FreePages {
    pub fn has(&self, id: u64) -> bool {
        id < self.pages && self.free.has(id)
    }
}

struct Check<'a, S> {
    database: &'a Database<S>,
    used: Pages,
    report: &'a mut dyn FnMut(Finding),
    see: &'a mut SeeEntry<'a>,
}

impl<S: ReadAt> Check<'_, S> {
    /// What is there, or None after it was reported.
    fn found<T>(&mut self, result: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
        match result {
            Err(Error::Damaged { page, offset, damage }) => {
                (self.report)(Finding { page, offset, damage });
                Ok(None)
            }
            result => result,
        }
    }

    fn say(&mut self, place: Place, damage: Damage) {
        (self.report)(Finding { page: place.page, offset: place.offset, damage });
    }

    /// A tree, and the buckets inside; `path` names the buckets that it is in.
    fn tree(&mut self, root: u64, from: Place, path: &[&[u8]]) -> Result<(), Error> {
        let mut stack = Vec::new();
        self.descend(&mut stack, root, from)?;
        while let Some(frame) = stack.last() {
            let index = frame.index;
            if index >= frame.page.count() {
                stack.pop();
            } else if frame.page.kind() == Kind::Branch {
                let (child, place) = (frame.page.child(index), frame.page.child_place(index));
                if self.descend(&mut stack, child, place)? {
                    // The index stays, for the bounds of the pages below; it moves on when they are done.
                    continue;
                }
            } else {
                self.element(&frame.page, index, path)?;
            }
            if let Some(frame) = stack.last_mut() {
                frame.index += 1;
            }
        }
        Ok(())
    }

    fn element(&mut self, page: &Page, index: usize, path: &[&[u8]]) -> Result<(), Error> {
        if page.is_bucket(index) {
            return self.bucket(page, index, path);
        }
        if let [bucket] = path {
            (self.see)(bucket, page.key(index), page.value(index));
        }
        Ok(())
    }

    fn bucket(&mut self, page: &Page, index: usize, path: &[&[u8]]) -> Result<(), Error> {
        if path.len() >= DEPTH_MAX {
            self.say(page.value_place(index), Damage::TooDeep { max: DEPTH_MAX });
            return Ok(());
        }
        let path = &[path, &[page.key(index)]].concat();
        match self.found(decode(page, index).map(Some))? {
            Some((Root::Page(id, place), _)) => self.tree(id, place, path),
            Some((Root::Inline(inline), _)) => (0..inline.count()).try_for_each(|index| self.element(&inline, index, path)),
            None => Ok(()),
        }
    }

    /// Puts a page on the stack; false if it cannot be used.
    fn descend(&mut self, stack: &mut Vec<Frame>, id: u64, from: Place) -> Result<bool, Error> {
        // Claimed before it is read: so all that is ever read is the file, once.
        let first = if self.database.is_data(id) { self.used.claim(id, 1) } else { None };
        if let Some(page) = first {
            self.say(from, Damage::SharedPage { page });
            return Ok(false);
        }
        let Some(head) = self.found(self.database.head(id, from).map(Some))? else { return Ok(false) };
        if let Some(page) = self.used.claim(id + 1, head.pages() - 1) {
            self.say(from, Damage::SharedPage { page });
            return Ok(false);
        }
        let Some(page) = self.found(self.database.tree_page(head).map(Some))? else { return Ok(false) };
        if !is_within(stack, &page) {
            self.say(page.place(), Damage::KeyBounds);
        }
        if stack.len() >= DEPTH_MAX {
            self.say(page.place(), Damage::TooDeep { max: DEPTH_MAX });
            return Ok(false);
        }
        stack.push(Frame { page, index: 0 });
        Ok(true)
    }

    fn free_pages(&mut self, place: Place, ids: &[u64]) {
        let pages = self.database.meta().pages;
        let mut free = Pages::new(pages);
        for &id in ids {
            if id < 2 || id >= pages {
                self.say(place, Damage::FreeOutOfBounds { id, pages });
            } else if free.claim(id, 1).is_some() {
                self.say(place, Damage::FreeTwice { id });
            } else if self.used.has(id) {
                self.say(place, Damage::FreeInUse { id });
            }
        }
        for id in 0..pages {
            if !self.used.has(id) && !free.has(id) {
                self.say(self.database.place_of(id), Damage::Lost { id });
            }
        }
    }
}

/// A bit per page.
struct Pages(Vec<u64>);

impl Pages {
    fn new(count: u64) -> Pages {
        // The meta page's number of pages was compared with the file's length.
        Pages(vec![0; count.div_ceil(64) as usize])
    }

    fn has(&self, id: u64) -> bool {
        self.0[(id / 64) as usize] & (1 << (id % 64)) != 0
    }

    fn mark(&mut self, id: u64) {
        self.0[(id / 64) as usize] |= 1 << (id % 64);
    }

    /// Marks pages that are all inside of the file, up to the first that was marked already: that is the answer.
    fn claim(&mut self, first: u64, count: u64) -> Option<u64> {
        let shared = (first..first + count).find(|id| self.has(*id));
        (first..shared.unwrap_or(first + count)).for_each(|id| self.mark(id));
        shared
    }
}
