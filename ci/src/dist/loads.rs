//! What a program of macOS or Windows asks of the system that loads it.
//!
//! ```text
//!   Mach-O   LC_BUILD_VERSION 11.0, LC_LOAD_DYLIB /usr/lib/libSystem.B.dylib, LC_CODE_SIGNATURE
//!   PE       imports KERNEL32.dll, ws2_32.dll, api-ms-win-core-synch-l1-2-0.dll
//! ```
//!
//! Where nothing here can start such a program, this is what is known of it.

use std::fmt;

use anyhow::{Context, Result};
use object::read::macho::{LoadCommandVariant, MachHeader};
use object::read::pe::PeFile64;
use object::{Endianness, FileKind, LittleEndian, macho};

use super::elf::numbers;
use crate::matrix::Row;

/// Every macOS has these two folders; a library of anywhere else is the builder's own.
const OF_MACOS: [&str; 2] = ["/usr/lib/", "/System/Library/"];
/// The libraries that every Windows since 10 brings and that the products' crates call, in lower case.
const OF_WINDOWS: &[&str] = &[
    "advapi32.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "crypt32.dll",
    "dbghelp.dll",
    "iphlpapi.dll",
    "kernel32.dll",
    "msvcrt.dll",
    "ntdll.dll",
    "ole32.dll",
    "oleaut32.dll",
    "pdh.dll",
    "powrprof.dll",
    "psapi.dll",
    "rpcrt4.dll",
    "secur32.dll",
    "shell32.dll",
    "shlwapi.dll",
    "user32.dll",
    "userenv.dll",
    "ws2_32.dll",
];
/// The contracts that the C library and the system's own are given out by.
const CONTRACTS_OF_WINDOWS: &str = "api-ms-win-";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loads {
    MacOs { minimum: String, libraries: Vec<String>, is_signed: bool },
    Windows { libraries: Vec<String> },
}

impl Loads {
    /// Of a program; `None` where it is of neither.
    pub fn of(bytes: &[u8]) -> Result<Option<Loads>> {
        match FileKind::parse(bytes) {
            Ok(FileKind::MachO64) => mac_os(bytes).context("it is a Mach-O file that does not say what it loads").map(Some),
            Ok(FileKind::Pe64) => windows(bytes).context("it is a PE file that does not say what it imports").map(Some),
            _ => Ok(None),
        }
    }

    /// Why the program would not start on the oldest system that the row promises.
    pub fn fault(&self, row: &Row) -> Option<String> {
        match self {
            Loads::MacOs { minimum, libraries, is_signed } => {
                let promised = row.floor.strip_prefix("macOS ").unwrap_or_default();
                if numbers(minimum) > numbers(promised) {
                    return Some(format!("it wants macOS {minimum}, and {} promises {promised}", row.name()));
                }
                if let Some(own) = libraries.iter().find(|library| !OF_MACOS.iter().any(|folder| library.starts_with(folder))) {
                    return Some(format!("it loads {own}, which no macOS brings"));
                }
                // On Intel it starts without, and Apple's own linker signs nothing there either.
                (!is_signed && row.arch == "arm64").then(|| "it is not signed, and macOS ends such a program on arm64".to_owned())
            }
            Loads::Windows { libraries } => {
                let is_known = |name: &str| OF_WINDOWS.contains(&name) || name.starts_with(CONTRACTS_OF_WINDOWS);
                let own = libraries.iter().find(|library| !is_known(&library.to_lowercase()))?;
                Some(format!("it imports {own}, which is not known as a part of {}", row.floor))
            }
        }
    }
}

impl fmt::Display for Loads {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Loads::MacOs { minimum, libraries, is_signed } => {
                let signed = if *is_signed { "signed" } else { "not signed" };
                write!(f, "macOS {minimum}, {signed}, loads {}", libraries.join(" "))
            }
            Loads::Windows { libraries } => write!(f, "imports {}", libraries.join(" ")),
        }
    }
}

fn mac_os(bytes: &[u8]) -> Result<Loads> {
    let header = macho::MachHeader64::<Endianness>::parse(bytes, 0)?;
    let order = header.endian()?;
    let (mut minimum, mut libraries, mut is_signed) = (None, Vec::new(), false);
    let mut commands = header.load_commands(order, bytes, 0)?;
    while let Some(command) = commands.next()? {
        match command.variant()? {
            LoadCommandVariant::BuildVersion(version, _) => minimum = Some(version.minos.get(order)),
            LoadCommandVariant::VersionMin(version) => minimum = Some(version.version.get(order)),
            LoadCommandVariant::Dylib(library) => {
                libraries.push(String::from_utf8_lossy(command.string(order, library.dylib.name)?).into_owned());
            }
            LoadCommandVariant::LinkeditData(_) => is_signed |= command.cmd() == macho::LC_CODE_SIGNATURE,
            _ => {}
        }
    }
    let minimum = minimum.context("it names no macOS")?.0;
    Ok(Loads::MacOs { minimum: format!("{}.{}", minimum >> 16, minimum >> 8 & 0xff), libraries, is_signed })
}

