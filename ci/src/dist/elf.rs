//! What a program of Linux asks of the system it is started on: shared libraries, and which versions of their symbols.
//!
//! ```text
//!   .dynamic        NEEDED libc.so.6, libstdc++.so.6          --> what a package depends on
//!   .gnu.version_r  libc.so.6: GLIBC_2.17 .. GLIBC_2.28       --> the floor that the row promises, measured
//! ```
//!
//! Reads both word sizes and both byte orders.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use object::read::elf::{Dyn, FileHeader};
use object::{Endianness, FileKind, elf};

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
        let needs = match FileKind::parse(bytes) {
            Ok(FileKind::Elf32) => needs::<elf::FileHeader32<Endianness>>(bytes),
            _ => needs::<elf::FileHeader64<Endianness>>(bytes),
        };
        needs.map(Some).context("it is an ELF file that does not say what it needs")
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

fn needs<Head: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<Needs> {
    let head = Head::parse(bytes)?;
    let order = head.endian()?;
    let sections = head.sections(order, bytes)?;
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let mut needs = Needs::default();
    if let Some((entries, names)) = sections.dynamic(order, bytes)? {
        let names = sections.strings(order, bytes, names)?;
        for entry in entries.iter().filter(|entry| entry.tag(order) == elf::DT_NEEDED) {
            needs.libraries.entry(text(entry.string(order, names)?)).or_default();
        }
    }
    if let Some((mut libraries, names)) = sections.gnu_verneed(order, bytes)? {
        let names = sections.strings(order, bytes, names)?;
        while let Some((library, mut versions)) = libraries.next()? {
            let known = needs.libraries.entry(text(library.file(order, names)?)).or_default();
            while let Some(version) = versions.next()? {
                known.insert(text(version.name(order, names)?));
            }
        }
    }
    Ok(needs)
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
