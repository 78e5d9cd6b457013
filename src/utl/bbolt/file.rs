//! Opens a database file for looking into it.
//!
//! As bbolt does, `open` waits until no server has the file, and keeps it from one meanwhile; `raw` does not.
//! Writes: nothing. Reads: the file.

use std::{
    ffi::OsStr,
    fmt::Display,
    fs::File,
    io::{self, Write},
    ops::ControlFlow,
};

use crate::{
    bbolt::{Bucket, Database, Error, Item, Prefix, Raw},
    cli::Failure,
    print::text,
};

/// A file that is a sound database as far as opening it tells.
pub fn open(path: &OsStr) -> Result<Database<Prefix>, Failure> {
    let file = file(path)?;
    file.lock_shared().map_err(|error| failed(path, error))?;
    let source = Prefix::whole(file).map_err(|error| failed(path, error))?;
    Database::open(source).map_err(|error| about(path, error))
}

/// A file that has a first meta page at least.
pub fn raw(path: &OsStr) -> Result<Raw<Prefix>, Failure> {
    let source = Prefix::whole(file(path)?).map_err(|error| failed(path, error))?;
    Raw::open(source).map_err(|error| about(path, error))
}

fn file(path: &OsStr) -> Result<File, Failure> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::general(format!("source database file {} doesn't exist", text::quote(path.as_encoded_bytes()))),
        _ => failed(path, error),
    })
}

fn failed(path: &OsStr, error: io::Error) -> Failure {
    Failure::general(format!("failed to open source database file {}: {error}", text::quote(path.as_encoded_bytes())))
}

/// What is wrong with a file, with its name.
pub fn about(path: &OsStr, error: impl Display) -> Failure {
    Failure::general(format!("{}: {error}", path.display()))
}

/// The bucket at the end of a path of names.
pub fn bucket<'a>(database: &'a Database<Prefix>, path: &OsStr, names: &[impl AsRef<OsStr>]) -> Result<Bucket<'a, Prefix>, Failure> {
    let mut bucket = database.root();
    for name in names {
        let inside = bucket.bucket(name.as_ref().as_encoded_bytes()).map_err(|error| about(path, error))?;
        bucket = inside.ok_or_else(|| Failure::general("bucket not found"))?;
    }
    Ok(bucket)
}

/// Writes something for each item of a bucket, until that fails.
pub fn show_items(
    bucket: &Bucket<'_, Prefix>,
    path: &OsStr,
    out: &mut dyn Write,
    show: impl Fn(Item<'_>, &mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut done = Ok(());
    let walked: Result<(), Error> = bucket.items(b"", &mut |item| {
        done = show(item, out);
        if done.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    done.and(walked.map_err(|error| about(path, error)))
}

/// For what follows every reference and would not end, or lie, in a damaged file.
pub fn require_sound(database: &Database<Prefix>, path: &OsStr) -> Result<(), Failure> {
    let mut first = None;
    let mut keep = |finding| _ = first.get_or_insert(finding);
    database.check(&mut keep).map_err(|error| about(path, error))?;
    first.map_or(Ok(()), |finding| Err(about(path, finding)))
}
