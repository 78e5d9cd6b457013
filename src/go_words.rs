//! What went wrong with a file or a socket, in the words of Go's library: etcd's messages end with them.
//!
//! Writes: nothing. Reads: nothing. Every room may import this one.

use std::io;

/// Where the system has no words of its own for it: musl says `I/O error`.
const EIO: i32 = 5;

/// `no such file or directory`, where Rust says `No such file or directory (os error 2)`. Windows' words are taken as they are, as Go
/// takes them.
pub fn go_words(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(number) = error.raw_os_error() else {
        return match error.kind() {
            // Found out by ourselves, where the system would not say so.
            io::ErrorKind::AlreadyExists => "file exists".into(),
            io::ErrorKind::IsADirectory => "is a directory".into(),
            _ => text,
        };
    };
    let text = text.split(" (os error ").next().unwrap_or_default();
    match number {
        EIO if cfg!(unix) => "input/output error".into(),
        _ if cfg!(unix) => text.chars().take(1).flat_map(char::to_lowercase).chain(text.chars().skip(1)).collect(),
        _ => text.to_owned(),
    }
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
            (28, "no space left on device"),
        ];
        for (number, wanted) in words {
            assert_eq!(go_words(&io::Error::from_raw_os_error(number)), wanted);
        }
    }

    #[test]
    fn words_of_ours_stay() {
        assert_eq!(go_words(&io::ErrorKind::AlreadyExists.into()), "file exists");
        assert_eq!(go_words(&io::Error::other("Two members (os error 2) met")), "Two members (os error 2) met");
        let said = go_words(&std::fs::File::open("/nowhere/at/all").unwrap_err());
        assert!(!said.is_empty() && !said.contains("os error"), "{said}");
    }
}
