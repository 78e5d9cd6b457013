//! One optimised `librocksdb.a` for every build on this machine.
//!
//! ```text
//!   librocksdb-sys' own sources --cargo build --release--> rocksdb-build-<hash>/.../librocksdb.a
//!                                                               | copied, checked, renamed
//!                                                               v
//!                                              rocksdb/<hash of what it is made of>/librocksdb.a
//! ```
//!
//! RocksDB is a quarter of an hour of C++ on two cores and does not depend on the Rust profile, so all profiles link this one
//! (`ROCKSDB_LIB_DIR`, `ROCKSDB_STATIC`). The folder's name is a hash of everything that decides its bytes: another version,
//! feature, compiler, flag or target is another folder, for the machine itself and for each row of the matrix. A folder that exists
//! is whole, because it was renamed into place. Archives of different names may be made at the same time.

mod compiler;
mod facts;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::matrix::Route;
use crate::place;
use crate::route::Recipe;
use crate::shell::{Step, seconds};

use facts::Package;

const NAME: &str = "librocksdb.a";
/// Far below what RocksDB has (about 340); a build that lost files is caught, a slimmer version is not.
const OBJECTS_MIN: usize = 200;

/// A folder with a whole archive in it.
pub struct Archive {
    pub folder: PathBuf,
}

impl Archive {
    /// The same step, linking this archive in place of compiling RocksDB.
    pub fn given_to(&self, step: Step) -> Step {
        step.var("ROCKSDB_LIB_DIR", &self.folder).var("ROCKSDB_STATIC", "1")
    }
}

/// Finds the archive for this checkout and machine, or builds it.
pub fn archive() -> Result<Archive> {
    if let Some(folder) = env::var_os("ROCKSDB_LIB_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from) {
        check(&folder.join(NAME)).context("ROCKSDB_LIB_DIR is set, but not to a folder with a whole archive")?;
        return Ok(Archive { folder });
    }
    let package = Package::find()?;
    shelved(&package, &facts::of(&package), None)
}

/// The archive for a row: named by its own compiler and flags, built by its own recipe.
pub fn archive_for(recipe: &Recipe) -> Result<Archive> {
    // The user's own archive is the machine's: it fits what is built natively and nothing else.
    if recipe.route == Route::Native && env::var_os("ROCKSDB_LIB_DIR").is_some_and(|folder| !folder.is_empty()) {
        return archive();
    }
    let package = Package::find()?;
    shelved(&package, &facts::of_row(&package, recipe), Some(recipe))
}

fn shelved(package: &Package, made_of: &str, recipe: Option<&Recipe>) -> Result<Archive> {
    let name = facts::name(made_of);
    let folder = place::cache().join("rocksdb").join(&name);
    if check(&folder.join(NAME)).is_ok() {
        return Ok(Archive { folder });
    }
    let workshop = place::cache().join(format!("rocksdb-build-{name}"));
    let _held = place::hold(&workshop, "RocksDB")?;
    if check(&folder.join(NAME)).is_err() {
        build(package, made_of, &folder, &workshop, recipe)?;
    }
    let _ = fs::remove_dir_all(&workshop);
    Ok(Archive { folder })
}

/// The C++ compiler that the build asks for.
pub fn compiler() -> OsString {
    env::var_os("CXX").filter(|name| !name.is_empty()).unwrap_or_else(|| "c++".into())
}

fn build(package: &Package, made_of: &str, folder: &Path, workshop: &Path, recipe: Option<&Recipe>) -> Result<()> {
    let products = recipe.map_or_else(|| workshop.to_path_buf(), |recipe| workshop.join(recipe.row.triple()));
    let start = Instant::now();
    let files = package.source_files();
    println!("rocksdb: compiling {files} files of C++, once for every later build (a quarter of an hour on two cores)");
    let step = recipe.map_or_else(|| Step::cargo().args(["build", "--locked"]), |recipe| recipe.cargo(&["build"]));
    let step = step.args(["--release", "--quiet", "--package", "librocksdb-sys", "--target-dir"]).args([workshop]);
    let step = step.var("CARGO_PROFILE_RELEASE_DEBUG", "false");
    let step = match recipe.filter(|recipe| recipe.is_zig() || compiler::is_refused(&recipe.row)) {
        Some(recipe) => {
            let script = compiler::script(workshop, &recipe.compiler, compiler::is_refused(&recipe.row))?;
            step.var(format!("CXX_{}", recipe.row.triple_word()), script)
        }
        None => step,
    };
    println!("$ {}", step.line());
    let mut command = step.command(&place::checkout());
    for name in ["ROCKSDB_LIB_DIR", "ROCKSDB_STATIC", "ROCKSDB_COMPILE", "CARGO_TARGET_DIR"] {
        command.env_remove(name);
    }
    let mut child = command.stdin(Stdio::null()).spawn().context("failed to start cargo")?;
    let mut progress = Progress::new(start, files);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        progress.show(|| objects(&products));
        std::thread::sleep(Duration::from_millis(500));
    };
    progress.end();
    ensure!(status.success(), "RocksDB did not compile ({status})");

    let made = newest(&products).context("the build left no librocksdb.a behind")?;
    check(&made)?;
    // Crash: up to the rename there is only a folder with another name, which the next call makes anew.
    let staged = folder.with_extension("part");
    let _ = fs::remove_dir_all(&staged);
    fs::create_dir_all(&staged)?;
    fs::copy(&made, staged.join(NAME))?;
    check(&staged.join(NAME))?;
    fs::write(staged.join("made-of.txt"), made_of)?;
    let _ = fs::remove_dir_all(folder);
    fs::rename(&staged, folder).with_context(|| format!("failed to put {} in place", folder.display()))?;
    println!("rocksdb: {} after {}", folder.display(), seconds(start.elapsed()));
    Ok(())
}

