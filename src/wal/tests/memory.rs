//! A file system in memory that forgets what was not synced and fails when told to.
//!
//! ```text
//!   now:      names -> files -> bytes        what the process sees
//!   durable:  names -> files -> bytes        what `crash` leaves: bytes move here at `sync`, names at `sync_dir`
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::wal::{File, FileSystem, Open};

#[derive(Clone, Debug, Default)]
pub struct MemoryFileSystem(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    files: Vec<Contents>,
    fault: Option<Fault>,
    /// Calls that could fail since the fault was set.
    calls: usize,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The n-th call that takes space gets none; a write is done by half.
    NoSpaceAt(usize),
    /// Every sync fails.
    NoSync,
    /// The n-th call that changes anything, and all after it, do nothing: the process is as good as dead.
    StopAt(usize),
}

#[derive(Debug)]
struct MemoryFile {
    state: Arc<Mutex<State>>,
    at: usize,
}

impl MemoryFileSystem {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.state();
        state.fault = fault;
        state.calls = 0;
    }

    /// Did the fault have its occasion?
    pub fn was_hit(&self) -> bool {
        let state = self.state();
        match state.fault {
            Some(Fault::NoSpaceAt(n) | Fault::StopAt(n)) => state.calls > n,
            Some(Fault::NoSync) => state.calls > 0,
            None => false,
        }
    }

    /// Forgets what was not synced.
    pub fn crash(&self) {
        let mut state = self.state();
        state.fault = None;
        state.names = state.durable_names.clone();
        for file in &mut state.files {
            file.now = file.durable.clone();
        }
    }

    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[path]].now.clone()
    }

    pub fn set_bytes(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        if let Some(dir) = path.parent() {
            state.dirs.insert(dir.to_owned());
        }
        let contents = Contents { now: bytes.to_vec(), durable: bytes.to_vec() };
        state.files.push(contents);
        let at = state.files.len() - 1;
        state.names.insert(path.to_owned(), at);
        state.durable_names.insert(path.to_owned(), at);
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }
}

impl State {
    /// A call that changes something; `takes_space` if a full disk refuses it.
    fn change(&mut self, takes_space: bool) -> io::Result<()> {
        match self.fault {
            Some(Fault::StopAt(n)) => {
                self.calls += 1;
                if self.calls > n { Err(io::Error::other("the process is dead")) } else { Ok(()) }
            }
            Some(Fault::NoSpaceAt(n)) if takes_space => {
                self.calls += 1;
                if self.calls == n + 1 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.fault == Some(Fault::NoSync) {
            self.calls += 1;
            return Err(io::Error::other("the disk is gone"));
        }
        self.change(false)
    }
}

impl FileSystem for MemoryFileSystem {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change(true)?;
        state.dirs.insert(dir.to_owned());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        let known = state.names.get(path).copied();
        let at = match (how, known) {
            (Open::Create, known) => {
                state.change(true)?;
                let at = known.unwrap_or_else(|| {
                    state.files.push(Contents::default());
                    state.files.len() - 1
                });
                state.files[at].now.clear();
                state.names.insert(path.to_owned(), at);
                at
            }
            (_, Some(at)) => at,
            (_, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(MemoryFile { state: self.0.clone(), at }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change(true)?;
        if state.dirs.remove(from) {
            state.dirs.insert(to.to_owned());
        }
        let moved: Vec<PathBuf> = state.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let at = state.names.remove(&path).unwrap();
            let rest = path.strip_prefix(from).unwrap();
            let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            state.names.insert(target, at);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change(false)?;
        state.names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change(false)?;
        state.dirs.remove(dir);
        state.names.retain(|path, _| !path.starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.sync()?;
        state.durable_names.retain(|path, _| !path.starts_with(dir));
        let now: Vec<(PathBuf, usize)> =
            state.names.iter().filter(|(path, _)| path.starts_with(dir)).map(|(path, at)| (path.clone(), *at)).collect();
        state.durable_names.extend(now);
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

impl MemoryFile {
    fn change(&self, takes_space: bool, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.change(takes_space)?;
        change(&mut state.files[self.at].now);
        Ok(())
    }
}

fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl File for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().files[self.at].now.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock().unwrap();
        let from = state.files[self.at].now.get(offset as usize..offset as usize + buffer.len());
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let result = state.change(true);
        let done = if result.is_ok() { bytes.len() } else { bytes.len() / 2 };
        write(&mut state.files[self.at].now, offset as usize, &bytes[..done]);
        result
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let result = self.change(true, |file| file.resize(file.len().max(len as usize), 0));
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::StorageFull) {
            // As ext4 does: what was found before the space ran out is kept.
            let mut state = self.state.lock().unwrap();
            let file = &mut state.files[self.at].now;
            file.resize(file.len().max(len as usize / 2), 0);
        }
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(false, |file| file.resize(len as usize, 0))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.sync()?;
        let file = &mut state.files[self.at];
        file.durable = file.now.clone();
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}
