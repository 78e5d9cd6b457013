//! The walk that the README of an archive tells, gone line by line with the programs beside it.
//!
//! ```text
//!   ```console                                                       words of the line --> program of the archive
//!   $ etcdctl get greeting           # greeting / hello, etcd        comment           --> lines that it has to print
//!   $ etcdctl watch greeting &       # PUT / greeting / hello        goes on behind the lines after it
//! ```
//!
//! `...` in a comment stands for anything. An id of sixteen digits in a comment is bound to the one that is printed in its place.
//! The line `etcd` starts the server, whose addresses come from the environment, so that the usual ports need not be free.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::matrix::Row;
use crate::runner::{self, Runner};
use crate::shell::Step;

/// Of one line, emulated ones included.
const LINE_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// Between `;`, each as its words.
    commands: Vec<Vec<String>>,
    is_background: bool,
    /// What is printed by all of them, a line each; `None` where the README does not say.
    wanted: Option<Vec<String>>,
}

/// Goes the whole walk in `folder`, which holds README.md and the programs; answers how many lines it had.
pub fn walk(readme: &str, folder: &Path, row: &Row, runner: &Runner) -> Result<usize> {
    let lines = parse(readme)?;
    let mut walk = Walk::new(folder, row, runner)?;
    for (number, line) in lines.iter().enumerate() {
        walk.step(line).with_context(|| format!("line {} of the walk in README.md: {:?}\n{}", number + 1, line.commands, walk.log()))?;
    }
    walk.end()?;
    Ok(lines.len())
}

struct Walk<'a> {
    folder: PathBuf,
    row: &'a Row,
    runner: &'a Runner,
    client: u16,
    peer: u16,
    server: Option<Child>,
    /// Behind the others, with the file that each writes to.
    background: Vec<(Child, PathBuf, Vec<String>)>,
    /// An id of the README, and the one that was printed.
    ids: Vec<(String, String)>,
}

