//! `snapshot save`: the state of one member into a file.
//!
//! ```text
//!   member --pieces--> FILE.part --sync--> verified --rename--> FILE --sync of the directory
//!                          +--read back, a little behind--^
//! ```
//!
//! Writes: FILE.part, mode 0600, and FILE by a rename; stderr as etcd's tool does, with a bar on a terminal. Reads: FILE.part.
//! Holds: FILE is a whole snapshot that could be read back, or what was there before.
//! Crash: before the rename FILE.part is left, which the next run overwrites; after it FILE is whole, and its name lasts once the
//! directory is synced.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Failure, log,
    session::{Session, say},
    snapshot_file::{self, ReadBack},
};
use crate::{
    client::{Error, snapshot::Pieces},
    go_words::go_words,
    print::text,
};

/// Saves the state of a member
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, override_usage = "etcdctl snapshot <command>")]
pub struct Snapshot {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Stores the state of a member in a file
    #[command(override_usage = "etcdctl snapshot save <filename>")]
    Save {
        #[arg(value_name = "filename", num_args = 0..)]
        args: Vec<String>,
    },
}

impl Snapshot {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let Command::Save { args } = self.command;
        let [path] = &args[..] else { return Err(Failure::bad_args("snapshot save expects one argument <filename>")) };
        session.resolve(&[])?;
        let endpoints = session.endpoints()?;
        let [endpoint] = &endpoints[..] else {
            let all = endpoints.join(" ");
            return Err(Failure::interrupted(format!("snapshot must be requested to one selected node, not multiple [{all}]")));
        };
        let part = format!("{path}.part");
        let saved = Save { session: &session, endpoint, path, part: &part, deadline: session.deadline()? }.run().await;
        // Gone already after a success.
        if let Err(error) = std::fs::remove_file(&part)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn("the partial file could not be removed", &[("path", &part), ("error", &go_words(&error))]);
        }
        let version = saved.map_err(Failure::interrupted)?;
        say(format_args!("Snapshot saved at {path}"))?;
        if version.is_empty() { Ok(()) } else { say(format_args!("Server version {version}")) }
    }
}

/// One snapshot on its way.
struct Save<'a> {
    session: &'a Session<'a>,
    endpoint: &'a str,
    path: &'a str,
    part: &'a str,
    /// By the session's clock; None waits for as long as it takes.
    deadline: Option<Duration>,
}

/// What came over the wire.
#[derive(Default)]
struct Fetched {
    bytes: u64,
    version: String,
}

impl Save<'_> {
    /// The member's version, or why there is no file.
    async fn run(&self) -> Result<String, String> {
        let (path, part) = (self.path, self.part);
        let client = self.session.client().await.map_err(Failure::into_message)?;
        let mut file = create(Path::new(part)).map_err(|e| format!("could not open {part} (open {part}: {})", go_words(&e)))?;
        log::info("created temporary db file", &[("path", part)]);
        let began = self.session.now();
        let pieces = self.in_time(client.snapshot()).await.map_err(|e| e.to_string())?;
        log::info("fetching snapshot", &[("endpoint", self.endpoint)]);
        let unverified = |why: String| format!("the snapshot does not verify, so there is no {path}: {why}");
        let mut read_back = ReadBack::start(Path::new(part)).map_err(unverified)?;
        let fetched = self.fetch(pieces, &mut file, &mut read_back).await.map_err(|e| format!("could not write snapshot: {e}"))?;
        if !snapshot_file::has_digest(fetched.bytes) {
            return Err(format!("sha256 checksum not found [bytes: {}]", fetched.bytes));
        }
        file.sync_all().map_err(|e| format!("could not fsync snapshot: sync {part}: {}", go_words(&e)))?;
        drop(file);
        let took = text::duration(self.session.now().saturating_sub(began));
        let size = text::size(fetched.bytes);
        let told = [("endpoint", self.endpoint), ("size", &size), ("took", &took), ("etcd-version", &fetched.version)];
        log::info("fetched snapshot", &told);

        let verified = read_back.verify().map_err(unverified)?;
        log::info("verified snapshot", &[("revision", &verified.revision.to_string()), ("total-keys", &verified.keys.to_string())]);
        let renamed = if Path::new(path).is_dir() { Err(io::ErrorKind::AlreadyExists.into()) } else { std::fs::rename(part, path) };
        renamed.map_err(|e| format!("could not rename {part} to {path} (rename {part} {path}: {})", go_words(&e)))?;
        sync_directory_of(Path::new(path)).map_err(|e| format!("could not sync the directory of {path}: {}", go_words(&e)))?;
        log::info("saved", &[("path", path)]);
        Ok(fetched.version)
    }

    async fn fetch(&self, mut pieces: Pieces, file: &mut File, read_back: &mut ReadBack) -> Result<Fetched, String> {
        // Draws nothing where stderr is no terminal.
        let bar = ProgressBar::no_length();
        bar.set_style(
            ProgressStyle::with_template("{bytes} of {total_bytes}, {bytes_per_sec}, {eta} left").expect("the template is sound"),
        );
        let mut fetched = Fetched::default();
        while let Some(piece) = self.in_time(pieces.next()).await.map_err(|e| e.to_string())? {
            file.write_all(&piece.blob).map_err(|e| format!("write {}: {}", self.part, go_words(&e)))?;
            if fetched.bytes == 0 {
                fetched.version = piece.version;
                bar.set_length(piece.remaining_bytes + piece.blob.len() as u64);
            }
            fetched.bytes += piece.blob.len() as u64;
            read_back.follow(fetched.bytes);
            bar.set_position(fetched.bytes);
        }
        bar.finish_and_clear();
        Ok(fetched)
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.deadline {
            Some(deadline) => {
                let left = deadline.saturating_sub(self.session.now());
                tokio::time::timeout(left, call).await.unwrap_or(Err(Error::DeadlineExceeded))
            }
            None => call.await,
        }
    }
}

/// Whoever reads a backup reads every secret in it.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Windows has no directory that could be opened for it.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
