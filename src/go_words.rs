//! What went wrong with a file or a socket, in the words of Go's library: etcd's messages end with them.
//!
//! Writes: nothing. Reads: nothing. Every room may import this one.

use std::io;

/// Numbers that all of Unix shares and that the kinds of Rust do not tell apart.
const EIO: i32 = 5;
const EMFILE: i32 = 24;

/// `no such file or directory`, where Rust says `No such file or directory (os error 2)`. Windows' words are taken as they are, as Go
/// takes them; but for an address that is in use, which harnesses look for on every system.
pub fn go_words(error: &io::Error) -> String {
    if let Some(words) = words_of(error.kind()) {
        return words.into();
    }
    let text = error.to_string();
    let Some(number) = error.raw_os_error() else { return text };
    let text = text.split(" (os error ").next().unwrap_or_default();
    match number {
        EIO if cfg!(unix) => "input/output error".into(),
        EMFILE if cfg!(unix) => "too many open files".into(),
        _ if cfg!(unix) => text.chars().take(1).flat_map(char::to_lowercase).chain(text.chars().skip(1)).collect(),
        _ => text.to_owned(),
    }
}

/// What Go's table for Linux says and a C library may say otherwise, as musl does; and what is found out by ourselves, where the system
/// would not say so.
fn words_of(kind: io::ErrorKind) -> Option<&'static str> {
    let is_linux = cfg!(target_os = "linux");
    Some(match kind {
        io::ErrorKind::AddrInUse => "address already in use",
        io::ErrorKind::AlreadyExists if cfg!(unix) => "file exists",
        io::ErrorKind::IsADirectory if cfg!(unix) => "is a directory",
        io::ErrorKind::AddrNotAvailable if is_linux => "cannot assign requested address",
        io::ErrorKind::ResourceBusy if is_linux => "device or resource busy",
        io::ErrorKind::CrossesDevices if is_linux => "invalid cross-device link",
        io::ErrorKind::QuotaExceeded if is_linux => "disk quota exceeded",
        io::ErrorKind::InvalidFilename if is_linux => "file name too long",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn words_of_the_system_are_gos() {
        let words = [
            (1, "operation not permitted"),
            (2, "no such file or directory"),
            (5, "input/output error"),
            (13, "permission denied"),
            (17, "file exists"),
            (20, "not a directory"),
            (21, "is a directory"),
            (24, "too many open files"),
            (28, "no space left on device"),
        ];
        for (number, wanted) in words {
            assert_eq!(go_words(&io::Error::from_raw_os_error(number)), wanted);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn words_of_linux_do_not_depend_on_its_c_library() {
        let words = [
            (16, "device or resource busy"),
            (18, "invalid cross-device link"),
            (36, "file name too long"),
            (98, "address already in use"),
            (99, "cannot assign requested address"),
            (122, "disk quota exceeded"),
        ];
        for (number, wanted) in words {
            assert_eq!(go_words(&io::Error::from_raw_os_error(number)), wanted);
        }
    }

    #[test]
    fn words_of_ours_stay() {
        assert_eq!(go_words(&io::ErrorKind::AddrInUse.into()), "address already in use");
        assert_eq!(go_words(&io::Error::other("Two members (os error 2) met")), "Two members (os error 2) met");
        let said = go_words(&std::fs::File::open("/nowhere/at/all").unwrap_err());
        assert!(!said.is_empty() && !said.contains("os error"), "{said}");
    }
}