fn windows(bytes: &[u8]) -> Result<Loads> {
    let mut libraries = Vec::new();
    if let Some(table) = PeFile64::parse(bytes)?.import_table()? {
        let mut descriptors = table.descriptors()?;
        while let Some(descriptor) = descriptors.next()? {
            libraries.push(String::from_utf8_lossy(table.name(descriptor.name.get(LittleEndian))?).into_owned());
        }
    }
    libraries.sort();
    Ok(Loads::Windows { libraries })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use crate::place;

    fn fault(name: &str, loads: &Loads) -> String {
        loads.fault(Matrix::load(&place::checkout()).unwrap().row(name).unwrap()).unwrap_or_default()
    }

    fn loads(minimum: &str, library: &str, is_signed: bool) -> Loads {
        Loads::MacOs { minimum: minimum.into(), libraries: vec!["/usr/lib/libSystem.B.dylib".into(), library.into()], is_signed }
    }

    /// A header of Mach-O for arm64 with these load commands, each with its number and what follows its length.
    fn mach_o(commands: &[(macho::LoadCommandType, Vec<u8>)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (number, rest) in commands {
            let rest = [rest.as_slice(), &vec![0; rest.len().next_multiple_of(8) - rest.len()]].concat();
            body.extend([number.0.to_le_bytes(), (8 + rest.len() as u32).to_le_bytes()].concat());
            body.extend(rest);
        }
        let words = [macho::MH_MAGIC_64, macho::CPU_TYPE_ARM64.0, 0, macho::MH_EXECUTE.0, commands.len() as u32, body.len() as u32, 0, 0];
        [words.map(u32::to_le_bytes).concat(), body].concat()
    }

    #[test]
    fn a_program_of_macos_says_its_floor_its_libraries_and_whether_it_is_signed() {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let version = (macho::LC_BUILD_VERSION, words(&[macho::PLATFORM_MACOS.0, 11 << 16, 15 << 16, 0]));
        let library = (macho::LC_LOAD_DYLIB, [words(&[24, 0, 0, 0]), b"/usr/lib/libiconv.2.dylib\0".to_vec()].concat());
        let signature = (macho::LC_CODE_SIGNATURE, words(&[0, 0]));
        let found = Loads::of(&mach_o(&[version.clone(), library.clone(), signature])).unwrap().unwrap();
        assert_eq!(found.to_string(), "macOS 11.0, signed, loads /usr/lib/libiconv.2.dylib");
        let found = Loads::of(&mach_o(&[version, library.clone()])).unwrap().unwrap();
        assert_eq!(found.to_string(), "macOS 11.0, not signed, loads /usr/lib/libiconv.2.dylib");
        assert!(Loads::of(&mach_o(&[library])).is_err(), "no macOS is named");
    }

    #[test]
    fn a_younger_macos_a_library_of_the_builder_and_a_missing_signature_are_found() {
        assert_eq!(fault("darwin-arm64", &loads("11.0", "/System/Library/Frameworks/Security.framework/Security", true)), "");
        assert_eq!(fault("darwin-arm64", &loads("10.15", "/usr/lib/libiconv.2.dylib", true)), "");
        assert!(fault("darwin-arm64", &loads("15.0", "/usr/lib/libiconv.2.dylib", true)).contains("wants macOS 15.0"));
        assert!(fault("darwin-arm64", &loads("11.0", "/opt/lib/libc++.1.dylib", true)).contains("/opt/lib/libc++.1.dylib"));
        assert!(fault("darwin-arm64", &loads("11.0", "/usr/lib/libiconv.2.dylib", false)).contains("not signed"));
        assert_eq!(fault("darwin-amd64", &loads("11.0", "/usr/lib/libiconv.2.dylib", false)), "");
    }

    #[test]
    fn a_library_that_windows_does_not_bring_is_found() {
        let of = |library: &str| fault("windows-amd64", &Loads::Windows { libraries: vec!["KERNEL32.dll".into(), library.into()] });
        assert_eq!(of("api-ms-win-core-synch-l1-2-0.dll"), "");
        assert_eq!(of("WS2_32.dll"), "");
        assert!(of("libstdc++-6.dll").contains("libstdc++-6.dll"));
    }

    #[test]
    fn a_program_of_linux_loads_nothing_of_these() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(cfg!(not(target_os = "linux")) || Loads::of(&own).unwrap().is_none());
    }
}
