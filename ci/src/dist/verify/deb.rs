//! A deb in a clean Debian: installed, started as its unit would start it, upgraded over an edited file, removed, purged.
//!
//! ```text
//!   debootstrap (once, kept) --copy--> root --chroot--> dpkg --install .. --purge     every file compared with before
//!                                            --as the unit's user--> ExecStart        put, get, again after the upgrade
//! ```
//!
//! There is no systemd in a chroot: the unit is read for what it starts and as whom, and systemd's own checker reads it where the
//! machine has one. Needs root.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::place;
use crate::shell::{Step, seconds};

const SUITE: &str = "bookworm";
const SETTINGS: &str = "/etc/etcd/etcd.conf.yml";
const UNIT: &str = "/usr/lib/systemd/system/etcd.service";
const DATA: &str = "/var/lib/etcd";
const LIMIT: Duration = Duration::from_secs(60);
/// What any installation leaves: dpkg's own books, its log, the loader's cache, copies of the lists of users.
const BOOKS: [&str; 6] =
    ["/var/lib/dpkg/", "/var/log/dpkg.log", "/var/cache/ldconfig/", "/etc/ld.so.cache", "/var/log/alternatives.log", "/proc"];

/// What lintian says and is not so: libyaml is a translation of it in Rust, and the project has no address of its own for letters.
const NOT_OURS: &str = "embedded-library,bogus-mail-host,bogus-mail-host-in-debian-changelog";

pub fn verify(deb: &Path) -> Result<()> {
    let id = Step::new("id").args(["-u"]).first_line(Path::new("/"));
    ensure!(id.as_deref() == Some("0"), "a deb is tried in a root of its own: run this as root");
    let root = Root::fresh(deb)?;
    let (before, users) = (root.files()?, root.users()?);

    root.dpkg(&["--install", "/first.deb"])?;
    let unit = Unit::read(&root)?;
    root.is_owned_by_its_user(&unit)?;
    lint(&root, &unit, deb)?;

    // The file of settings is edited, as an administrator would: other ports.
    let ports = Ports::free()?;
    let edited = ports.edit(&root.text(SETTINGS)?);
    fs::write(root.at(SETTINGS), &edited)?;
    let server = root.start(&unit, &ports)?;
    root.ctl(&ports, &["put", "kept", "by the upgrade"], "OK")?;
    server.stop()?;

    // Again over itself, then over a package that brings another file of settings.
    root.dpkg(&["--install", "/first.deb"])?;
    ensure!(root.text(SETTINGS)? == edited, "installing again changed the edited {SETTINGS}");
    root.dpkg(&["--force-confold", "--install", "/second.deb"])?;
    ensure!(root.text(SETTINGS)? == edited, "an upgrade changed the edited {SETTINGS}");
    ensure!(root.at(&format!("{SETTINGS}.dpkg-dist")).exists(), "an upgrade does not offer its own {SETTINGS} beside the edited one");
    let server = root.start(&unit, &ports)?;
    root.ctl(&ports, &["get", "kept", "--print-value-only"], "by the upgrade")?;
    server.stop()?;

    root.dpkg(&["--remove", "etcd"])?;
    ensure!(!root.at("/usr/bin/etcd").exists() && !root.at(UNIT).exists(), "a removal leaves programs behind");
    ensure!(root.text(SETTINGS)? == edited && root.at(DATA).join("default.etcd").exists(), "a removal takes settings or data along");
    root.dpkg(&["--purge", "etcd"])?;
    let after = root.files()?;
    let left: Vec<&String> = after.difference(&before).collect();
    let lost: Vec<&String> = before.difference(&after).collect();
    ensure!(left.is_empty() && lost.is_empty(), "a purge leaves {left:?} behind and takes {lost:?} along");
    ensure!(root.users()? == users, "a purge leaves a user or a group behind");
    println!("\n{}: installs, runs as {}, keeps what was edited, and goes without a trace", deb.display(), unit.user);
    root.discard()
}

/// A copy of a clean system.
struct Root {
    path: PathBuf,
}

