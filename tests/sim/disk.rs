//! A disk that forgets, tears and refuses: what a crash leaves of the log is decided by the seed.
//!
//! ```text
//!   write_at, set_len --> pending --sync--> durable        a crash keeps a prefix of what is pending, cut at a sector
//!   create, rename, remove --> names --sync_dir--> durable names        .. and the names of one moment since
//! ```
//!
//! Every call that changes something is a numbered step. The machine may end at any of them, before the step is done or right
//! after. When only the process ends, what is pending stays, as in a page cache, and is as little durable as before.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use etcd::wal::{File, FileSystem, Open};
use rand::Rng;
use rand::rngs::StdRng;

use crate::bug::Bug;

const SECTOR: usize = 512;

/// What the disk shall do to the next calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Good,
    /// Whatever takes space fails, a write after its first half.
    Full,
    /// Syncs fail.
    SyncFails,
}

/// The kinds of steps, for the count of crashes at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    CreateDir,
    Create,
    Write,
    Allocate,
    SetLen,
    Sync,
    Rename,
    Remove,
    SyncDir,
}

/// How the end comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process ends, the machine goes on.
    Process,
    /// Power fails; of each file a prefix of what was written since its sync is there.
    Power,
    /// Power fails, and sectors of one unsynced write are lost while later ones are there: a log may refuse that as damage.
    Holes,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Change>,
}

type Names = BTreeMap<PathBuf, usize>;

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: Names,
    /// The names after each change since they were durable; the first are the durable ones.
    moments: Vec<Names>,
    dirs: Vec<PathBuf>,
    steps: u64,
    /// The step at which the machine ends, and whether that step is still done.
    crash_at: Option<(u64, bool)>,
    has_crashed: bool,
    crashes: BTreeMap<Kind, u64>,
    mood: Mood,
    bug: Bug,
}

/// A handle to the one disk of a member.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

fn crashed() -> io::Error {
    io::Error::other("the simulated machine has crashed")
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write(offset, bytes) => {
                if content.len() < offset + bytes.len() {
                    content.resize(offset + bytes.len(), 0);
                }
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Change::SetLen(len) => content.resize(*len, 0),
        }
    }
}

impl Inode {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    /// What is left when power fails.
    fn lose(&mut self, rng: &mut StdRng, with_holes: bool) {
        let mut content = std::mem::take(&mut self.durable);
        let pending = std::mem::take(&mut self.pending);
        let kept = rng.random_range(0..=pending.len());
        for change in &pending[..kept] {
            change.apply(&mut content);
        }
        if let Some(Change::Write(offset, bytes)) = pending.get(kept) {
            let end = rng.random_range(*offset..=offset + bytes.len()) / SECTOR * SECTOR;
            let part = &bytes[..end.saturating_sub(*offset)];
            Change::Write(*offset, part.to_vec()).apply(&mut content);
            let begin = (end + SECTOR).max(*offset);
            if with_holes && begin < offset + bytes.len() {
                Change::Write(begin, bytes[begin - offset..].to_vec()).apply(&mut content);
            }
        }
        // The length may have reached the disk before the bytes did.
        if content.len() < self.current.len() && rng.random_bool(0.5) {
            content.resize(self.current.len(), 0);
        }
        self.current = content.clone();
        self.durable = content;
    }
}

impl State {
    /// Takes one step: `act` is done unless the machine ends before it.
    fn step(&mut self, kind: Kind, act: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        if self.has_crashed {
            return Err(crashed());
        }
        self.steps += 1;
        let end = self.crash_at.filter(|&(at, _)| at <= self.steps);
        let Some((_, is_done)) = end else { return act(self) };
        if is_done {
            let _ = act(self);
        }
        self.has_crashed = true;
        *self.crashes.entry(kind).or_default() += 1;
        Err(crashed())
    }

