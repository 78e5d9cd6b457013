//! A disk that forgets, tears and refuses: what a crash leaves of the log is decided by the seed.
//!
//! ```text
//!   write_at --> pending (lost, kept or torn at a crash)      sync --> durable
//!   rename, create, remove --> names pending                  sync_dir --> names durable
//! ```
//!
//! Every call that could change what survives is a numbered step; the world may crash the member at any of them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use etcd::wal::{File, FileSystem, Open};
use rand::Rng;
use rand::rngs::StdRng;

/// What the disk shall do to the next calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Good,
    /// Writes that need room fail, as on a full disk.
    Full,
    /// Syncs fail.
    SyncFails,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<(usize, Vec<u8>)>,
}

type Names = BTreeMap<PathBuf, usize>;

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: Names,
    durable_names: Names,
    dirs: Vec<PathBuf>,
    steps: u64,
    crash_at: Option<u64>,
    crashed: bool,
    mood: Mood,
}

/// A handle to the one disk of a member.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

fn crashed() -> io::Error {
    io::Error::other("the simulated machine has crashed")
}

impl State {
    /// One step that could change what survives.
    fn step(&mut self) -> io::Result<()> {
        if self.crashed {
            return Err(crashed());
        }
        self.steps += 1;
        if self.crash_at == Some(self.steps) {
            self.crashed = true;
            return Err(crashed());
        }
        Ok(())
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// The machine ends at this step, counted from the beginning of the disk.
    pub fn crash_at(&self, step: u64) {
        self.lock().crash_at = Some(step);
    }

    pub fn has_crashed(&self) -> bool {
        self.lock().crashed
    }

    pub fn set_mood(&self, mood: Mood) {
        self.lock().mood = mood;
    }

    /// Power returns: of what was not synced, some is there, some is not, and one write may be there in part.
    pub fn restart(&self, rng: &mut StdRng) {
        let mut state = self.lock();
        for inode in &mut state.inodes {
            let mut content = std::mem::take(&mut inode.durable);
            for (offset, bytes) in inode.pending.drain(..) {
                let keep = match rng.random_range(0..3) {
                    0 => 0,
                    1 => bytes.len(),
                    // Torn at a sector, as disks do.
                    _ => (rng.random_range(0..=bytes.len()) / 512 * 512).min(bytes.len()),
                };
                if content.len() < offset + keep {
                    content.resize(offset + keep, 0);
                }
                content[offset..offset + keep].copy_from_slice(&bytes[..keep]);
            }
            // A preallocated length is kept: it was synced when the file was made, or reads as an end of file.
            if content.len() < inode.current.len() && rng.random_bool(0.5) {
                content.resize(inode.current.len(), 0);
            }
            inode.current = content.clone();
            inode.durable = content;
        }
        // Names that were not synced are there or not, all of one moment together.
        if rng.random_bool(0.5) {
            state.names = state.durable_names.clone();
        } else {
            state.durable_names = state.names.clone();
        }
        state.crashed = false;
        state.crash_at = None;
        state.mood = Mood::Good;
    }
}

impl FileSystem for Disk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        for dir in dir.ancestors() {
            if !state.dirs.iter().any(|d| d == dir) {
                state.dirs.push(dir.to_owned());
            }
        }
        Ok(())
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
        let inode = match how {
            Open::Read | Open::Write => state.inode(path)?,
            Open::Create => {
                state.step()?;
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(path.to_owned(), inode);
                inode
            }
        };
        Ok(Box::new(Handle { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        let moved: Vec<(PathBuf, usize)> =
            state.names.iter().filter(|(p, _)| p.starts_with(from)).map(|(p, &inode)| (p.clone(), inode)).collect();
        for (path, inode) in moved {
            state.names.remove(&path);
            let rest = path.strip_prefix(from).expect("it starts with it");
            let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            state.names.insert(target, inode);
        }
        if state.dirs.iter().any(|d| d == from) {
            state.dirs.retain(|d| d != from);
            state.dirs.push(to.to_owned());
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.names.retain(|path, _| !path.starts_with(dir));
        state.dirs.retain(|d| d != dir);
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.durable_names = state.names.clone();
        Ok(())
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
    fn len(&self) -> io::Result<u64> {
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
        let mut state = self.disk.lock();
        state.step()?;
        if state.mood == Mood::Full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = &mut state.inodes[self.inode];
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        if inode.current.len() < to {
            inode.current.resize(to, 0);
        }
        inode.current[from..to].copy_from_slice(bytes);
        inode.pending.push((from, bytes.to_vec()));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.step()?;
        if state.mood == Mood::Full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = &mut state.inodes[self.inode];
        if inode.current.len() < len as usize {
            inode.current.resize(len as usize, 0);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.step()?;
        let inode = &mut state.inodes[self.inode];
        inode.current.resize(len as usize, 0);
        // Shortening is ordered before later writes; what was pending beyond is gone.
        let len = len as usize;
        inode.pending.retain_mut(|(offset, bytes)| {
            bytes.truncate(len.saturating_sub(*offset));
            !bytes.is_empty()
        });
        inode.durable.truncate(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.step()?;
        if state.mood == Mood::SyncFails {
            return Err(io::Error::other("the simulated disk refused to sync"));
        }
        let inode = &mut state.inodes[self.inode];
        inode.pending.clear();
        inode.durable = inode.current.clone();
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}
