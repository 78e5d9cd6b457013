//! The report as Chromium shows it: every row of the matrix is on the picture, with something drawn in it.
//!
//! ```text
//!   report.html + a line that notes where each row is --chromium--> title: [y, height] of each row, picture.png
//! ```
//!
//! Where there is no Chromium the test says so and passes; `ETCD_PICTURE` names a file to keep the picture in.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use super::*;
use crate::shell::Step;

const WIDTH: usize = 1400;
const HEIGHT: usize = 2400;
/// Notes for each row of the matrix where it is, after the layout.
const NOTE: &str = "<script>document.title = JSON.stringify([...document.querySelectorAll('.matrix tbody tr')].map(row => { \
                    const at = row.getBoundingClientRect(); return [Math.round(at.y), Math.round(at.height)]; }));</script>";

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn chromium(folder: &Path, words: &[String], page: &Path) -> Output {
    let own = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
    ];
    let step = Step::new("chromium").args(own).args([format!("--user-data-dir={}", folder.join("profile").display())]);
    let step = step.args([format!("--window-size={WIDTH},{HEIGHT}")]).args(words).args([format!("file://{}", page.display())]);
    let done = step.output_within(folder, Duration::from_secs(120)).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done
}

#[test]
fn every_row_is_on_the_picture_and_none_is_blank() {
    if Step::new("chromium").args(["--version"]).first_line(Path::new("/")).is_none() {
        println!("skipped: there is no chromium (Debian's package of that name) to show the report");
        return;
    }
    let folder = Folder(std::env::temp_dir().join(format!("cargo-ci-picture-{}", std::process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    let facts = Facts::load(&place::checkout()).unwrap();
    let (page, noted, picture) = (folder.0.join("report.html"), folder.0.join("noted.html"), folder.0.join("picture.png"));
    let text = html::page(&facts);
    fs::write(&page, &text).unwrap();
    fs::write(&noted, text.replace("</body>", &format!("{NOTE}</body>"))).unwrap();

    let dom = chromium(&folder.0, &["--dump-dom".into()], &noted);
    let dom = String::from_utf8_lossy(&dom.stdout).into_owned();
    let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap();
    let rows: Vec<(usize, usize)> = serde_json::from_str(title).unwrap_or_else(|error| panic!("{error}: {title}"));
    assert_eq!(rows.len(), facts.matrix.rows.len(), "a row of the matrix, a row of the picture");

    chromium(&folder.0, &[format!("--screenshot={}", picture.display())], &page);
    if let Some(kept) = std::env::var_os("ETCD_PICTURE") {
        fs::copy(&picture, kept).unwrap();
    }
    let picture = Picture::read(&picture);
    assert_eq!((picture.width, picture.height), (WIDTH, HEIGHT));
    for ((y, height), row) in rows.into_iter().zip(&facts.matrix.rows) {
        assert!(height > 20 && y + height < HEIGHT, "{} is not on the picture: {y} {height}", row.name());
        // Ground, words, a tier and a cell at the least.
        let colours = picture.colours(y..y + height);
        assert!(colours >= 8, "{} is blank: {colours} colours", row.name());
    }
}

/// A picture without interlacing, of eight bits a colour, as Chromium writes it.
struct Picture {
    width: usize,
    height: usize,
    /// Bytes of a pixel.
    depth: usize,
    bytes: Vec<u8>,
}

impl Picture {
    fn read(path: &Path) -> Picture {
        let file = fs::read(path).unwrap();
        assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
        let (mut at, mut head, mut packed) = (8, Vec::new(), Vec::new());
        while at < file.len() {
            let len = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
            let data = &file[at + 8..at + 8 + len];
            match &file[at + 4..at + 8] {
                b"IHDR" => head = data.to_vec(),
                b"IDAT" => packed.extend_from_slice(data),
                _ => {}
            }
            at += len + 12;
        }
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (number(0), number(4));
        let depth = match head[8..13] {
            [8, 2, 0, 0, 0] => 3,
            [8, 6, 0, 0, 0] => 4,
            ref other => panic!("a picture of another kind: {other:?}"),
        };
        let mut lines = Vec::new();
        flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut lines).unwrap();
        let mut bytes = vec![0; width * height * depth];
        let len = width * depth;
        for line in 0..height {
            let (filter, from) = (lines[line * (len + 1)], &lines[line * (len + 1) + 1..(line + 1) * (len + 1)]);
            for (index, byte) in from.iter().enumerate() {
                let at = line * len + index;
                let left = if index >= depth { bytes[at - depth] } else { 0 };
                let up = if line > 0 { bytes[at - len] } else { 0 };
                let corner = if line > 0 && index >= depth { bytes[at - len - depth] } else { 0 };
                let guess = match filter {
                    0 => 0,
                    1 => left,
                    2 => up,
                    3 => ((u16::from(left) + u16::from(up)) / 2) as u8,
                    4 => nearest(left, up, corner),
                    other => panic!("no filter of a picture: {other}"),
                };
                bytes[at] = byte.wrapping_add(guess);
            }
        }
        Picture { width, height, depth, bytes }
    }

    fn colours(&self, lines: std::ops::Range<usize>) -> usize {
        let len = self.width * self.depth;
        let found: BTreeSet<&[u8]> = self.bytes[lines.start * len..lines.end * len].chunks(self.depth).collect();
        found.len()
    }
}

/// Paeth's: whichever of the three is nearest to left + up - corner.
fn nearest(left: u8, up: u8, corner: u8) -> u8 {
    let guess = i16::from(left) + i16::from(up) - i16::from(corner);
    let far = |byte: u8| (guess - i16::from(byte)).abs();
    if far(left) <= far(up) && far(left) <= far(corner) {
        left
    } else if far(up) <= far(corner) {
        up
    } else {
        corner
    }
}