    /// A step that a full disk refuses.
    fn step_with_space(&mut self, kind: Kind, act: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let is_full = self.mood == Mood::Full;
        self.step(kind, |state| if is_full { Err(io::ErrorKind::StorageFull.into()) } else { act(state) })
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn rename_all(&mut self, from: &Path, to: &Path) {
        let moved: Vec<(PathBuf, usize)> =
            self.names.iter().filter(|(p, _)| p.starts_with(from)).map(|(p, &inode)| (p.clone(), inode)).collect();
        for (path, inode) in moved {
            self.names.remove(&path);
            let rest = path.strip_prefix(from).expect("it starts with it");
            let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            self.names.insert(target, inode);
        }
        if self.dirs.iter().any(|d| d == from) {
            self.dirs.retain(|d| d != from);
            self.dirs.push(to.to_owned());
        }
    }

    /// Remembers that the names are of another moment now.
    fn note_names(&mut self) {
        let names = self.names.clone();
        self.moments.push(names);
    }
}

impl Disk {
    pub fn new(bug: Bug) -> Disk {
        let state = State { moments: vec![Names::new()], bug, ..State::default() };
        Disk { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no step panics")
    }

    /// The machine ends at the step that comes this many after now; `is_done` says whether the step is still done.
    pub fn crash_in(&self, steps: u64, is_done: bool) {
        let mut state = self.lock();
        state.crash_at = Some((state.steps + steps, is_done));
    }

    /// No crash is planned any more.
    pub fn spare(&self) {
        self.lock().crash_at = None;
    }

    pub fn has_crashed(&self) -> bool {
        self.lock().has_crashed
    }

    /// Nothing reaches the disk from now on.
    pub fn cut_off(&self) {
        self.lock().has_crashed = true;
    }

    /// Crashes at steps of each kind.
    pub fn crashes(&self) -> BTreeMap<Kind, u64> {
        self.lock().crashes.clone()
    }

    pub fn mood(&self) -> Mood {
        self.lock().mood
    }

    pub fn set_mood(&self, mood: Mood) {
        self.lock().mood = mood;
    }

    /// Names in a directory now.
    pub fn names(&self, dir: &Path) -> Vec<String> {
        self.list(dir).unwrap_or_default()
    }

    /// The disk as the next process finds it.
    pub fn restart(&self, loss: Loss, rng: &mut StdRng) {
        let mut state = self.lock();
        if loss != Loss::Process {
            for inode in &mut state.inodes {
                inode.lose(rng, loss == Loss::Holes);
            }
            let moment = rng.random_range(0..state.moments.len());
            let names = state.moments[moment].clone();
            state.names = names.clone();
            state.moments = vec![names];
        }
        state.has_crashed = false;
        state.crash_at = None;
        state.mood = Mood::Good;
    }
}

impl FileSystem for Disk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.lock().step_with_space(Kind::CreateDir, |state| {
            for dir in dir.ancestors() {
                if !state.dirs.iter().any(|d| d == dir) {
                    state.dirs.push(dir.to_owned());
                }
            }
            Ok(())
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        let inside = |path: &Path| path.parent() == Some(dir);
        let names: Vec<String> =
            state.names.keys().filter(|p| inside(p)).filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect();
        if names.is_empty() && !state.dirs.iter().any(|d| d == dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(names)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let mut state = self.lock();
        if how == Open::Create {
            state.step_with_space(Kind::Create, |state| {
                // An emptied file is a new one: what the old one held is there until the name is durable.
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(path.to_owned(), inode);
                state.note_names();
                Ok(())
            })?;
        }
        let inode = state.inode(path)?;
        Ok(Box::new(Handle { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lock().step(Kind::Rename, |state| {
            state.rename_all(from, to);
            state.note_names();
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().step(Kind::Remove, |state| {
            state.names.remove(path).map(drop).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            state.note_names();
            Ok(())
        })
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.lock().step(Kind::Remove, |state| {
            state.names.retain(|path, _| !path.starts_with(dir));
            state.dirs.retain(|d| d != dir);
            state.note_names();
            Ok(())
        })
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.lock().step(Kind::SyncDir, |state| {
            if state.mood == Mood::SyncFails {
                return Err(io::Error::other("the simulated disk refused to sync a directory"));
            }
            if state.bug != Bug::DirSyncDoesNothing {
                state.moments = vec![state.names.clone()];
            }
            Ok(())
        })
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<Option<u64>> {
        Ok(Some(if self.lock().mood == Mood::Full { 0 } else { 1 << 40 }))
    }
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    inode: usize,
}

impl File for Handle {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inodes[self.inode].current.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.disk.lock();
        let content = &state.inodes[self.inode].current;
        let from = offset as usize;
        let part = content.get(from..from + buffer.len()).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.lock().step(Kind::Write, |state| {
            let is_full = state.mood == Mood::Full;
            let part = if is_full { &bytes[..bytes.len() / 2] } else { bytes };
            state.inodes[self.inode].change(Change::Write(offset as usize, part.to_vec()));
            if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.lock().step_with_space(Kind::Allocate, |state| {
            let inode = &mut state.inodes[self.inode];
            if inode.current.len() < len as usize {
                inode.change(Change::SetLen(len as usize));
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.lock().step(Kind::SetLen, |state| {
            state.inodes[self.inode].change(Change::SetLen(len as usize));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock().step(Kind::Sync, |state| {
            if state.mood == Mood::SyncFails {
                return Err(io::Error::other("the simulated disk refused to sync"));
            }
            if state.bug != Bug::SyncDoesNothing {
                let inode = &mut state.inodes[self.inode];
                inode.pending.clear();
                inode.durable = inode.current.clone();
            }
            Ok(())
        })
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}