impl Root {
    fn fresh(deb: &Path) -> Result<Root> {
        let clean = place::cache().join(format!("debian-{SUITE}"));
        if !clean.join("var/lib/dpkg/status").exists() {
            let staged = clean.with_extension("part");
            let _ = fs::remove_dir_all(&staged);
            Step::new("debootstrap")
                .args(["--variant=minbase", SUITE])
                .args([&staged])
                .run(Path::new("/"))
                .context("a clean Debian comes from debootstrap (package debootstrap)")?;
            fs::rename(&staged, &clean)?;
        }
        let path = place::target().join("debian");
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(place::target())?;
        Step::new("cp").args(["--archive"]).args([&clean, &path]).run(Path::new("/"))?;
        let root = Root { path };
        fs::copy(deb, root.at("/first.deb"))?;
        root.newer()?;
        Ok(root)
    }

    /// The same package with a higher version and one line more in its settings.
    fn newer(&self) -> Result<()> {
        let folder = place::target().join("debian-newer");
        let _ = fs::remove_dir_all(&folder);
        Step::new("dpkg-deb").args(["--raw-extract"]).args([self.at("/first.deb"), folder.clone()]).run(Path::new("/"))?;
        let control = fs::read_to_string(folder.join("DEBIAN/control"))?;
        let version = control.lines().find(|line| line.starts_with("Version: ")).context("a package has a version")?;
        fs::write(folder.join("DEBIAN/control"), control.replace(version, &format!("{version}+newer")))?;
        let settings = folder.join(SETTINGS.trim_start_matches('/'));
        fs::write(&settings, fs::read_to_string(&settings)? + "\n# Of the next release.\n")?;
        Step::new("dpkg-deb").args(["--build"]).args([folder.clone(), self.at("/second.deb")]).run(Path::new("/"))?;
        fs::remove_dir_all(folder).context("failed to tidy up")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.at(path)).with_context(|| format!("failed to read {path} in the new root"))
    }

    /// As root, with nobody to answer a question.
    fn dpkg(&self, words: &[&str]) -> Result<()> {
        let step = Step::new("chroot").args([&self.path]).args(["/usr/bin/dpkg"]).args(words);
        step.var("DEBIAN_FRONTEND", "noninteractive")
            .var("LC_ALL", "C")
            .var("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .run(Path::new("/"))
            .map(drop)
    }

    /// Every path but for the books, with what tells one file from another.
    fn files(&self) -> Result<BTreeSet<String>> {
        let (mut files, mut next) = (BTreeSet::new(), vec![self.path.clone()]);
        while let Some(folder) = next.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let shown = format!("/{}", path.strip_prefix(&self.path).unwrap_or(&path).display());
                if BOOKS.iter().any(|book| shown.starts_with(book)) || shown.ends_with('-') && shown.starts_with("/etc/") {
                    continue;
                }
                let facts = fs::symlink_metadata(&path)?;
                files.insert(format!("{shown} {:o} {}:{}", facts.mode(), facts.uid(), facts.gid()));
                if facts.is_dir() {
                    next.push(path);
                }
            }
        }
        Ok(files)
    }

    fn users(&self) -> Result<Vec<String>> {
        ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"].iter().map(|path| self.text(path)).collect()
    }

    fn is_owned_by_its_user(&self, unit: &Unit) -> Result<()> {
        let users = self.text("/etc/passwd")?;
        let line = users.lines().find(|line| line.starts_with(&format!("{}:", unit.user)));
        let line = line.with_context(|| format!("the package makes no user {}", unit.user))?;
        let data = fs::metadata(self.at(DATA)).with_context(|| format!("the package makes no {DATA}"))?;
        ensure!(line.split(':').nth(2) == Some(&data.uid().to_string()), "{DATA} does not belong to {line}");
        ensure!(data.mode() & 0o777 == 0o700, "{DATA} may be read by others: {:o}", data.mode());
        ensure!(line.ends_with("/nologin"), "somebody could log in: {line}");
        Ok(())
    }

    fn start(&self, unit: &Unit, ports: &Ports) -> Result<Server> {
        let step = Step::new("chroot").args([&format!("--userspec={}:{}", unit.user, unit.group)]).args([&self.path]).args(&unit.words);
        println!("\n$ {} &", step.line());
        let log = self.path.with_extension("log");
        let file = fs::File::create(&log)?;
        let mut command = step.command(Path::new("/"));
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut server = Server { child: command.spawn().context("failed to start chroot")?, log };
        let until = Instant::now() + LIMIT;
        while self.ctl(ports, &["endpoint", "health"], "").is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended ({status}):\n{}", server.said());
            }
            ensure!(Instant::now() < until, "the server is not healthy after {}:\n{}", seconds(LIMIT), server.said());
        }
        let owner = fs::metadata(self.at(DATA).join("default.etcd/member"))?.uid();
        ensure!(owner != 0, "the server wrote its data as root");
        Ok(server)
    }

    /// The packaged tool in the new root, as nobody.
    fn ctl(&self, ports: &Ports, words: &[&str], wanted: &str) -> Result<()> {
        let endpoint = format!("127.0.0.1:{}", ports.client);
        let step =
            Step::new("chroot").args(["--userspec=nobody:nogroup"]).args([&self.path]).args(["/usr/bin/etcdctl", "--endpoints", &endpoint]);
        let done = step.args(words).output_within(Path::new("/"), LIMIT)?;
        let said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        ensure!(done.status.success(), "etcdctl {words:?} failed: {}", String::from_utf8_lossy(&done.stderr).trim());
        ensure!(wanted.is_empty() || said == wanted, "etcdctl {words:?} says {said:?}, not {wanted:?}");
        Ok(())
    }

    fn discard(self) -> Result<()> {
        fs::remove_dir_all(&self.path).context("failed to tidy up")
    }
}

struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// As systemd would: SIGTERM, and patience.
    fn stop(mut self) -> Result<()> {
        Step::new("kill").args(["-TERM", &self.child.id().to_string()]).run(Path::new("/"))?;
        let until = Instant::now() + LIMIT;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < until, "the server does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the unit starts, and as whom.
struct Unit {
    user: String,
    group: String,
    words: Vec<String>,
}

impl Unit {
    fn read(root: &Root) -> Result<Unit> {
        let text = root.text(UNIT)?;
        let value = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            found.map(str::to_owned).with_context(|| format!("the unit has no {key}"))
        };
        let words = value("ExecStart")?.split_whitespace().map(str::to_owned).collect();
        let unit = Unit { user: value("User")?, group: value("Group")?, words };
        ensure!(unit.user != "root", "the unit runs as root");
        Ok(unit)
    }
}

struct Ports {
    client: u16,
    peer: u16,
}

impl Ports {
    fn free() -> Result<Ports> {
        let port = || Ok::<_, anyhow::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        Ok(Ports { client: port()?, peer: port()? })
    }

    fn edit(&self, settings: &str) -> String {
        settings.replace(":2379", &format!(":{}", self.client)).replace(":2380", &format!(":{}", self.peer))
    }
}

/// What systemd and Debian's own checker think of it, where the machine has them.
fn lint(root: &Root, unit: &Unit, deb: &Path) -> Result<()> {
    // A unit of this machine, so that what it orders itself after is there, with the program where it lies now.
    let copy = place::target().join("etcd.service");
    fs::write(&copy, root.text(UNIT)?.replace(&unit.words[0], &root.at(&unit.words[0]).display().to_string()))?;
    let steps = [
        ("systemd-analyze", Step::new("systemd-analyze").args(["verify", "--man=no"]).args([&copy])),
        ("systemd-analyze", Step::new("systemd-analyze").args(["security", "--offline=yes", "--threshold=30", "--no-pager"]).args([&copy])),
        ("lintian", Step::new("lintian").args(["--allow-root", "--fail-on", "error", "--suppress-tags", NOT_OURS]).args([deb])),
    ];
    for (program, step) in steps {
        if Step::new(program).args(["--version"]).first_line(Path::new("/")).is_none() {
            println!("not checked: there is no {program}");
            continue;
        }
        let done = step.output_within(Path::new("/"), Duration::from_secs(120))?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        // Of a long list the verdict is at the end.
        let lines: Vec<&str> = said.trim().lines().collect();
        println!("{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        ensure!(done.status.success(), "`{}` failed ({})", step.line(), done.status);
    }
    fs::remove_file(copy).context("failed to tidy up")
}
