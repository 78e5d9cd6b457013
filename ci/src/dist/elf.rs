//! What a program of Linux asks of the system it is started on: shared libraries, and which versions of their symbols.
//!
//! ```text
//!   .dynamic        NEEDED libc.so.6, libstdc++.so.6          --> what a package depends on
//!   .gnu.version_r  libc.so.6: GLIBC_2.17 .. GLIBC_2.28       --> the floor that the row promises, measured
//! ```
//!
//! Reads both word sizes and both byte orders, and trusts no number in the file.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

const DYNAMIC: u32 = 6;
const VERSIONS_NEEDED: u32 = 0x6fff_fffe;
/// Tag of an entry of `.dynamic` that names a library.
const NEEDED: u64 = 1;

/// Each library with the versions that are asked of it; static programs have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub libraries: BTreeMap<String, BTreeSet<String>>,
}

impl Needs {
    /// Of a program; `None` where it is none of Linux.
    pub fn of(bytes: &[u8]) -> Result<Option<Needs>> {
        if !bytes.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        Elf::new(bytes).and_then(|elf| elf.needs()).map(Some).context("it is an ELF file that ends before it says what it needs")
    }

    pub fn join(mut self, other: Needs) -> Needs {
        for (library, versions) in other.libraries {
            self.libraries.entry(library).or_default().extend(versions);
        }
        self
    }

    /// The highest version with this prefix that any library is asked for: `GLIBC_` gives `2.28`.
    pub fn highest(&self, prefix: &str) -> Option<String> {
        let versions = self.libraries.values().flatten().filter_map(|version| version.strip_prefix(prefix));
        versions.filter(|version| !numbers(version).is_empty()).max_by_key(|version| numbers(version)).map(str::to_owned)
    }
}

/// `2.28` as something to compare; empty where it is no version (`PRIVATE`).
pub fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(str::parse).collect::<Result<_, _>>().unwrap_or_default()
}

struct Elf<'a> {
    bytes: &'a [u8],
    is_wide: bool,
    is_big: bool,
}

struct Section {
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
    count: u32,
}

impl<'a> Elf<'a> {
    fn new(bytes: &'a [u8]) -> Result<Elf<'a>> {
        let kind = bytes.get(4..6).context("no head")?;
        Ok(Elf { bytes, is_wide: kind[0] == 2, is_big: kind[1] == 2 })
    }

    fn number(&self, at: u64, len: usize) -> Result<u64> {
        let end = at.checked_add(len as u64).context("an offset beyond everything")?;
        let bytes = self.bytes.get(at as usize..end as usize).context("an offset beyond the file")?;
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Ok(if self.is_big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    }

    /// A number of the file's own word size.
    fn word(&self, at: u64) -> Result<u64> {
        self.number(at, if self.is_wide { 8 } else { 4 })
    }

    fn half(&self, at: u64) -> Result<u32> {
        self.number(at, 4).map(|value| value as u32)
    }

    fn text(&self, table: &Section, at: u64) -> Result<String> {
        ensure!(at < table.size, "a name beyond its table");
        let bytes = self.bytes.get(table.offset.saturating_add(at) as usize..).context("a name beyond the file")?;
        let end = bytes.iter().position(|byte| *byte == 0).context("a name without an end")?;
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    fn sections(&self) -> Result<Vec<Section>> {
        let (table, size, count) = if self.is_wide { (0x28, 0x3a, 0x3c) } else { (0x20, 0x2e, 0x30) };
        let (table, size, count) = (self.word(table)?, self.number(size, 2)?, self.number(count, 2)?);
        (0..count)
            .map(|index| {
                let at = table.saturating_add(index * size);
                let (offset, link) = if self.is_wide { (24, 40) } else { (16, 24) };
                let length = if self.is_wide { 32 } else { 20 };
                Ok(Section {
                    kind: self.half(at + 4)?,
                    offset: self.word(at + offset)?,
                    size: self.word(at + length)?,
                    link: self.half(at + link)?,
                    count: self.half(at + link + 4)?,
                })
            })
            .collect()
    }

    fn needs(&self) -> Result<Needs> {
        let sections = self.sections()?;
        let names = |section: &Section| sections.get(section.link as usize).context("a section whose names are nowhere");
        let mut needs = Needs::default();
        let entry = if self.is_wide { 16 } else { 8 };
        for section in sections.iter().filter(|section| section.kind == DYNAMIC) {
            for index in 0..section.size / entry {
                let at = section.offset.saturating_add(index * entry);
                if self.word(at)? == NEEDED {
                    let name = self.text(names(section)?, self.word(at + entry / 2)?)?;
                    needs.libraries.entry(name).or_default();
                }
            }
        }
        for section in sections.iter().filter(|section| section.kind == VERSIONS_NEEDED) {
            let mut at = section.offset;
            for _ in 0..section.count {
                let (count, file) = (self.number(at + 2, 2)?, u64::from(self.half(at + 4)?));
                let (mut one, next) = (at.saturating_add(u64::from(self.half(at + 8)?)), u64::from(self.half(at + 12)?));
                let versions = needs.libraries.entry(self.text(names(section)?, file)?).or_default();
                for _ in 0..count {
                    versions.insert(self.text(names(section)?, u64::from(self.half(one + 8)?))?);
                    one += u64::from(self.half(one + 12)?);
                }
                if next == 0 {
                    break;
                }
                at = at.saturating_add(next);
            }
        }
        Ok(needs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn this_program_needs_a_libc_and_says_which() {
        let needs = Needs::of(&own()).unwrap().unwrap();
        assert!(needs.libraries.keys().any(|name| name.starts_with("libc.so")), "{needs:?}");
        assert!(numbers(&needs.highest("GLIBC_").unwrap()) >= vec![2, 17], "{needs:?}");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let of = |versions: &[&str]| Needs {
            libraries: BTreeMap::from([("libc.so.6".into(), versions.iter().map(ToString::to_string).collect())]),
        };
        assert_eq!(of(&["GLIBC_2.4", "GLIBC_2.28", "GLIBC_2.3.4", "GLIBC_PRIVATE"]).highest("GLIBC_"), Some("2.28".into()));
        assert_eq!(of(&["GLIBC_2.4"]).join(of(&["GLIBC_2.34"])).highest("GLIBC_"), Some("2.34".into()));
        assert_eq!(of(&["GLIBC_2.4"]).highest("GLIBCXX_"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_cut_short_anywhere_is_an_error_and_no_panic() {
        let whole = own();
        for end in (5..64).chain((64..whole.len()).step_by(whole.len() / 50)) {
            // The table of sections is at the end of the file, so nothing shorter has it.
            assert!(Needs::of(&whole[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_is_no_program_of_linux_needs_nothing() {
        assert_eq!(Needs::of(b"MZ").unwrap(), None);
    }
}
