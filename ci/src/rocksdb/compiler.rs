//! A row's C++ compiler behind a script, for what RocksDB's sources need of it and their own build cannot be told.
//!
//! ```text
//!   c++ ... -c x.cc   --> the compiler, with the headers of the standard library compiled before: a quarter of the time
//!   c++ ... -c fault_injection_fs.cc, where it refuses the processor --> the compiler, with nothing to read
//!   c++ anything else --> the compiler
//! ```
//!
//! Neither changes a byte of any other object, so the archive's name does not know of the headers.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::matrix::{Endian, Row};
use crate::route;

/// A file of RocksDB's own tests that is in its list of sources and is called by nothing of the library. Its assertions refuse
/// big-endian processors, and those that align 64-bit integers to 32 bits: there it is compiled to an object with nothing in it.
pub const TESTS_ONLY: &str = "utilities/fault_injection_fs.cc";

/// Whether that file refuses the row's processor.
pub fn is_refused(row: &Row) -> bool {
    row.endian == Endian::Big || row.arch == "386"
}

/// The headers of the standard library that RocksDB's files ask for. None of them defines a macro that decides what these say.
const STANDARD: &[&str] = &[
    "algorithm",
    "array",
    "atomic",
    "cassert",
    "cctype",
    "cerrno",
    "chrono",
    "cinttypes",
    "climits",
    "cmath",
    "condition_variable",
    "cstddef",
    "cstdint",
    "cstdio",
    "cstdlib",
    "cstring",
    "ctime",
    "deque",
    "exception",
    "forward_list",
    "fstream",
    "functional",
    "future",
    "iomanip",
    "iostream",
    "iterator",
    "limits",
    "list",
    "map",
    "memory",
    "mutex",
    "optional",
    "ostream",
    "queue",
    "random",
    "set",
    "sstream",
    "stdexcept",
    "string",
    "thread",
    "tuple",
    "type_traits",
    "unordered_map",
    "unordered_set",
    "utility",
    "variant",
    "vector",
];

/// The script in `folder` that stands for `compiler`: clang and gcc alike take compiled headers from beside their source.
pub fn script(folder: &Path, compiler: &OsStr, is_refused: bool) -> Result<PathBuf> {
    let header = folder.join("standard.h");
    let text: String = STANDARD.iter().map(|name| format!("#include <{name}>\n")).collect();
    fs::create_dir_all(folder)?;
    fs::write(&header, text).with_context(|| format!("failed to write {}", header.display()))?;
    let (compiler, header) = (compiler.display(), header.display());
    let nothing = match is_refused {
        true => format!(
            "*{TESTS_ONLY})\n    while [ \"$1\" != -o ]; do shift; done\n    \
             exec {compiler} -x c++ -c /dev/null -o \"$2\" ;;\n"
        ),
        false => String::new(),
    };
    // The headers are compiled by the first call, with its flags, which all calls share. Two that are first at once both do it, and
    // one of two equal files stays.
    let text = format!(
        "#!/bin/sh\n\
         headers() {{\n    for word do\n        shift\n        \
         case \"$before$word\" in -o) before=output: ;; output:*) before= ;; -c | *.cc) ;; *) set -- \"$@\" \"$word\" ;; esac\n    done\n    \
         {compiler} \"$@\" -x c++-header {header} -o {header}.$$ && mv {header}.$$ {header}.gch\n}}\n\
         case \"$*\" in\n{nothing}*.cc) ;;\n*) exec {compiler} \"$@\" ;;\nesac\n\
         [ -e {header}.gch ] || headers \"$@\"\n\
         exec {compiler} -include {header} \"$@\"\n"
    );
    let script = folder.join("c++");
    route::script(&script, &text)?;
    Ok(script)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use crate::place;
    use crate::shell::Step;

    /// What the compiler is called with by `c++ <words>`, a line for each call.
    fn called(name: &str, is_refused: bool, words: &[&str]) -> Vec<String> {
        let folder = std::env::temp_dir().join(format!("cargo-ci-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let compiler = folder.join("compiler");
        route::script(&compiler, "#!/bin/sh\necho \"$@\"\n[ \"$1\" = -include ] || : > \"$(echo \"$*\" | sed 's/.*-o //; s/ .*//')\"\n")
            .unwrap();
        let script = script(&folder, compiler.as_os_str(), is_refused).unwrap();
        let done = Step::new(script).args(words).command(&folder).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        fs::remove_dir_all(&folder).unwrap();
        let place = format!("{}/", folder.display());
        String::from_utf8(done.stdout).unwrap().replace(&place, "").lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn the_first_file_compiles_the_headers_with_its_own_flags() {
        let calls = called("headers", false, &["-O3", "-I", "rocksdb", "-o", "out.o", "-c", "rocksdb/db/db_iter.cc"]);
        assert!(calls[0].starts_with("-O3 -I rocksdb -x c++-header standard.h -o standard.h."), "{calls:?}");
        assert_eq!(calls[1..], ["-include standard.h -O3 -I rocksdb -o out.o -c rocksdb/db/db_iter.cc"]);
    }

    #[test]
    fn what_is_no_source_of_rocksdb_is_compiled_as_it_is() {
        assert_eq!(called("no-source", false, &["-O3", "-c", "flag_check.cpp", "-o", "out.o"]), ["-O3 -c flag_check.cpp -o out.o"]);
    }

    #[test]
    fn a_file_that_refuses_the_processor_is_compiled_from_nothing_there() {
        let words = ["-O3", "-o", "out.o", "-c", "rocksdb/utilities/fault_injection_fs.cc"];
        assert_eq!(called("refused", true, &words), ["-x c++ -c /dev/null -o out.o"]);
        assert_eq!(called("taken", false, &words).len(), 2);
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let refusing: Vec<&str> = matrix.rows.iter().filter(|row| is_refused(row)).map(|row| row.name()).collect();
        assert_eq!(refusing, ["linux-s390x", "linux-386"]);
    }
}
