//! The Go member's database into a state engine of its own, beside it.
//!
//! Writes: `member/db.tmp`, flushed and synced when this returns. Reads: the database, whole.

use std::ops::ControlFlow;

use super::check::Checked;
use super::{Place, Step, Steps, TakeoverError, sync_dir, told};
use crate::node::space::Space;
use crate::state_machine::snapshot::{ImportChanges, Imported, import};
use crate::storage::Engine;
use crate::storage::rocks::{self, RocksEngine};

pub(super) fn convert(place: &Place, checked: &Checked, steps: Steps<'_>) -> Result<Imported, TakeoverError> {
    let staged = place.staged_db();
    let volume = Space::new(&place.member).volume().map_or(u64::MAX, |volume| volume.total);
    let engine = RocksEngine::open(&staged, rocks::Options::for_volume(volume))?;
    let changes = ImportChanges { position: Some(checked.position.clone()), ..ImportChanges::default() };
    let of = checked.database.size();
    let mut stopped = None;
    let imported = import(&checked.database, &*engine, &changes, &mut |progress| {
        let step = Step::Converting { rows: progress.rows, bytes: progress.bytes, of };
        if stopped.is_none() && steps(step) == ControlFlow::Break(()) {
            stopped = Some(step);
        }
    });
    if let Some(step) = stopped {
        return Err(TakeoverError::Stopped(step));
    }
    let imported = imported.map_err(|source| TakeoverError::Import { path: checked.database_path.clone(), source })?;
    engine.flush()?;
    drop(engine);
    sync_dir(&staged)?;
    sync_dir(&place.member)?;
    told(steps, Step::Converting { rows: imported.rows, bytes: of, of })?;
    Ok(imported)
}