impl<'a> Walk<'a> {
    fn new(folder: &Path, row: &'a Row, runner: &'a Runner) -> Result<Walk<'a>> {
        let port = || Ok::<_, anyhow::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let (client, peer) = (port()?, port()?);
        Ok(Walk { folder: folder.to_owned(), row, runner, client, peer, server: None, background: Vec::new(), ids: Vec::new() })
    }

    fn step(&mut self, line: &Line) -> Result<()> {
        let mut printed = String::new();
        for words in &line.commands {
            let words: Vec<String> = words.iter().map(|word| self.bound(word)).collect();
            match words[0].as_str() {
                "etcd" => self.start(&words[1..])?,
                "curl" => printed.push_str(&self.get(words.last().map_or("", String::as_str))?),
                _ if line.is_background => {
                    let path = self.folder.join(format!("background-{}", self.background.len()));
                    let child = self.spawn(&words, &path)?;
                    self.background.push((child, path, line.wanted.clone().unwrap_or_default()));
                    return Ok(());
                }
                _ => printed.push_str(&self.run(&words)?),
            }
        }
        match &line.wanted {
            Some(wanted) => self.compare(wanted, &printed),
            None => Ok(()),
        }
    }

    fn program(&self, words: &[String]) -> Step {
        let step = self.runner.step(&self.folder.join(self.row.executable(&words[0]))).args(&words[1..]);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        step.var("ETCDCTL_ENDPOINTS", url(self.client))
            .var("ETCDCTL_COMMAND_TIMEOUT", "60s")
            .var(runner::ARCHITECTURE, &self.row.arch)
            .var("ETCD_LISTEN_CLIENT_URLS", url(self.client))
            .var("ETCD_ADVERTISE_CLIENT_URLS", url(self.client))
            .var("ETCD_LISTEN_PEER_URLS", url(self.peer))
            .var("ETCD_INITIAL_ADVERTISE_PEER_URLS", url(self.peer))
            .var("ETCD_INITIAL_CLUSTER", format!("default={}", url(self.peer)))
    }

    fn spawn(&self, words: &[String], output: &Path) -> Result<Child> {
        let step = self.program(words);
        println!("\n$ {} &", step.line());
        let file = File::create(output)?;
        let mut command = step.command(&self.folder);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        command.spawn().with_context(|| format!("failed to start {}", words[0]))
    }

    fn run(&self, words: &[String]) -> Result<String> {
        let step = self.program(words);
        let done = step.output_within(&self.folder, LINE_MAX)?;
        let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        ensure!(done.status.success(), "it failed ({}): {}", done.status, stderr.trim());
        print!("{stdout}");
        Ok(stdout.into_owned())
    }

    fn start(&mut self, flags: &[String]) -> Result<()> {
        let words = [&["etcd".to_owned()], flags].concat();
        self.server = Some(self.spawn(&words, &self.folder.join("etcd.log"))?);
        let until = Instant::now() + LINE_MAX;
        loop {
            if self.get("http://127.0.0.1:2379/health").is_ok_and(|said| said.contains("true")) {
                return Ok(());
            }
            if let Some(status) = self.server.as_mut().and_then(|server| server.try_wait().ok().flatten()) {
                bail!("the server ended ({status})");
            }
            ensure!(Instant::now() < until, "the server is not healthy after {} s", LINE_MAX.as_secs());
            std::thread::sleep(POLL);
        }
    }

    /// The body that is answered for a path of the client's address.
    fn get(&self, url: &str) -> Result<String> {
        let path = url.strip_prefix("http://127.0.0.1:2379").with_context(|| format!("{url} is not the server's"))?;
        let mut stream = TcpStream::connect(("127.0.0.1", self.client))?;
        stream.set_read_timeout(Some(LINE_MAX))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        Ok(body.to_owned())
    }

    fn bound(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (written, printed)| text.replace(written, printed))
    }

    fn compare(&mut self, wanted: &[String], printed: &str) -> Result<()> {
        let printed: Vec<&str> = printed.trim_end().lines().collect();
        let is_same = wanted.len() == printed.len() && wanted.iter().zip(&printed).all(|(wanted, line)| self.is_as_told(wanted, line));
        ensure!(is_same, "it should print {wanted:?}, and printed {printed:?}");
        Ok(())
    }

    fn is_as_told(&mut self, wanted: &str, line: &str) -> bool {
        let mut wanted = self.bound(wanted);
        let unbound = id(&wanted).filter(|(_, id)| self.ids.iter().all(|(_, printed)| printed != id));
        if let Some((at, written)) = unbound {
            let Some(printed) = line.get(at..at + written.len()) else { return false };
            self.ids.push((written, printed.to_owned()));
            wanted = self.bound(&wanted);
        }
        let mut parts = wanted.split("...");
        let Some(mut rest) = parts.next().and_then(|first| line.trim_end().strip_prefix(first.trim_end())) else { return false };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.is_empty() || wanted.ends_with("...")
    }

    /// What runs behind has printed what it should, and the server ends when it is asked to.
    fn end(mut self) -> Result<()> {
        for (mut child, path, wanted) in std::mem::take(&mut self.background) {
            let until = Instant::now() + LINE_MAX;
            let compared = loop {
                let printed = std::fs::read_to_string(&path)?;
                let compared = self.compare(&wanted, &printed);
                if compared.is_ok() || Instant::now() > until || child.try_wait()?.is_some() {
                    break compared;
                }
                std::thread::sleep(POLL);
            };
            let _ = child.kill();
            child.wait()?;
            compared.context("what a line of the walk goes on to print behind the others")?;
        }
        let Some(mut server) = self.server.take() else { return Ok(()) };
        if !cfg!(unix) {
            server.kill()?;
        } else {
            Step::new("kill").args(["-TERM", &server.id().to_string()]).run(&self.folder)?;
        }
        let until = Instant::now() + LINE_MAX;
        while server.try_wait()?.is_none() {
            if Instant::now() > until {
                server.kill()?;
                bail!("the server does not end when it is asked to\n{}", self.log());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The last lines of the server.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("etcd.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        for child in self.background.iter_mut().map(|(child, ..)| child).chain(&mut self.server) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The first word of sixteen hexadecimal digits.
fn id(text: &str) -> Option<(usize, String)> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let found = text.as_bytes().windows(16).position(|window| window.iter().all(is_digit))?;
    Some((found, text[found..found + 16].to_owned()))
}

fn parse(readme: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut is_inside = false;
    for text in readme.lines() {
        if text.starts_with("```") {
            is_inside = text == "```console";
        } else if let Some(text) = text.strip_prefix("$ ").filter(|_| is_inside) {
            lines.push(line(text)?);
        }
    }
    let first = lines.first().and_then(|line: &Line| line.commands.first());
    ensure!(first.is_some_and(|words| words[0] == "etcd"), "README.md tells no walk that begins with etcd");
    Ok(lines)
}

fn line(text: &str) -> Result<Line> {
    let (command, comment) = text.split_once(" # ").map_or((text, None), |(command, comment)| (command, Some(comment)));
    let command = command.trim();
    let (command, is_background) = command.strip_suffix('&').map_or((command, false), |command| (command, true));
    let commands: Vec<Vec<String>> = command.split(';').map(words).collect::<Result<_>>()?;
    ensure!(commands.iter().all(|words| !words.is_empty()), "a command of no words: {text:?}");
    let wanted = comment.map(|comment| comment.trim().split(" / ").map(str::to_owned).collect());
    Ok(Line { commands, is_background, wanted })
}

/// As a shell would take them, quotes included.
fn words(text: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c == ' ' => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    ensure!(quote.is_none(), "a quote that does not end: {text:?}");
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use crate::place;

    #[test]
    fn a_line_is_its_commands_and_what_they_print() {
        let read = line("etcdctl put a \"b c\"; etcdctl get '' &   # OK / a / ...").unwrap();
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(read.commands, [words(&["etcdctl", "put", "a", "b c"]), words(&["etcdctl", "get", ""])]);
        assert_eq!((read.is_background, read.wanted), (true, Some(words(&["OK", "a", "..."]))));
        assert!(line("etcdctl put \"a").is_err());
    }

    #[test]
    fn the_readme_of_the_archives_tells_a_walk_with_every_program() {
        let text = std::fs::read_to_string(place::checkout().join("dist/docs/README.md")).unwrap();
        let lines = parse(&text).unwrap();
        for program in ["etcd", "etcdctl", "etcdutl", "curl"] {
            assert!(lines.iter().flat_map(|line| &line.commands).any(|words| words[0] == program), "{program}");
        }
        assert!(lines.iter().filter(|line| line.wanted.is_some()).count() > lines.len() / 2, "most lines say what they print");
        assert!(parse("```console\n$ etcdctl get a\n```\n").is_err());
    }

    #[test]
    fn what_is_printed_is_compared_line_by_line_and_ids_are_bound() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let runner = Runner { words: Vec::new(), name: String::new(), is_emulated: false };
        let mut walk = Walk::new(Path::new("/"), &matrix.rows[0], &runner).unwrap();
        let wanted = |text: &str| text.split(" / ").map(str::to_owned).collect::<Vec<_>>();
        walk.compare(&wanted("lease 694d867d086ac245 granted"), "lease 1111111111111111 granted\n").unwrap();
        assert_eq!(walk.bound("--lease=694d867d086ac245"), "--lease=1111111111111111");
        assert!(walk.compare(&wanted("lease 694d867d086ac245 revoked"), "lease 2222222222222222 revoked\n").is_err());
        walk.compare(&wanted("lease 694d867d086ac245 with ..., keys([a])"), "lease 1111111111111111 with TTL(9s), keys([a])\n").unwrap();
        for wrong in ["a", "a\nb\nc", "b\na", ""] {
            assert!(walk.compare(&wanted("a / b"), wrong).is_err(), "{wrong:?}");
        }
    }
}
