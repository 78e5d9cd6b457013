//! The way through one tree, in the order of its keys.
//!
//! ```text
//!   stack   root branch [index] -> branch [index] -> leaf [index]
//!           what may be below an element: keys from its own up to the next one, of itself or of the nearest page above that has one
//! ```
//!
//! Invariant: a walk reads no more pages than the file has, so that it ends in a cycle too: `pages_left` counts them down.
//! Bound: the stack is as deep as `DEPTH_MAX`, and its pages together are no larger than the file.

use std::ops::ControlFlow;

use super::database::Database;
use super::error::{Damage, Error, Place};
use super::page::{Kind, Page};
use super::source::ReadAt;

/// A sound tree has two children or more per branch, so it is never nearly as deep.
pub(super) const DEPTH_MAX: usize = 64;

/// What a walk does with an element of a leaf.
pub(super) type VisitElement<'a> = dyn FnMut(&Page, usize) -> Result<ControlFlow<()>, Error> + 'a;

/// What is done with a page, and how deep it is.
pub type VisitPage<'a> = dyn FnMut(&Page, usize) -> Result<(), Error> + 'a;

pub(super) struct Frame {
    pub page: Page,
    /// The element that is looked at.
    pub index: usize,
}

pub(super) struct Walk<'a, S> {
    database: &'a Database<S>,
    stack: Vec<Frame>,
    pages_left: u64,
}

impl<'a, S: ReadAt> Walk<'a, S> {
    pub fn new(database: &'a Database<S>) -> Self {
        Walk { database, stack: Vec::new(), pages_left: database.data_pages() }
    }

    /// Visits the elements of the leaves below `root` from the first key that is not below `from`.
    pub fn run(&mut self, root: Page, from: &[u8], visit: &mut VisitElement<'_>) -> Result<(), Error> {
        self.push(root, from)?;
        while let Some(frame) = self.stack.last_mut() {
            if frame.index >= frame.page.count() {
                self.stack.pop();
                if let Some(above) = self.stack.last_mut() {
                    above.index += 1;
                }
                continue;
            }
            match frame.page.kind() {
                Kind::Leaf => {
                    if visit(&frame.page, frame.index)?.is_break() {
                        return Ok(());
                    }
                    frame.index += 1;
                }
                Kind::Branch => {
                    let (child, place) = (frame.page.child(frame.index), frame.page.child_place(frame.index));
                    let page = self.load(child, place)?;
                    if !is_within(&self.stack, &page) {
                        return Err(page.place().damaged(Damage::KeyBounds));
                    }
                    self.push(page, from)?;
                }
            }
        }
        Ok(())
    }

    /// Visits the pages below `root`, each before those under it, with how deep it is.
    pub fn pages(&mut self, root: Page, visit: &mut VisitPage<'_>) -> Result<(), Error> {
        visit(&root, 0)?;
        self.push(root, b"")?;
        while let Some(frame) = self.stack.last() {
            if frame.page.kind() == Kind::Leaf || frame.index >= frame.page.count() {
                self.stack.pop();
                if let Some(above) = self.stack.last_mut() {
                    above.index += 1;
                }
                continue;
            }
            let page = self.load(frame.page.child(frame.index), frame.page.child_place(frame.index))?;
            visit(&page, self.stack.len())?;
            self.push(page, b"")?;
        }
        Ok(())
    }

    /// A page that `place` refers to.
    pub fn load(&mut self, id: u64, place: Place) -> Result<Page, Error> {
        let head = self.database.head(id, place)?;
        self.pages_left = self.pages_left.checked_sub(head.pages()).ok_or_else(|| place.damaged(Damage::Revisited))?;
        self.database.tree_page(head)
    }

    fn push(&mut self, page: Page, from: &[u8]) -> Result<(), Error> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(page.place().damaged(Damage::TooDeep { max: DEPTH_MAX }));
        }
        // Once a leaf is behind, all that follows is above `from` and both give 0.
        let index = match page.kind() {
            Kind::Leaf => page.first_at_or_above(from),
            Kind::Branch => page.child_for(from),
        };
        self.stack.push(Frame { page, index });
        Ok(())
    }
}

/// True if the keys of a page are those that the pages above it, at their index, leave room for.
pub(super) fn is_within(above: &[Frame], page: &Page) -> bool {
    let (Some(parent), Some(last)) = (above.last(), page.count().checked_sub(1)) else { return true };
    let upper = above.iter().rev().find(|frame| frame.index + 1 < frame.page.count()).map(|frame| frame.page.key(frame.index + 1));
    page.key(0) >= parent.page.key(parent.index) && upper.is_none_or(|upper| page.key(last) < upper)
}
