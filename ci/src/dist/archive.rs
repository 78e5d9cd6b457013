//! Archives whose bytes follow from their content alone: sorted, owned by nobody, dated by the commit.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, GzBuilder, read::GzDecoder};

/// A file of an archive. Folders follow from the paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// With `/`, relative.
    pub path: String,
    pub is_executable: bool,
    pub bytes: Vec<u8>,
}

impl Entry {
    pub fn text(path: impl Into<String>, text: impl Into<Vec<u8>>) -> Entry {
        Entry { path: path.into(), is_executable: false, bytes: text.into() }
    }

    pub fn program(path: impl Into<String>, bytes: Vec<u8>) -> Entry {
        Entry { path: path.into(), is_executable: true, bytes }
    }

    fn mode(&self) -> u32 {
        if self.is_executable { 0o755 } else { 0o644 }
    }
}

/// The folders above the files, each once, before what is in it.
fn folders(entries: &[Entry]) -> Vec<String> {
    let mut folders: Vec<String> = Vec::new();
    for entry in entries {
        for (at, _) in entry.path.match_indices('/') {
            folders.push(entry.path[..=at].to_owned());
        }
    }
    folders.sort();
    folders.dedup();
    folders
}

fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    sorted
}

/// `seconds` since 1970 is the date of everything inside.
pub fn tar(entries: &[Entry], seconds: u64) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |size: u64, mode: u32, kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(mode);
        header.set_mtime(seconds);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(kind);
        header
    };
    for folder in folders(entries) {
        tar.append_data(&mut header(0, 0o755, tar::EntryType::Directory), &folder, std::io::empty())?;
    }
    for entry in sorted(entries) {
        let mut header = header(entry.bytes.len() as u64, entry.mode(), tar::EntryType::Regular);
        tar.append_data(&mut header, &entry.path, entry.bytes.as_slice()).with_context(|| entry.path.clone())?;
    }
    Ok(tar.into_inner()?)
}

pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    // No name and no date in the head.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

pub fn zip(entries: &[Entry], seconds: u64) -> Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().last_modified_time(date(seconds)?).compression_method(zip::CompressionMethod::Deflated);
    for folder in folders(entries) {
        zip.add_directory(folder, options.unix_permissions(0o755))?;
    }
    for entry in sorted(entries) {
        zip.start_file(&entry.path, options.unix_permissions(entry.mode()))?;
        zip.write_all(&entry.bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn date(seconds: u64) -> Result<zip::DateTime> {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds as i64)?;
    let (year, month, day) = (at.year() as u16, u8::from(at.month()), at.day());
    Ok(zip::DateTime::from_date_and_time(year, month, day, at.hour(), at.minute(), at.second())?)
}

/// Reads either kind back, folders left out. A path that would leave the folder it is unpacked in is refused.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    let name = path.to_string_lossy().into_owned();
    let entries = if name.ends_with(".tar.gz") {
        read_tar(GzDecoder::new(file))
    } else if name.ends_with(".zip") {
        read_zip(file)
    } else {
        bail!("{name} is neither .tar.gz nor .zip")
    };
    let entries = entries.with_context(|| format!("failed to read {name}"))?;
    for entry in &entries {
        let is_inside = !entry.path.starts_with('/') && entry.path.split('/').all(|part| part != "..") && !entry.path.contains('\\');
        ensure!(is_inside, "{name} has a file outside of itself: {}", entry.path);
    }
    Ok(entries)
}

fn read_tar(reader: impl Read) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        let is_executable = entry.header().mode()? & 0o111 != 0;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        entries.push(Entry { path, is_executable, bytes });
    }
    Ok(entries)
}

fn read_zip(file: File) -> Result<Vec<Entry>> {
    let mut archive = zip::ZipArchive::new(file)?;
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if entry.is_dir() {
            continue;
        }
        let (path, is_executable) = (entry.name().to_owned(), entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0));
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        entries.push(Entry { path, is_executable, bytes });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        vec![
            Entry::text("top/README.md", "words"),
            Entry::program("top/etcd", vec![0, 159, 146, 150]),
            Entry::text("top/Documentation/a/b.md", ""),
        ]
    }

    fn written(name: &str, bytes: &[u8]) -> Result<Vec<Entry>> {
        let path = std::env::temp_dir().join(format!("cargo-ci-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let entries = read(&path);
        std::fs::remove_file(&path).unwrap();
        entries
    }

    #[test]
    fn both_kinds_give_back_what_was_put_in() {
        let mut wanted = entries();
        wanted.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(written("a.tar.gz", &gzip(&tar(&entries(), 1_700_000_000).unwrap()).unwrap()).unwrap(), wanted);
        assert_eq!(written("a.zip", &zip(&entries(), 1_700_000_000).unwrap()).unwrap(), wanted);
    }

    #[test]
    fn the_same_content_is_the_same_bytes_in_whatever_order_it_comes() {
        let mut turned = entries();
        turned.reverse();
        let both = |entries: &[Entry]| (gzip(&tar(entries, 1_700_000_000).unwrap()).unwrap(), zip(entries, 1_700_000_000).unwrap());
        assert_eq!(both(&entries()), both(&turned));
        assert_ne!(both(&entries()), both(&entries()[1..]));
    }

    #[test]
    fn a_path_that_leaves_the_archive_is_refused() {
        let evil = zip(&[Entry::text("top/../../etc/passwd", "x")], 1_700_000_000).unwrap();
        assert!(written("evil.zip", &evil).unwrap_err().to_string().contains("outside of itself"));
    }

    #[test]
    fn an_archive_cut_short_is_an_error() {
        let whole = gzip(&tar(&entries(), 1).unwrap()).unwrap();
        assert!(written("cut.tar.gz", &whole[..whole.len() / 2]).is_err());
        assert!(written("what.rar", b"").unwrap_err().to_string().contains("neither"));
    }
}