/// Walks the archive from member to member: it has to end where the file ends, with enough objects on the way.
fn check(path: &Path) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    let len = file.metadata()?.len();
    let mut magic = [0; 8];
    file.read_exact(&mut magic)?;
    ensure!(&magic == b"!<arch>\n", "{} is not an archive", path.display());
    let (mut at, mut objects) = (8, 0);
    while at < len {
        let mut header = [0; 60];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut header).with_context(|| format!("{} ends inside a member", path.display()))?;
        ensure!(&header[58..] == b"`\n", "{} has a bad member at byte {at}", path.display());
        let size: u64 = String::from_utf8_lossy(&header[48..58]).trim().parse().context("a member has no size")?;
        // The symbol table and the table of long names are members too; both are called `/...` with no digit.
        objects += usize::from(header[0] != b'/' || header[1].is_ascii_digit());
        at += 60 + size + size % 2;
    }
    ensure!(at == len, "{} is cut short", path.display());
    if objects < OBJECTS_MIN {
        bail!("{} holds only {objects} objects", path.display());
    }
    Ok(())
}

fn output_folders(workshop: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(workshop.join("release/build")).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("librocksdb-sys-"))
        .map(|entry| entry.path().join("out"))
        .collect()
}

fn newest(workshop: &Path) -> Option<PathBuf> {
    let made = output_folders(workshop).into_iter().map(|folder| folder.join(NAME));
    made.filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path))).max().map(|(_, path)| path)
}

fn objects(workshop: &Path) -> usize {
    let folders = output_folders(workshop).into_iter();
    let is_object = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "o");
    folders.map(|folder| fs::read_dir(folder).into_iter().flatten().flatten().filter(is_object).count()).sum()
}

/// A line that is rewritten on a terminal; a new line every half minute anywhere else.
struct Progress {
    start: Instant,
    shown: Instant,
    every: Duration,
    is_terminal: bool,
    files: usize,
}

impl Progress {
    fn new(start: Instant, files: usize) -> Progress {
        let is_terminal = std::io::stdout().is_terminal();
        Progress { start, shown: start, every: Duration::from_secs(if is_terminal { 1 } else { 30 }), is_terminal, files }
    }

    fn show(&mut self, count: impl FnOnce() -> usize) {
        if self.shown.elapsed() < self.every {
            return;
        }
        self.shown = Instant::now();
        let line = format!("rocksdb: {} of {} files, {}", count(), self.files, seconds(self.start.elapsed()));
        if self.is_terminal {
            print!("\r{line}  ");
            let _ = std::io::stdout().flush();
        } else {
            println!("{line}");
        }
    }

    fn end(&self) {
        if self.is_terminal {
            println!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of `objects` members of three bytes, padded to even as the format wants.
    fn archive_of(objects: usize) -> Vec<u8> {
        let mut bytes = b"!<arch>\n".to_vec();
        for number in 0..objects {
            bytes.extend(format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", format!("{number}.o/"), 0, 0, 0, 644, 3).bytes());
            bytes.extend(b"abc\n");
        }
        bytes
    }

    fn checked(name: &str, bytes: &[u8]) -> Result<()> {
        let path = env::temp_dir().join(format!("cargo-ci-{}-{name}.a", std::process::id()));
        fs::write(&path, bytes).unwrap();
        let answer = check(&path);
        fs::remove_file(&path).unwrap();
        answer
    }

    #[test]
    fn a_whole_archive_passes() {
        checked("whole", &archive_of(OBJECTS_MIN)).unwrap();
    }

    #[test]
    fn an_archive_cut_anywhere_is_refused() {
        let whole = archive_of(OBJECTS_MIN);
        for end in [whole.len() - 1, whole.len() - 30, whole.len() / 2 + 1, 9, 3, 0] {
            assert!(checked("cut", &whole[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn an_archive_with_few_objects_is_refused() {
        let refused = checked("few", &archive_of(OBJECTS_MIN - 1)).unwrap_err();
        assert!(refused.to_string().contains("only 199 objects"), "{refused}");
    }
}
