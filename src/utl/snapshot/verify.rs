//! `snapshot verify`: all that a restore checks, without a data directory to show for it.
//!
//! Writes: stdout. Reads: the file three times: digest, structure, rows.

use std::{path::Path, sync::Arc};

use bytes::Bytes;

use super::{
    progress::Progress,
    status::{Status, check_structure},
};
use crate::{
    cli::Failure,
    print::{Answer, Cell, Column},
    state_machine::snapshot::{ImportChanges, import},
    storage::{Batch, Engine, Error, Keyspace, Read, Usage, Visit},
    utl::{
        Settings,
        database::{DatabaseFile, check_exists},
        print,
    },
};

pub fn run(path: &Path, skip_hash_check: bool, settings: &Settings) -> Result<(), Failure> {
    check_exists(path)?;
    let style = settings.style()?;
    let file = DatabaseFile::open(path, settings.timeout())?;
    let digest = match (file.has_digest(), skip_hash_check) {
        (true, false) => {
            let mut progress = Progress::new("checking the digest", file.database_bytes());
            file.check_digest(&mut |bytes| progress.at(bytes))?;
            "valid"
        }
        (false, false) => return Err(super::restore::no_digest()),
        (true, true) => "not checked",
        (false, true) => "missing",
    };
    let database = file.database()?;
    check_structure(&database).map_err(|error| file.failed(error))?;
    let mut progress = Progress::new("checking rows", file.database_bytes());
    let imported = import(&database, &Nowhere, &ImportChanges::default(), &mut |at| progress.at(at.bytes));
    drop(progress);
    let imported = imported.map_err(|error| file.failed(error))?;
    let version = imported.storage_version.unwrap_or_default();
    let status = Status { hash: 0, revision: imported.revision, keys: imported.keys, size: database.size(), version };
    let number = |number: u64| Cell::Number(i64::try_from(number).unwrap_or(i64::MAX));
    let mut columns = vec![Column::new(["DIGEST", "Digest", "digest"], Cell::Text(digest.into()))];
    columns.extend(status.columns().into_iter().skip(1));
    columns.extend([
        Column::new(["COMPACT REVISION", "Compact revision", "compactRevision"], Cell::Number(imported.compact_revision)),
        Column::new(["ROWS", "Rows", "rows"], number(imported.rows)),
        Column::new(["RAFT TERM", "RaftTerm", "raftTerm"], number(imported.term)),
        Column::new(["RAFT INDEX", "RaftIndex", "raftIndex"], number(imported.consistent_index)),
    ]);
    print(style, Answer::Row(&columns))
}

/// An engine that keeps nothing, and so is always empty.
struct Nowhere;

impl Read for Nowhere {
    fn get(&self, _: Keyspace, _: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }

    fn multi_get(&self, _: Keyspace, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        Ok(vec![None; keys.len()])
    }

    fn scan(&self, _: Keyspace, _: &[u8], _: Option<&[u8]>, _: Visit<'_>) -> Result<(), Error> {
        Ok(())
    }
}

impl Engine for Nowhere {
    fn write(&self, _: &Batch) -> Result<(), Error> {
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn get_persisted(&self, _: Keyspace, _: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }

    fn view(&self) -> Arc<dyn Read> {
        Arc::new(Nowhere)
    }

    fn defragment(&self) -> Result<(), Error> {
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
