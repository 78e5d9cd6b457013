//! The report as Chromium shows it: every row of the matrix is on the picture, with something drawn in it.
//!
//! ```text
//!   report.html + a line that notes where each row is --chromium--> title: [y, height] of each row, picture.png
//! ```
//!
//! Where there is no Chromium the test says so and passes; `ETCD_PICTURE` names a file to keep the picture in.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufReader;
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

/// Pixels of eight bits a colour, as Chromium writes them.
struct Picture {
    width: usize,
    height: usize,
    /// Bytes of a pixel.
    depth: usize,
    bytes: Vec<u8>,
}

impl Picture {
    fn read(path: &Path) -> Picture {
        let mut reader = png::Decoder::new(BufReader::new(fs::File::open(path).unwrap())).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        assert_eq!(frame.bit_depth, png::BitDepth::Eight);
        Picture { width: frame.width as usize, height: frame.height as usize, depth: frame.color_type.samples(), bytes }
    }

    fn colours(&self, lines: std::ops::Range<usize>) -> usize {
        let len = self.width * self.depth;
        let found: BTreeSet<&[u8]> = self.bytes[lines.start * len..lines.end * len].chunks(self.depth).collect();
        found.len()
    }
}
